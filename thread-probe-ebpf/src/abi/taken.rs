//! Who has a CPU while others wait for it.

/// Turns on a CPU that it remembers. A wait that began before them is charged as far as they reach.
pub const TURNS: usize = 1024;

/// Takers that a wait is added up by before the map is touched.
pub const SUMS: usize = 8;

/// A wait shorter than this, in nanoseconds, is charged to nobody: such waits are most of all, and take little time.
pub const LONG_WAIT_NS: u64 = 1_000_000;

/// A process's turn on a CPU; it lasts until the next one begins.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// When it began, by the run queue's clock; 0 if none did.
    pub since_ns: u64,
    /// Whose it is: a thread group id, 0 of an idle CPU.
    pub tgid: u64,
}

/// What one taker took of a wait.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// A thread group id, 0 of an idle CPU.
    pub tgid: u64,
    /// In nanoseconds.
    pub ns: u64,
}

/// What is remembered of a CPU. Written and read at its own context switches only.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Occupants {
    /// How many turns there were: the next one goes to this place, modulo [`TURNS`].
    pub turns_begun: u64,
    /// The last of them.
    pub turns: [Turn; TURNS],
    /// Where a wait is added up: all 0 in between.
    pub sums: [Sum; SUMS],
}

/// Who waited, and who had the CPU meanwhile: the key of the times that the daemon reads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Thread group id of who waited.
    pub waiter: u32,
    /// Thread group id of who had the CPU, or one of [`IDLE`], [`ELSEWHERE`], [`THROTTLED`], [`UNKNOWN`].
    pub taker: u32,
}

/// As [`Pair::taker`]: nobody had it. A quota was used up that the kernel does not tell (before Linux 6.6), or the CPU
/// took its time to wake up.
pub const IDLE: u32 = 0;
/// As [`Pair::taker`]: that part of the wait was on the run queue of another CPU.
pub const ELSEWHERE: u32 = u32::MAX;
/// As [`Pair::taker`]: a quota was used up.
pub const THROTTLED: u32 = u32::MAX - 1;
/// As [`Pair::taker`]: there were more turns meanwhile than are remembered.
pub const UNKNOWN: u32 = u32::MAX - 2;

impl Pair {
    /// From a word of a map.
    pub const fn from_word(word: u64) -> Self {
        // SAFETY: repr(C), two integers without padding, so every bit pattern is valid.
        unsafe { core::mem::transmute(word) }
    }

    /// The word of a map.
    pub const fn to_word(self) -> u64 {
        // SAFETY: as above.
        unsafe { core::mem::transmute(self) }
    }
}
