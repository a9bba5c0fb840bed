//! Threads that are named after what they spend their time with.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;
use nix::{
    errno::Errno,
    libc,
    poll::{PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap_anonymous},
        uio::pwrite,
    },
    time::{ClockId, clock_gettime},
};

use super::{ROLE, rename, report, wait_for_line};

/// How long each sleeps at a time.
const NAP: Duration = Duration::from_millis(10);

/// Has a thread for each of these, until it is let go on.
pub(super) fn spend() -> Result<()> {
    let (pipe_out, pipe_in) = std::io::pipe()?;
    let (receiver, sender) = UnixDatagram::pair()?;
    start("t-sleep", move || {
        let mut pipe_in = &pipe_in;
        loop {
            thread::sleep(NAP);
            let _ = pipe_in.write(&[0]);
            let _ = sender.send(&[0]);
        }
    })?;
    start("t-file", move || while (&pipe_out).read(&mut [0]).is_ok() {})?;
    start("t-network", move || while receiver.recv(&mut [0]).is_ok() {})?;
    start("t-poll", || {
        loop {
            let _ = poll(&mut [], PollTimeout::from(NAP.as_millis() as u8));
        }
    })?;
    start("t-lock", || {
        let (lock, never) = (Mutex::new(()), Condvar::new());
        loop {
            let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            drop(never.wait_timeout(guard, NAP));
        }
    })?;
    start("t-running", || while std::hint::black_box(true) {})?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([ROLE, "tp-sleeper"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let input = child.stdin.take();
    start("t-child", move || drop(child.wait()))?;
    report(&[])?;
    wait_for_line()?;
    drop(input);
    Ok(())
}

/// Returns once the thread has its name.
fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let (renamed, outcome) = std::sync::mpsc::channel();
    thread::Builder::new().spawn(move || {
        let _ = renamed.send(rename(name.as_bytes()));
        work();
    })?;
    outcome.recv()?
}

/// Two threads on one CPU that write to one file in memory, of which one holds its lock for long.
pub(super) fn contend() -> Result<()> {
    super::life::pin_to_first_cpu()?;
    let file = Arc::new(memfd_create(c"contended", MFdFlags::empty())?);
    let holder = Arc::clone(&file);
    start("t-holder", move || {
        let block = vec![1; 64 << 20];
        while pwrite(&holder, &block, 0).is_ok() {}
    })?;
    start("t-uninterrupt", move || while pwrite(&file, &[1], 0).is_ok() {})?;
    report(&[])?;
    wait_for_line()
}

/// Has one thread that only runs, besides the main one.
pub(super) fn spin() -> Result<()> {
    start("t-spin", || while std::hint::black_box(true) {})?;
    report(&[])?;
    wait_for_line()
}

/// Runs for so many milliseconds of CPU time, sleeps, and so on; another thread never sleeps.
pub(super) fn run_in_bursts(millis: u64) -> Result<()> {
    start("t-burst", move || {
        let cpu = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default();
        loop {
            let until = cpu() + Duration::from_millis(millis);
            while cpu() < until {}
            thread::sleep(NAP);
        }
    })?;
    spin()
}

/// A thread of another scheduling policy that runs for 4 ms of CPU time and sleeps, and so on. Reports whether it may have
/// it.
pub(super) fn run_in_bursts_by_policy(policy: u64) -> Result<()> {
    let (told, outcome) = std::sync::mpsc::channel();
    start("t-policy", move || {
        let _ = told.send(super::limits::may_be_scheduled_by(policy as u32));
        let cpu = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default();
        loop {
            let until = cpu() + Duration::from_millis(4);
            while cpu() < until {}
            thread::sleep(10 * NAP);
        }
    })?;
    report(&[u64::from(outcome.recv()?)])?;
    wait_for_line()
}

/// A thread that waits for a disk again and again.
pub(super) fn write_to_disk(folder: &str) -> Result<()> {
    let file = tempfile::tempfile_in(folder)?;
    start("t-io", move || while pwrite(&file, &[1; 4096], 0).is_ok() && file.sync_data().is_ok() {})?;
    report(&[])?;
    wait_for_line()
}

/// A thread that sleeps in the poll of 32-bit programs.
pub(super) fn poll_as_32_bit_programs() -> Result<()> {
    start("t-compat", || while poll_as_a_32_bit_program().is_ok() {})?;
    report(&[])?;
    wait_for_line()
}

/// Once, for 200 ms. A kernel that has no system calls of 32-bit programs kills who makes one.
#[cfg(target_arch = "x86_64")]
pub(super) fn poll_as_a_32_bit_program() -> Result<()> {
    // Of arch/x86/entry/syscalls/syscall_32.tbl. In the other table it is swapoff.
    const POLL: i64 = 168;
    let mut outcome = POLL;
    // SAFETY: it is told of no descriptors, so it reads and writes nothing.
    unsafe {
        std::arch::asm!(
            "xchg {fds:r}, rbx",
            "int 0x80",
            "xchg {fds:r}, rbx",
            fds = inout(reg) 0_u64 => _,
            inlateout("rax") outcome,
            in("rcx") 0_u64,
            in("rdx") 200_u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    anyhow::ensure!(outcome == 0, "poll: {outcome}");
    Ok(())
}

/// A program of 64 bits can't make one.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn poll_as_a_32_bit_program() -> Result<()> {
    anyhow::bail!("not on this architecture")
}

/// A thread in a page fault that nobody resolves; reports whether that may be made.
pub(super) fn fault() -> Result<()> {
    // struct uffdio_api and uffdio_register, and their requests, of include/uapi/linux/userfaultfd.h.
    const UFFDIO_API: libc::Ioctl = 0xc018_aa3f_u32 as libc::Ioctl;
    const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00_u32 as libc::Ioctl;
    const MISSING: u64 = 1;
    let page = std::num::NonZeroUsize::MIN.saturating_add(4095);
    let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
    // SAFETY: a new mapping that nothing refers to.
    let address = unsafe { mmap_anonymous(None, page, protection, flags) }?.as_ptr() as usize;
    let mut api = [0xaa_u64, 0, 0];
    let mut range = [address as u64, 4096, MISSING, 0];
    // SAFETY: the structures are as large as the requests say.
    let is_registered = unsafe {
        let uffd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as i32;
        uffd >= 0
            && libc::ioctl(uffd, UFFDIO_API, api.as_mut_ptr()) == 0
            && libc::ioctl(uffd, UFFDIO_REGISTER, range.as_mut_ptr()) == 0
    };
    if is_registered {
        start("t-fault", move || {
            // SAFETY: the mapping is there; the read waits until the process ends.
            let _ = unsafe { (address as *const u8).read_volatile() };
        })?;
    }
    report(&[u64::from(is_registered)])?;
    wait_for_line()
}

/// Waits for so many seconds as in vfork: uninterruptibly, until a child ends.
pub(super) fn wait_in_vfork(seconds: u64) -> Result<()> {
    report(&[])?;
    let flags = libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child has memory of its own, as after fork; this process has one thread.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        0 => {
            thread::sleep(Duration::from_secs(seconds));
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        child => Errno::result(child).map(drop)?,
    }
    report(&[])?;
    wait_for_line()
}

/// Runs on the first CPU, less the higher the nice value.
pub(super) fn spin_pinned(nice: u64) -> Result<()> {
    super::life::pin_to_first_cpu()?;
    renice(nice)?;
    start("t-spin", || while std::hint::black_box(true) {})?;
    report(&[])?;
    wait_for_line()
}

/// Has the first CPU for so many milliseconds of CPU time, and ends.
pub(super) fn hog(millis: u64) -> Result<()> {
    super::life::pin_to_first_cpu()?;
    let cpu = || Ok::<_, anyhow::Error>(Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?));
    while cpu()? < Duration::from_millis(millis) {}
    Ok(())
}

fn renice(nice: u64) -> Result<()> {
    // SAFETY: plain numbers.
    let outcome = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice as i32) };
    Ok(Errno::result(outcome).map(drop)?)
}
