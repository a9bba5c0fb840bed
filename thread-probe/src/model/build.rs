//! The model from the ledger, when a sample is complete.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use thread_probe_ebpf::abi::record;

use super::{
    activity::{Activity, ProcessEvents, Rates, ThreadCounts, by_limit},
    by_name::by_name,
    cpus::{self, UsableCpus},
    histogram::{Bucket, IntervalWaits, NS_PER_SECOND, histogram},
    losses,
    snapshot::{
        BlockedThread, Group, Host, HostRaw, Limits, Memory, Model, OneProcess, Process, Scheduling, System, Thread,
    },
    status::{ConfigStatus, OwnCost, ProbeStatus},
    taken::{CpuTaken, TakerProcess},
};
use crate::{
    ledger::{self, LIFETIME_BOUNDS_NS, Ledger, ProcessKey, Taker},
    limits::{Evaluation, ProcessLimits, Quota, Refusers, of_groups},
    names::{grouping::GroupBy, syscalls},
    sample::{AttachedProgram, HostCounters, ThreadCost},
    text::until_nul,
};

impl Memory {
    /// A zombie has its task structure but no stack any more (`put_task_stack` in `finish_task_switch`).
    fn new(threads: &ThreadCounts, depth_bytes: u32, cost: &ThreadCost) -> Self {
        let kernel_stack_bytes = (threads.total - threads.zombie) * cost.stack_bytes;
        Self {
            kernel_stack_bytes,
            kernel_stack_depth_max_bytes: u64::from(depth_bytes),
            kernel_memory_bytes: kernel_stack_bytes + threads.total * cost.task_struct_bytes,
        }
    }
}

/// Every reason why something is dropped, by programs and ledger, with its count.
/// What a sample is besides the ledger.
pub struct SampleFacts<'a> {
    /// When the scan began.
    pub time: SystemTime,
    /// Time since the sample before; `None` for the first.
    pub interval: Option<Duration>,
    /// How long scan, drain and ledger took.
    pub duration: Duration,
    /// Threads the scan saw.
    pub threads: u64,
    /// See [`ProbeStatus::tells_throttling`].
    pub tells_throttling: bool,
    /// What makes a group.
    pub group_by: GroupBy,
    /// What the programs count for the host.
    pub counters: &'a HostCounters,
    /// What one thread costs.
    pub cost: ThreadCost,
    /// The programs.
    pub programs: &'a Arc<[AttachedProgram]>,
    /// How reading the configuration went.
    pub config: ConfigStatus,
    /// Which host it is.
    pub system: &'a System,
    /// CPUs that are online.
    pub cpus: u64,
    /// Over 1, 5 and 15 minutes.
    pub load_averages: [f64; 3],
    /// See [`Host::cpu_pressure_seconds`].
    pub cpu_pressure_seconds: Option<f64>,
    /// What the probe itself took.
    pub own_cost: OwnCost,
}

impl Model {
    /// Builds the model of the sample that the ledger has just finished.
    pub fn build(
        ledger: &Ledger,
        limits: &Evaluation,
        facts: &SampleFacts<'_>,
        user_name: impl FnMut(u32) -> Arc<str>,
    ) -> Self {
        let seconds = facts.interval.map(|interval| interval.as_secs_f64().max(1e-9));
        let cost = facts.cost;
        let processes = processes((ledger, limits, facts.cpus), user_name, seconds, &cost);
        let groups = groups((ledger, limits, facts.cpus), seconds, &cost);
        let host = host(ledger, seconds, facts, &processes);
        let since_epoch = facts.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            revision: env!("THREAD_PROBE_REVISION").into(),
            time_unix_seconds: since_epoch.as_secs_f64(),
            interval_seconds: seconds,
            group_by: facts.group_by,
            host,
            groups,
            processes,
            limits: limits.report.clone(),
            cpu_quotas: by_path(&limits.quotas),
            alerts: Vec::new(),
            alerts_suppressed: 0,
            notifications: Vec::new(),
            recording: None,
            probe: ProbeStatus {
                programs: Arc::clone(facts.programs),
                sample_duration_seconds: facts.duration.as_secs_f64(),
                sample_threads: facts.threads,
                tells_throttling: facts.tells_throttling,
                cpu_ratio: facts.own_cost.cpu_ratio,
                seconds_per_switch: facts.own_cost.seconds_per_switch,
                lost: losses::counts(facts.counters, &ledger.losses()),
                groups_dropped: ledger.groups_refused(),
                config: facts.config,
            },
            max_groups: ledger.max_groups(),
        }
    }
}

