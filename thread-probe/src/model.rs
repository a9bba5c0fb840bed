//! The model: what the ledger says of one sample, in the units people read. Every view is drawn from it alone.
//!
//! It is also the JSON of `/api/v1/snapshot`: the field names are that contract, described in docs/api.md.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use thread_probe_ebpf::{
    histogram::{BUCKETS, lower_bound_ns, upper_bound_ns},
    names::{CloneErrno, CloneFailure, Lost},
    record::Counters,
};

use crate::{
    alerts::{notify::NotificationCount, view::AlertView},
    bpf::AttachedProgram,
    grouping::{GroupBy, text},
    ledger::{self, LIFETIME_BOUNDS_NS, Ledger, LedgerLosses, ProcessKey, ThreadState, Totals},
    limits::{Evaluation, Headroom, Limit, LimitsReport, ProcessLimits, Refusers, of_groups},
    sample::{HostCounters, ThreadCost},
};

const NS_PER_SECOND: f64 = 1e9;

/// One sample.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Version of thread-probe.
    pub version: &'static str,
    /// When the scan began, in seconds since the Unix epoch.
    pub time_unix_seconds: f64,
    /// Seconds since the sample before; null for the first, which has no rates.
    pub interval_seconds: Option<f64>,
    /// What makes a group.
    pub group_by: GroupBy,
    /// The host.
    pub host: Host,
    /// The groups, by name.
    pub groups: Vec<Group>,
    /// The processes, by pid.
    pub processes: Vec<Process>,
    /// The limits that processes share.
    pub limits: LimitsReport,
    /// The alerts, those that fire first; of `serve` only.
    pub alerts: Vec<AlertView>,
    /// Conditions that would be alerts if there were not too many.
    pub alerts_suppressed: u64,
    /// Requests to each Alertmanager, for the exposition.
    #[serde(skip)]
    pub notifications: Vec<NotificationCount>,
    /// The probe itself.
    pub probe: ProbeStatus,
    /// How many groups there may be; and of anything else that is a label.
    #[serde(skip)]
    pub max_groups: usize,
}

/// The host as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Threads by state.
    pub threads: ThreadCounts,
    /// Processes.
    pub processes: u64,
    /// Totals since each thread was created.
    pub totals: Activity,
    /// Rates over the interval; null for the first sample.
    pub rates: Option<Rates>,
    /// Waits for a CPU since the probe was started.
    pub wait_histogram: Vec<Bucket>,
    /// Durations of successful clones since the probe was started.
    pub clone_duration_histogram: Vec<Bucket>,
    /// Sum of those durations.
    pub clone_duration_seconds: f64,
    /// What one thread costs in kernel memory.
    pub thread_cost: ThreadCost,
    /// Clones that failed, for the exposition.
    #[serde(skip)]
    pub clone_failures: [u64; CloneFailure::ALL.len()],
    /// The raw buckets of the clones, for the exposition.
    #[serde(skip)]
    pub clone_duration_buckets: [u64; BUCKETS],
    /// The raw sum of them.
    #[serde(skip)]
    pub clone_duration_sum_ns: u64,
}

/// A group of processes.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Its name.
    pub group: Arc<str>,
    /// Live processes.
    pub processes: u64,
    /// Threads by state.
    pub threads: ThreadCounts,
    /// Totals of its processes while they belonged to it, ended ones included.
    pub totals: Activity,
    /// Rates over the interval; null for the first sample.
    pub rates: Option<Rates>,
    /// Waits for a CPU since the probe was started.
    pub wait_histogram: Vec<Bucket>,
    /// Kernel memory of its threads.
    pub memory: Memory,
    /// How near the nearest limit of any of its processes is; null without a live process.
    pub headroom: Option<Headroom>,
    /// Clones that failed in the interval, for the alerts.
    #[serde(skip)]
    pub interval_clone_failures: CloneFailuresByLimit,
    /// The raw totals, for the exposition.
    #[serde(skip)]
    pub raw: Totals,
}

