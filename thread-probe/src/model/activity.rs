//! What threads did: totals, rates, counts by state.

use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::{
    histogram::BUCKETS,
    names::CloneFailure,
    record::Counters,
    time::{TIME_STATES, TimeState},
};

use super::{
    counts::{CloneFailures, CloneFailuresByLimit, Times},
    histogram::{NS_PER_SECOND, longest_seconds, quantile_seconds},
};
use crate::{
    ledger::{LIFETIME_BOUNDS_NS, ThreadState, Totals},
    limits::Limit,
};

/// Threads by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Takes in those of another.
    pub fn include(&mut self, other: &Self) {
        self.total += other.total;
        self.running += other.running;
        self.sleeping += other.sleeping;
        self.blocked += other.blocked;
        self.stopped += other.stopped;
        self.zombie += other.zombie;
    }

    /// Takes in one thread.
    pub fn count(&mut self, state: ThreadState) {
        let mut one = [0; ThreadState::ALL.len()];
        one[state as usize] = 1;
        self.add(&one);
    }

    /// The counts in the order of [`ThreadState::ALL`].
    pub fn by_state(&self) -> [u64; ThreadState::ALL.len()] {
        [self.running, self.sleeping, self.blocked, self.stopped, self.zombie]
    }
}

/// Cumulative counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Where threads' time went, by state, since the probe was started: together their wall clock. Empty from a daemon
    /// of an earlier version, and of one that keeps no ledger of time.
    #[serde(default)]
    pub time_seconds: Times,
}

/// What happened in the interval, per second of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Switches of both kinds.
    pub switches_per_second: f64,
    /// Switches away because the thread blocked.
    pub voluntary_switches_per_second: f64,
    /// Switches away because something else was to run.
    pub involuntary_switches_per_second: f64,
    /// Times its threads were put on a CPU after waiting for one; 0 from a daemon of an earlier version.
    #[serde(default)]
    pub runs_per_second: f64,
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
    /// Threads in each state, on average: 1 is one thread all the time.
    #[serde(default)]
    pub time_ratio: Times,
    /// The longest burst: CPU time of a thread between two voluntary switches, also of one that is not over. Null where
    /// none ran, without a ledger of time, and of threads that came and went between two samples.
    #[serde(default)]
    pub burst_max_seconds: Option<f64>,
}

impl ThreadCounts {
    pub(super) fn add(&mut self, by_state: &[u32; ThreadState::ALL.len()]) {
        let [running, sleeping, blocked, stopped, zombie] = by_state.map(u64::from);
        self.total += running + sleeping + blocked + stopped + zombie;
        self.running += running;
        self.sleeping += sleeping;
        self.blocked += blocked;
        self.stopped += stopped;
        self.zombie += zombie;
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * NS_PER_SECOND).round() as u64
}

/// By errno, what the programs count by more.
fn by_errno(failures: &[u64; CloneFailure::ALL.len()]) -> CloneFailures {
    CloneFailures::of(CloneFailure::ALL.into_iter().zip(*failures).map(|(failure, count)| (failure.errno(), count)))
}

/// The same by the limit that was exhausted, of those that a limit may have refused.
pub(super) fn by_limit(failures: &[u64; CloneFailure::ALL.len()]) -> CloneFailuresByLimit {
    let refused = CloneFailure::ALL.into_iter().zip(*failures);
    CloneFailuresByLimit::of(refused.filter_map(|(failure, count)| Some((Limit::of(failure)?, count))))
}

/// Nanoseconds by state in another unit.
fn times(time_ns: &[u64; TIME_STATES], ns_per_unit: f64) -> Times {
    Times::of(TimeState::ALL.into_iter().zip(*time_ns).map(|(state, ns)| (state, ns as f64 / ns_per_unit)))
}

impl Activity {
    pub(super) fn of(totals: &Totals) -> Self {
        Self {
            threads_exited: totals.threads_exited,
            clone_failures: by_errno(&totals.clone_failures),
            clone_failures_by_limit: by_limit(&totals.clone_failures),
            ..Self::of_thread(&totals.counters)
        }
    }

    /// Of a thread alone: a clone that fails counts for its process.
    pub(super) fn of_thread(counters: &Counters) -> Self {
        Self {
            voluntary_switches: counters.voluntary_switches,
            involuntary_switches: counters.involuntary_switches,
            same_process_switches: counters.same_process_switches,
            runs: counters.runs,
            wait_seconds: counters.run_delay_ns as f64 / NS_PER_SECOND,
            cpu_seconds: counters.cpu_ns as f64 / NS_PER_SECOND,
            threads_created: counters.threads_created,
            processes_created: counters.processes_created,
            time_seconds: times(&counters.time_ns, NS_PER_SECOND),
            ..Self::default()
        }
    }
}

/// Threads that have work, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuWork {
    /// All of them: those that run and those that would.
    pub wanted: f64,
    /// Those that run.
    pub running: f64,
    /// Those that wait as a quota is used up.
    pub throttled: f64,
    /// Those that wait for a CPU that others have.
    pub contended: f64,
}

