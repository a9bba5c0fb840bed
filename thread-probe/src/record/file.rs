//! A file that samples are written to.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::frame::{FILE_HEAD, HEAD_BYTES, Head, check_file_head};

/// A recording that is being made.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    bytes: u64,
}

/// A recording that there was, and what a crash left at its end.
pub(super) struct Continued {
    pub(super) file: RecordFile,
    /// Bytes that were no whole sample, and are gone.
    pub(super) cut_bytes: u64,
}

impl RecordFile {
    /// A new one, for its owner and group alone: names of processes are in it.
    ///
    /// # Errors
    /// There is one, or it can't be written.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).read(true).create_new(true).mode(0o640).open(path)?;
        let begun = lock(&file).and_then(|()| file.write_all(&FILE_HEAD));
        // On a full disk there would be ever more that are empty.
        begun.inspect_err(|_| drop(fs::remove_file(path)))?;
        Ok(Self { file, bytes: FILE_HEAD.len() as u64 })
    }

    /// The one that there is, cut after its last whole sample.
    ///
    /// # Errors
    /// It is no recording, another program writes to it, or it can't be written.
    pub(super) fn go_on(path: &Path) -> io::Result<Continued> {
        let file = OpenOptions::new().write(true).read(true).open(path)?;
        lock(&file)?;
        let length = file.metadata()?.len();
        let whole = whole_bytes(&file, length)?;
        file.set_len(whole)?;
        Ok(Continued { file: Self { file, bytes: whole }, cut_bytes: length - whole })
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a sample, so that it is there after a power loss. One that has no room is not there at all.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub(super) fn write(&mut self, sample: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(sample, self.bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.bytes += sample.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What is left of it would be cut at the next start.
                let _ = self.file.set_len(self.bytes);
                Err(error)
            }
        }
    }
}

/// Two that write to one file would destroy it. Where there are no locks, nobody is kept out.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::new(ErrorKind::WouldBlock, "another program writes to it")),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Bytes up to the end of the last whole sample.
fn whole_bytes(file: &File, length: u64) -> io::Result<u64> {
    let mut head = [0; FILE_HEAD.len()];
    file.read_exact_at(&mut head, 0)?;
    check_file_head(&head).map_err(io::Error::other)?;
    let mut at = FILE_HEAD.len() as u64;
    while let Some((head, end)) = head_at(file, at, length)? {
        // Only what was written last may be torn; to read all would take long.
        if head_at(file, end, length)?.is_none() {
            let mut payload = vec![0; head.bytes as usize];
            file.read_exact_at(&mut payload, at + HEAD_BYTES as u64)?;
            if !head.is_of(&payload) {
                break;
            }
        }
        at = end;
    }
    Ok(at)
}

/// The head at a place and where what follows it ends; `None` if it is not whole.
pub(super) fn head_at(file: &File, at: u64, length: u64) -> io::Result<Option<(Head, u64)>> {
    if length.saturating_sub(at) < HEAD_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEAD_BYTES];
    file.read_exact_at(&mut bytes, at)?;
    let head = Head::read(&bytes);
    let end = head.map(|head| (head, at + HEAD_BYTES as u64 + u64::from(head.bytes)));
    Ok(end.filter(|(_, end)| *end <= length))
}
