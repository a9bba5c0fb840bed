//! The log: lines on standard error, held back while a view has the terminal.

use std::{
    io::{self, IsTerminal as _, Write, stderr},
    sync::{Mutex, PoisonError},
};

/// What is held back at most; what is logged beyond is left out, and said to be.
const MAX_HELD_BYTES: usize = 64 << 10;

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Standard error, or what is held back of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) => {
                keep(held, line);
                Ok(line.len())
            }
            None => stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
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
    fn what_is_held_is_bounded_and_says_that_it_is_not_all() {
        let mut held = Vec::new();
        for _ in 0..MAX_HELD_BYTES {
            keep(&mut held, b"four");
        }
        assert!(held.len() < MAX_HELD_BYTES + 100);
        assert!(held.ends_with(b"four... and more, left out\n"));
    }
}
