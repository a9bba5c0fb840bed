//! Roles that fill a limit to the brim.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous},
        resource::{Resource, setrlimit},
    },
    unistd::{Gid, Uid, pipe, read, setgid, setuid, write},
};

use super::{report, wait_for_line};

/// How many threads `tp-nproc` creates before it may not.
pub(crate) const CREATED_BEFORE_NPROC: u64 = 3;

/// Becomes another user at its limit, and reports how many of the attempts to create a thread failed.
pub(super) fn beyond_nproc(attempts: u64) -> Result<()> {
    const NOBODY_ELSE: u32 = 64_321;
    for _ in 0..CREATED_BEFORE_NPROC {
        let _ = thread::Builder::new().spawn(|| {})?.join();
    }
    setrlimit(Resource::RLIMIT_NPROC, 1, 1)?;
    setgid(Gid::from_raw(NOBODY_ELSE))?;
    setuid(Uid::from_raw(NOBODY_ELSE))?;
    let failed = (0..attempts).filter(|_| thread::Builder::new().spawn(|| {}).is_err()).count();
    report(&[failed as u64])?;
    wait_for_line()
}

/// Makes a user namespace as a user with that limit, reports whether it could, and creates threads until it is refused.
pub(super) fn fill_user_namespace(limit: u64) -> Result<()> {
    const NOBODY_ELSE: u32 = 64_322;
    setrlimit(Resource::RLIMIT_NPROC, limit, limit)?;
    setgid(Gid::from_raw(NOBODY_ELSE))?;
    setuid(Uid::from_raw(NOBODY_ELSE))?;
    if unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        report(&[0])?;
        return wait_for_line();
    }
    report(&[1])?;
    wait_for_line()?;
    fill(5)
}

/// Reports how many threads it may not create, under a limit that does not hold for root.
pub(super) fn root_beyond_nproc(attempts: u64) -> Result<()> {
    setrlimit(Resource::RLIMIT_NPROC, 1, 1)?;
    let failed = (0..attempts).filter(|_| thread::Builder::new().spawn(|| {}).is_err()).count();
    report(&[failed as u64])?;
    wait_for_line()
}

/// Threads that sleep until the process ends.
fn sleeper() -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(64 << 10).spawn(|| {
        loop {
            thread::park();
        }
    })
}

/// Creates threads until it was refused so many; reports that; keeps them.
pub(super) fn fill(refusals: u64) -> Result<()> {
    let refused = refused_of(refusals);
    report(&[refused])?;
    wait_for_line()
}

/// Creates threads until so many were refused, or until it is clear that none will be.
fn refused_of(refusals: u64) -> u64 {
    const ENOUGH: usize = 20_000;
    let mut refused = 0;
    for _ in 0..ENOUGH {
        if sleeper().is_err() {
            refused += 1;
        }
        if refused == refusals {
            break;
        }
    }
    refused
}

/// `struct sched_attr` of include/uapi/linux/sched/types.h.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Becomes a deadline task, and reports how many threads it may not create; 0 where it may not become one.
pub(super) fn deadline_task() -> Result<()> {
    if !may_be_scheduled_by(SCHED_DEADLINE) {
        report(&[0])?;
        return wait_for_line();
    }
    let refused = (0..3).filter(|_| sleeper().is_err()).count();
    report(&[refused as u64])?;
    wait_for_line()
}

/// SCHED_DEADLINE of include/uapi/linux/sched.h.
const SCHED_DEADLINE: u32 = 6;

/// Gives this thread another policy; false if it may not.
pub(super) fn may_be_scheduled_by(policy: u32) -> bool {
    let size = size_of::<SchedAttr>() as u32;
    let (runtime, deadline) = if policy == SCHED_DEADLINE { (5_000_000, 100_000_000) } else { (0, 0) };
    // SCHED_FIFO and SCHED_RR have priorities.
    let priority = u32::from([1, 2].contains(&policy));
    let attr = SchedAttr { size, policy, flags: 0, nice: 0, priority, runtime, deadline, period: deadline };
    // SAFETY: the structure is as large as it says, and the kernel only reads it.
    unsafe { nix::libc::syscall(nix::libc::SYS_sched_setattr, 0, &raw const attr, 0) == 0 }
}

/// Maps pages that can't be merged until it may not; reports how many.
pub(super) fn map_until_refused() -> Result<()> {
    let page = std::num::NonZeroUsize::MIN.saturating_add(4095);
    let mut mapped = 0;
    loop {
        let protection = if mapped % 2 == 0 { ProtFlags::PROT_READ } else { ProtFlags::PROT_NONE };
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS;
        // SAFETY: a new mapping that nothing refers to.
        if unsafe { mmap_anonymous(None, page, protection, flags) }.is_err() {
            break;
        }
        mapped += 1;
    }
    report_without_memory(mapped)?;
    wait_for_line()
}

/// What [`report`] does, where there is no mapping left for the allocator.
fn report_without_memory(fact: u64) -> Result<()> {
    let mut line = *b"00000000000000000000\n";
    let mut rest = fact;
    for digit in line[..20].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    ensure!(write(io::stdout(), &line)? == line.len(), "the pipe is full");
    Ok(())
}

