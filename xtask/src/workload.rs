//! Processes at work, for a picture worth looking at: this program in other roles, each named after what it does.

use std::{
    fs,
    hint::black_box,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{getppid, pipe, read, write},
};

/// The threads that the leak's cgroup allows.
const LEAK_LIMIT: u64 = 400;
/// How many of them there are as the picture is taken: a limit near enough to be seen.
const LEAKED_THEN: u64 = 340;
/// The fastest leak there is.
const LEAK_PER_SECOND: u64 = 10;

/// What a process does
#[derive(Subcommand)]
pub(crate) enum Role {
    /// Two threads that pass a byte
    PipePingpong,
    /// Threads that are never joined
    ThreadLeak(Leak),
    /// Threads that end at once
    ShortLived,
    /// Threads that wait for each other at a lock
    LockConvoy,
    /// More busy threads than there are CPUs
    CpuHog,
}

/// How threads leak.
#[derive(Args)]
pub(crate) struct Leak {
    /// Threads at the start
    first: u64,
    /// Threads a second from then on
    per_second: u64,
}

impl Leak {
    /// One that comes near the limit in such a time.
    fn within(time: Duration) -> Self {
        let seconds = time.as_secs().max(1);
        let per_second = (LEAKED_THEN / seconds).clamp(1, LEAK_PER_SECOND);
        Self { first: LEAKED_THEN.saturating_sub(per_second * seconds), per_second }
    }
}

/// The processes that were started, and the cgroup of one of them: gone with this.
pub(crate) struct Workloads {
    processes: Vec<Process>,
    /// After the processes, as only an empty one can be removed.
    _cgroup: Option<Cgroup>,
}

impl Workloads {
    /// Starts all of them, for a picture after such a time.
    ///
    /// # Errors
    /// One could not be started.
    pub(crate) fn start(time: Duration) -> Result<Self> {
        let leak = Leak::within(time);
        let leak_arguments = [leak.first.to_string(), leak.per_second.to_string()];
        let leaking = Process::start("thread-leak", &leak_arguments)?;
        let mut processes = vec![leaking];
        let cgroup = confined(&processes[0])
            .inspect_err(|error| eprintln!("thread-leak gets no cgroup, so no limit of its own: {error:#}"))
            .ok();
        for name in ["pipe-pingpong", "short-lived", "lock-convoy", "cpu-hog"] {
            processes.push(Process::start(name, &[])?);
        }
        Ok(Self { processes, _cgroup: cgroup })
    }

    /// Whether they are still at work.
    ///
    /// # Errors
    /// One of them ended; it has said why.
    pub(crate) fn check(&mut self) -> Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.child.try_wait()? {
                anyhow::bail!("the workload {} ended with {status}", process.name);
            }
        }
        Ok(())
    }
}

fn confined(process: &Process) -> Result<Cgroup> {
    // Of version 1, or else the unified one.
    let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
    let root = roots.into_iter().find(|root| root.is_dir()).context("no hierarchy has the pids controller")?;
    let cgroup = Cgroup(root.join("thread-leak"));
    fs::create_dir(&cgroup.0)?;
    fs::write(cgroup.0.join("pids.max"), LEAK_LIMIT.to_string())?;
    fs::write(cgroup.0.join("cgroup.procs"), process.child.id().to_string())?;
    Ok(cgroup)
}

/// A cgroup, removed with this once it is empty.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        let started = Instant::now();
        while fs::remove_dir(&self.0).is_err() && started.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    fn start(name: &'static str, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["workload", name]).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("starting the workload {name}"))?;
        Ok(Self { name, child })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does what the role does, until it is killed or whoever started it is gone.
///
/// # Errors
/// The kernel refused something.
pub(crate) fn play(role: &Role) -> Result<()> {
    let parent = getppid();
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // Had it ended before that call, no signal would come.
    anyhow::ensure!(getppid() == parent && parent.as_raw() != 1, "a workload is started by a screenshot");
    match role {
        Role::PipePingpong => rename("pipe-pingpong").and_then(|()| pass_a_byte()),
        Role::ThreadLeak(leak) => rename("thread-leak").and_then(|()| leak_threads(leak)),
        Role::ShortLived => rename("short-lived").and_then(|()| end_threads()),
        Role::LockConvoy => rename("lock-convoy").and_then(|()| queue_at_lock()),
        Role::CpuHog => rename("cpu-hog").and_then(|()| burn()),
    }
}

/// Gives this thread, and with the first one the process, its name.
fn rename(name: &str) -> Result<()> {
    std::fs::write("/proc/thread-self/comm", name).context("renaming")
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(64 << 10).spawn(work)
}

fn pass_a_byte() -> Result<()> {
    let ((ping_out, ping_in), (pong_out, pong_in)) = (pipe()?, pipe()?);
    spawn("pong", move || bounce(&ping_out, &pong_in))?;
    write(&ping_in, b"x")?;
    bounce(&pong_out, &ping_in);
    anyhow::bail!("a pipe closed")
}

/// Hands on each byte until a pipe closes.
fn bounce(out: &impl AsFd, into: &impl AsFd) {
    let mut byte = [0];
    while read(out, &mut byte) == Ok(1) && write(into, &byte) == Ok(1) {}
}

fn leak_threads(leak: &Leak) -> Result<()> {
    let park = || {
        loop {
            thread::park();
        }
    };
    for _ in 0..leak.first {
        spawn("leaked", park)?;
    }
    every(Duration::from_secs(1) / u32::try_from(leak.per_second.max(1))?, || {
        // At the limit it goes on trying, as what leaks does.
        let _ = spawn("leaked", park);
        Ok(())
    })
}

fn end_threads() -> Result<()> {
    every(Duration::from_millis(3), || {
        let thread = spawn("short", || work(Duration::from_micros(200)))?;
        thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))
    })
}

/// Does something at a fixed rate.
fn every(interval: Duration, mut act: impl FnMut() -> Result<()>) -> Result<()> {
    let mut due = Instant::now();
    loop {
        act()?;
        due += interval;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn queue_at_lock() -> Result<()> {
    let lock = Arc::new(Mutex::new(()));
    for number in 1..=8 {
        let lock = Arc::clone(&lock);
        spawn(&format!("convoy-{number}"), move || {
            loop {
                let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
                // What makes a convoy: somebody sleeps with the lock.
                thread::sleep(Duration::from_micros(200));
                drop(held);
                work(Duration::from_micros(50));
            }
        })?;
    }
    sleep_forever()
}

fn burn() -> Result<()> {
    // The others should get on: this takes what they leave.
    // SAFETY: no preconditions.
    unsafe { nix::libc::nice(10) };
    for number in 0..=thread::available_parallelism()?.get() {
        spawn(&format!("hog-{number}"), || work(Duration::MAX))?;
    }
    sleep_forever()
}

fn sleep_forever() -> Result<()> {
    loop {
        thread::park();
    }
}

/// Keeps a CPU busy.
fn work(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        (0..100_u32).for_each(|number| _ = black_box(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_near_its_limit_when_the_picture_is_taken_however_long_that_takes() {
        for seconds in [1, 8, 60, 300] {
            let leak = Leak::within(Duration::from_secs(seconds));
            let then = leak.first + leak.per_second * seconds;
            assert!((300..LEAK_LIMIT).contains(&then), "{then} threads after {seconds} s");
            assert!((1..=10).contains(&leak.per_second));
        }
    }
}
