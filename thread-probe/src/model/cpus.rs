//! How many CPUs threads may use, and how many wanted to.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::activity::Rates;
use crate::{
    ledger::{GroupId, Ledger, ProcessEntry},
    limits::{Evaluation, Quota},
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
    /// How many threads had work for each of the CPUs, on average: above 1 some waited. `None` without a ledger of time,
    /// or where nothing is known of the CPUs.
    pub fn oversubscription(&self, rates: Option<&Rates>) -> Option<f64> {
        let is_known = |rates: &&Rates| self.cpus > 0.0 && rates.time_ratio.total() > 0.0;
        rates.filter(is_known).map(|rates| {
            let work = rates.cpu_work();
            // Others of its threads may run elsewhere than the main one.
            work.wanted / self.cpus.max(work.running)
        })
    }

    fn without_quota(process: &ProcessEntry, host_cpus: u64) -> Self {
        let cpus = u64::from(process.facts.allowed_cpus).min(host_cpus);
        Self { cpus: cpus as f64, quota_set_by: None }
    }

    /// No more than quotas allow together, each of which some threads are under; `None` is none.
    fn within<'a>(self, quotas: impl Iterator<Item = Option<&'a Quota>> + Clone) -> Self {
        let sum: Option<f64> = quotas.clone().map(|quota| quota.map(|quota| quota.cpus)).sum();
        let Some(cpus) = sum.filter(|cpus| *cpus < self.cpus) else { return self };
        let mut all = quotas.flatten();
        let quota_set_by = match (all.next(), all.count()) {
            (Some(only), 0) => Some(Arc::clone(&only.set_by)),
            (Some(_), others) => Some(format!("the {} quotas of its cgroups", others + 1).into()),
            (None, _) => return self,
        };
        Self { cpus, quota_set_by }
    }

    /// Those of a process.
    pub(super) fn of(process: &ProcessEntry, limits: &Evaluation, quota: Option<usize>, host_cpus: u64) -> Self {
        let quota = quota.and_then(|quota| limits.quotas.get(quota));
        Self::without_quota(process, host_cpus).within(std::iter::once(quota))
    }
}

/// Those of each group. Quotas of its processes are added up, each once; one process without a quota may use all CPUs
/// that it may run on.
pub(super) fn of_groups(ledger: &Ledger, limits: &Evaluation, host_cpus: u64) -> FxHashMap<GroupId, UsableCpus> {
    let mut groups: FxHashMap<GroupId, (UsableCpus, FxHashSet<Option<usize>>)> = FxHashMap::default();
    for (key, process) in ledger.processes() {
        let Some(group) = process.group else { continue };
        let own = limits.processes.get(&key);
        // Of what has ended nothing is known, and it uses nothing.
        if own.is_none() && !process.identity.is_kernel_thread {
            continue;
        }
        let quota = own.and_then(|own| own.quota);
        let (most, quotas) = groups.entry(group).or_default();
        let own = UsableCpus::without_quota(process, host_cpus);
        most.cpus = most.cpus.max(own.cpus);
        quotas.insert(quota);
    }
    let quota_of = |quota: &Option<usize>| quota.and_then(|quota| limits.quotas.get(quota));
    let usable = |(most, quotas): (UsableCpus, FxHashSet<Option<usize>>)| most.within(quotas.iter().map(quota_of));
    groups.into_iter().map(|(group, of)| (group, usable(of))).collect()
}

#[cfg(test)]
mod tests {
    use thread_probe_ebpf::abi::time::TimeState;

    use super::*;
    use crate::model::Times;

    fn quota(cpus: f64) -> Quota {
        Quota { cpus, set_by: format!("quota of {cpus}").into(), ..Quota::default() }
    }

    #[test]
    fn quotas_add_up_and_one_process_without_may_use_all() {
        let (half, one) = (quota(0.5), quota(1.0));
        let of = |quotas: &[Option<&Quota>]| {
            let usable = UsableCpus { cpus: 4.0, quota_set_by: None }.within(quotas.iter().copied());
            (usable.cpus, usable.quota_set_by.is_some())
        };
        assert_eq!(of(&[Some(&half), Some(&one)]), (1.5, true));
        let both = UsableCpus { cpus: 4.0, quota_set_by: None }.within([Some(&half), Some(&one)].into_iter());
        assert_eq!(both.quota_set_by.as_deref(), Some("the 2 quotas of its cgroups"));
        assert_eq!(of(&[Some(&half), None]), (4.0, false));
        let ten = quota(10.0);
        assert_eq!(of(&[Some(&ten)]), (4.0, false), "the host has fewer");
    }

    #[test]
    fn oversubscription_is_work_for_each_cpu_and_unknown_without_a_ledger_of_time() {
        let usable = UsableCpus { cpus: 0.5, quota_set_by: None };
        let times = [(TimeState::Running, 0.5), (TimeState::Throttled, 1.5), (TimeState::Sleep, 7.0)];
        let rates = Rates { time_ratio: Times::of(times), ..Rates::default() };
        assert_eq!(usable.oversubscription(Some(&rates)), Some(4.0));
        let elsewhere = Rates { time_ratio: Times::of([(TimeState::Running, 16.0)]), ..Rates::default() };
        assert_eq!(usable.oversubscription(Some(&elsewhere)), Some(1.0), "nothing waits");
        assert_eq!(usable.oversubscription(Some(&Rates::default())), None);
        assert_eq!(UsableCpus::default().oversubscription(Some(&rates)), None);
    }
}
