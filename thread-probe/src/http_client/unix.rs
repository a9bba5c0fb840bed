//! A Unix socket as a transport of ureq.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr},
};
use ureq::{
    Error, Timeout,
    unversioned::transport::{
        Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, time::Duration as Limit,
    },
};

/// A connection to the server at `path`. Does not wait: connect(2) would, without a bound, where connections are no
/// longer accepted and as many as may are waiting for that.
///
/// # Errors
/// Nobody listens there, or takes further connections; or the file is not for this user.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::EAGAIN) => Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "who listens there accepts no connection: it is busy or stopped",
        )),
        outcome => Ok(outcome?),
    }?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Connects to one socket, whatever the URL.
#[derive(Debug)]
pub(super) struct UnixConnector {
    path: PathBuf,
}

impl UnixConnector {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Connector for UnixConnector {
    type Out = UnixTransport;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        let stream = connect(&self.path)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(left(timeout)?)?;
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(|error| failure(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(left(timeout)?)?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(input) {
                // A signal, as when the terminal is resized.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(|error| failure(error, timeout.reason))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Connecting again costs nothing: no connection is kept.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// The time left for a part of a request; `None` is no bound.
fn left(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    match timeout.after {
        Limit::NotHappening => Ok(None),
        Limit::Exact(left) if left.is_zero() => Err(Error::Timeout(timeout.reason)),
        Limit::Exact(left) => Ok(Some(left)),
    }
}

fn failure(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(reason),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, sync::mpsc, thread};

    use nix::{
        fcntl::{FcntlArg, OFlag, fcntl},
        sys::socket::{Backlog, listen},
    };

    use super::*;

    #[test]
    fn a_listener_that_accepts_nothing_is_an_error_and_not_a_wait_for_ever() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.sock");
        let listener = UnixListener::bind(&path)?;
        listen(&listener, Backlog::new(1)?)?;
        let (told, outcome) = mpsc::channel();
        let thread = thread::spawn(move || {
            let connections: io::Result<Vec<_>> = (0..3).map(|_| connect(&path)).collect();
            let _ = told.send(connections.map(drop));
        });
        let refusal = outcome.recv_timeout(Duration::from_secs(20)).map_err(io::Error::other)?.err();
        assert!(refusal.is_some_and(|error| error.to_string().contains("busy or stopped")));
        assert!(thread.join().is_ok());
        Ok(())
    }

    #[test]
    fn a_connection_waits_for_what_is_read_from_it() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.sock");
        let _listener = UnixListener::bind(&path)?;
        let flags = OFlag::from_bits_retain(fcntl(connect(&path)?, FcntlArg::F_GETFL)?);
        assert!(!flags.contains(OFlag::O_NONBLOCK));
        Ok(())
    }
}
