//! What /proc says of one process, each file with a bound.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

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

    /// A file that it has mapped under this path, which is one of its own mount namespace, and which it may have put a
    /// link or a device at: no link leads out of its root, and nothing but a regular file is opened.
    pub(super) fn open_mapped(&self, path: &Path) -> io::Result<File> {
        let root = File::open(self.folder.join("root"))?;
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
        let found =
            openat2(&root, path, how.resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS))?;
        let found = File::from(found);
        if !found.metadata()?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    /// Where a link leads, such as `exe`.
    pub(super) fn link(&self, name: &str) -> io::Result<PathBuf> {
        fs::read_link(self.folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn a_mapped_file_is_opened_and_what_has_taken_its_place_is_not() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "here")?;
        symlink("file", at("link"))?;
        symlink("/proc/self/exe", at("magic"))?;
        // To open it would wait for who writes to it.
        mkfifo(&at("pipe"), Mode::S_IRWXU)?;
        let files = Files::of(std::process::id());
        let open = |name: &str| files.open_mapped(&at(name)).is_ok();
        assert_eq!(["file", "link", "magic", "pipe", "none"].map(open), [true, true, false, false, false]);
        assert!(files.open_mapped(Path::new("/dev/null")).is_err());
        Ok(())
    }
}