fn host(ledger: &Ledger, seconds: Option<f64>, facts: &SampleFacts<'_>, processes: &[Process]) -> Host {
    let counters = facts.counters;
    let mut threads = ThreadCounts::default();
    for (_, process) in ledger.processes() {
        threads.add(&process.threads);
    }
    let totals = ledger.host();
    Host {
        system: facts.system.clone(),
        cpus: facts.cpus,
        load_averages: facts.load_averages,
        cpu_pressure_seconds: facts.cpu_pressure_seconds,
        threads,
        processes: processes.len() as u64,
        totals: Activity::of(totals),
        rates: Rates::of(ledger.host_interval(), seconds),
        wait_histogram: histogram(totals.waits.buckets()),
        clone_duration_histogram: histogram(&counters.clone_duration_buckets),
        clone_duration_seconds: counters.clone_duration_sum_ns as f64 / NS_PER_SECOND,
        thread_cost: facts.cost,
        raw: HostRaw {
            clone_failures: totals.clone_failures,
            clone_duration_buckets: counters.clone_duration_buckets,
            clone_duration_sum_ns: counters.clone_duration_sum_ns,
        },
    }
}

fn by_path(quotas: &[Quota]) -> Vec<Quota> {
    let mut quotas = quotas.to_vec();
    quotas.sort_by(|a, b| a.cgroup.cmp(&b.cgroup));
    quotas
}

fn groups(
    (ledger, limits, host_cpus): (&Ledger, &Evaluation, u64),
    seconds: Option<f64>,
    cost: &ThreadCost,
) -> Vec<Group> {
    let mut live = rustc_hash::FxHashMap::<_, (u64, ThreadCounts)>::default();
    for (_, process) in ledger.processes() {
        if let Some(id) = process.group {
            let (processes, threads) = live.entry(id).or_default();
            *processes += 1;
            threads.add(&process.threads);
        }
    }
    let mut headroom = of_groups(ledger, &limits.processes);
    let mut usable = cpus::of_groups(ledger, limits, host_cpus);
    let mut groups: Vec<Group> = ledger
        .groups()
        .map(|(id, group)| {
            let (processes, threads) = live.get(&id).copied().unwrap_or_default();
            let interval = group.interval(ledger.epoch());
            let rates = Rates::of(interval, seconds);
            let usable_cpus = usable.remove(&id).unwrap_or_default();
            Group {
                group: Arc::clone(&group.name),
                owner: group.owner.clone(),
                processes,
                threads,
                totals: Activity::of(&group.totals),
                rates,
                oversubscription: usable_cpus.oversubscription(rates.as_ref()),
                usable_cpus,
                wait_histogram: histogram(group.totals.waits.buckets()),
                cpu_taken: CpuTaken::of(
                    &group.taken,
                    ledger.epoch(),
                    interval.map_or(0, |added| added.waited_ns),
                    seconds,
                ),
                cpu_burst_max_seconds: group.recent_burst_ns() as f64 / NS_PER_SECOND,
                memory: Memory::new(&threads, group.stack_depth_max_bytes, cost),
                headroom: headroom.remove(&id),
                interval_clone_failures: interval.map(|added| by_limit(&added.clone_failures)).unwrap_or_default(),
                clone_refused_by: limits.group_refusers.get(&id).cloned().unwrap_or_default(),
                raw: group.since_start(),
            }
        })
        .collect();
    groups.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    groups
}