/// Allows itself 8 MB stacks of address space more, and creates threads with stacks of so many bytes: some at every
/// line, each time reporting how many; after so many rounds as many as it can.
pub(super) fn fill_address_space(stacks: u64, stack_bytes: u64, rounds: u64) -> Result<()> {
    const DEFAULT_STACK_BYTES: u64 = 8 << 20;
    // A thread that runs at once would have an arena of its own for its allocations, and a later one not.
    #[cfg(target_env = "gnu")]
    // SAFETY: an option of the allocator, in a process of one thread.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1)
    };
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")?.split(' ').next().unwrap_or_default().parse()?;
    setrlimit(Resource::RLIMIT_STACK, DEFAULT_STACK_BYTES, DEFAULT_STACK_BYTES)?;
    let limit = pages * 4096 + stacks * DEFAULT_STACK_BYTES + (1 << 20);
    setrlimit(Resource::RLIMIT_AS, limit, limit)?;
    report(&[0])?;
    for round in 0..=rounds {
        wait_for_line()?;
        let most = if round == rounds { usize::MAX } else { 5 };
        let spawn = || has_bare_thread(stack_bytes as usize);
        let created = std::iter::repeat_with(spawn).take(most).take_while(|was_created| *was_created).count();
        report(&[created as u64])?;
    }
    wait_for_line()
}

/// Creates a thread that sleeps and maps nothing but its stack, as one of the standard library does; says whether it
/// could.
fn has_bare_thread(stack_bytes: usize) -> bool {
    extern "C" fn rest(_: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
        loop {
            // SAFETY: no preconditions.
            unsafe { nix::libc::pause() };
        }
    }
    // SAFETY: the attributes live for the call, and the function needs no argument.
    unsafe {
        let (mut thread, mut attributes) = std::mem::zeroed();
        nix::libc::pthread_attr_init(&raw mut attributes);
        nix::libc::pthread_attr_setstacksize(&raw mut attributes, stack_bytes);
        nix::libc::pthread_create(&raw mut thread, &raw const attributes, rest, std::ptr::null_mut()) == 0
    }
}

/// Creates so many threads a second, from when it is let go on until it is killed or its input closes.
pub(super) fn leak(per_second: u64) -> Result<()> {
    report(&[])?;
    wait_for_line()?;
    thread::spawn(move || {
        let started = Instant::now();
        for created in 1.. {
            let due = Duration::from_nanos(created * 1_000_000_000 / per_second);
            thread::sleep(due.saturating_sub(started.elapsed()));
            let _ = sleeper();
        }
    });
    wait_for_line()
}

/// Starts the first process of a pid namespace, which allows itself `pid_max` ids, if the kernel lets it, and uses all
/// of them up. Reports the process, whether it was let, and how many clones were refused.
pub(super) fn fill_pid_namespace(pid_max: u64) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    let (out, into) = pipe()?;
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            // Before Linux 6.14 this would be the host's.
            let has_own = has_own_pid_max() && std::fs::write("/proc/sys/kernel/pid_max", pid_max.to_string()).is_ok();
            let refused = if has_own { refused_of(10) } else { 0 };
            let _ = write(&into, &[u8::from(has_own), refused as u8]);
            let _ = wait_for_line();
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { nix::libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let mut facts = [0; 2];
            ensure!(read(&out, &mut facts)? == 2, "the first process of the namespace ended");
            report(&[child.as_raw() as u64, u64::from(facts[0]), u64::from(facts[1])])?;
            nix::sys::wait::waitpid(child, None)?;
            Ok(())
        }
    }
}

fn has_own_pid_max() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// Creates tasks that take nothing but kernel memory, until so many were refused: their stacks are there already, and
/// nothing may be killed for memory.
pub(super) fn fill_memory(most: u64) -> Result<()> {
    const STACK_BYTES: usize = 16 << 10;
    extern "C" fn rest(_: *mut std::ffi::c_void) -> nix::libc::c_int {
        loop {
            // SAFETY: no preconditions.
            unsafe { nix::libc::pause() };
        }
    }
    // Where the caller has not switched killing off in the cgroup itself, as it can in version 1.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    report(&[])?;
    wait_for_line()?;
    let mut stacks = vec![1u8; most as usize * STACK_BYTES];
    report(&[])?;
    wait_for_line()?;
    let flags = nix::libc::CLONE_VM
        | nix::libc::CLONE_FS
        | nix::libc::CLONE_FILES
        | nix::libc::CLONE_SIGHAND
        | nix::libc::CLONE_THREAD
        | nix::libc::CLONE_SYSVSEM;
    let mut refused = 0;
    for stack in stacks.chunks_exact_mut(STACK_BYTES) {
        let top = stack.as_mut_ptr_range().end;
        // SAFETY: a stack of its own that lives as long as the process; the task touches nothing else.
        if unsafe { nix::libc::clone(rest, top.cast(), flags, std::ptr::null_mut()) } < 0 {
            refused += 1;
        }
        if refused == 3 {
            break;
        }
    }
    report_without_memory(refused)?;
    wait_for_line()?;
    std::mem::forget(stacks);
    Ok(())
}