impl Rates {
    /// How many threads have work, and what becomes of it; nothing without a ledger of time.
    pub fn cpu_work(&self) -> CpuWork {
        let of = |state| self.time_ratio.get(state);
        let (running, throttled) = (of(TimeState::Running), of(TimeState::Throttled));
        let contended = of(TimeState::WaitWakeup) + of(TimeState::WaitPreempted);
        CpuWork { wanted: running + throttled + contended, running, throttled, contended }
    }

    pub(super) fn new(counters: &Counters, waits: &[u64; BUCKETS], events: ProcessEvents, seconds: f64) -> Self {
        let per_second = |count: u64| count as f64 / seconds;
        let switches = counters.voluntary_switches + counters.involuntary_switches;
        Self {
            switches_per_second: per_second(switches),
            voluntary_switches_per_second: per_second(counters.voluntary_switches),
            involuntary_switches_per_second: per_second(counters.involuntary_switches),
            runs_per_second: per_second(counters.runs),
            same_process_ratio: counters.same_process_switches as f64 / counters.runs.max(1) as f64,
            cpu_ratio: per_second(counters.cpu_ns) / NS_PER_SECOND,
            wait_ratio: per_second(counters.run_delay_ns) / NS_PER_SECOND,
            wait_p50_seconds: quantile_seconds(waits, 0.5),
            wait_p99_seconds: quantile_seconds(waits, 0.99),
            wait_max_seconds: longest_seconds(waits),
            threads_created_per_second: per_second(counters.threads_created),
            processes_created_per_second: per_second(counters.processes_created),
            threads_exited_per_second: per_second(events.threads_exited),
            short_lived_ratio: events.short_lived as f64 / events.threads_exited.max(1) as f64,
            clone_failures_per_second: per_second(events.clone_failures),
            time_ratio: times(&counters.time_ns, NS_PER_SECOND * seconds),
            burst_max_seconds: None,
        }
    }

    /// As they follow from the totals at the begin and the end of an interval, and from the waits in it. What these do not
    /// tell is 0: how many were short-lived, and the longest burst.
    pub(crate) fn between(before: &Activity, now: &Activity, waits: &[u64; BUCKETS], seconds: f64) -> Self {
        // So little that two of them can be added up, whatever is claimed.
        let less = |now: u64, before: u64| now.saturating_sub(before).min(1 << 62);
        let grown = |of: fn(&Activity) -> u64| less(of(now), of(before));
        let grown_ns = |of: &dyn Fn(&Activity) -> f64| less(nanoseconds(of(now)), nanoseconds(of(before)));
        let mut time_ns = [0; TIME_STATES];
        for state in TimeState::ALL {
            time_ns[state as usize] = grown_ns(&|totals| totals.time_seconds.get(state));
        }
        let counters = Counters {
            voluntary_switches: grown(|totals| totals.voluntary_switches),
            involuntary_switches: grown(|totals| totals.involuntary_switches),
            run_delay_ns: grown_ns(&|totals| totals.wait_seconds),
            runs: grown(|totals| totals.runs),
            cpu_ns: grown_ns(&|totals| totals.cpu_seconds),
            same_process_switches: grown(|totals| totals.same_process_switches),
            threads_created: grown(|totals| totals.threads_created),
            processes_created: grown(|totals| totals.processes_created),
            time_ns,
        };
        let events = ProcessEvents {
            threads_exited: grown(|totals| totals.threads_exited),
            short_lived: 0,
            clone_failures: grown(|totals| {
                totals.clone_failures.iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
            }),
        };
        Self::new(&counters, waits, events, seconds)
    }

    pub(super) fn with_burst(self, burst_max_ns: u64) -> Self {
        let burst_max_seconds = (burst_max_ns > 0).then_some(burst_max_ns as f64 / NS_PER_SECOND);
        Self { burst_max_seconds, ..self }
    }

    pub(super) fn of(added: Option<&Totals>, seconds: Option<f64>) -> Option<Self> {
        let seconds = seconds?;
        Some(added.map_or_else(Self::default, |added| {
            Self::new(&added.counters, added.waits.buckets(), ProcessEvents::of(added), seconds)
                .with_burst(added.burst_max_ns)
        }))
    }
}

/// What is counted of processes and not of a thread.
#[derive(Clone, Copy, Default)]
pub(super) struct ProcessEvents {
    threads_exited: u64,
    short_lived: u64,
    clone_failures: u64,
}

impl ProcessEvents {
    pub(super) fn of(totals: &Totals) -> Self {
        const SHORT_NS: u64 = 1_000_000;
        let classes = LIFETIME_BOUNDS_NS.partition_point(|bound| *bound <= SHORT_NS);
        Self {
            threads_exited: totals.threads_exited,
            short_lived: totals.lifetimes[..classes].iter().sum(),
            clone_failures: totals.clone_failures.iter().sum(),
        }
    }
}
