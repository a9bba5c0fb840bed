//! Processes that do what the panels and alerts are about: this program in other roles, each a group of its own.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::{Gid, Uid, getppid, setgid, setuid},
};

use crate::support::cgroup::Cgroup;

/// The first argument that makes this program a workload.
pub(crate) const ROLE: &str = "workload";

/// All of them, by their comm.
const ROLES: [&str; 8] =
    ["tp-switches", "tp-churn", "tp-births", "tp-busy", "tp-quota", "tp-leak", "tp-full", "tp-nproc"];

/// Threads that the leak creates in a second.
const LEAKS_PER_SECOND: u64 = 10;

/// The processes, and the cgroups of three: gone with this.
pub(crate) struct Workloads {
    processes: Vec<Process>,
    cgroups: Vec<Cgroup>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Workloads {
    /// For a test that watches for so long.
    pub(crate) fn start(seconds: u64) -> Result<Self> {
        let mut workloads = Self { processes: Vec::new(), cgroups: Vec::new() };
        for role in ROLES {
            let mut command = Command::new(std::env::current_exe()?);
            let child =
                command.args([ROLE, role]).stdin(Stdio::null()).spawn().with_context(|| format!("starting {role}"))?;
            let process = Process(child);
            // The leak is not full before the test is over, but near enough to be told before it is; the other one is
            // full at once.
            let limit = match role {
                "tp-leak" => Some((seconds + 120) * LEAKS_PER_SECOND * 3 / 2),
                "tp-full" => Some(10),
                _ => None,
            };
            if let Some(limit) = limit {
                let cgroup = Cgroup::new("pids", role)?;
                cgroup.set("pids.max", &limit.to_string())?;
                cgroup.add(process.0.id())?;
                workloads.cgroups.push(cgroup);
            }
            if role == "tp-quota" {
                let cgroup = Cgroup::new("cpu", role)?;
                cgroup.set_cpu_quota(20)?;
                cgroup.add(process.0.id())?;
                workloads.cgroups.push(cgroup);
            }
            workloads.processes.push(process);
        }
        Ok(workloads)
    }

    /// The groups they are, by comm and by cgroup.
    pub(crate) fn groups(&self) -> Vec<String> {
        let cgroups = self.cgroups.iter().map(|cgroup| cgroup.path.clone());
        ROLES.iter().map(|role| (*role).to_owned()).chain(cgroups).collect()
    }

    /// Whether all are still at work.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (role, process) in ROLES.iter().zip(&mut self.processes) {
            let ended = process.0.try_wait()?;
            ensure!(ended.is_none(), "the workload {role} ended: {ended:?}");
        }
        Ok(())
    }
}

/// Plays a role until whoever started it is gone.
pub(crate) fn play(role: &str) -> Result<()> {
    let parent = getppid();
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // Had it ended before that call, no signal would come.
    ensure!(getppid() == parent && parent.as_raw() != 1, "a workload is started by a test");
    fs::write("/proc/thread-self/comm", role)?;
    match role {
        "tp-switches" => pass_a_token(),
        "tp-churn" => every(Duration::from_millis(2), || thread::spawn(|| {}).join().is_ok()),
        "tp-births" => every(Duration::from_millis(100), || Command::new("true").status().is_ok()),
        "tp-busy" => keep_cpus_busy(),
        "tp-quota" => every(Duration::ZERO, || goes_on(std::hint::black_box(0))),
        "tp-leak" => every(Duration::from_millis(1000 / LEAKS_PER_SECOND), || sleeper().is_ok()),
        "tp-full" => every(Duration::from_millis(100), || goes_on(sleeper())),
        "tp-nproc" => beyond_nproc(),
        other => bail!("no workload {other:?}"),
    }
}

/// Does something at a fixed rate, as long as it succeeds.
fn every(interval: Duration, mut act: impl FnMut() -> bool) -> Result<()> {
    let mut due = Instant::now();
    while act() {
        due += interval;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    bail!("it failed")
}

/// Two threads that wake each other some thousand times a second.
fn pass_a_token() -> Result<()> {
    let ((ping, pinged), (pong, ponged)) = (mpsc::channel(), mpsc::channel());
    thread::spawn(move || pinged.into_iter().all(|token: u8| pong.send(token).is_ok()));
    every(Duration::from_micros(200), || ping.send(1).is_ok() && ponged.recv().is_ok())
}

/// One thread more than there are CPUs, half of the time: others wait for one.
fn keep_cpus_busy() -> Result<()> {
    for _ in 0..thread::available_parallelism()?.get() {
        thread::spawn(burn);
    }
    burn();
    Ok(())
}

fn burn() {
    loop {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A thread that sleeps until the process ends.
fn sleeper() -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(64 << 10).spawn(|| {
        loop {
            thread::park();
        }
    })
}

/// Whether it succeeded or not.
fn goes_on<T>(_attempt: T) -> bool {
    true
}

/// Another user at its limit, who goes on trying.
fn beyond_nproc() -> Result<()> {
    const NOBODY_ELSE: u32 = 64_323;
    setrlimit(Resource::RLIMIT_NPROC, 3, 3)?;
    setgid(Gid::from_raw(NOBODY_ELSE))?;
    setuid(Uid::from_raw(NOBODY_ELSE))?;
    every(Duration::from_millis(100), || goes_on(sleeper()))
}
