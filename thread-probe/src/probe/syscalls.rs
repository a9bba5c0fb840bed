//! What each system call is slept in for: the table that the programs look numbers up in.

use nix::libc;
use thread_probe_ebpf::abi::time::{SYSCALLS, SyscallClasses, TimeState, VFORK};

/// The class of a number of the kernel's own ABI, on every architecture.
const NATIVE: &[(TimeState, &[libc::c_long])] = &[
    (
        TimeState::Lock,
        &[libc::SYS_futex, FUTEX_WAITV, FUTEX_WAIT, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_flock],
    ),
    (
        TimeState::Poll,
        &[
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_ppoll,
            libc::SYS_pselect6,
            libc::SYS_io_uring_enter,
            libc::SYS_io_getevents,
            IO_PGETEVENTS,
        ],
    ),
    (
        TimeState::Sleep,
        &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigsuspend],
    ),
    (
        TimeState::File,
        &[
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_pread64,
            libc::SYS_preadv,
            libc::SYS_preadv2,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_pwrite64,
            libc::SYS_pwritev,
            libc::SYS_pwritev2,
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_close,
            libc::SYS_ioctl,
            libc::SYS_fcntl,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_sync,
            libc::SYS_syncfs,
            libc::SYS_msync,
            libc::SYS_sync_file_range,
            libc::SYS_sendfile,
            libc::SYS_splice,
            libc::SYS_vmsplice,
            libc::SYS_tee,
            libc::SYS_copy_file_range,
            libc::SYS_getdents64,
        ],
    ),
    (
        TimeState::Network,
        &[
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_connect,
            libc::SYS_recvfrom,
            libc::SYS_recvmsg,
            libc::SYS_recvmmsg,
            libc::SYS_sendto,
            libc::SYS_sendmsg,
            libc::SYS_sendmmsg,
            libc::SYS_shutdown,
        ],
    ),
    (TimeState::Child, &[libc::SYS_wait4, libc::SYS_waitid]),
];

// Numbers that are the same on every architecture, and not in the library for each.
const FUTEX_WAITV: libc::c_long = 449;
const FUTEX_WAIT: libc::c_long = 455;
const IO_PGETEVENTS: libc::c_long = if cfg!(target_arch = "x86_64") { 333 } else { 292 };

/// System calls that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const OF_ARCHITECTURE: &[(TimeState, &[libc::c_long])] = &[
    (TimeState::Poll, &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_select]),
    (TimeState::Sleep, &[libc::SYS_pause]),
    (TimeState::File, &[libc::SYS_open]),
];
#[cfg(not(target_arch = "x86_64"))]
const OF_ARCHITECTURE: &[(TimeState, &[libc::c_long])] = &[];

/// Callers wait here for their child to execute or end.
#[cfg(target_arch = "x86_64")]
const VFORKS: &[libc::c_long] = &[libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];
#[cfg(not(target_arch = "x86_64"))]
const VFORKS: &[libc::c_long] = &[libc::SYS_clone, libc::SYS_clone3];

/// Those of 32-bit programs: arch/x86/entry/syscalls/syscall_32.tbl. Other architectures have no second table.
#[cfg(target_arch = "x86_64")]
const COMPAT: &[(TimeState, &[libc::c_long])] = &[
    (TimeState::Lock, &[240, 422, FUTEX_WAITV, FUTEX_WAIT, 420, 143]),
    (TimeState::Poll, &[168, 309, 414, 82, 142, 308, 413, 256, 319, 441, 426, 247, 385, 416]),
    (TimeState::Sleep, &[162, 267, 407, 29, 177, 421, 179, 72]),
    (
        TimeState::File,
        &[
            3, 4, 5, 6, 36, 54, 55, 118, 144, 145, 146, 148, 180, 181, 187, 220, 221, 239, 295, 313, 314, 315, 316,
            333, 334, 344, 377, 378, 379, 437,
        ],
    ),
    (TimeState::Network, &[102, 337, 345, 362, 364, 369, 370, 371, 372, 373, 417]),
    (TimeState::Child, &[7, 114, 284]),
];
#[cfg(not(target_arch = "x86_64"))]
const COMPAT: &[(TimeState, &[libc::c_long])] = &[];
const COMPAT_VFORKS: &[libc::c_long] = if cfg!(target_arch = "x86_64") { &[190, 120, 435] } else { &[] };

/// The table.
pub(super) fn classes() -> SyscallClasses {
    let mut classes = [TimeState::Other as u8; 2 * SYSCALLS];
    let (native, compat) = classes.split_at_mut(SYSCALLS);
    fill(native, NATIVE.iter().chain(OF_ARCHITECTURE), VFORKS);
    fill(compat, COMPAT.iter(), COMPAT_VFORKS);
    classes
}

fn fill<'a>(
    table: &mut [u8],
    states: impl Iterator<Item = &'a (TimeState, &'a [libc::c_long])>,
    vforks: &[libc::c_long],
) {
    let mut set = |number: &libc::c_long, class| {
        if let Some(slot) = usize::try_from(*number).ok().and_then(|number| table.get_mut(number)) {
            *slot = class;
        }
    };
    for (state, numbers) in states {
        numbers.iter().for_each(|number| set(number, *state as u8));
    }
    vforks.iter().for_each(|number| set(number, TimeState::Child as u8 | VFORK));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_in_one_list_at_most_and_fits_the_table() {
        let lists = [(NATIVE, OF_ARCHITECTURE, VFORKS), (COMPAT, &[][..], COMPAT_VFORKS)];
        for (states, more, vforks) in lists {
            let numbers = states.iter().chain(more).flat_map(|(_, numbers)| *numbers).chain(vforks);
            let mut numbers: Vec<_> = numbers.copied().collect();
            assert!(numbers.iter().all(|number| usize::try_from(*number).is_ok_and(|number| number < SYSCALLS)));
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_number_has_its_class_by_the_abi_that_it_is_of() {
        let classes = classes();
        let class = |number: usize| classes[number];
        assert_eq!((class(0), class(SYSCALLS + 3)), (TimeState::File as u8, TimeState::File as u8));
        assert_eq!((class(202), class(SYSCALLS + 240)), (TimeState::Lock as u8, TimeState::Lock as u8));
        assert_eq!((class(58), class(511)), (TimeState::Child as u8 | VFORK, TimeState::Other as u8));
    }
}