fn processes(
    (ledger, limits, host_cpus): (&Ledger, &Evaluation, u64),
    mut user_name: impl FnMut(u32) -> Arc<str>,
    seconds: Option<f64>,
    cost: &ThreadCost,
) -> Vec<Process> {
    let uids: rustc_hash::FxHashSet<u32> = ledger.processes().map(|(_, process)| process.identity.uid).collect();
    let users: rustc_hash::FxHashMap<u32, Arc<str>> = uids.into_iter().map(|uid| (uid, user_name(uid))).collect();
    let mut processes: Vec<Process> = ledger
        .processes()
        .map(|(key, process)| {
            let user = users.get(&process.identity.uid).cloned().unwrap_or_default();
            let own = limits.processes.get(&key);
            let usable_cpus = UsableCpus::of(process, limits, own.and_then(|own| own.quota), host_cpus);
            let model = process_model(ledger, key, process, user, seconds, cost);
            let oversubscription = usable_cpus.oversubscription(model.rates.as_ref());
            let model = Process { usable_cpus, oversubscription, ..model };
            match own {
                Some(own) => model.with_limits(own),
                None => model,
            }
        })
        .collect();
    processes.sort_unstable_by_key(|process| process.pid);
    processes
}

fn process_model(
    ledger: &Ledger,
    key: ProcessKey,
    process: &ledger::ProcessEntry,
    user: Arc<str>,
    seconds: Option<f64>,
    cost: &ThreadCost,
) -> Process {
    let (identity, facts) = (&process.identity, &process.facts);
    let mut threads = ThreadCounts::default();
    threads.add(&process.threads);
    let group = process.group.and_then(|id| ledger.group(id));
    Process {
        pid: key.tgid,
        parent_pid: facts.parent_tgid,
        start_boottime_seconds: key.start_ns as f64 / NS_PER_SECOND,
        comm: until_nul(&identity.comm),
        exe: until_nul(&identity.exe),
        uid: identity.uid,
        user,
        group: group.map(|group| Arc::clone(&group.name)).unwrap_or_default(),
        is_kernel_thread: identity.is_kernel_thread,
        cgroup_id: facts.cgroup_id,
        cgroup: None,
        owner: None,
        totals: Activity::of(&process.totals),
        rates: Rates::of(process.interval(ledger.epoch()), seconds),
        memory: Memory::new(&threads, process.stack_depth_max_bytes, cost),
        threads,
        limits: Limits {
            mappings: facts.map_count,
            address_space_pages: facts.total_vm_pages,
            rlimit_nproc: facts.rlimit_nproc,
            rlimit_as_bytes: facts.rlimit_as_bytes,
            rlimit_stack_bytes: facts.rlimit_stack_bytes,
        },
        headroom: None,
        own_bytes_per_thread: None,
        clone_refused_by: Refusers::default(),
        cpu_taken: process.taken.as_deref().map_or_else(CpuTaken::default, |taken| {
            let waited_ns = process.interval(ledger.epoch()).map_or(0, |added| added.waited_ns);
            CpuTaken::of(taken, ledger.epoch(), waited_ns, seconds)
        }),
        longest_blocked: process.longest_blocked.map(|blocked| BlockedThread {
            tid: blocked.tid,
            comm: until_nul(&blocked.comm),
            seconds: blocked.ns as f64 / NS_PER_SECOND,
        }),
        usable_cpus: UsableCpus::default(),
        oversubscription: None,
        scheduling: Scheduling::of(facts),
        children_cpu_seconds: facts.children_cpu_ns as f64 / NS_PER_SECOND,
        children_cpu_ratio: seconds
            .map(|seconds| process.children_cpu_grown_ns(ledger.epoch()) as f64 / NS_PER_SECOND / seconds),
        interval_waits: process
            .interval(ledger.epoch())
            .filter(|_| seconds.is_some())
            .map_or_else(Default::default, |added| IntervalWaits::new(added.waits.buckets())),
    }
}

impl Scheduling {
    fn of(facts: &record::ProcessPart) -> Self {
        /// `DEFAULT_PRIO` of include/linux/sched/prio.h.
        const NICE_0: u32 = 120;
        let policy = match facts.policy {
            0 => "other",
            1 => "fifo",
            2 => "rr",
            3 => "batch",
            5 => "idle",
            6 => "deadline",
            7 => "ext",
            _ => "unknown",
        };
        let nice = facts.static_prio.wrapping_sub(NICE_0).cast_signed();
        Self { nice, policy: policy.into(), allowed_cpus: facts.allowed_cpus }
    }
}

