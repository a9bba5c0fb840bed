//! How many CPUs threads may use, and how many wanted to.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::activity::Rates;
use crate::{
    ledger::{GroupId, Ledger, ProcessEntry},
    limits::Evaluation,
};

/// The CPUs that the threads of a process, or a group, may use at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsableCpus {
    /// How many: the least of a quota, the CPUs that the main thread may run on, and those of the host.
    pub cpus: f64,
    /// The quota, where it is that: what sets it, as in `CPUQuota of a.service`.
    pub quota_set_by: Option<Arc<str>>,
}

impl UsableCpus {
    /// How many threads had work for each of the CPUs, on average: above 1 some waited. `None` without rates, or where
    /// nothing is known of the CPUs.
    pub fn oversubscription(&self, rates: Option<&Rates>) -> Option<f64> {
        rates.filter(|_| self.cpus > 0.0).map(|rates| rates.cpu_work().wanted / self.cpus)
    }

    fn without_quota(process: &ProcessEntry, host_cpus: u64) -> Self {
        let cpus = u64::from(process.facts.allowed_cpus).min(host_cpus);
        Self { cpus: cpus as f64, quota_set_by: None }
    }

    fn with_quota(self, limits: &Evaluation, quota: Option<usize>) -> Self {
        match quota.and_then(|quota| limits.quotas.get(quota)).filter(|quota| quota.cpus < self.cpus) {
            Some(quota) => Self { cpus: quota.cpus, quota_set_by: Some(Arc::clone(&quota.set_by)) },
            None => self,
        }
    }

    /// Those of a process.
    pub(super) fn of(process: &ProcessEntry, limits: &Evaluation, quota: Option<usize>, host_cpus: u64) -> Self {
        Self::without_quota(process, host_cpus).with_quota(limits, quota)
    }
}

/// Those of each group. Quotas of its processes are added up, each once; one process without a quota may use all CPUs
/// that it may run on.
pub(super) fn of_groups(ledger: &Ledger, limits: &Evaluation, host_cpus: u64) -> FxHashMap<GroupId, UsableCpus> {
    let mut groups: FxHashMap<GroupId, (UsableCpus, FxHashSet<Option<usize>>)> = FxHashMap::default();
    for (key, process) in ledger.processes() {
        let Some(group) = process.group else { continue };
        let quota = limits.processes.get(&key).and_then(|limits| limits.quota);
        let (most, quotas) = groups.entry(group).or_default();
        let own = UsableCpus::without_quota(process, host_cpus);
        most.cpus = most.cpus.max(own.cpus);
        quotas.insert(quota);
    }
    let with_quotas = |(group, (most, quotas)): (GroupId, (UsableCpus, FxHashSet<Option<usize>>))| {
        let of = |quota: &Option<usize>| quota.and_then(|quota| limits.quotas.get(quota));
        let sum: Option<f64> = quotas.iter().map(|quota| of(quota).map(|quota| quota.cpus)).sum();
        let quota_set_by = quotas.iter().find_map(of).map(|quota| Arc::clone(&quota.set_by));
        let usable = match sum.filter(|cpus| *cpus < most.cpus) {
            Some(cpus) => UsableCpus { cpus, quota_set_by },
            None => most,
        };
        (group, usable)
    };
    groups.into_iter().map(with_quotas).collect()
}
