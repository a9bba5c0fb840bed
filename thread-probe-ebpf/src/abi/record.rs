//! The record of one thread. It travels two roads: the scan (the thread is alive) and the ring buffer (it ended).
//!
//! On the ring a record is a whole [`ThreadRecord`]. In the scan's stream it is cut to what changed: a [`Head`]
//! alone says "as before"; else the [`ThreadPart`], then the [`ProcessPart`] if [`PART_PROCESS`] is set, then
//! the [`Waits`] if [`PART_WAITS`] is set. Both sides are on one machine, so the layout is the machine's own.

use super::{histogram::BUCKETS, time::TIME_STATES};

/// The record has the fields after [`Head`]; without it everything but the head is as in the last record.
pub const PART_THREAD: u32 = 1 << 0;
/// The [`ProcessPart`] is filled. In the scan's stream, only that of a thread that leads its group is.
pub const PART_PROCESS: u32 = 1 << 1;
/// The [`Waits`] are filled; without it they are as in the last record, or empty if there was none.
pub const PART_WAITS: u32 = 1 << 2;
/// The thread ended: these counters are final.
pub const PART_ENDED: u32 = 1 << 3;
/// The thread's storage was at hand: what the programs count themselves is filled, not 0.
pub const PART_STORAGE: u32 = 1 << 4;

/// `ended_ns` is when the thread began to exit, not when it was freed.
pub const PART_END_SEEN: u32 = 1 << 5;

/// Ids below are handed out once: when all others were used, the kernel goes on from here (RESERVED_PIDS of
/// `include/linux/threads.h`).
pub const RESERVED_IDS: u64 = 300;

/// Bytes of a comm, with its terminating 0: `TASK_COMM_LEN` of `include/linux/sched.h`.
pub const COMM_BYTES: usize = 16;
/// Bytes kept of the name of an executable.
pub const EXE_BYTES: usize = 32;

/// No [`super::time::TimeState`].
pub const NO_STATE: u32 = u32::MAX;

/// As [`ThreadPart::syscall`].
pub const NO_SYSCALL: u32 = u32::MAX;
/// See [`ThreadPart::syscall`]; more than any number.
pub const COMPAT_SYSCALL: u32 = 1 << 30;

/// Names the task, and says which parts follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Address of the `task_struct`: names one task from its creation until it is freed, also across an exec that
    /// gives it another tid. It never leaves the daemon.
    pub task: u64,
    /// `PART_*` bits.
    pub parts: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
}

/// Counters of a thread since it was created; all only ever grow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `task_struct.nvcsw`: switches away because the thread blocked.
    pub voluntary_switches: u64,
    /// `task_struct.nivcsw`: switches away because something else was to run.
    pub involuntary_switches: u64,
    /// `sched_info.run_delay`: nanoseconds runnable but not running.
    pub run_delay_ns: u64,
    /// `sched_info.pcount`: times the thread was put on a CPU after waiting for one.
    pub runs: u64,
    /// `se.sum_exec_runtime`: nanoseconds on a CPU; up to a tick behind while the thread runs.
    pub cpu_ns: u64,
    /// Switches to this thread from another thread of its process.
    pub same_process_switches: u64,
    /// Threads created in its own process. 0 in the record of a thread: they count for the process, as a kernel may
    /// empty a thread's storage.
    pub threads_created: u64,
    /// Processes created. As `threads_created`.
    pub processes_created: u64,
    /// Nanoseconds since the thread got its storage, by [`super::time::TimeState`], of the run queues' clocks. In the
    /// record of a live thread with what it is doing now, up to [`ThreadPart::as_of_ns`].
    pub time_ns: [u64; TIME_STATES],
}

/// Number of `u64` in [`Counters`].
pub const COUNTERS: usize = size_of::<Counters>() / 8;

impl Counters {
    /// The counters in the order of their declaration.
    #[inline(always)]
    pub const fn to_array(self) -> [u64; COUNTERS] {
        // SAFETY: repr(C), nothing but u64, so no padding and the same size, which the type system checks here.
        unsafe { core::mem::transmute(self) }
    }