/// A process.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Thread group id.
    pub pid: u32,
    /// That of the real parent.
    pub parent_pid: u32,
    /// Start, in seconds since boot.
    pub start_boottime_seconds: f64,
    /// Name of the main thread.
    pub comm: String,
    /// File name of the executable, cut to 31 bytes; empty for kernel threads and zombies.
    pub exe: String,
    /// Real uid.
    pub uid: u32,
    /// Its name, or the number where there is none.
    pub user: Arc<str>,
    /// Its group.
    pub group: Arc<str>,
    /// Whether it is a kernel thread.
    pub is_kernel_thread: bool,
    /// Id of its cgroup in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Threads by state.
    pub threads: ThreadCounts,
    /// Totals since each thread was created, ended threads included since the probe was started.
    pub totals: Activity,
    /// Rates over the interval; null for the first sample.
    pub rates: Option<Rates>,
    /// Kernel memory of its threads.
    pub memory: Memory,
    /// What its limits apply to.
    pub limits: Limits,
    /// How near its nearest limit is; null for kernel threads and for what has ended.
    pub headroom: Option<Headroom>,
    /// What a further thread takes of memory besides the kernel's; null before its threads came and went a few times.
    pub own_bytes_per_thread: Option<u64>,
    /// The cgroups that refused it a clone last.
    pub clone_refused_by: Refusers,
}

/// A thread, with `?pid=`.
#[derive(Clone, Debug, Serialize)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// running, sleeping, blocked, stopped or zombie.
    pub state: &'static str,
    /// Start, in seconds since boot.
    pub start_boottime_seconds: f64,
    /// Bytes of kernel stack in use when last switched out.
    pub kernel_stack_depth_bytes: u32,
    /// Totals since it was created.
    pub totals: Activity,
    /// Rates over the interval; null for the first sample. The quantiles are of all its waits, not the interval's.
    pub rates: Option<Rates>,
    /// Waits for a CPU since the probe was started.
    pub wait_histogram: Vec<Bucket>,
}

/// Threads by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThreadCounts {
    /// All of them.
    pub total: u64,
    /// On a CPU or waiting for one.
    pub running: u64,
    /// Waiting interruptibly.
    pub sleeping: u64,
    /// Waiting uninterruptibly.
    pub blocked: u64,
    /// Stopped, traced or frozen.
    pub stopped: u64,
    /// Ended and not yet waited for.
    pub zombie: u64,
}

impl ThreadCounts {
    fn add(&mut self, by_state: &[u32; ThreadState::ALL.len()]) {
        let [running, sleeping, blocked, stopped, zombie] = by_state.map(u64::from);
        self.total += running + sleeping + blocked + stopped + zombie;
        self.running += running;
        self.sleeping += sleeping;
        self.blocked += blocked;
        self.stopped += stopped;
        self.zombie += zombie;
    }

    /// The counts in the order of [`ThreadState::ALL`].
    pub fn by_state(&self) -> [u64; ThreadState::ALL.len()] {
        [self.running, self.sleeping, self.blocked, self.stopped, self.zombie]
    }
}

/// Cumulative counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Activity {
    /// Switches away because the thread blocked.
    pub voluntary_switches: u64,
    /// Switches away because something else was to run.
    pub involuntary_switches: u64,
    /// Switches to a thread from another of its process, since the probe was started.
    pub same_process_switches: u64,
    /// Times put on a CPU after waiting for one.
    pub runs: u64,
    /// Time waited for a CPU: the kernel's run_delay.
    pub wait_seconds: f64,
    /// Time on a CPU.
    pub cpu_seconds: f64,
    /// Threads created, main threads of new processes not included, since the probe was started.
    pub threads_created: u64,
    /// Processes created, since the probe was started.
    pub processes_created: u64,
    /// Threads that ended, main threads included, since the probe was started.
    pub threads_exited: u64,
    /// Clones that failed, by errno, since the probe was started.
    pub clone_failures: CloneFailures,
    /// Those that a limit may have refused, by limit, since the probe was started.
    pub clone_failures_by_limit: CloneFailuresByLimit,
}

/// Clones that failed, by errno.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct CloneFailures {
    /// A limit on tasks.
    pub eagain: u64,
    /// No memory, or no init in the pid namespace.
    pub enomem: u64,
    /// No privilege for the flags.
    pub eperm: u64,
    /// Contradictory flags.
    pub einval: u64,
    /// Namespaces nested too deep.
    pub enospc: u64,
    /// Anything else.
    #[serde(rename = "other")]
    pub other: u64,
}

impl CloneFailures {
    fn new(failures: &[u64; CloneFailure::ALL.len()]) -> Self {
        let of = |errno| sum_where(failures, |failure| failure.errno() == errno);
        let [eagain, enomem, eperm, einval, enospc, other] = CloneErrno::ALL.map(of);
        Self { eagain, enomem, eperm, einval, enospc, other }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.eagain + self.enomem + self.eperm + self.einval + self.enospc + self.other
    }
}

