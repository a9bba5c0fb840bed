//! Which files a configuration was read from, and whether they changed since.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What tells one state of a file from another: device, inode, size, and when it or its mode was changed.
type Fingerprint = (u64, u64, u64, i64, i64);

/// Files, as they were just before they were read; `None` for one that could not be seen.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<(PathBuf, Option<Fingerprint>)>);

impl Sources {
    /// Adds one that is about to be read: a change while that is done is one that is seen.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), fingerprint(path)));
    }

    pub(super) fn changed(&self) -> bool {
        self.0.iter().any(|(path, seen)| fingerprint(path) != *seen)
    }
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}
