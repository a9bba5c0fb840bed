//! Threads and processes that are created, switch and end.

use std::{
    fs,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    process::Command,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, pipe, read, write},
};

use super::{ROLE, report, report_usage, wait_for_line};

/// Creates and joins threads; reports when done; waits.
pub(super) fn threads(count: u64) -> Result<()> {
    for _ in 0..count {
        thread::Builder::new().stack_size(64 << 10).spawn(|| {})?.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    }
    report(&[count])?;
    wait_for_line()
}

/// Switches in several threads that end; then reports its usage, each time it is let go on.
pub(super) fn switches(rounds: u64) -> Result<()> {
    let sleepers: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || (0..rounds).for_each(|_| thread::sleep(Duration::from_micros(50)))))
        .collect();
    for sleeper in sleepers {
        sleeper.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    }
    report_usage_when_asked()
}

/// Reports its usage before it sleeps and after it is woken, again and again.
pub(super) fn report_usage_when_asked() -> Result<()> {
    for _ in 0..20 {
        report_usage()?;
        wait_for_line()?;
        report_usage()?;
        wait_for_line()?;
    }
    Ok(())
}

/// Threads that end at once. Reports the time from before each was created until after it was gone, summed, in ns.
pub(super) fn short_threads(count: u64) -> Result<()> {
    let mut total = Duration::ZERO;
    for _ in 0..count {
        let started = Instant::now();
        thread::spawn(|| {}).join().map_err(|_| anyhow::anyhow!("panicked"))?;
        wait_until_alone()?;
        total += started.elapsed();
    }
    report(&[total.as_nanos() as u64])?;
    wait_for_line()
}

/// Waits until no other thread of this process is left. Joining one does not do: it is told as the thread gives up its
/// memory, before `sched_process_exit`.
fn wait_until_alone() -> Result<()> {
    /// Links of a directory with one entry: `proc_task_getattr` adds the threads to the two that any has.
    const ALONE: u64 = 3;
    while fs::metadata("/proc/self/task")?.nlink() > ALONE {
        thread::yield_now();
    }
    Ok(())
}

pub(super) fn pin_to_first_cpu() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// Passes a byte back and forth over two pipes.
fn bounce(rounds: u64, mine: &OwnedFd, theirs: &OwnedFd, first: bool) -> Result<()> {
    let mut byte = [0];
    for _ in 0..rounds {
        if first {
            write(theirs.as_fd(), &byte)?;
        }
        ensure!(read(mine.as_fd(), &mut byte)? == 1, "the other side is gone");
        if !first {
            write(theirs.as_fd(), &byte)?;
        }
    }
    Ok(())
}

pub(super) fn pingpong_threads(rounds: u64) -> Result<()> {
    pin_to_first_cpu()?;
    let ((ping_out, ping_in), (pong_out, pong_in)) = (pipe()?, pipe()?);
    let other = thread::spawn(move || bounce(rounds, &ping_out, &pong_in, false));
    bounce(rounds, &pong_out, &ping_in, true)?;
    other.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    report(&[])?;
    wait_for_line()
}

/// The same between two processes: the child is a copy that has one thread and only bounces.
pub(super) fn pingpong_processes(rounds: u64) -> Result<()> {
    pin_to_first_cpu()?;
    let ((ping_out, ping_in), (pong_out, pong_in)) = (pipe()?, pipe()?);
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        // Each drops the other's ends: when one is gone, the other one ends.
        nix::unistd::ForkResult::Child => {
            drop((ping_in, pong_out));
            let bounced = bounce(rounds, &ping_out, &pong_in, false);
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { nix::libc::_exit(i32::from(bounced.is_err())) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            drop((ping_out, pong_in));
            bounce(rounds, &pong_out, &ping_in, true)?;
            nix::sys::wait::waitpid(child, None)?;
        }
    }
    report(&[])?;
    wait_for_line()
}