/// Clones that failed with EAGAIN or ENOMEM, by the limit that was exhausted at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CloneFailuresByLimit {
    /// `kernel.threads-max`.
    pub threads_max: u64,
    /// The ids of a pid namespace.
    pub pid_max: u64,
    /// `pids.max` of a cgroup.
    pub cgroup_pids: u64,
    /// RLIMIT_NPROC.
    pub nproc: u64,
    /// The host's memory.
    pub memory: u64,
    /// `memory.max` of a cgroup.
    pub cgroup_memory: u64,
    /// None of these.
    pub unknown: u64,
}

impl CloneFailuresByLimit {
    fn new(failures: &[u64; CloneFailure::ALL.len()]) -> Self {
        let of = |limit| sum_where(failures, |failure| Limit::of(failure) == Some(limit));
        Self {
            threads_max: of(Limit::ThreadsMax),
            pid_max: of(Limit::PidMax),
            cgroup_pids: of(Limit::CgroupPids),
            nproc: of(Limit::Nproc),
            memory: of(Limit::Memory),
            cgroup_memory: of(Limit::CgroupMemory),
            unknown: of(Limit::Unknown),
        }
    }

    /// Each with its limit.
    pub fn by_limit(&self) -> [(Limit, u64); 7] {
        [
            (Limit::ThreadsMax, self.threads_max),
            (Limit::PidMax, self.pid_max),
            (Limit::CgroupPids, self.cgroup_pids),
            (Limit::Nproc, self.nproc),
            (Limit::Memory, self.memory),
            (Limit::CgroupMemory, self.cgroup_memory),
            (Limit::Unknown, self.unknown),
        ]
    }
}

fn sum_where(failures: &[u64; CloneFailure::ALL.len()], is_wanted: impl Fn(CloneFailure) -> bool) -> u64 {
    CloneFailure::ALL.iter().zip(failures).filter(|(failure, _)| is_wanted(**failure)).map(|(_, count)| count).sum()
}

impl Activity {
    fn new(counters: &Counters, threads_exited: u64) -> Self {
        Self {
            voluntary_switches: counters.voluntary_switches,
            involuntary_switches: counters.involuntary_switches,
            same_process_switches: counters.same_process_switches,
            runs: counters.runs,
            wait_seconds: counters.run_delay_ns as f64 / NS_PER_SECOND,
            cpu_seconds: counters.cpu_ns as f64 / NS_PER_SECOND,
            threads_created: counters.threads_created,
            processes_created: counters.processes_created,
            threads_exited,
            clone_failures: CloneFailures::new(&counters.clone_failures),
            clone_failures_by_limit: CloneFailuresByLimit::new(&counters.clone_failures),
        }
    }
}

/// What happened in the interval, per second of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Switches of both kinds.
    pub switches_per_second: f64,
    /// Switches away because the thread blocked.
    pub voluntary_switches_per_second: f64,
    /// Switches away because something else was to run.
    pub involuntary_switches_per_second: f64,
    /// Of the times its threads were switched to, the share that came from a thread of the same process.
    pub same_process_ratio: f64,
    /// CPUs in use: 1 is one CPU all the time.
    pub cpu_ratio: f64,
    /// Threads waiting for a CPU, on average: 1 is one thread all the time.
    pub wait_ratio: f64,
    /// Median wait for a CPU; null without one.
    pub wait_p50_seconds: Option<f64>,
    /// 99th percentile of the waits for a CPU; null without one.
    pub wait_p99_seconds: Option<f64>,
    /// Upper bound of the longest wait for a CPU; null without one.
    pub wait_max_seconds: Option<f64>,
    /// Threads created.
    pub threads_created_per_second: f64,
    /// Processes created.
    pub processes_created_per_second: f64,
    /// Threads that ended.
    pub threads_exited_per_second: f64,
    /// Of the threads that ended, the share that had lived for a millisecond at most.
    pub short_lived_ratio: f64,
    /// Clones that failed.
    pub clone_failures_per_second: f64,
}

