//! One sample: the host, its groups, its processes. It is also the JSON of `/api/v1/snapshot`: the field names are that
//! contract, described in docs/api.md.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::{histogram::BUCKETS, names::CloneFailure};

use super::{
    activity::{Activity, Rates, ThreadCounts},
    alert::{AlertView, NotificationCount},
    by_name::ThreadsOfName,
    counts::CloneFailuresByLimit,
    cpus::UsableCpus,
    histogram::{Bucket, IntervalWaits},
    status::{ProbeStatus, RecordingCounts},
    taken::{CpuTaken, TakerProcess},
};
use crate::{
    ledger::{ThreadState, Totals},
    limits::{Headroom, LimitUse, LimitsReport, Quota, Refusers, Scope},
    names::{grouping::GroupBy, owner::Owner},
    sample::ThreadCost,
};

/// One sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    /// Version of thread-probe.
    pub version: Cow<'static, str>,
    /// The commit that it was built from; empty from a daemon of an earlier version.
    #[serde(default)]
    pub revision: Cow<'static, str>,
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
    /// The CPU quotas of cgroups that processes are in, by path.
    #[serde(default)]
    pub cpu_quotas: Vec<Quota>,
    /// The alerts, those that fire first; of `serve` only.
    pub alerts: Vec<AlertView>,
    /// Conditions that would be alerts if there were not too many.
    pub alerts_suppressed: u64,
    /// Requests to each Alertmanager, for the exposition.
    #[serde(skip)]
    pub notifications: Vec<NotificationCount>,
    /// What the daemon keeps of its samples, for the exposition; `None` if nothing.
    #[serde(skip)]
    pub recording: Option<RecordingCounts>,
    /// The probe itself.
    pub probe: ProbeStatus,
    /// How many groups there may be; and of anything else that is a label.
    #[serde(skip)]
    pub max_groups: usize,
}

impl Model {
    /// The limits that processes share and, of those that are a process's own, each that binds one or will.
    pub fn all_limits(&self) -> Vec<LimitUse> {
        let mut limits = self.limits.shared.clone();
        for headroom in self.processes.iter().filter_map(|process| process.headroom.as_ref()) {
            let nearest = [Some(&headroom.binding), headroom.first_exhausted.as_ref()];
            let mut own: Vec<_> = nearest.into_iter().flatten().filter(|limit| limit.scope == Scope::Process).collect();
            own.dedup_by_key(|limit| limit.limit);
            limits.extend(own.into_iter().cloned());
        }
        LimitsReport::sort(&mut limits);
        limits
    }
}

/// The host as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Which host.
    #[serde(flatten)]
    pub system: System,
    /// CPUs that are online.
    pub cpus: u64,
    /// Load averages over 1, 5 and 15 minutes: threads that run, wait for a CPU or are blocked. 0 from a daemon of an
    /// earlier version.
    #[serde(default)]
    pub load_averages: [f64; 3],
    /// Since boot, how long some task had work and no CPU: `some` of /proc/pressure/cpu. Null where the kernel keeps it
    /// not.
    #[serde(default)]
    pub cpu_pressure_seconds: Option<f64>,
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
    /// The same in the kernel's units, for the exposition.
    #[serde(skip)]
    pub raw: HostRaw,
}

/// Which host it is, as uname(2) tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Its name.
    pub name: Arc<str>,
    /// The release of its kernel.
    pub kernel_release: Arc<str>,
}

/// What the exposition needs of the host besides.
#[derive(Clone, Debug)]
pub struct HostRaw {
    /// Clones that failed.
    pub clone_failures: [u64; CloneFailure::ALL.len()],
    /// Successful clones by duration.
    pub clone_duration_buckets: [u64; BUCKETS],
    /// The sum of those durations, in nanoseconds.
    pub clone_duration_sum_ns: u64,
}

impl Default for HostRaw {
    fn default() -> Self {
        Self { clone_failures: Default::default(), clone_duration_buckets: [0; BUCKETS], clone_duration_sum_ns: 0 }
    }
}

/// A group of processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub group: Arc<str>,
    /// Whose the cgroups of its processes are, each part that is the same of all of them; null unless groups are by
    /// cgroup, unit, container or pod.
    pub owner: Option<Owner>,
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
    /// Who took the CPU while its threads waited for one; absent where none has waited.
    #[serde(default, skip_serializing_if = "CpuTaken::is_empty")]
    pub cpu_taken: CpuTaken,
    /// The longest burst of any of its threads in the last 30 to 60 s, CPU time between two voluntary switches.
    #[serde(default)]
    pub cpu_burst_max_seconds: f64,
    /// The CPUs that its threads may use.
    #[serde(default)]
    pub usable_cpus: UsableCpus,
    /// How many of its threads had work for each of these, on average over the interval; null for the first sample.
    #[serde(default)]
    pub oversubscription: Option<f64>,
    /// Kernel memory of its threads.
    pub memory: Memory,
    /// How near the nearest limit of any of its processes is; null without a live process.
    pub headroom: Option<Headroom>,
    /// Clones that failed in the interval, for the alerts.
    #[serde(skip)]
    pub interval_clone_failures: CloneFailuresByLimit,
    /// Which cgroups refused its processes a clone last.
    pub clone_refused_by: Refusers,
    /// The raw totals since the probe was started, for the exposition.
    #[serde(skip)]
    pub raw: Totals,
}

