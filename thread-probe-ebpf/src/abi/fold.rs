//! What is added up in the kernel: the ends of threads that no scan has seen, and clones that failed. Of these nobody
//! asks for the single thread, so that sums tell all there is to tell, and sums can't overrun a buffer.

use super::{
    names::CloneFailure,
    record::{COMM_BYTES, Counters, EXE_BYTES, Waits},
};

/// Upper bounds, inclusive, of the classes of thread lifetimes, in nanoseconds; a last class has none.
pub const LIFETIME_BOUNDS_NS: [u64; 8] =
    [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 100_000_000_000, 1_000_000_000_000];

/// Classes of lifetimes.
pub const LIFETIMES: usize = LIFETIME_BOUNDS_NS.len() + 1;

/// The class of a lifetime.
#[inline(always)]
pub const fn lifetime_class(lifetime_ns: u64) -> usize {
    let mut class = 0;
    while class < LIFETIME_BOUNDS_NS.len() && lifetime_ns > LIFETIME_BOUNDS_NS[class] {
        class += 1;
    }
    class
}

/// Names a process: the key of the sums by process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FoldedProcess {
    /// Thread group id.
    pub tgid: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
    /// `start_boottime` of the leader, nanoseconds since boot.
    pub start_ns: u64,
}

/// What the name of a process's group depends on: the key of the sums over processes that no scan has seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FoldedLeader {
    /// Name of the main thread, ended by a 0.
    pub comm: [u8; COMM_BYTES],
    /// File name of the executable, ended by a 0; empty once the process has given up its memory.
    pub exe: [u8; EXE_BYTES],
    /// Address of the `css_set`.
    pub css_set: u64,
    /// Id of its cgroup in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Real uid in the initial user namespace.
    pub uid: u32,
    /// [`PF_KTHREAD`] of its flags.
    pub flags: u32,
}

/// A process that ended before a scan saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedLeader {
    /// What names it.
    pub leader: FoldedLeader,
    /// When it began to exit, in nanoseconds since boot.
    pub ended_ns: u64,
}

/// Of include/linux/sched.h: a kernel thread.
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// Sums since the entry was made. All only ever grow, and wrap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// What the threads did that no scan has seen. The times are whole.
    pub counters: Counters,
    /// Clones that failed, by [`CloneFailure`].
    pub clone_failures: [u64; CloneFailure::ALL.len()],
    /// Id of the cgroup whose `pids.max` refused a clone last; 0 if none did.
    pub refused_by_pids: u64,
    /// Id of the cgroup whose memory limit refused a clone last; 0 if none did. In another hierarchy, the same id is
    /// another cgroup.
    pub refused_by_memory: u64,
    /// Threads that ended.
    pub ends: u64,
    /// Of those whose end was seen, how long they lived: counts by [`lifetime_class`].
    pub lifetimes: [u64; LIFETIMES],
    /// The sum of those, in nanoseconds.
    pub lifetimes_ns: u64,
    /// How long they waited for a CPU, in nanoseconds: the sum of `waits`.
    pub waited_ns: u64,
    /// How long each wait was.
    pub waits: Waits,
    /// Of a sum by process: the name of a thread that ended or, once `leader_ended`, all of the leader's.
    pub leader: FoldedLeader,
    /// 1 if the leader's end is among those of this process.
    pub leader_ended: u64,
}

impl Folded {
    /// Field by field; what is a name stays.
    pub fn plus(self, other: Self) -> Self {
        self.zip(&other, u64::wrapping_add, u32::wrapping_add)
    }

    /// What was added since `before`; what is a name stays.
    pub fn since(self, before: &Self) -> Self {
        self.zip(before, u64::wrapping_sub, u32::wrapping_sub)
    }

    fn zip(mut self, other: &Self, operation: fn(u64, u64) -> u64, of_buckets: fn(u32, u32) -> u32) -> Self {
        let apply = |to: &mut u64, with: u64| *to = operation(*to, with);
        let mut counters = self.counters.to_array();
        counters.iter_mut().zip(other.counters.to_array()).for_each(|(to, with)| apply(to, with));
        self.counters = Counters::from_array(counters);
        self.clone_failures.iter_mut().zip(other.clone_failures).for_each(|(to, with)| apply(to, with));
        apply(&mut self.ends, other.ends);
        self.lifetimes.iter_mut().zip(other.lifetimes).for_each(|(to, with)| apply(to, with));
        apply(&mut self.lifetimes_ns, other.lifetimes_ns);
        apply(&mut self.waited_ns, other.waited_ns);
        for (to, with) in self.waits.buckets.iter_mut().zip(other.waits.buckets) {
            *to = of_buckets(*to, with);
        }
        self
    }
}

/// Words of each: the maps' keys and values as the daemon reads them.
pub const PROCESS_WORDS: usize = size_of::<FoldedProcess>() / 8;
/// See [`PROCESS_WORDS`].
pub const LEADER_WORDS: usize = size_of::<FoldedLeader>() / 8;
/// See [`PROCESS_WORDS`].
pub const ENDED_LEADER_WORDS: usize = size_of::<EndedLeader>() / 8;
/// See [`PROCESS_WORDS`].
pub const FOLDED_WORDS: usize = size_of::<Folded>() / 8;

macro_rules! words {
    ($($type:ty, $words:ident;)+) => { $(
        impl $type {
            /// From the words of a map.
            pub fn from_words(words: [u64; $words]) -> Self {
                // SAFETY: repr(C), integers only and no padding, so every bit pattern is valid; the size is checked
                // here.
                unsafe { core::mem::transmute(words) }
            }

            /// The words of a map.
            pub fn to_words(self) -> [u64; $words] {
                // SAFETY: as above.
                unsafe { core::mem::transmute(self) }
            }
        }
    )+ };
}

words! {
    FoldedProcess, PROCESS_WORDS;
    FoldedLeader, LEADER_WORDS;
    EndedLeader, ENDED_LEADER_WORDS;
    Folded, FOLDED_WORDS;
}

// No padding anywhere: each struct is as large as its fields.
const _: () = assert!(size_of::<FoldedProcess>() == 16);
const _: () = assert!(size_of::<EndedLeader>() == size_of::<FoldedLeader>() + 8);
const _: () = assert!(size_of::<FoldedLeader>() == COMM_BYTES + EXE_BYTES + 3 * 8);
const _: () = assert!(
    size_of::<Folded>()
        == size_of::<Counters>()
            + 8 * CloneFailure::ALL.len()
            + 5 * 8
            + 8 * LIFETIMES
            + size_of::<Waits>()
            + size_of::<FoldedLeader>()
            + 8
);
// With its key and the kernel's own header an element stays within the 2 kB that the kernel's allocator has.
const _: () = assert!(size_of::<Folded>() + size_of::<FoldedLeader>() + 56 <= 2048);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_on_a_bound_belongs_to_the_class_below_it() {
        assert_eq!([0, 50_000, 100_000, 100_001, u64::MAX].map(lifetime_class), [0, 0, 0, 1, 8]);
    }
}
