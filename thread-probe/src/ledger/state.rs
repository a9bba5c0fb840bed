//! What a thread is doing.

use crate::text::named::named;

named! {
    /// What a thread is doing.
    #[derive(Default)]
    pub enum ThreadState {
        /// On a CPU or waiting for one.
        Running = "running",
        /// Waiting for something that a signal interrupts, or an idle kernel thread.
        #[default]
        Sleeping = "sleeping",
        /// Waiting for something that nothing interrupts; counts towards the load average.
        Blocked = "blocked",
        /// Stopped by a signal, traced or frozen.
        Stopped = "stopped",
        /// Ended, and not yet waited for.
        Zombie = "zombie",
    }
}

impl ThreadState {
    /// Whether it waits for something else than a CPU.
    pub const fn is_asleep(self) -> bool {
        matches!(self, Self::Sleeping | Self::Blocked | Self::Stopped)
    }

    /// From `__state` and `exit_state`; the bits are those of include/linux/sched.h.
    pub(super) fn from_bits(state: u32, exit_state: u32) -> Self {
        const UNINTERRUPTIBLE: u32 = 0x2;
        const STOPPED_TRACED_FROZEN: u32 = 0x4 | 0x8 | 0x8000;
        const DEAD: u32 = 0x80;
        const WAKING_NEW: u32 = 0x200 | 0x800;
        const NOLOAD: u32 = 0x400;
        const RTLOCK_WAIT: u32 = 0x1000;
        if exit_state != 0 || state & DEAD != 0 {
            Self::Zombie
        } else if state == 0 || state & WAKING_NEW != 0 {
            Self::Running
        } else if state & STOPPED_TRACED_FROZEN != 0 {
            Self::Stopped
        } else if state & (UNINTERRUPTIBLE | RTLOCK_WAIT) != 0 && state & NOLOAD == 0 {
            Self::Blocked
        } else {
            Self::Sleeping
        }
    }
}
