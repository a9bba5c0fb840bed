//! Where a thread's time goes: states that exclude each other, so that their times add up to the wall clock.

use super::names::indexed;

indexed! {
    /// What a thread spends its time with. The value is the index into [`super::record::Counters::time_ns`].
    pub enum TimeState {
        /// On a CPU: growth of `sum_exec_runtime`.
        Running = "running",
        /// It was woken up and waits for a CPU.
        WaitWakeup = "wait_wakeup",
        /// Something else was to run, or it yielded: it waits for a CPU.
        WaitPreempted = "wait_preempted",
        /// It waits for a CPU because the quota of its cgroup, or of one above, is used up.
        Throttled = "throttled",
        /// It sleeps until a disk has done its part: `in_iowait`.
        Io = "io",
        /// It sleeps uninterruptibly and not for a disk: a lock in the kernel, NFS, memory.
        Uninterruptible = "uninterruptible",
        /// It sleeps in futex(2): a mutex, a condition variable, join.
        Lock = "lock",
        /// It sleeps in epoll_wait(2), poll(2), select(2), io_uring_enter(2): until one of several things happens.
        Poll = "poll",
        /// It sleeps until a time, or until a signal comes.
        Sleep = "sleep",
        /// It sleeps in a call on a file or pipe.
        File = "file",
        /// It sleeps in a call on a socket.
        Network = "network",
        /// It waits for a child to end or, in vfork(2), to execute.
        Child = "child",
        /// It sleeps where no system call led it: a page fault, mostly.
        Fault = "fault",
        /// It is stopped, traced or frozen.
        Stopped = "stopped",
        /// It sleeps in another system call, or is a thread of the kernel that has nothing to do.
        Other = "other",
        /// The clock went on and none of the above did: interrupts, and time that a hypervisor took.
        Unaccounted = "unaccounted",
    }
}

/// How many states there are: a power of two, so that the programs can mask an index.
pub const TIME_STATES: usize = TimeState::ALL.len();

const _: () = assert!(TIME_STATES.is_power_of_two());

impl TimeState {
    /// The state of that index; none of a number that is no index.
    pub const fn of_index(index: u32) -> Option<Self> {
        if (index as usize) < TIME_STATES { Some(Self::ALL[index as usize]) } else { None }
    }
}

/// System calls whose class the programs look up: numbers from 0 to one less, of each ABI.
pub const SYSCALLS: usize = 512;

/// The class of each system call, a [`TimeState`], by number: first of the kernel's own ABI, then of 32-bit programs.
/// [`VFORK`] is set where the caller waits frozen, though nobody froze it.
pub type SyscallClasses = [u8; 2 * SYSCALLS];

/// See [`SyscallClasses`].
pub const VFORK: u8 = 0x80;