/// A process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// Path of its cgroup: in the v2 hierarchy or, where that is its root, in a v1 hierarchy; null for kernel threads,
    /// for what has ended, and where it could not be read.
    pub cgroup: Option<Arc<str>>,
    /// Whose that cgroup is; null where it is.
    pub owner: Option<Arc<Owner>>,
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
    /// Who took the CPU while its threads waited for one; absent where none has waited for a millisecond.
    #[serde(default, skip_serializing_if = "CpuTaken::is_empty")]
    pub cpu_taken: CpuTaken,
    /// The CPUs that its threads may use.
    #[serde(default)]
    pub usable_cpus: UsableCpus,
    /// How many of its threads had work for each of these, on average over the interval; null for the first sample.
    #[serde(default)]
    pub oversubscription: Option<f64>,
    /// Its thread that is in uninterruptible sleep for longest; null where none is.
    #[serde(default)]
    pub longest_blocked: Option<BlockedThread>,
    /// How its main thread is scheduled.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// CPU time of its children that ended and were waited for, and of theirs, since it was started.
    #[serde(default)]
    pub children_cpu_seconds: f64,
    /// The same of the interval, in CPUs; null for the first sample.
    #[serde(default)]
    pub children_cpu_ratio: Option<f64>,
    /// Waits for a CPU in the interval, as pairs of a bucket's upper bound in nanoseconds, null for none, and a count;
    /// empty for the first sample.
    #[serde(default)]
    pub interval_waits: IntervalWaits,
}

/// A thread in uninterruptible sleep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockedThread {
    /// Its thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// For how long at the least: since the first sample that saw it so.
    pub seconds: f64,
}

/// How a thread is scheduled: sched(7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// Its nice value, -20 to 19.
    pub nice: i32,
    /// Its policy: other, fifo, rr, batch, idle, deadline or ext.
    pub policy: Cow<'static, str>,
    /// CPUs that it may run on.
    pub allowed_cpus: u32,
}

/// More of one process, with `?pid=`: it is large.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OneProcess {
    /// Its threads, by tid.
    pub threads: Vec<Thread>,
    /// The same added up by name; empty from a daemon of an earlier version.
    #[serde(default)]
    pub threads_by_name: Vec<ThreadsOfName>,
    /// Every limit that holds for it, the one with room for the fewest threads first.
    pub applicable_limits: Vec<LimitUse>,
    /// Waits of its threads for a CPU since the probe was started, ended ones included.
    pub process_wait_histogram: Vec<Bucket>,
    /// Lifetimes of its threads that ended since the probe was started.
    pub thread_lifetime_histogram: Vec<Bucket>,
    /// The processes that took the CPU from it in the interval, who took most first; at most 16.
    #[serde(default)]
    pub cpu_takers: Vec<TakerProcess>,
}

/// A thread, with `?pid=`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// running, sleeping, blocked, stopped or zombie.
    pub state: ThreadState,
    /// Start, in seconds since boot.
    pub start_boottime_seconds: f64,
    /// Bytes of kernel stack in use when last switched out.
    pub kernel_stack_depth_bytes: u32,
    /// For how long it does what it does: of one that sleeps, since it was put on a CPU last; of one that runs or is
    /// blocked, since the first sample that saw it so.
    #[serde(default)]
    pub still_seconds: f64,
    /// The system call that it sleeps in; null where it does not sleep, or sleeps in none.
    #[serde(default)]
    pub syscall: Option<Cow<'static, str>>,
    /// Totals since it was created.
    pub totals: Activity,
    /// Rates over the interval; null for the first sample. The quantiles are of all its waits, not the interval's.
    pub rates: Option<Rates>,
    /// Waits for a CPU since the probe was started.
    pub wait_histogram: Vec<Bucket>,
}

/// Kernel memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Kernel stacks: threads that did not end, times THREAD_SIZE.
    pub kernel_stack_bytes: u64,
    /// Deepest kernel stack seen while switched out.
    pub kernel_stack_depth_max_bytes: u64,
    /// Kernel stacks and task structures.
    pub kernel_memory_bytes: u64,
}

/// What limits apply to in a process, as its record carries it. A limit of 2^64-1 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
