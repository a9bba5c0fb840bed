//! What one sample brings from the kernel: raw, cumulative records at one instant.

use std::{borrow::Cow, ops::Add};

use crate::text::named::named;
use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::{
    fold::{Folded, FoldedLeader, FoldedProcess},
    histogram::BUCKETS,
    names::Lost,
    record::{ProcessPart, ThreadPart, Waits},
};

/// One record, on whichever road it came.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// The thread is alive and its last record still stands.
    Unchanged {
        /// Address of its `task_struct`.
        task: u64,
    },
    /// The thread is alive.
    Alive(ThreadObservation<'a>),
    /// The thread ended: its counters are final.
    Ended(ThreadObservation<'a>),
}

/// The parts of a record that are there.
#[derive(Clone, Copy, Debug)]
pub struct ThreadObservation<'a> {
    /// The thread's own.
    pub thread: &'a ThreadPart,
    /// Its process's, if it is the leader.
    pub process: Option<&'a ProcessPart>,
    /// Its histogram; without one the last stands.
    pub waits: Option<&'a Waits>,
}

/// Who the programs' sums are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FoldOf {
    /// Threads of a process that no scan has seen, and its clones that failed.
    Process(FoldedProcess),
    /// Threads of a process that a scan has seen, for which the ring had no room. The histogram is the whole of theirs.
    Known(FoldedProcess),
    /// Processes that no scan has seen.
    Leader(FoldedLeader),
}

/// What the programs count for the host as a whole, since they were loaded.
#[derive(Clone, Copy, Debug)]
pub struct HostCounters {
    /// Dropped events, by [`Lost`].
    pub lost: [u64; Lost::ALL.len()],
    /// Records of the ring that were none.
    pub malformed_records: u64,
    /// Runs of a program that the kernel skipped.
    pub missed_runs: u64,
    /// The same of the program on the return of a clone, which does something only for one that failed.
    pub missed_clone_returns: u64,
    /// Lines of the log that nobody read.
    pub log_lines_left_out: u64,
    /// Runs of the program on the context switch.
    pub switch_runs: Runs,
    /// What could be added to no process.
    pub orphans: Folded,
    /// Successful clones by duration.
    pub clone_duration_buckets: [u64; BUCKETS],
    /// The sum of those durations, in nanoseconds.
    pub clone_duration_sum_ns: u64,
}

impl Default for HostCounters {
    fn default() -> Self {
        Self {
            lost: [0; Lost::ALL.len()],
            malformed_records: 0,
            missed_runs: 0,
            missed_clone_returns: 0,
            log_lines_left_out: 0,
            switch_runs: Runs::default(),
            orphans: Folded::default(),
            clone_duration_buckets: [0; BUCKETS],
            clone_duration_sum_ns: 0,
        }
    }
}

/// The kernel memory that one thread costs, in bytes; none of it can be swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadCost {
    /// The kernel stack: THREAD_SIZE.
    pub stack_bytes: u64,
    /// The `task_struct` with its FPU area: the slab's object size, or BTF's size of the structure alone where the
    /// slab can't be read.
    pub task_struct_bytes: u64,
    /// Whether `task_struct_bytes` is the slab's.
    pub task_struct_from_slab: bool,
    /// What thread-probe itself keeps for each thread in task storage.
    pub probe_bytes: u64,
}

impl ThreadCost {
    /// All of it, in bytes.
    pub fn kernel_bytes(&self) -> u64 {
        self.stack_bytes + self.task_struct_bytes + self.probe_bytes
    }
}

/// Runs since the programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Those that were skipped; 0 on a kernel that does not count them, which is one before 5.12.
    pub skipped: u64,
    /// Those that were timed: while `kernel.bpf_stats_enabled` is 1.
    pub timed: u64,
    /// The time these took, in nanoseconds.
    pub timed_ns: u64,
}

impl Add for Runs {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            skipped: self.skipped + other.skipped,
            timed: self.timed + other.timed,
            timed_ns: self.timed_ns + other.timed_ns,
        }
    }
}

named! {
    /// The kind of hook a program is attached to.
    pub enum Source {
        /// A tracepoint with typed arguments.
        TpBtf = "tp_btf",
        /// A task iterator.
        Iter = "iter",
        /// Entry and return of a kernel function.
        Fexit = "fexit",
        /// Tracepoints of system calls.
        Tracepoint = "tracepoint",
        /// Not attached.
        None = "none",
    }
}

/// One program, and whether and where it is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedProgram {
    /// Its name.
    pub program: Cow<'static, str>,
    /// Where it is attached.
    pub source: Source,
    /// Why there and not elsewhere; empty where there is no choice.
    pub reason: String,
}

impl AttachedProgram {
    /// Attached there, where there is no choice.
    pub(crate) fn new(program: &'static str, source: Source) -> Self {
        Self { program: program.into(), source, reason: String::new() }
    }

    /// Whether it is attached anywhere.
    pub fn is_attached(&self) -> bool {
        self.source != Source::None
    }
}