    /// The inverse of [`Self::to_array`].
    #[inline(always)]
    pub fn from_array(array: [u64; COUNTERS]) -> Self {
        // SAFETY: as above, and every bit pattern is a valid u64.
        unsafe { core::mem::transmute(array) }
    }
}

/// The part every thread has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadPart {
    /// Which task, and which parts.
    pub head: Head,
    /// Thread group id: the process.
    pub tgid: u32,
    /// `PF_*` flags of `include/linux/sched.h`.
    pub flags: u32,
    /// `task_struct.start_boottime`, nanoseconds since boot. An exec by a thread that is not the leader gives it
    /// the leader's.
    pub start_boottime_ns: u64,
    /// `start_boottime` of the group's leader, which with the tgid names the process; 0 without storage.
    pub process_start_ns: u64,
    /// When the thread began to exit, nanoseconds since boot; when it was freed if that was missed; 0 while alive.
    pub ended_ns: u64,
    /// `task_struct.__state`, `TASK_*` of `include/linux/sched.h`.
    pub state: u32,
    /// `task_struct.exit_state`, `EXIT_*` of the same.
    pub exit_state: u32,
    /// Bytes of kernel stack in use when the thread was last switched out; 0 if its stack is gone.
    pub stack_depth_bytes: u32,
    /// Bytes of its kernel stack: THREAD_SIZE; 0 if its stack is gone.
    pub stack_bytes: u32,
    /// `run_delay` when the thread got its storage: the histogram's sum is `run_delay` less this.
    pub run_delay_base_ns: u64,
    /// Up to when `time_ns` goes, by the run queues' clocks: of a running thread up to a tick ago. 0 without storage.
    pub as_of_ns: u64,
    /// What it is doing for as long as its record stands: the [`super::time::TimeState`] that the time from then on
    /// belongs to; [`NO_STATE`] while that can't be said.
    pub standing_state: u32,
    /// The number of the system call that it sleeps in, with [`COMPAT_SYSCALL`] if that is one of a 32-bit program on a
    /// 64-bit kernel; [`NO_SYSCALL`] if it sleeps in none, or does not sleep.
    pub syscall: u32,
    /// Nanoseconds since it was put on a CPU last, by the run queues' clocks; of no meaning once it has ended.
    pub since_arrival_ns: u64,
    /// The longest burst since the last record: CPU time between two voluntary switches, in nanoseconds.
    pub burst_max_ns: u64,
    /// Name of the thread, ended by a 0.
    pub comm: [u8; COMM_BYTES],
    /// What it counted.
    pub counters: Counters,
}

/// The part only the leader of a thread group has: what the threads of a process share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessPart {
    /// tgid of the real parent.
    pub parent_tgid: u32,
    /// Real uid in the initial user namespace.
    pub uid: u32,
    /// 1 if RLIMIT_NPROC does not hold for it: the real uid is 0, or it has CAP_SYS_RESOURCE or CAP_SYS_ADMIN in the
    /// first user namespace (`copy_process`).
    pub is_exempt_from_nproc: u32,
    /// `mm->map_count`: memory mappings, against `vm.max_map_count`; 0 without an mm.
    pub map_count: u32,
    /// `mm->total_vm`: pages of address space, against RLIMIT_AS; 0 without an mm.
    pub total_vm_pages: u64,
    /// `cgroups->dfl_cgrp->kn->id`: the id of its cgroup in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Address of the `css_set`: changes when the process moves in any hierarchy. It never leaves the daemon.
    pub css_set: u64,
    /// Inode of the pid namespace that its threads get ids in; 0 if it is exiting.
    pub pid_ns: u32,
    /// Inode of the one above it; 0 if there is none.
    pub pid_ns_parent: u32,
    /// Ids in use in that namespace, those of ended process groups included.
    pub pid_ns_used: u32,
    /// `pid_max` of that namespace; 0 before Linux 6.14, where all have the sysctl's.
    pub pid_ns_max: u32,
    /// Threads that count against RLIMIT_NPROC: of the real uid in its user namespace or, where that is nearer to its
    /// limit, of the user that namespace is charged to.
    pub nproc_used: u64,
    /// What they may be at most.
    pub nproc_max: u64,
    /// Whose they are, as a uid in the first user namespace.
    pub nproc_uid: u32,
    /// `static_prio` of the leader: its nice value and 120.
    pub static_prio: u32,
    /// Scheduling policy of the leader: `SCHED_*` of include/uapi/linux/sched.h.
    pub policy: u32,
    /// CPUs that the leader may run on: `nr_cpus_allowed`.
    pub allowed_cpus: u32,
    /// CPU time of its children that ended and were waited for, and of theirs: `signal->cutime + cstime`, in
    /// nanoseconds.
    pub children_cpu_ns: u64,
    /// Soft RLIMIT_NPROC, in threads of the real uid.
    pub rlimit_nproc: u64,
    /// Soft RLIMIT_AS, in bytes.
    pub rlimit_as_bytes: u64,
    /// Soft RLIMIT_STACK, in bytes.
    pub rlimit_stack_bytes: u64,
    /// File name of the executable, ended by a 0 and cut to fit; empty without an mm.
    pub exe: [u8; EXE_BYTES],
}

