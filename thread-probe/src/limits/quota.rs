//! The CPU quotas that cgroups set: how many CPUs the processes in one may use, and how often that was not enough.

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc};

use procfs::process::MountInfos;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{
    files::{Files, Folder, keyed},
    tree::{ancestors, opened},
};
use crate::names::{cgroup_path, cgroups::Hierarchy, owner::own_unit};

/// How often a cgroup is asked again that has no quota.
const PASSES_WITHOUT: u64 = 10;

/// The quota of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// The cgroup's path.
    pub cgroup: Arc<str>,
    /// What sets it, as an administrator would call it: `CPUQuota of a.service`, `cpu.max of /a`.
    pub set_by: Arc<str>,
    /// CPUs that all its processes together may use, on average over a period.
    pub cpus: f64,
    /// Periods in which one of them ran (`nr_periods` in `cpu.stat`).
    pub periods: u64,
    /// Those of them in which the quota was used up (`nr_throttled`).
    pub throttled_periods: u64,
    /// For how long it was used up while threads had work, the time of each CPU added up (`throttled_usec`; in version
    /// 1 `throttled_time`).
    pub throttled_seconds: f64,
}

/// The cgroups with a quota, of all processes.
pub(super) struct Quotas {
    hierarchy: Option<(Hierarchy, OwnedFd)>,
    nodes: FxHashMap<Arc<str>, Node>,
    pass: u64,
}

struct Node {
    folder: PathBuf,
    pass: u64,
    /// Where its quota is among those of this pass, if it sets one.
    found: Option<usize>,
    /// The pass in which it had none.
    none_in: Option<u64>,
}

impl Quotas {
    /// The hierarchy that is mounted now.
    pub(super) fn new(mounts: &MountInfos, files: &mut Files) -> Self {
        let hierarchy = opened(Hierarchy::of_controller(mounts, "cpu"), files);
        Self { hierarchy, nodes: FxHashMap::default(), pass: 0 }
    }

    /// Adds the quotas of a cgroup and of those above it to `quotas`, each once a pass, and returns where the smallest
    /// is.
    pub(super) fn smallest_of(&mut self, path: &str, files: &mut Files, quotas: &mut Vec<Quota>) -> Option<usize> {
        let found: Vec<usize> = ancestors(path).filter_map(|path| self.quota_of(path, files, quotas)).collect();
        found.into_iter().min_by(|a, b| quotas[*a].cpus.total_cmp(&quotas[*b].cpus))
    }

    fn quota_of(&mut self, path: &str, files: &mut Files, quotas: &mut Vec<Quota>) -> Option<usize> {
        let (hierarchy, root) = self.hierarchy.as_ref()?;
        if !self.nodes.contains_key(path) {
            let folder = hierarchy.folder(path)?;
            self.nodes.insert(Arc::from(path), Node { folder, pass: u64::MAX, found: None, none_in: None });
        }
        let node = self.nodes.get_mut(path)?;
        if node.pass == self.pass {
            return node.found;
        }
        node.pass = self.pass;
        node.found = None;
        if node.none_in.is_some_and(|pass| self.pass - pass < PASSES_WITHOUT) {
            return None;
        }
        let folder = Folder { root: std::os::fd::AsFd::as_fd(root), path: &node.folder };
        let Some(cpus) = cpus(folder, hierarchy.is_v2, files) else {
            node.none_in = Some(self.pass);
            return None;
        };
        node.none_in = None;
        // It may be gone in between, and counters must not seem to begin anew.
        quotas.push(with_stat(Quota { cpus, ..named(path) }, files.read(folder, "cpu.stat")?));
        node.found = Some(quotas.len() - 1);
        node.found
    }

    /// Forgets the cgroups that no process is in.
    pub(super) fn finish_pass(&mut self) {
        let pass = self.pass;
        self.nodes.retain(|_, node| node.pass == pass);
        self.pass += 1;
    }
}

fn named(path: &str) -> Quota {
    let set_by = match own_unit(path) {
        Some(unit) => format!("CPUQuota of {unit}"),
        None => format!("cpu.max of {}", cgroup_path::shown(path)),
    };
    Quota { cgroup: Arc::from(cgroup_path::shown(path)), set_by: set_by.into(), ..Quota::default() }
}

/// CPUs of a quota, if there is one. The root has no such file.
fn cpus(folder: Folder<'_>, is_v2: bool, files: &mut Files) -> Option<f64> {
    let (quota, period) = if is_v2 {
        let (quota, period) = files.read(folder, "cpu.max")?.split_once(' ')?;
        (quota.parse().ok()?, period.parse().ok()?)
    } else {
        // -1 is none.
        (files.number(folder, "cpu.cfs_quota_us")?, files.number(folder, "cpu.cfs_period_us")?)
    };
    (period > 0).then(|| quota as f64 / period as f64)
}

fn with_stat(quota: Quota, stat: &str) -> Quota {
    let seconds = keyed(stat, "throttled_usec").map(|usec| usec as f64 / 1e6);
    let seconds = seconds.or_else(|| keyed(stat, "throttled_time").map(|ns| ns as f64 / 1e9));
    Quota {
        periods: keyed(stat, "nr_periods").unwrap_or(0),
        throttled_periods: keyed(stat, "nr_throttled").unwrap_or(0),
        throttled_seconds: seconds.unwrap_or(0.0),
        ..quota
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::*;

    fn cpus_of(is_v2: bool, written: &[(&str, &str)]) -> io::Result<Option<f64>> {
        let folder = tempfile::tempdir()?;
        for (name, text) in written {
            fs::write(folder.path().join(name), text)?;
        }
        Ok(cpus(Folder::absolute(folder.path()), is_v2, &mut Files::new()))
    }

    #[test]
    fn a_quota_is_in_cpus_and_none_is_none_in_either_version() -> io::Result<()> {
        assert_eq!(cpus_of(true, &[("cpu.max", "150000 100000\n")])?, Some(1.5));
        assert_eq!(cpus_of(true, &[("cpu.max", "max 100000\n")])?, None);
        let v1 = |quota| cpus_of(false, &[("cpu.cfs_quota_us", quota), ("cpu.cfs_period_us", "50000\n")]);
        assert_eq!((v1("25000\n")?, v1("-1\n")?), (Some(0.5), None));
        assert_eq!(cpus_of(true, &[])?, None);
        Ok(())
    }

    #[test]
    fn what_was_throttled_is_in_seconds_whatever_the_version_counts_in() {
        let of = |stat| {
            let quota = with_stat(Quota::default(), stat);
            (quota.periods, quota.throttled_periods, quota.throttled_seconds)
        };
        assert_eq!(of("usage_usec 7\nnr_periods 9\nnr_throttled 5\nthrottled_usec 2500000\n"), (9, 5, 2.5));
        assert_eq!(of("nr_periods 9\nnr_throttled 5\nthrottled_time 2500000000\n"), (9, 5, 2.5));
    }

    #[test]
    fn a_unit_s_quota_is_called_by_its_directive() {
        assert_eq!(&*named("/system.slice/a.service").set_by, "CPUQuota of a.service");
        assert_eq!(&*named("/a").set_by, "cpu.max of /a");
    }
}
