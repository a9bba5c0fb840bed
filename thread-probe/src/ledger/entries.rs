//! What the ledger keeps of each thread and process.

use thread_probe_ebpf::abi::{
    histogram::BUCKETS,
    record::{self, COMM_BYTES, Counters, Waits},
    time::{TIME_STATES, TimeState},
};

use super::{
    groups::GroupId,
    refused::RefusedBy,
    state::ThreadState,
    taken::Taken,
    totals::{Interval, ThreadWaits, Totals, combine, of_storage},
};
use crate::names::grouping::Identity;

/// A process: its thread group id and when its leader started, nanoseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Thread group id.
    pub tgid: u32,
    /// `start_boottime` of the leader; an exec does not change it.
    pub start_ns: u64,
}

/// One thread that is alive, or whose final record is still to come.
#[derive(Clone, Debug)]
pub struct ThreadEntry {
    /// Thread id.
    pub tid: u32,
    /// Its process.
    pub process: ProcessKey,
    /// `start_boottime`, nanoseconds since boot.
    pub start_ns: u64,
    /// What it was doing at the last scan.
    pub state: ThreadState,
    /// Name, ended by a 0.
    pub comm: [u8; COMM_BYTES],
    /// Bytes of kernel stack in use when it was last switched out.
    pub stack_depth_bytes: u32,
    /// The system call that it sleeps in: see [`record::ThreadPart::syscall`].
    pub syscall: u32,
    /// Its counters.
    pub counters: Counters,
    /// Up to when its times go, and what it does while its record stands.
    pub(super) standing: Standing,
    /// Its longest burst, in nanoseconds, and the interval that it was in.
    pub(super) burst: (u64, u64),
    pub(super) waits: ThreadWaits,
    pub(super) storage_origin: StorageOrigin,
    pub(super) before: Option<Box<(u64, Counters)>>,
    /// The sample in which it was first seen with the switches that it has.
    pub(super) still_since_ns: u64,
    pub(super) seen_ns: u64,
    /// The first sample after which it had left the scan; 0 while it is in it.
    pub(super) missing_since_ns: u64,
    /// It was given up, and its end counted: its final record may still come.
    pub(super) is_given_up: bool,
}

impl ThreadEntry {
    /// How often it waited for a CPU how long, since it has a histogram.
    pub fn wait_buckets(&self) -> [u64; BUCKETS] {
        self.waits.buckets()
    }

    /// For how long it has done what it does by `now_ns`, in nanoseconds: of one that sleeps, since it was put on a CPU
    /// last; of one that runs or is blocked, since it was first seen so.
    pub fn still_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.still_since_ns)
    }

    /// Its longest burst in the interval `epoch`, CPU time between two voluntary switches, in nanoseconds.
    pub fn burst_ns(&self, epoch: u64) -> u64 {
        if self.burst.0 == epoch { self.burst.1 } else { 0 }
    }

    /// What its counters grew by in the interval `epoch`.
    pub fn grown(&self, epoch: u64) -> Counters {
        match self.before.as_deref() {
            Some((of, before)) if *of == epoch => combine(self.counters, *before, u64::wrapping_sub),
            _ => self.standing.grown(epoch),
        }
    }
}

/// What a thread goes on with for as long as the programs say that its record stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// Up to when its times go, by the clock of the run queues.
    as_of_ns: u64,
    state: Option<TimeState>,
    /// The last interval in which it only stood, and for how long.
    stood: (u64, u64),
}

impl Standing {
    /// As its record has it.
    pub(super) fn of(record: &record::ThreadPart) -> Self {
        Self { as_of_ns: record.as_of_ns, state: TimeState::of_index(record.standing_state), stood: (u64::MAX, 0) }
    }

    /// It still does the same. Returns what, and for how long since it was asked last, in nanoseconds.
    pub(super) fn go_on(&mut self, now_ns: u64, epoch: u64) -> Option<(TimeState, u64)> {
        let state = self.state?;
        let more_ns = now_ns.saturating_sub(self.as_of_ns);
        self.as_of_ns = self.as_of_ns.max(now_ns);
        self.stood = (epoch, more_ns);
        Some((state, more_ns))
    }

    fn grown(&self, epoch: u64) -> Counters {
        let mut grown = Counters::default();
        if let (Some(state), (of, ns)) = (self.state, self.stood)
            && of == epoch
        {
            grown.time_ns[state as usize] = ns;
        }
        grown
    }
}

/// What a thread's storage began with. Some kernels empty it (docs/kernels.md), and the scan gives the thread a new
/// one.
#[derive(Clone, Debug, Default)]
pub(super) struct StorageOrigin {
    /// The `run_delay` at which it was made; `None` before one was seen.
    pub(super) base_ns: Option<u64>,
    earlier: Option<Box<Counters>>,
}

