//! What tests of several modules need.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    ledger::{GroupBounds, Ledger, Totals},
    limits::{Evaluation, Limit, LimitUse, Refusers, Scope},
    model::{
        Activity, CloneFailuresByLimit, ConfigStatus, CpuTaken, Group, Memory, Model, OwnCost, Process, Rates,
        SampleFacts, System, ThreadCounts, UsableCpus,
        alert::{AlertName, AlertView, Severity, State},
    },
    names::grouping::{GroupBy, Names},
    sample::{AttachedProgram, HostCounters, ThreadCost},
};

/// The model of a host without a process, in its first sample.
pub(crate) fn empty_model() -> Model {
    let mut ledger = Ledger::new(GroupBounds { max: 10, retention: Duration::from_mins(10), keep: Vec::new() });
    ledger.begin_scan(1);
    ledger.finish_sample(&mut by_comm());
    build(&ledger, &Arc::from([]), &HostCounters::default(), None)
}

/// Groups by comm.
pub(crate) fn by_comm() -> Names {
    Names::new(GroupBy::Comm)
}

/// The model of a sample, the first one if there was no interval before it.
pub(crate) fn build(
    ledger: &Ledger,
    programs: &Arc<[AttachedProgram]>,
    counters: &HostCounters,
    interval: Option<Duration>,
) -> Model {
    let facts = SampleFacts {
        time: SystemTime::UNIX_EPOCH + Duration::from_hours(490_000),
        interval,
        duration: Duration::from_millis(3),
        tells_throttling: true,
        threads: 0,
        group_by: GroupBy::Comm,
        counters,
        cost: ThreadCost { stack_bytes: 16384, task_struct_bytes: 5840, task_struct_from_slab: true, probe_bytes: 760 },
        programs,
        config: ConfigStatus::loaded(SystemTime::UNIX_EPOCH),
        system: &System { name: "host".into(), kernel_release: "6.12.0".into() },
        cpus: 2,
        load_averages: [1.25, 0.75, 0.5],
        cpu_pressure_seconds: Some(12.5),
        own_cost: OwnCost::default(),
    };
    Model::build(ledger, &Evaluation::default(), &facts, |uid| uid.to_string().into())
}

/// A limit of which this much is in use, and which does not clearly grow.
pub(crate) fn limit_use((limit, scope): (Limit, Scope), name: &str, used: u64, max: u64) -> LimitUse {
    LimitUse {
        limit,
        scope,
        name: name.into(),
        set_by: "what sets it".into(),
        unit: limit.unit(),
        used,
        max,
        used_ratio: used as f64 / max as f64,
        headroom_threads: max.saturating_sub(used),
        growth_per_second: None,
        exhaustion_seconds: None,
        peak: None,
        refused: None,
        foremost: None,
    }
}

/// A group that does nothing.
pub(crate) fn idle_group(name: &str) -> Group {
    Group {
        group: name.into(),
        owner: None,
        processes: 1,
        threads: ThreadCounts::default(),
        totals: Activity::default(),
        rates: Some(Rates::default()),
        wait_histogram: Vec::new(),
        cpu_taken: CpuTaken::default(),
        cpu_burst_max_seconds: 0.0,
        usable_cpus: UsableCpus::default(),
        oversubscription: None,
        memory: Memory::default(),
        headroom: None,
        interval_clone_failures: CloneFailuresByLimit::default(),
        clone_refused_by: Refusers::default(),
        raw: Totals::default(),
    }
}

/// A critical alert on a limit of the cgroup `group`.
pub(crate) fn alert(state: State, group: &str) -> AlertView {
    AlertView {
        alert: AlertName::ThreadLimitNear,
        severity: Severity::Critical,
        state,
        group: group.into(),
        limit: Some(Limit::CgroupPids),
        scope: Some(Scope::Cgroup),
        value: 0.95,
        threshold: 0.9,
        summary: "much is used".into(),
        advice: "raise it".into(),
        since: 1_714_564_800.0,
        resolved_at: (state == State::Resolved).then_some(1_714_564_860.5),
    }
}

/// A process of that name that does nothing.
pub(crate) fn process(pid: u32, comm: &str) -> Process {
    Process {
        pid,
        parent_pid: 1,
        comm: comm.to_owned(),
        user: "root".into(),
        group: comm.into(),
        rates: Some(Rates::default()),
        ..Process::default()
    }
}