impl Rates {
    fn new(counters: &Counters, waits: &[u64; BUCKETS], ended: Ended, seconds: f64) -> Self {
        let per_second = |count: u64| count as f64 / seconds;
        let switches = counters.voluntary_switches + counters.involuntary_switches;
        Self {
            switches_per_second: per_second(switches),
            voluntary_switches_per_second: per_second(counters.voluntary_switches),
            involuntary_switches_per_second: per_second(counters.involuntary_switches),
            same_process_ratio: counters.same_process_switches as f64 / counters.runs.max(1) as f64,
            cpu_ratio: per_second(counters.cpu_ns) / NS_PER_SECOND,
            wait_ratio: per_second(counters.run_delay_ns) / NS_PER_SECOND,
            wait_p50_seconds: quantile_seconds(waits, 0.5),
            wait_p99_seconds: quantile_seconds(waits, 0.99),
            wait_max_seconds: longest_seconds(waits),
            threads_created_per_second: per_second(counters.threads_created),
            processes_created_per_second: per_second(counters.processes_created),
            threads_exited_per_second: per_second(ended.threads),
            short_lived_ratio: ended.short_lived as f64 / ended.threads.max(1) as f64,
            clone_failures_per_second: per_second(counters.clone_failures.iter().sum()),
        }
    }

    fn of(added: Option<&Totals>, seconds: Option<f64>) -> Option<Self> {
        let seconds = seconds?;
        Some(added.map_or_else(Self::default, |added| {
            Self::new(&added.counters, added.waits.buckets(), Ended::of(added), seconds)
        }))
    }
}

/// Threads that ended.
#[derive(Clone, Copy, Default)]
struct Ended {
    threads: u64,
    short_lived: u64,
}

impl Ended {
    fn of(totals: &Totals) -> Self {
        const SHORT_NS: u64 = 1_000_000;
        let classes = LIFETIME_BOUNDS_NS.partition_point(|bound| *bound <= SHORT_NS);
        Self { threads: totals.threads_exited, short_lived: totals.lifetimes[..classes].iter().sum() }
    }
}

/// The quantile `q` of a histogram, at the middle of its bucket: at most 12.5 % off. `None` if it is empty.
pub fn quantile_seconds(buckets: &[u64; BUCKETS], q: f64) -> Option<f64> {
    let count: u64 = buckets.iter().sum();
    let rank = ((count as f64 * q).ceil() as u64).max(1);
    let mut below = 0;
    let bucket = buckets.iter().position(|in_bucket| {
        below += in_bucket;
        below >= rank
    })?;
    let lower = lower_bound_ns(bucket);
    let upper = upper_bound_ns(bucket).unwrap_or(lower);
    Some((lower + upper) as f64 / 2.0 / NS_PER_SECOND)
}

fn longest_seconds(buckets: &[u64; BUCKETS]) -> Option<f64> {
    let bucket = buckets.iter().rposition(|count| *count != 0)?;
    Some(upper_bound_ns(bucket).unwrap_or_else(|| lower_bound_ns(bucket)) as f64 / NS_PER_SECOND)
}

/// One bucket of a histogram that is not empty. Counts are not cumulative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Upper bound, inclusive; null for the last one, which has none.
    pub le_seconds: Option<f64>,
    /// How many fell in it.
    pub count: u64,
}

fn histogram(buckets: &[u64; BUCKETS]) -> Vec<Bucket> {
    let occupied = buckets.iter().enumerate().filter(|(_, count)| **count != 0);
    occupied
        .map(|(bucket, count)| Bucket {
            le_seconds: upper_bound_ns(bucket).map(|bound| bound as f64 / NS_PER_SECOND),
            count: *count,
        })
        .collect()
}

/// Kernel memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Kernel stacks: threads that did not end, times THREAD_SIZE.
    pub kernel_stack_bytes: u64,
    /// Deepest kernel stack seen while switched out.
    pub kernel_stack_depth_max_bytes: u64,
    /// Kernel stacks and task structures.
    pub kernel_memory_bytes: u64,
}

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

/// What limits apply to in a process, as its record carries it. A limit of 2^64-1 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memory mappings, against vm.max_map_count.
    pub mappings: u32,
    /// Pages of address space, against RLIMIT_AS.
    pub address_space_pages: u64,
    /// Soft RLIMIT_NPROC, in threads of its real user.
    pub rlimit_nproc: u64,
    /// Soft RLIMIT_AS, in bytes.
    pub rlimit_as_bytes: u64,
    /// Soft RLIMIT_STACK, in bytes.
    pub rlimit_stack_bytes: u64,
}

