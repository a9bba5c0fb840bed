//! Signals, read from a descriptor: none interrupts anything, and no handler runs.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use nix::sys::{
    signal::{SigSet, Signal, raise},
    signalfd::{SfdFlags, SignalFd},
};

/// The signals that end the view, stop it or bring it back. They stay blocked for the whole process.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks them. Threads that are created later inherit that, so it is called before there are any. SIGHUP is left as it
    /// is: it says that the terminal is gone, so there is nothing to give back.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn block() -> io::Result<Self> {
        let wanted: SigSet =
            [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGCONT].into_iter().collect();
        wanted.thread_block()?;
        Ok(Self(SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Readable when there is a [`Self::next`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next one that has come, if one has.
    ///
    /// # Errors
    /// It could not be read.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        Ok(i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()))
    }
}

/// Stops this process until somebody continues it.
///
/// # Errors
/// None that is known.
pub fn stop() -> io::Result<()> {
    Ok(raise(Signal::SIGSTOP)?)
}
