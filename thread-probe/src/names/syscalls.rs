//! Names of system calls.

use std::borrow::Cow;

use syscalls::Sysno;
use thread_probe_ebpf::abi::record::{COMPAT_SYSCALL, NO_SYSCALL};

/// The name of a system call, as [`ThreadPart::syscall`] has its number; `None` if it has none.
///
/// [`ThreadPart::syscall`]: thread_probe_ebpf::abi::record::ThreadPart::syscall
pub fn name(syscall: u32) -> Option<Cow<'static, str>> {
    if syscall == NO_SYSCALL {
        return None;
    }
    let number = (syscall & !COMPAT_SYSCALL) as usize;
    let known = if syscall & COMPAT_SYSCALL == 0 { Sysno::new(number).map(|call| call.name()) } else { compat(number) };
    Some(known.map_or_else(|| format!("system call {number}").into(), Cow::Borrowed))
}

/// Of 32-bit programs.
#[cfg(target_arch = "x86_64")]
fn compat(number: usize) -> Option<&'static str> {
    syscalls::x86::Sysno::new(number).map(|call| call.name())
}

#[cfg(not(target_arch = "x86_64"))]
fn compat(_number: usize) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn a_system_call_has_the_name_of_its_table_and_one_that_is_newer_its_number() {
        assert_eq!(name(libc::SYS_futex as u32).as_deref(), Some("futex"));
        assert_eq!(name(4_095).as_deref(), Some("system call 4095"));
        assert_eq!(name(NO_SYSCALL), None);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(name(0xf0 | COMPAT_SYSCALL).as_deref(), Some("futex"));
    }
}