/// The probe itself.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeStatus {
    /// The programs and where they are attached.
    pub programs: Arc<[AttachedProgram]>,
    /// How long scan, drain and ledger took.
    pub sample_duration_seconds: f64,
    /// Threads the scan saw.
    pub sample_threads: u64,
    /// What was dropped, by reason, since start.
    pub lost: Vec<LostCount>,
    /// Processes that went to `~other` because there was no room for their group.
    pub groups_dropped: u64,
    /// The configuration file.
    pub config: ConfigStatus,
}

/// How reading the configuration went. Without a file it is the start that counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConfigStatus {
    /// Whether the last reload succeeded; true before the first.
    pub last_reload_successful: bool,
    /// When it was last read with success, in seconds since the Unix epoch.
    pub last_reload_success_unix_seconds: f64,
}

impl ConfigStatus {
    /// Read with success at that time.
    pub fn loaded(at: SystemTime) -> Self {
        let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { last_reload_successful: true, last_reload_success_unix_seconds: since_epoch.as_secs_f64() }
    }
}

/// How much was dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LostCount {
    /// The reason.
    pub reason: &'static str,
    /// How often.
    pub count: u64,
}

/// Every reason why something is dropped, by programs and ledger, with its count.
fn lost_counts(host: &HostCounters, ledger: LedgerLosses) -> Vec<LostCount> {
    let programs = Lost::ALL.iter().zip(host.lost).map(|(reason, count)| LostCount { reason: reason.label(), count });
    let own = [
        ("end_missing", ledger.end_missing),
        ("unknown_thread", ledger.unknown_thread),
        ("counter_backwards", ledger.counter_backwards),
        ("malformed_record", host.malformed_records),
        ("program_skipped", host.missed_runs),
        ("clone_return_not_seen", host.missed_clone_returns),
    ];
    programs.chain(own.map(|(reason, count)| LostCount { reason, count })).collect()
}

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
}

impl Model {
    /// Builds the model of the sample that the ledger has just finished.
    pub fn build(ledger: &mut Ledger, limits: &Evaluation, facts: &SampleFacts<'_>) -> Self {
        let seconds = facts.interval.map(|interval| interval.as_secs_f64().max(1e-9));
        let cost = facts.cost;
        let processes = processes(ledger, limits, seconds, &cost);
        let groups = groups(ledger, limits, seconds, &cost);
        let host = host(ledger, seconds, cost, facts.counters, &processes);
        let since_epoch = facts.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            time_unix_seconds: since_epoch.as_secs_f64(),
            interval_seconds: seconds,
            group_by: facts.group_by,
            host,
            groups,
            processes,
            limits: limits.report.clone(),
            alerts: Vec::new(),
            alerts_suppressed: 0,
            notifications: Vec::new(),
            probe: ProbeStatus {
                programs: Arc::clone(facts.programs),
                sample_duration_seconds: facts.duration.as_secs_f64(),
                sample_threads: facts.threads,
                lost: lost_counts(facts.counters, ledger.losses()),
                groups_dropped: ledger.groups_refused(),
                config: facts.config,
            },
            max_groups: ledger.max_groups(),
        }
    }
}

fn host(
    ledger: &Ledger,
    seconds: Option<f64>,
    cost: ThreadCost,
    counters: &HostCounters,
    processes: &[Process],
) -> Host {
    let mut threads = ThreadCounts::default();
    for (_, process) in ledger.processes() {
        threads.add(&process.threads);
    }
    let totals = ledger.host();
    Host {
        threads,
        processes: processes.len() as u64,
        totals: Activity::new(&totals.counters, totals.threads_exited),
        rates: Rates::of(ledger.host_interval(), seconds),
        wait_histogram: histogram(totals.waits.buckets()),
        clone_duration_histogram: histogram(&counters.clone_duration_buckets),
        clone_duration_seconds: counters.clone_duration_sum_ns as f64 / NS_PER_SECOND,
        thread_cost: cost,
        clone_failures: totals.counters.clone_failures,
        clone_duration_buckets: counters.clone_duration_buckets,
        clone_duration_sum_ns: counters.clone_duration_sum_ns,
    }
}

