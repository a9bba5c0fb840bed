//! What the programs keep for each task, in task-local storage.

use super::record::{COMM_BYTES, Counters, Waits};

/// The value of the `TASKS` map. The kernel frees it with the task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskStorage {
    // What the context switch writes comes first: the kernel begins the value in the cache line that it looks up.
    /// The part of `run_delay` that the histogram has seen, in nanoseconds.
    pub accounted_ns: u64,
    /// Switches to this task from another of its process.
    pub same_process_switches: u64,
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
    pub sent: Counters,
    /// The comm that the last scan wrote.
    pub sent_comm: [u64; COMM_BYTES / 8],
    /// The state that the last scan wrote. 0, which is TASK_RUNNING and fresh storage, means "send it anyway".
    pub sent_state: u32,
    /// [`UNSEEN`], [`SEEN`] or [`ADOPTED`].
    pub seen: u32,
}

/// No scan has written this task: the daemon does not know it.
pub const UNSEEN: u32 = 0;
/// A scan has written this task, its histogram too.
pub const SEEN: u32 = 1;
/// No scan has written this storage, which the task did not begin with: the daemon may know the task.
pub const ADOPTED: u32 = 2;

const _: () = assert!(size_of::<TaskStorage>() == 7 * 8 + 512 + 8 * 8 + 16 + 8);
// With the kernel's own element header it stays within the 1 kB slab.
const _: () = assert!(size_of::<TaskStorage>() <= 900);
