//! Kernel settings that are set back when the measurement ends.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// A setting that was changed.
pub(crate) struct Sysctl {
    path: PathBuf,
    before: String,
}

impl Sysctl {
    /// Sets it until this is dropped.
    pub(crate) fn set(name: &str, value: &str) -> Result<Self> {
        let path = PathBuf::from("/proc/sys").join(name);
        let before = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        fs::write(&path, value).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.before) {
            eprintln!("setting {} back to {}: {error}", self.path.display(), self.before.trim());
        }
    }
}