/// Keeps that many CPUs busy until it is killed.
pub(super) fn spin(threads: u64) -> Result<()> {
    let spinners: Vec<_> = (0..threads).map(|_| thread::spawn(|| while !std::hint::black_box(false) {})).collect();
    for spinner in spinners {
        spinner.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    }
    Ok(())
}

/// Threads that wait, and end all at once when it is let go on. Reports how many there are, and when all are gone.
pub(super) fn crowd(threads: u64) -> Result<()> {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    for _ in 0..threads {
        let gate = Arc::clone(&gate);
        thread::Builder::new().stack_size(32 << 10).spawn(move || {
            let (is_open, opened) = &*gate;
            let is_open = is_open.lock().unwrap_or_else(PoisonError::into_inner);
            drop(opened.wait_while(is_open, |is_open| !*is_open));
        })?;
    }
    report(&[threads])?;
    wait_for_line()?;
    *gate.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    gate.1.notify_all();
    wait_until_alone()?;
    report(&[])?;
    wait_for_line()
}

/// Creates threads and processes as fast as it can; reports how many of each.
pub(super) fn churn(threads: u64, processes: u64) -> Result<()> {
    for _ in 0..processes {
        // SAFETY: this process has one thread at this point.
        match unsafe { nix::unistd::fork() }? {
            // SAFETY: ends the process without running what belongs to the parent.
            nix::unistd::ForkResult::Child => unsafe { nix::libc::_exit(0) },
            nix::unistd::ForkResult::Parent { child } => nix::sys::wait::waitpid(child, None)?,
        };
    }
    let each = threads / 4;
    let creators: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || (0..each - 1).filter(|_| thread::spawn(|| {}).join().is_ok()).count() as u64))
        .collect();
    let mut created = 4;
    for creator in creators {
        created += creator.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    }
    report(&[created, processes])?;
    wait_for_line()
}

/// Executes another program from a thread that is not the leader, after both have switched.
pub(super) fn exec_from_thread() -> Result<()> {
    thread::sleep(Duration::from_millis(5));
    let (started, error) = std::sync::mpsc::channel();
    thread::spawn(move || {
        (0..200).for_each(|_| thread::sleep(Duration::from_micros(50)));
        let _ = report(&[]);
        let _ = wait_for_line();
        let executable = std::env::current_exe().unwrap_or_default();
        let _ = started.send(Command::new(executable).args([ROLE, "tp-execd"]).exec());
    });
    Err(error.recv()?.into())
}

/// Ends its main thread while another goes on.
#[expect(clippy::exit, reason = "there is no main thread left to return from")]
pub(super) fn zombie_leader() -> Result<()> {
    thread::spawn(|| {
        let _ = wait_for_line();
        std::process::exit(0);
    });
    report(&[])?;
    // SAFETY: ends this thread alone, and the other needs nothing of it. pthread_exit would unwind through main.
    unsafe { nix::libc::syscall(nix::libc::SYS_exit, 0) };
    bail!("exit returned")
}

/// Makes the kernel create an io_uring worker: a read that must not wait in the submitter. Reports 0 where io_uring
/// is not to be had.
pub(super) fn io_uring_worker() -> Result<()> {
    let Ok(mut ring) = io_uring::IoUring::new(4) else {
        report(&[0])?;
        return wait_for_line();
    };
    let (out, into) = pipe()?;
    let mut byte = [0u8];
    let read =
        io_uring::opcode::Read::new(io_uring::types::Fd(std::os::fd::AsRawFd::as_raw_fd(&out)), byte.as_mut_ptr(), 1)
            .build()
            .flags(io_uring::squeue::Flags::ASYNC);
    // SAFETY: the buffer outlives the ring's use of it: the read completes below.
    unsafe { ring.submission().push(&read) }.map_err(|_| anyhow::anyhow!("the queue is full"))?;
    ring.submit()?;
    thread::sleep(Duration::from_millis(20));
    write(into.as_fd(), b"x")?;
    ring.submit_and_wait(1)?;
    report(&[1])?;
    wait_for_line()
}
