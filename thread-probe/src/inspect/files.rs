//! What /proc says of one process, each file with a bound.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The folder of a process in /proc.
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn of(pid: u32) -> Self {
        Self { folder: format!("/proc/{pid}").into() }
    }

    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.folder.join(name))
    }

    /// At most so many bytes of a file.
    pub(super) fn read(&self, name: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(name)?.take(max_bytes).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The tids of its threads.
    pub(super) fn tids(&self) -> io::Result<Vec<u32>> {
        let entries = fs::read_dir(self.folder.join("task"))?;
        let mut tids = Vec::new();
        for entry in entries {
            tids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        tids.sort_unstable();
        Ok(tids)
    }

    /// A file that it has mapped under this path, which is one of its own mount namespace.
    pub(super) fn open_mapped(&self, path: &Path) -> io::Result<File> {
        let path = path.strip_prefix("/").map_err(|_| io::Error::other("a path that does not begin at the root"))?;
        let file = File::open(self.folder.join("root").join(path))?;
        // Another file may have been put there: to wait for who writes to a pipe would be for ever.
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("no regular file")) }
    }

    /// Where a link leads, such as `exe`.
    pub(super) fn link(&self, name: &str) -> io::Result<PathBuf> {
        fs::read_link(self.folder.join(name))
    }
}
