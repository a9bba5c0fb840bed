//! Every metric, declared once. The table of docs/metrics.md is made from this one, and a test holds the exposition to
//! it.

use std::fmt::Write as _;

/// The Prometheus type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket, with sum and count.
    Histogram,
}

impl Kind {
    /// As the exposition names it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, unit included.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, `le` not included.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $id: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+

        /// All metrics, in the order of the exposition; those of the process itself (`process_*`) come after them.
        pub const METRICS: &[Metric] = &[$($id),+];
    };
}

metrics! {
    PROCESSES: Gauge "threadprobe_processes" ["group"] "Live processes.";
    THREADS: Gauge "threadprobe_threads" ["group", "state"] "Threads by state: running, sleeping, blocked, stopped, zombie.";
    PROCESSES_CREATED: Counter "threadprobe_processes_created_total" ["group"]
        "Processes created by this group's threads.";
    THREADS_CREATED: Counter "threadprobe_threads_created_total" ["group"]
        "Threads created by this group's threads in their own process; the first thread of a new process is not one.";
    THREADS_EXITED: Counter "threadprobe_threads_exited_total" ["group"] "Threads that ended, main threads included.";
    SWITCHES: Counter "threadprobe_context_switches_total" ["group", "kind"]
        "Switches away from a thread: voluntary (it blocked) or involuntary (something else was to run).";
    SAME_PROCESS: Counter "threadprobe_same_process_switches_total" ["group"]
        "Switches to a thread from another of its process, which keep the address space.";
    WAIT: Histogram "threadprobe_runqueue_latency_seconds" ["group"]
        "Time runnable but not running, each time a thread was put on a CPU; the sum is the kernel's run_delay, \
         which is 0 where a wake-up preempts who runs, though that takes some 10 us.";
    CPU: Counter "threadprobe_cpu_seconds_total" ["group"] "Time on a CPU (sum_exec_runtime).";
    TIME: Counter "threadprobe_time_seconds_total" ["group", "state"]
        "Where threads' time went since the probe was started, by state; together their wall clock. A state that never was is left out.";
    TAKEN: Counter "threadprobe_cpu_taken_seconds_total" ["group", "by"]
        "Who took the CPU while threads waited for one: the 8 groups that took most, the rest in ~other; also ~self, ~kernel, ~throttled, \
         ~idle, ~short (waits under 1 ms), ~elsewhere (on another CPU's run queue), ~unknown. Together the waits.";
    BURST: Gauge "threadprobe_cpu_burst_max_seconds" ["group"]
        "Longest CPU time of a thread between two voluntary switches in the last 30 to 60 s; of an event loop it is the lag.";
    USABLE_CPUS: Gauge "threadprobe_usable_cpus" ["group"]
        "CPUs that its processes may use: by their quotas, by their affinity, and those of the host.";
    BLOCKED: Gauge "threadprobe_thread_blocked_seconds" ["group"]
        "How long that of its threads has been in uninterruptible sleep that is in it for longest; 0 where none is.";
    LIFETIME: Histogram "threadprobe_thread_lifetime_seconds" ["group"] "Age of threads when they ended; of groups of which one has.";
    STACK: Gauge "threadprobe_kernel_stack_bytes" ["group"]
        "Kernel stacks, which can't be swapped: threads that did not end, times THREAD_SIZE.";
    STACK_DEPTH: Gauge "threadprobe_kernel_stack_depth_max_bytes" ["group"]
        "Deepest kernel stack seen while switched out, since the group exists.";
    KERNEL_MEMORY: Gauge "threadprobe_kernel_memory_bytes" ["group"]
        "Kernel stacks and task structures with their FPU area.";
    GROUP_INFO: Gauge "threadprobe_group_info" ["group", "unit", "container", "pod"]
        "Always 1, of groups by cgroup, unit, container or pod: whose they are; empty where it is none's or several's.";
    CLONE_FAILURES: Counter "threadprobe_clone_failures_total" ["group", "errno", "limit"]
        "Calls of clone, clone3, fork and vfork that failed, with the limit that was exhausted then; once there was one.";
    HOST_CLONE_FAILURES: Counter "threadprobe_host_clone_failures_total" ["errno", "limit"]
        "The same for the whole host, from the start.";
    CLONE_DURATION: Histogram "threadprobe_clone_duration_seconds" []
        "Time from the call to the complete new task, of successful clones.";
    LIMIT_MAX_THREADS: Gauge "threadprobe_limit_max_threads" ["limit"] "What the host allows: threads_max and pid_max.";
    LIMIT_USED_THREADS: Gauge "threadprobe_limit_used_threads" ["limit"] "Threads that count against it.";
    LIMIT_MAX_BYTES: Gauge "threadprobe_limit_max_bytes" ["limit"] "What the host has: memory.";
    LIMIT_USED_BYTES: Gauge "threadprobe_limit_used_bytes" ["limit"] "What of it is in use and can't be reclaimed.";
    CGROUP_PIDS_MAX: Gauge "threadprobe_cgroup_pids_max" ["cgroup"] "Threads that pids.max of a cgroup allows it and those below.";
    CGROUP_PIDS_USED: Gauge "threadprobe_cgroup_pids_used" ["cgroup"] "Threads in them.";
    CGROUP_PIDS_FAILURES: Counter "threadprobe_cgroup_pids_failures_total" ["cgroup"]
        "Clones that it refused (max in pids.events.local); before Linux 6.11 and in version 1, those refused to its threads (pids.events).";
    CGROUP_INFO: Gauge "threadprobe_cgroup_info" ["cgroup", "unit", "container", "pod"]
        "Always 1, of each cgroup in threadprobe_cgroup_pids_*: whose it is.";
    CPU_QUOTA: Gauge "threadprobe_cpu_quota_cpus" ["cgroup"] "CPUs that the processes of a cgroup with a quota may use (cpu.max).";
    CPU_PERIODS: Counter "threadprobe_cpu_periods_total" ["cgroup"] "Periods of the quota in which one of them ran (nr_periods of cpu.stat).";
    CPU_THROTTLED_PERIODS: Counter "threadprobe_cpu_throttled_periods_total" ["cgroup"]
        "Those of them in which the quota was used up (nr_throttled).";
    CPU_THROTTLED: Counter "threadprobe_cpu_throttled_seconds_total" ["cgroup"]
        "For how long it was used up while threads had work, the time of each CPU added up (throttled_usec).";
    USER_THREADS_MAX: Gauge "threadprobe_user_threads_max" ["user"] "The lowest RLIMIT_NPROC that holds for a process of the user.";
    USER_THREADS_USED: Gauge "threadprobe_user_threads_used" ["user"] "Threads that count against it.";
    HEADROOM_THREADS: Gauge "threadprobe_headroom_threads" ["group", "limit"]
        "How many more threads the nearest limit of any of its processes has room for.";
    HEADROOM_RATIO: Gauge "threadprobe_headroom_ratio" ["group"] "The free share of that limit.";
    EXHAUSTION: Gauge "threadprobe_exhaustion_seconds" ["group", "limit"]
        "Time until a limit of the group is reached, if its use goes on to grow; of groups of which one grows steadily and for long enough to tell.";
    LIMITS_LEFT_OUT: Gauge "threadprobe_limits_left_out" ["scope"]
        "Cgroups, CPU quotas and users whose limits are not exported because there are more than --max-groups.";
    LIMITS_UNREADABLE: Counter "threadprobe_limits_unreadable_total" ["file"]
        "Files with limits that are there and could not be read; once there was one.";
    LIMITS_DURATION: Gauge "threadprobe_limits_duration_seconds" [] "How long it took to evaluate all limits: a part of each sample.";
    HOST_THREADS: Gauge "threadprobe_host_threads" [] "Threads on the host.";
    HOST_CPUS: Gauge "threadprobe_host_cpus" [] "CPUs of the host that are online.";
    HOST_RUNNABLE: Gauge "threadprobe_host_runnable_cpus" []
        "Threads that ran or waited for a CPU, on average between the last two samples: the load, exact, in CPUs.";
    HOST_PRESSURE: Counter "threadprobe_host_cpu_pressure_seconds_total" []
        "How long some task had work and no CPU, since boot (some of /proc/pressure/cpu); where the kernel keeps it.";
    THREAD_COST: Gauge "threadprobe_thread_kernel_bytes" ["part"]
        "Kernel memory one thread costs: its stack, its task_struct, and what thread-probe keeps of it (probe).";
    ALERT_FIRING: Gauge "threadprobe_alert_firing" ["alert", "severity", "group"]
        "Always 1, of each alert that fires; of several with these labels once.";
    ALERTS_SUPPRESSED: Gauge "threadprobe_alerts_suppressed" []
        "Conditions that would be alerts if there were not 2000 already.";
    NOTIFICATIONS: Counter "threadprobe_notifications_total" ["alertmanager"]
        "Requests with alerts to an Alertmanager, failed ones included.";
    NOTIFICATIONS_FAILED: Counter "threadprobe_notifications_failed_total" ["alertmanager"]
        "Requests with alerts to an Alertmanager that failed; they are repeated until one succeeds.";
    RECORDED_SAMPLES: Counter "threadprobe_recorded_samples_total" [] "Samples that were kept; where record.dir is set.";
    RECORDING_LOST_SAMPLES: Counter "threadprobe_recording_lost_samples_total" []
        "Samples that were to be kept and were not: the disk was full, gone or too slow.";
    RECORDING_BYTES: Gauge "threadprobe_recording_bytes" [] "Bytes of all recordings; at most record.budget.";
    BUILD_INFO: Gauge "threadprobe_build_info" ["version", "revision"] "Always 1; revision is the commit it was built from.";
    PROGRAM_ATTACHED: Gauge "threadprobe_program_attached" ["program", "source"]
        "Whether an eBPF program is attached, and to what: tp_btf, iter, fexit, tracepoint or none.";
    SAMPLE_DURATION: Gauge "threadprobe_sample_duration_seconds" [] "How long the last sample took: scan, drain, ledger, limits.";
    SAMPLE_THREADS: Gauge "threadprobe_sample_threads" [] "Threads that the last scan saw.";
    TELLS_THROTTLING: Gauge "threadprobe_kernel_tells_throttling" []
        "Whether the kernel tells what a quota takes from other waits for a CPU: since Linux 6.6.";
    LOST: Counter "threadprobe_lost_total" ["reason"] "Events or parts of them that were dropped.";
    GROUPS_DROPPED: Counter "threadprobe_groups_dropped_total" []
        "Processes counted under ~other because there were --max-groups groups already.";
    CONFIG_RELOADED: Gauge "threadprobe_config_last_reload_successful" []
        "Whether the last reload of the configuration (SIGHUP) succeeded; 1 before the first.";
    CONFIG_RELOADED_AT: Gauge "threadprobe_config_last_reload_success_timestamp_seconds" []
        "When the configuration was last read with success: at start, or by SIGHUP.";
}

/// The table as docs/metrics.md shows it.
pub fn markdown() -> String {
    let mut table = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for metric in METRICS {
        let kind = metric.kind.label();
        // Writing to a String never fails.
        let _ = writeln!(table, "| `{}` | {kind} | {} | {} |", metric.name, metric.labels.join(", "), metric.help);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_prometheus_conventions() {
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("threadprobe_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            assert!(!metric.help.contains(['\\', '\n']), "{name}: the exposition would have to escape it");
            assert!(metric.kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(!metric.labels.contains(&"type"), "{name}");
        }
    }
}
