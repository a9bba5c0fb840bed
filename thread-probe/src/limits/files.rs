//! Reading the kernel's small files, and telling apart what is gone and what is not readable.

use std::{io, os::fd::BorrowedFd, path::Path};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::stat::Mode,
    unistd::read,
};

use super::Unreadable;

/// The largest is `memory.stat`, of some 2 kB.
const MAX_BYTES: usize = 16 << 10;

/// A folder below one that is open: to find a file from there takes four fifths of what it takes from `/`.
#[derive(Clone, Copy)]
pub(super) struct Folder<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) path: &'a Path,
}

/// Reads files into one buffer.
pub(super) struct Files {
    buffer: Box<[u8]>,
    unreadable: Vec<Unreadable>,
}

impl<'a> Folder<'a> {
    /// One by its path from `/`.
    pub(super) fn absolute(path: &'a Path) -> Self {
        Self { root: AT_FDCWD, path }
    }
}

impl Files {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; MAX_BYTES].into(), unreadable: Vec::new() }
    }

    /// The text of a file, called `name` in the counts. `None` if it is gone, which is normal, or can't be read, which
    /// is counted and, the first time, said.
    pub(super) fn read(&mut self, folder: Folder<'_>, name: &'static str) -> Option<&str> {
        let path = folder.path.join(name);
        let file = openat(folder.root, &path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        match file.and_then(|file| read(file, &mut self.buffer)) {
            Ok(length) => std::str::from_utf8(&self.buffer[..length]).ok().map(str::trim_end),
            Err(error) if is_gone(error) => None,
            Err(error) => {
                failed(&mut self.unreadable, name, &path, &io::Error::from(error));
                None
            }
        }
    }

    /// A number that is all of a file.
    pub(super) fn number(&mut self, folder: Folder<'_>, name: &'static str) -> Option<u64> {
        self.read(folder, name)?.parse().ok()
    }

    /// The number behind a key, a line each.
    pub(super) fn keyed(&mut self, folder: Folder<'_>, name: &'static str, key: &str) -> Option<u64> {
        keyed(self.read(folder, name)?, key)
    }

    /// Counts a file that something else could not read.
    pub(super) fn failed(&mut self, name: &'static str, path: &Path, error: &dyn std::fmt::Display) {
        failed(&mut self.unreadable, name, path, error);
    }

    /// What could not be read, since start.
    pub(super) fn unreadable(&self) -> Vec<Unreadable> {
        self.unreadable.clone()
    }
}

fn failed(unreadable: &mut Vec<Unreadable>, name: &'static str, path: &Path, error: &dyn std::fmt::Display) {
    if let Some(known) = unreadable.iter_mut().find(|known| known.file == name) {
        known.count += 1;
    } else {
        tracing::warn!(path = %path.display(), %error, "not readable: limits that need it are missing");
        unreadable.push(Unreadable { file: name.into(), count: 1 });
    }
}

/// Cgroups and processes come and go: ENOENT before the open, ENODEV and ESRCH after it.
fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::ENOENT | Errno::ENODEV | Errno::ESRCH)
}

/// The number behind a key, a line each.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_a_whole_word() {
        assert_eq!(keyed("max_events 3\nmax 12\n", "max"), Some(12));
        assert_eq!(keyed("inactive_file_x 3\n", "inactive_file"), None);
    }

    #[test]
    fn a_vanished_file_is_normal_and_an_unreadable_one_is_counted_by_name() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut files = Files::new();
        let of = Folder::absolute(folder.path());
        assert_eq!(files.number(of, "pids.max"), None);
        assert_eq!(files.unreadable(), []);
        // A folder opens, and can't be read.
        fs::create_dir(folder.path().join("pids.max"))?;
        assert_eq!(files.number(of, "pids.max"), None);
        assert_eq!(files.number(of, "pids.max"), None);
        assert_eq!(files.unreadable(), [Unreadable { file: "pids.max".into(), count: 2 }]);
        fs::write(folder.path().join("pids.current"), "17\n")?;
        assert_eq!(files.number(of, "pids.current"), Some(17));
        Ok(())
    }
}
