//! Signals, read from a descriptor: none interrupts anything, and no handler runs.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use nix::{
    sys::{
        signal::{SigSet, Signal, kill, raise},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

/// The signals that end the view, stop it, bring it back or tell of a new size. They stay blocked for the whole
/// process.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks them. Threads that are created later inherit that, so it is called before there are any.
    ///
    /// # Errors
    /// No descriptor is free.
    pub(crate) fn block() -> io::Result<Self> {
        let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP];
        let others = [Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGWINCH];
        let wanted: SigSet = ends.into_iter().chain(others).collect();
        wanted.thread_block()?;
        Ok(Self(SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Readable when there is a [`Self::next`].
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next one that has come, if one has.
    ///
    /// # Errors
    /// It could not be read.
    pub(crate) fn next(&self) -> io::Result<Option<Signal>> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        Ok(i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()))
    }
}

/// Stops this process until somebody continues it; with its whole job, as Ctrl-Z would, if that is to stop, too.
///
/// # Errors
/// None that is known.
pub(crate) fn stop(with_job: bool) -> io::Result<()> {
    if with_job {
        // Of this process it only becomes one to be read.
        kill(Pid::from_raw(0), Signal::SIGTSTP)?;
    }
    Ok(raise(Signal::SIGSTOP)?)
}
