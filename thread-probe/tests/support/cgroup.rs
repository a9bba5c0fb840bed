//! Cgroups that tests make, on version 1 and 2.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// A cgroup of the test's own, removed with it.
pub(crate) struct Cgroup {
    folder: PathBuf,
    pub path: String,
    pub is_v2: bool,
}

impl Cgroup {
    /// Below the root of the controller's hierarchy, which is the unified one where there is no other.
    pub(crate) fn new(controller: &str, name: &str) -> Result<Self> {
        let v1 = Path::new("/sys/fs/cgroup").join(controller);
        let is_v2 = !v1.is_dir();
        let root = if is_v2 { PathBuf::from("/sys/fs/cgroup") } else { v1 };
        if is_v2 {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
        let path = format!("/{name}-{}", std::process::id());
        let folder = root.join(&path[1..]);
        fs::create_dir(&folder)?;
        Ok(Self { folder, path, is_v2 })
    }

    /// Below the root of the unified hierarchy, wherever that is.
    pub(crate) fn unified(name: &str) -> Result<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = roots.into_iter().find(|root| Path::new(root).join("cgroup.controllers").exists());
        let path = format!("/{name}-{}", std::process::id());
        let folder = Path::new(root.context("no unified hierarchy is mounted")?).join(&path[1..]);
        fs::create_dir(&folder)?;
        Ok(Self { folder, path, is_v2: true })
    }

    pub(crate) fn child(&self, name: &str) -> Result<Self> {
        if self.is_v2 {
            self.set("cgroup.subtree_control", "+pids")?;
        }
        let folder = self.folder.join(name);
        fs::create_dir(&folder)?;
        Ok(Self { folder, path: format!("{}/{name}", self.path), is_v2: self.is_v2 })
    }

    /// The folder of one whose name is no UTF-8.
    pub(crate) fn hostile_child(&self) -> Result<PathBuf> {
        if self.is_v2 {
            self.set("cgroup.subtree_control", "+pids")?;
        }
        let folder = self.folder.join(OsStr::from_bytes(b"\xff\xc3"));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    pub(crate) fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.folder.join(file), value).with_context(|| format!("{value} into {file} of {}", self.path))
    }

    /// So much of one CPU, in percent, in each tenth of a second.
    pub(crate) fn set_cpu_quota(&self, percent: u32) -> Result<()> {
        const PERIOD_US: u32 = 100_000;
        let quota_us = percent * PERIOD_US / 100;
        if self.is_v2 {
            return self.set("cpu.max", &format!("{quota_us} {PERIOD_US}"));
        }
        self.set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
        self.set("cpu.cfs_quota_us", &quota_us.to_string())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn add(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Whether the kernel tells what this cgroup's own limit refused.
    pub(crate) fn counts_its_own_refusals(&self) -> bool {
        self.folder.join("pids.events.local").exists()
    }

    pub(crate) fn number(&self, file: &str) -> Result<u64> {
        Ok(fs::read_to_string(self.folder.join(file))?.trim().parse()?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What was in it may not be gone yet.
        let started = Instant::now();
        while fs::remove_dir(&self.folder).is_err() && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