fn groups(ledger: &Ledger, limits: &Evaluation, seconds: Option<f64>, cost: &ThreadCost) -> Vec<Group> {
    let mut live = rustc_hash::FxHashMap::<_, (u64, ThreadCounts)>::default();
    for (_, process) in ledger.processes() {
        if let Some(id) = process.group {
            let (processes, threads) = live.entry(id).or_default();
            *processes += 1;
            threads.add(&process.threads);
        }
    }
    let mut headroom = of_groups(ledger, &limits.processes);
    let mut groups: Vec<Group> = ledger
        .groups()
        .map(|(id, group)| {
            let (processes, threads) = live.get(&id).copied().unwrap_or_default();
            let interval = group.interval(ledger.epoch());
            Group {
                group: Arc::clone(&group.name),
                processes,
                threads,
                totals: Activity::new(&group.totals.counters, group.totals.threads_exited),
                rates: Rates::of(interval, seconds),
                wait_histogram: histogram(group.totals.waits.buckets()),
                memory: Memory::new(&threads, group.stack_depth_max_bytes, cost),
                headroom: headroom.remove(&id),
                interval_clone_failures: interval
                    .map(|added| CloneFailuresByLimit::new(&added.counters.clone_failures))
                    .unwrap_or_default(),
                raw: group.totals.clone(),
            }
        })
        .collect();
    groups.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    groups
}

fn processes(ledger: &mut Ledger, limits: &Evaluation, seconds: Option<f64>, cost: &ThreadCost) -> Vec<Process> {
    let uids: rustc_hash::FxHashSet<u32> = ledger.processes().map(|(_, process)| process.identity.uid).collect();
    let users: rustc_hash::FxHashMap<u32, Arc<str>> =
        uids.into_iter().map(|uid| (uid, ledger.user_name(uid))).collect();
    let mut processes: Vec<Process> = ledger
        .processes()
        .map(|(key, process)| {
            let user = users.get(&process.identity.uid).cloned().unwrap_or_default();
            let process = process_model(ledger, key, process, user, seconds, cost);
            match limits.processes.get(&key) {
                Some(limits) => process.with_limits(limits),
                None => process,
            }
        })
        .collect();
    processes.sort_unstable_by_key(|process| process.pid);
    processes
}

fn process_model(
    ledger: &Ledger,
    key: ProcessKey,
    process: &ledger::Process,
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
        comm: text(&identity.comm),
        exe: text(&identity.exe),
        uid: identity.uid,
        user,
        group: group.map(|group| Arc::clone(&group.name)).unwrap_or_default(),
        is_kernel_thread: identity.is_kernel_thread,
        cgroup_id: facts.cgroup_id,
        totals: Activity::new(&process.totals.counters, process.totals.threads_exited),
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
    }
}

impl Process {
    fn with_limits(self, limits: &ProcessLimits) -> Self {
        Self {
            headroom: Some(limits.headroom.clone()),
            own_bytes_per_thread: limits.own_bytes_per_thread,
            clone_refused_by: limits.refused_by.clone(),
            ..self
        }
    }
}

/// The threads of a process, by tid. Cheap enough to build only when somebody asks.
pub fn threads_of(ledger: &Ledger, pid: u32, epoch: u64, interval_seconds: Option<f64>) -> Vec<Thread> {
    let mut threads: Vec<Thread> = ledger
        .threads_of(pid)
        .map(|thread| {
            let buckets = thread.wait_buckets();
            Thread {
                tid: thread.tid,
                comm: text(&thread.comm),
                state: thread.state.label(),
                start_boottime_seconds: thread.start_ns as f64 / NS_PER_SECOND,
                kernel_stack_depth_bytes: thread.stack_depth_bytes,
                totals: Activity::new(&thread.counters, 0),
                rates: interval_seconds
                    .map(|seconds| Rates::new(&thread.grown(epoch), &buckets, Ended::default(), seconds)),
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
    fn a_quantile_is_the_middle_of_the_bucket_that_reaches_its_rank() {
        let mut buckets = [0; BUCKETS];
        assert_eq!(quantile_seconds(&buckets, 0.5), None);
        buckets[4] = 99;
        buckets[40] = 1;
        let middle = |bucket| (lower_bound_ns(bucket) + upper_bound_ns(bucket).unwrap_or(0)) as f64 / 2e9;
        assert_eq!(quantile_seconds(&buckets, 0.5), Some(middle(4)));
        assert_eq!(quantile_seconds(&buckets, 0.99), Some(middle(4)));
        assert_eq!(quantile_seconds(&buckets, 0.995), Some(middle(40)));
    }

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
