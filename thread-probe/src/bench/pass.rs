//! How one thread lets another run, and waits for it.

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    errno::Errno,
    libc,
    sys::eventfd::{EfdFlags, EventFd},
    unistd::{pipe, read, write},
};

use super::shared::Common;
use crate::text::named::named;

named! {
    /// By what.
    pub enum Via {
        /// A futex: what mutexes and condition variables are made of.
        Futex = "futex",
        /// A byte in a pipe.
        Pipe = "pipe",
        /// A number in an eventfd.
        Eventfd = "eventfd",
        /// sched_yield: nobody sleeps.
        Yield = "yield",
    }
}

/// What the two sides have for it. A side is 0 or 1.
#[derive(Debug)]
pub(super) enum Channel {
    /// Its words are in the memory that both have.
    Futex,
    /// By who reads.
    Pipes([(OwnedFd, OwnedFd); 2]),
    /// By who reads.
    Eventfds([EventFd; 2]),
    /// Nothing.
    Yield,
}

impl Channel {
    /// A new one.
    pub(super) fn new(via: Via) -> io::Result<Self> {
        let eventfd = || EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC);
        Ok(match via {
            Via::Futex => Self::Futex,
            Via::Pipe => Self::Pipes([pipe()?, pipe()?]),
            Via::Eventfd => Self::Eventfds([eventfd()?, eventfd()?]),
            Via::Yield => Self::Yield,
        })
    }

    /// It is that side's turn.
    pub(super) fn give(&self, common: &Common, side: usize) -> io::Result<()> {
        match self {
            Self::Futex => {
                let turn = &common.turns[side].0;
                turn.store(1, Ordering::Release);
                futex(turn, libc::FUTEX_WAKE, 1)
            }
            Self::Pipes(pipes) => Ok(write(&pipes[side].1, &[1]).map(drop)?),
            Self::Eventfds(eventfds) => Ok(eventfds[side].write(1).map(drop)?),
            Self::Yield => Ok(()),
        }
    }

    /// Waits until it is that side's turn.
    pub(super) fn take(&self, common: &Common, side: usize) -> io::Result<()> {
        match self {
            Self::Futex => {
                let turn = &common.turns[side].0;
                while turn.swap(0, Ordering::Acquire) == 0 {
                    futex(turn, libc::FUTEX_WAIT, 0)?;
                }
                Ok(())
            }
            Self::Pipes(pipes) => whole(|| read(&pipes[side].0, &mut [0])),
            Self::Eventfds(eventfds) => whole(|| eventfds[side].read()),
            Self::Yield => {
                // SAFETY: it has no preconditions.
                unsafe { libc::sched_yield() };
                Ok(())
            }
        }
    }

    /// The system calls of giving and taking by one side alone, so that none waits and none wakes anybody.
    pub(super) fn give_and_take_alone(&self, common: &Common) -> io::Result<()> {
        self.give(common, 0)?;
        if matches!(self, Self::Futex) {
            // It would find that its turn has come, and not ask the kernel.
            futex(&common.turns[0].0, libc::FUTEX_WAIT, 0)?;
        }
        self.take(common, 0)
    }
}

/// Again if a signal came in between.
fn whole<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<()> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            outcome => return Ok(outcome.map(drop)?),
        }
    }
}

/// `futex(word, operation, value)`, between processes too. That the word has another value, or that a signal came, is no
/// error: the caller looks at the word.
fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) -> io::Result<()> {
    let no_timeout = std::ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call, and without a timeout and a second word nothing else is looked at.
    let outcome = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
    match Errno::result(outcome) {
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::shared::Mapping;

    #[test]
    fn what_is_given_is_taken_by_the_other_side_in_turn() -> io::Result<()> {
        for via in Via::ALL {
            let (channel, mapping) = (Channel::new(via)?, Mapping::new(0)?);
            std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    (0..1000).try_for_each(|_| channel.take(&mapping, 1).and_then(|()| channel.give(&mapping, 0)))
                });
                (0..1000).try_for_each(|_| channel.give(&mapping, 1).and_then(|()| channel.take(&mapping, 0)))?;
                other.join().map_err(|_| io::Error::other("it panicked"))?
            })?;
        }
        Ok(())
    }

    #[test]
    fn alone_nobody_waits() -> io::Result<()> {
        for via in Via::ALL {
            let (channel, mapping) = (Channel::new(via)?, Mapping::new(0)?);
            (0..1000).try_for_each(|_| channel.give_and_take_alone(&mapping))?;
        }
        Ok(())
    }
}