impl StorageOrigin {
    /// Whether a record's storage is another one than that of the record before, after which the thread's counters were
    /// `before`. One that was emptied before its thread ever waited has the same base.
    pub(super) fn is_other(&self, record: &record::ThreadPart, before: Counters) -> bool {
        // Times are told before they are over, so they say nothing.
        let counts = |counters| Counters { time_ns: [0; TIME_STATES], ..of_storage(counters) };
        let last = combine(counts(before), counts(self.earlier()), u64::wrapping_sub).to_array();
        let lacks_counts = || counts(record.counters).to_array().iter().zip(last).any(|(now, last)| *now < last);
        self.base_ns.is_some_and(|base_ns| base_ns != record.run_delay_base_ns || lacks_counts())
    }

    /// The counts of the one that is gone stay.
    pub(super) fn begin_anew(&mut self, before: Counters) {
        self.earlier = Some(Box::new(of_storage(before)));
    }

    /// What those before it had counted.
    pub(super) fn earlier(&self) -> Counters {
        self.earlier.as_deref().copied().unwrap_or_default()
    }
}

/// Threads of a process that ended, that are still in the ledger, and of which only sums are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Unresolved {
    /// How many: as many entries are to go without their ends being counted.
    pub(super) threads: u64,
    /// Their whole histograms, less those of the entries that went.
    pub(super) waits: Waits,
    /// What they waited since the last scan that saw them.
    pub(super) waited_ns: u64,
    /// Their whole times, less those of the entries that went.
    pub(super) time_ns: [u64; TIME_STATES],
}

/// One process.
#[derive(Clone, Debug, Default)]
pub struct ProcessEntry {
    /// What names it: comm, executable, uid, cgroup.
    pub identity: Identity,
    /// What its leader reported last.
    pub facts: record::ProcessPart,
    /// Its group; `None` until its leader was seen.
    pub group: Option<GroupId>,
    /// All that its threads did, dead ones included.
    pub totals: Totals,
    /// Threads by state at the last scan.
    pub threads: [u32; ThreadState::ALL.len()],
    /// Deepest kernel stack of its threads at the last scan, in bytes.
    pub stack_depth_max_bytes: u32,
    /// Its thread that was blocked for longest at the last scan; `None` if none was.
    pub longest_blocked: Option<Blocked>,
    /// Which cgroups refused it a clone last.
    pub refused_by: RefusedBy,
    /// Who took the CPU from its threads; `None` while none of them has waited for long.
    pub taken: Option<Box<Taken>>,
    pub(super) unresolved: Option<Box<Unresolved>>,
    /// Name of a thread that ended before the leader was seen.
    pub(super) fallback_comm: [u8; COMM_BYTES],
    pub(super) interval: Interval,
    /// What was counted before the group was known.
    pub(super) unassigned: Totals,
    /// How long its threads did nothing but what they did at the last scan, by [`TimeState`].
    pub(super) stood_ns: [u64; TIME_STATES],
    /// What its children had taken before an interval.
    children_cpu_before: Option<(u64, u64)>,
    /// Entries in [`Ledger::threads`].
    pub(super) entries: u32,
    pub(super) leader_ended: bool,
    pub(super) touched_ns: u64,
}

/// A thread in uninterruptible sleep.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// Its thread id.
    pub tid: u32,
    /// Its name, ended by a 0.
    pub comm: [u8; COMM_BYTES],
    /// For how long at the least, in nanoseconds.
    pub ns: u64,
}

impl ProcessEntry {
    /// Takes in what a thread is doing.
    pub(super) fn saw_thread(&mut self, thread: &ThreadEntry, now_ns: u64) {
        self.threads[thread.state as usize] += 1;
        self.stack_depth_max_bytes = self.stack_depth_max_bytes.max(thread.stack_depth_bytes);
        let ns = thread.still_ns(now_ns);
        if thread.state == ThreadState::Blocked && self.longest_blocked.is_none_or(|longest| ns > longest.ns) {
            self.longest_blocked = Some(Blocked { tid: thread.tid, comm: thread.comm, ns });
        }
    }

    /// What was added in the interval `epoch`.
    pub fn interval(&self, epoch: u64) -> Option<&Totals> {
        self.interval.in_epoch(epoch)
    }

    /// Takes over what its leader reports.
    pub(super) fn take_facts(&mut self, facts: &record::ProcessPart, epoch: u64) {
        self.children_cpu_before = match self.children_cpu_before {
            Some((of, before)) if of == epoch => Some((of, before)),
            Some(_) => Some((epoch, self.facts.children_cpu_ns)),
            None => Some((epoch, facts.children_cpu_ns)),
        };
        self.facts = *facts;
    }

    /// CPU time of children that were waited for in the interval `epoch`, in nanoseconds.
    pub fn children_cpu_grown_ns(&self, epoch: u64) -> u64 {
        match self.children_cpu_before {
            Some((of, before)) if of == epoch => self.facts.children_cpu_ns.saturating_sub(before),
            _ => 0,
        }
    }

    /// Whether a limit can refuse it a thread: kernel threads are created by no limit, and what has ended creates none.
    pub fn may_create_threads(&self) -> bool {
        let ended = self.threads[ThreadState::Zombie as usize];
        !self.identity.is_kernel_thread && self.live_threads() > ended
    }

    /// Threads at the last scan, zombies included.
    pub fn live_threads(&self) -> u32 {
        self.threads.iter().sum()
    }
}
