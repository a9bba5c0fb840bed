//! The log: lines on standard error, held back while a view has the terminal, left out where nobody reads them.

use std::{
    io::{self, IsTerminal as _, Write, stderr},
    os::fd::AsFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// What is held back at most; what is logged beyond is left out, and said to be.
const MAX_HELD_BYTES: usize = 64 << 10;

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Lines that could not be written without waiting for who reads them.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// How many lines were left out so far, as nobody read them.
pub fn lines_left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Makes writers of lines: to standard error, or to what is held back of it.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    is_journal: bool,
}

impl Log {
    /// On this process's standard error.
    pub fn on_stderr() -> Self {
        Self { is_journal: is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) }
    }

    /// Whether systemd's journal reads it: that knows the time, and takes the priority from the line's beginning.
    pub fn is_journal(self) -> bool {
        self.is_journal
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter { priority: "" }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> LogWriter {
        LogWriter { priority: if self.is_journal { priority(*meta.level()) } else { "" } }
    }
}

/// As sd-daemon(3) has it.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Whether standard error is what systemd's JOURNAL_STREAM names: `device:inode`. A child may have inherited the
/// variable and not the stream.
fn is_journal(stream: Option<&str>) -> bool {
    let named = stream.and_then(|stream| stream.split_once(':'));
    let stat = nix::sys::stat::fstat(stderr()).ok();
    match (named, stat) {
        (Some((device, inode)), Some(stat)) => device.parse() == Ok(stat.st_dev) && inode.parse() == Ok(stat.st_ino),
        _ => false,
    }
}

/// Writes one line.
#[derive(Debug)]
pub struct LogWriter {
    priority: &'static str,
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let prefixed = [self.priority.as_bytes(), line].concat();
        // Held while it writes, so that nobody else takes the room that was found.
        match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) => keep(held, &prefixed),
            None => write_if_read(&prefixed, stderr()),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line if that does not have to wait; else counts it. Who does not read the log must not stop the daemon.
fn write_if_read(line: &[u8], mut to: impl Write + AsFd) {
    static SAID: AtomicU64 = AtomicU64::new(0);
    let left_out = lines_left_out() - SAID.load(Ordering::Relaxed);
    if left_out > 0 {
        let said = format!("<4>... {left_out} lines of the log were left out: nobody read it\n");
        let said = if line.starts_with(b"<") { &said } else { &said[3..] };
        if write_whole(said.as_bytes(), &mut to).is_ok() {
            SAID.fetch_add(left_out, Ordering::Relaxed);
        }
    }
    if write_whole(line, &mut to).is_err() {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    }
}

/// # Errors
/// It would have to wait, or nobody can read it any more.
fn write_whole(line: &[u8], to: &mut (impl Write + AsFd)) -> io::Result<()> {
    /// What a pipe takes at once if it takes anything: PIPE_BUF of include/uapi/linux/limits.h.
    const AT_ONCE: usize = 4096;
    for part in line.chunks(AT_ONCE) {
        let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        poll(&mut ready, PollTimeout::ZERO)?;
        let is_ready = ready[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT));
        if !is_ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        to.write_all(part)?;
    }
    Ok(())
}

fn keep(held: &mut Vec<u8>, line: &[u8]) {
    const LEFT_OUT: &[u8] = b"... and more, left out\n";
    if held.len() + line.len() <= MAX_HELD_BYTES {
        held.extend_from_slice(line);
    } else if !held.ends_with(LEFT_OUT) {
        held.extend_from_slice(LEFT_OUT);
    }
}

/// While this lives, the log is held back where it would go to a terminal; then it is printed.
#[derive(Debug)]
pub struct Held(());

/// Begins to hold back.
pub fn hold() -> Held {
    if stderr().is_terminal() {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }
    Held(())
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(held) = HELD.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody is left to tell if the terminal is gone.
            let _ = stderr().write_all(&held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_takes_what_it_has_room_for_and_the_rest_is_counted() -> io::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        let line = [b'x'; 1000];
        for _ in 0..200 {
            write_if_read(&line, &writer);
        }
        // A pipe has room for 64 kB, unless the user has many.
        let left_out = lines_left_out();
        assert!((136..200).contains(&left_out), "{left_out} of 200 left out");
        let mut taken = vec![0; (200 - left_out as usize) * line.len()];
        io::Read::read_exact(&mut reader, &mut taken)?;
        write_if_read(b"again\n", &writer);
        drop(writer);
        let mut said = String::new();
        io::Read::read_to_string(&mut reader, &mut said)?;
        assert_eq!(said, format!("... {left_out} lines of the log were left out: nobody read it\nagain\n"));
        Ok(())
    }

    #[test]
    fn only_what_journal_stream_names_is_the_journal() {
        let Ok(stat) = nix::sys::stat::fstat(stderr()) else { return };
        assert!(is_journal(Some(&format!("{}:{}", stat.st_dev, stat.st_ino))));
        for other in [None, Some(""), Some("8"), Some("1:2"), Some(":")] {
            assert!(!is_journal(other), "{other:?}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_says_that_it_is_not_all() {
        let mut held = Vec::new();
        for _ in 0..MAX_HELD_BYTES {
            keep(&mut held, b"four");
        }
        assert!(held.len() < MAX_HELD_BYTES + 100);
        assert!(held.ends_with(b"four... and more, left out\n"));
    }
}
