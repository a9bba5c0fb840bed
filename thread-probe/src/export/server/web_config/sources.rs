//! The files a configuration was read from, and whether they changed since.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What tells one state of a file from another: device, inode, size, and when it or its mode was changed.
type Fingerprint = (u64, u64, u64, i64, i64);

/// Files, as they were just before they were read; `None` for one that could not be seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources(Vec<(PathBuf, Option<Fingerprint>)>);

impl Sources {
    /// Adds one that is about to be read: a change while that is done is one that is seen.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), fingerprint(path)));
    }

    /// The same files as they are now.
    pub(super) fn now(&self) -> Self {
        Self(self.0.iter().map(|(path, _)| (path.clone(), fingerprint(path))).collect())
    }

    /// Whether all are there and none has changed for so long, by the clock: not known if one is of the future.
    pub(super) fn have_rested_for(&self, time: Duration) -> bool {
        let now = SystemTime::now();
        let changed = |(.., seconds, ns): Fingerprint| {
            let since_epoch = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(ns).ok()?);
            SystemTime::UNIX_EPOCH.checked_add(since_epoch)
        };
        let has_rested = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age >= time);
        self.0.iter().all(|(_, seen)| seen.and_then(changed).is_some_and(has_rested))
    }
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}
