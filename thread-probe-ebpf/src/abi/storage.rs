//! What the programs keep for each task, in task-local storage.

use super::{
    record::{COMM_BYTES, Waits},
    time::TIME_STATES,
};

/// The value of the `TASKS` map. The kernel frees it with the task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskStorage {
    // What the context switch writes comes first: the kernel begins the value in the cache line that it looks up.
    /// The part of `run_delay` that the histogram has seen, in nanoseconds.
    pub accounted_ns: u64,
    /// Switches to this task from another of its process.
    pub same_process_switches: u64,
    /// Where its last arrival on a CPU left it.
    pub period: Period,
    /// As `period.since_ns`, which is written before all else at an arrival; this is written after all else. Who finds
    /// both the same, this one read first and that one last, has read the whole of one arrival.
    pub closed_ns: u64,
    /// Its bursts.
    pub burst: Burst,
    /// 1 if it was last switched away from to be stopped, traced or frozen.
    pub is_stopped: u64,
    /// Where its time went until `period.since_ns`, by [`super::time::TimeState`], in nanoseconds.
    pub time_ns: [u64; TIME_STATES],
    /// How long it waited for a CPU, each time.
    pub waits: Waits,
    /// `run_delay` when this storage was made, in nanoseconds.
    pub run_delay_base_ns: u64,
    /// `start_boottime` of the group leader, in nanoseconds since boot.
    pub process_start_ns: u64,
    /// When the task began to exit, in nanoseconds since boot; 0 before.
    pub ended_ns: u64,
    /// When the clone that this task is in began, in nanoseconds since boot; 0 outside.
    pub clone_started_ns: u64,
    /// How many words of `waits` are not 0. Counted in memory as the task is freed: the verifier would follow every
    /// value that a register could have.
    pub occupied_words: u64,
    /// What the last scan wrote of this task.
    pub sent: Sent,
    /// The comm that the last scan wrote.
    pub sent_comm: [u64; COMM_BYTES / 8],
    /// The state that the last scan wrote. 0, which is TASK_RUNNING and fresh storage, means "send it anyway".
    pub sent_state: u32,
    /// [`UNSEEN`], [`SEEN`] or [`ADOPTED`].
    pub seen: u32,
}

/// The beginning of a period that ends with the next arrival on a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    /// When the task arrived last, or got its storage, by the run queue's clock; 0 before the first arrival of one that
    /// had its storage before.
    pub since_ns: u64,
    /// `sum_exec_runtime` then.
    pub cpu_ns: u64,
    /// `nvcsw` then.
    pub voluntary_switches: u64,
    /// Address of the CFS run queue that it was on then.
    pub cfs_rq: u64,
    /// For how long that had been throttled, in nanoseconds.
    pub throttled_ns: u64,
}

/// CPU time between two voluntary switches: see `logic::burst`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Burst {
    /// `sum_exec_runtime` when the burst began that is not over.
    pub since_cpu_ns: u64,
    /// `sum_exec_runtime` at the last telling.
    pub told_cpu_ns: u64,
    /// How often the longest one was told, which the scan alone writes: its lowest bit is the place of `longest_ns`
    /// that the context switch writes.
    pub tellings: u64,
    /// The longest since the last telling, in nanoseconds; and where the next one will be.
    pub longest_ns: [u64; 2],
}

/// Those counters of a task that the last scan wrote which are needed again: to tell whether they changed, and what is
/// to be added if they do not get through.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// See [`super::record::Counters`], for all of them.
    pub voluntary_switches: u64,
    /// Involuntary ones.
    pub involuntary_switches: u64,
    /// In nanoseconds.
    pub run_delay_ns: u64,
    /// Runs after a wait.
    pub runs: u64,
    /// In nanoseconds.
    pub cpu_ns: u64,
    /// Switches from another thread of the process.
    pub same_process_switches: u64,
}

/// As [`Period::voluntary_switches`] of a new task: no number of switches is the same, so it counts as woken.
pub const NEVER_SWITCHED: u64 = u64::MAX;

/// No scan has written this task: the daemon does not know it.
pub const UNSEEN: u32 = 0;
/// A scan has written this task, its histogram too.
pub const SEEN: u32 = 1;
/// No scan has written this storage, which the task did not begin with: the daemon may know the task.
pub const ADOPTED: u32 = 2;

const _: () = assert!(size_of::<TaskStorage>() == 19 * 8 + 8 * TIME_STATES + 512 + 6 * 8 + 16 + 8);
// With the kernel's own element header it stays within the 1 kB slab.
const _: () = assert!(size_of::<TaskStorage>() <= 900);