impl Process {
    fn with_limits(self, limits: &ProcessLimits) -> Self {
        Self {
            headroom: Some(limits.headroom.clone()),
            cgroup: limits.cgroups.as_ref().map(|cgroups| Arc::clone(&cgroups.name)),
            owner: limits.cgroups.as_ref().map(|cgroups| Arc::clone(&cgroups.owner)),
            own_bytes_per_thread: limits.own_bytes_per_thread,
            clone_refused_by: limits.refused_by.clone(),
            ..self
        }
    }
}

/// More of a process; empty if there is no such process. The limits are for who knows them to fill in. Cheap enough to
/// build only when somebody asks.
pub fn one_process(ledger: &Ledger, pid: u32, epoch: u64, interval_seconds: Option<f64>) -> OneProcess {
    let Some((_, process)) = ledger.processes().find(|(key, _)| key.tgid == pid) else {
        return OneProcess::default();
    };
    let ended = LIFETIME_BOUNDS_NS.iter().map(Some).chain([None]).zip(process.totals.lifetimes);
    OneProcess {
        threads: threads_of(ledger, pid, epoch, interval_seconds),
        threads_by_name: by_name(ledger.threads_of(pid), epoch, interval_seconds),
        applicable_limits: Vec::new(),
        process_wait_histogram: histogram(process.totals.waits.buckets()),
        thread_lifetime_histogram: ended
            .filter(|(_, count)| *count != 0)
            .map(|(bound, count)| Bucket { le_seconds: bound.map(|bound| *bound as f64 / NS_PER_SECOND), count })
            .collect(),
        cpu_takers: takers_of(ledger, pid, interval_seconds),
    }
}

/// The processes that took the CPU from one.
fn takers_of(ledger: &Ledger, pid: u32, interval_seconds: Option<f64>) -> Vec<TakerProcess> {
    const MOST: usize = 16;
    let Some(seconds) = interval_seconds else { return Vec::new() };
    let mut takers = ledger.takers_of(pid);
    takers.truncate(MOST);
    let named = |tgid: u32| ledger.processes().find(|(key, _)| key.tgid == tgid);
    let of = |(tgid, ns): (u32, u64)| {
        let ratio = ns as f64 / NS_PER_SECOND / seconds;
        if let Some(taker) = Taker::that_is_no_process(tgid) {
            return TakerProcess { pid: None, comm: taker.label().to_owned(), ratio };
        }
        let comm = named(tgid).map_or_else(String::new, |(_, process)| until_nul(&process.identity.comm));
        TakerProcess { pid: Some(tgid), comm, ratio }
    };
    takers.into_iter().map(of).collect()
}

fn threads_of(ledger: &Ledger, pid: u32, epoch: u64, interval_seconds: Option<f64>) -> Vec<Thread> {
    let mut threads: Vec<Thread> = ledger
        .threads_of(pid)
        .map(|thread| {
            let buckets = thread.wait_buckets();
            Thread {
                tid: thread.tid,
                comm: until_nul(&thread.comm),
                state: thread.state,
                start_boottime_seconds: thread.start_ns as f64 / NS_PER_SECOND,
                kernel_stack_depth_bytes: thread.stack_depth_bytes,
                syscall: syscalls::name(thread.syscall),
                still_seconds: thread.still_ns(ledger.now_ns()) as f64 / NS_PER_SECOND,
                totals: Activity::of_thread(&thread.counters),
                rates: interval_seconds
                    .map(|seconds| Rates::new(&thread.grown(epoch), &buckets, ProcessEvents::default(), seconds))
                    .map(|rates| rates.with_burst(thread.burst_ns(epoch))),
                wait_histogram: histogram(&buckets),
            }
        })
        .collect();
    threads.sort_unstable_by_key(|thread| thread.tid);
    threads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_holds_a_task_structure_but_no_stack() {
        let cost =
            ThreadCost { stack_bytes: 16384, task_struct_bytes: 5000, task_struct_from_slab: true, probe_bytes: 0 };
        let mut threads = ThreadCounts::default();
        threads.add(&[1, 1, 0, 0, 1]);
        let memory = Memory::new(&threads, 100, &cost);
        assert_eq!(memory.kernel_stack_bytes, 2 * 16384);
        assert_eq!(memory.kernel_memory_bytes, 2 * 16384 + 3 * 5000);
    }
}