/// What the programs can't see of the host's limits, as the daemon last read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// `kernel.threads-max`.
    pub threads_max: u64,
    /// `kernel.pid_max` of the first pid namespace.
    pub pid_max: u64,
    /// CPUs: as many threads may have ended elsewhere between the refusal of a clone and its return.
    pub cpus: u64,
}

impl HostLimits {
    /// The fields in the order of their declaration: the value of the map.
    pub const fn to_array(self) -> [u64; size_of::<Self>() / 8] {
        [self.threads_max, self.pid_max, self.cpus]
    }
}

/// How long the thread waited for a CPU, each time since it got its storage. `u32` that wrap.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Count by [`super::histogram::bucket_of`].
    pub buckets: [u32; BUCKETS],
}

impl Default for Waits {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS] }
    }
}

/// Everything about one thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadRecord {
    /// The part every thread has.
    pub thread: ThreadPart,
    /// Filled if [`PART_PROCESS`] is set.
    pub process: ProcessPart,
    /// Filled if [`PART_WAITS`] is set.
    pub waits: Waits,
}

/// Words of a histogram, of two buckets each, that a [`ShortRecord`] has room for.
pub const SHORT_WORDS: usize = 8;

/// The final record of a thread that does not lead its group and whose histogram has few buckets that are not empty,
/// as most threads' have: a third of a [`ThreadRecord`], so that the ring holds the threads of a large process that
/// ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortRecord {
    /// The part every thread has.
    pub thread: ThreadPart,
    /// Where each of the words stands in the histogram.
    pub indices: [u8; SHORT_WORDS],
    /// Two buckets a word; a word of 0 stands for nothing.
    pub words: [u64; SHORT_WORDS],
}

impl ShortRecord {
    /// The histogram.
    pub fn waits(&self) -> Waits {
        let mut waits = Waits::default();
        for (index, word) in self.indices.iter().zip(self.words) {
            let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
            let counts = [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])];
            let buckets = waits.buckets.iter_mut().skip(usize::from(*index) * 2);
            for (bucket, count) in buckets.zip(counts) {
                *bucket += count;
            }
        }
        waits
    }
}

// No padding anywhere: each struct is as large as its fields.
const _: () = assert!(size_of::<Head>() == 16);
const _: () = assert!(size_of::<Counters>() == 8 * 8 + 8 * TIME_STATES);
const _: () = assert!(
    size_of::<ThreadPart>() == 16 + 8 + 3 * 8 + 4 * 4 + 2 * 8 + 2 * 4 + 2 * 8 + COMM_BYTES + size_of::<Counters>()
);
const _: () = assert!(size_of::<ProcessPart>() == 12 * 4 + 9 * 8 + EXE_BYTES);
const _: () = assert!(size_of::<Waits>() == 4 * BUCKETS);
const _: () =
    assert!(size_of::<ThreadRecord>() == size_of::<ThreadPart>() + size_of::<ProcessPart>() + size_of::<Waits>());
const _: () = assert!(size_of::<ShortRecord>() == size_of::<ThreadPart>() + SHORT_WORDS + 8 * SHORT_WORDS);
