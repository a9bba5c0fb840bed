//! Loads: this program in another role.

use std::{
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::signal::{Signal, kill},
    unistd::{ForkResult, Pid, fork, pipe, read, write},
};

/// The first argument that makes this program a load.
pub(crate) const ROLE: &str = "load";

/// A load that runs until this is dropped.
pub(crate) struct Load(Child);

impl Load {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(ROLE).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut ready = [0];
        child.stdout.as_mut().context("piped above")?.read_exact(&mut ready).context("the load did not start")?;
        Ok(Self(child))
    }
}

impl Load {
    /// The process that has the threads, or the first of them.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Its standard input closes, which ends it and its children.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Plays a role.
pub(crate) fn play(args: &[String]) -> Result<()> {
    let number = |index: usize| args.get(index).and_then(|arg| arg.parse().ok()).unwrap_or(0);
    match args.first().map(String::as_str) {
        Some("sleepers") => sleepers(number(1), number(2)),
        Some("mixed") => mixed(number(1), number(2)),
        Some("some") => some(number(1), number(2)),
        Some("churn") => churn(number(1)),
        Some("crowd") => crowd(number(1), number(2), &args[3..]),
        other => bail!("no load {other:?}"),
    }
}

fn ready_then_wait() -> Result<()> {
    io::stdout().write_all(b"r")?;
    io::stdout().flush()?;
    // Until the other end closes.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// `processes` processes that have `threads` threads in all, which sleep.
fn sleepers(processes: u64, threads: u64) -> Result<()> {
    let children = (1..processes)
        .map(|_| Load::start(&["sleepers", "1", &(threads / processes).to_string()]))
        .collect::<Result<Vec<_>>>()?;
    for _ in 1..threads / processes {
        thread::Builder::new().stack_size(16 << 10).spawn(|| {
            loop {
                thread::park();
            }
        })?;
    }
    ready_then_wait()?;
    drop(children);
    Ok(())
}

/// `processes` processes that have `threads` threads in all, as a host has them: of a hundred 80 only sleep, 14 have
/// threads that wake once in seconds, 5 some that wake ten times a second, and one has some that work.
fn mixed(processes: u64, threads: u64) -> Result<()> {
    let each = (threads / processes).to_string();
    let start = |index: u64| Load::start(&["some", &(index % 100).to_string(), &each]);
    let children = (0..processes).map(start).collect::<Result<Vec<_>>>()?;
    ready_then_wait()?;
    drop(children);
    Ok(())
}

/// One of those: a fifth of its threads do what its kind does.
fn some(kind: u64, threads: u64) -> Result<()> {
    // Milliseconds of sleep and microseconds of work, and what is added to each by chance.
    let (sleep_ms, work_us) = match kind {
        0..80 => (u64::MAX, 0),
        80..94 => (1000, 20),
        94..99 => (50, 100),
        _ => (5, 500),
    };
    let mut dice = u64::from(std::process::id());
    for _ in 0..threads.div_ceil(5) {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        thread::Builder::new().stack_size(32 << 10).spawn(move || busy(dice, sleep_ms, work_us))?;
    }
    for _ in 1..threads - threads.div_ceil(5) {
        thread::Builder::new().stack_size(16 << 10).spawn(|| {
            loop {
                thread::park();
            }
        })?;
    }
    ready_then_wait()
}

fn busy(mut dice: u64, sleep_ms: u64, work_us: u64) {
    let mut below = |end: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % end
    };
    loop {
        if sleep_ms == u64::MAX {
            thread::park();
            continue;
        }
        thread::sleep(Duration::from_millis(sleep_ms + below(9 * sleep_ms)));
        let until = Instant::now() + Duration::from_micros(work_us + below(2 * work_us + 1));
        while Instant::now() < until {}
    }
}

/// `each` processes in each of `cgroups` cgroups, which are numbered folders in each of `above`.
fn crowd(cgroups: u64, each: u64, above: &[String]) -> Result<()> {
    let mut children = Vec::new();
    for index in 0..cgroups {
        for above in above {
            std::fs::write(format!("{above}/{index}/cgroup.procs"), "0")?;
        }
        for _ in 0..each {
            // SAFETY: this process has one thread.
            match unsafe { fork() }? {
                ForkResult::Child => loop {
                    nix::unistd::pause();
                },
                ForkResult::Parent { child } => children.push(child),
            }
        }
    }
    let waited = ready_then_wait();
    for child in children {
        kill(child, Signal::SIGKILL)?;
        nix::sys::wait::waitpid(child, None)?;
    }
    waited
}

/// Creates and joins threads, at most `per_second`, until its input closes.
fn churn(per_second: u64) -> Result<()> {
    thread::spawn(move || {
        let started = Instant::now();
        for created in 1.. {
            let _ = thread::Builder::new().stack_size(16 << 10).spawn(|| {}).map(thread::JoinHandle::join);
            let due = Duration::from_nanos(created * 1_000_000_000 / per_second);
            if let Some(early) = due.checked_sub(started.elapsed()) {
                thread::sleep(early);
            }
        }
    });
    ready_then_wait()
}

/// Nanoseconds a switch takes between two processes on one CPU that pass a byte back and forth.
pub(crate) fn ping_pong(rounds: u64) -> Result<f64> {
    let (ping, pong) = (pipe()?, pipe()?);
    let mut byte = [0];
    // SAFETY: the child calls only what is safe after fork, and ends without returning.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let _ = pin_to_last_cpu();
            for _ in 0..rounds {
                if read(ping.0.as_fd(), &mut byte) != Ok(1) || write(pong.1.as_fd(), &byte) != Ok(1) {
                    break;
                }
            }
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            pin_to_last_cpu()?;
            let started = Instant::now();
            for _ in 0..rounds {
                write(ping.1.as_fd(), &byte)?;
                ensure!(read(pong.0.as_fd(), &mut byte)? == 1, "the other side is gone");
            }
            let elapsed = started.elapsed();
            nix::sys::wait::waitpid(child, None)?;
            Ok(elapsed.as_nanos() as f64 / (2 * rounds) as f64)
        }
    }
}

fn pin_to_last_cpu() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(thread::available_parallelism()?.get() - 1)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}
