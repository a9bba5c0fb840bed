//! What a task sleeps in.

use core::mem::MaybeUninit;

use thread_probe_ebpf::abi::{
    record::{COMPAT_SYSCALL, NO_SYSCALL},
    time::{SYSCALLS, SyscallClasses, TimeState, VFORK},
};

use super::{
    kernel::Task,
    member::{load, load_optional, masked},
};

/// Set by the daemon before load: what each system call is slept in for.
#[unsafe(no_mangle)]
static SYSCALL_CLASSES: MaybeUninit<SyscallClasses> = MaybeUninit::new([0; 2 * SYSCALLS]);

impl Task {
    /// What it sleeps in, or did before it was woken, as a [`TimeState`]. It was switched away from voluntarily.
    #[inline(always)]
    pub(crate) fn asleep_in(self) -> u32 {
        if masked!(load!(self.0, iowait_word), iowait_mask) != 0 {
            return TimeState::Io as u32;
        }
        let class = self.syscall_class();
        let state = u32::from(class & !VFORK);
        let frozen = masked!(load!(self.0, frozen_word), frozen_mask);
        let uninterruptible = masked!(load!(self.0, contributes_word), contributes_mask);
        if frozen | uninterruptible == 0 {
            state
        } else if frozen != 0 && class & VFORK == 0 {
            TimeState::Stopped as u32
        } else if uninterruptible != 0 && state != TimeState::Child as u32 {
            // Who waits in vfork does so uninterruptibly.
            TimeState::Uninterruptible as u32
        } else {
            state
        }
    }

    /// The class of the system call that it is in.
    #[inline(always)]
    fn syscall_class(self) -> u8 {
        if self.is_worker() {
            return TimeState::Other as u8;
        }
        let mut number = self.syscall_number() as usize;
        if number >= SYSCALLS {
            if number == u32::MAX as usize {
                return TimeState::Fault as u8;
            }
            number &= !(X32 as usize);
            if number >= SYSCALLS {
                return TimeState::Other as u8;
            }
        }
        let index = if self.is_in_compat_syscall() { number + SYSCALLS } else { number };
        // SAFETY: initialised above, and the index is below the array's length; volatile as in `may_fold_leaders`.
        unsafe { (&raw const SYSCALL_CLASSES).cast::<u8>().add(index).read_volatile() }
    }

    /// The number of the system call that it is in, as [`ThreadPart::syscall`].
    ///
    /// [`ThreadPart::syscall`]: thread_probe_ebpf::abi::record::ThreadPart::syscall
    #[inline(always)]
    pub(crate) fn syscall(self) -> u32 {
        let number = self.syscall_number();
        if self.is_worker() || number as i32 == -1 {
            NO_SYSCALL
        } else if self.is_in_compat_syscall() {
            number | COMPAT_SYSCALL
        } else {
            number & !X32
        }
    }

    #[inline(always)]
    fn syscall_number(self) -> u32 {
        load!(self.entry_registers_fast(), syscall)
    }

    /// Whether it makes no system calls.
    #[inline(always)]
    fn is_worker(self) -> bool {
        /// Of include/linux/sched.h: PF_KTHREAD, PF_USER_WORKER, PF_IO_WORKER.
        const WORKERS: u32 = 0x0020_0000 | 0x4000 | 0x10;
        self.flags() & WORKERS != 0
    }

    /// Whether the system call that it is in is one of 32-bit programs.
    #[inline(always)]
    fn is_in_compat_syscall(self) -> bool {
        /// Of arch/x86/include/asm/thread_info.h.
        const TS_COMPAT: u32 = 2;
        let status: u32 = load_optional!(self.0, thread_status);
        status & TS_COMPAT != 0
    }
}

/// Set in the numbers of x32, which are else the kernel's own.
const X32: u32 = 0x4000_0000;
