//! One host as the others are to look: a real daemon, and processes of as many names as there are to be groups.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::getppid,
};

use crate::build::{is_root, release_binary};

/// A process that ends with this.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a daemon says of a host with so many groups, each with threads that run and threads that have ended.
///
/// # Errors
/// The daemon or a process could not be started.
pub(super) fn scrape(program: Option<&Path>, groups: u32) -> Result<String> {
    ensure!(is_root(), "run as root: a daemon with eBPF programs is started");
    let program = program.map_or_else(release_binary, |program| Ok(program.to_path_buf()))?;
    let _processes = (0..groups).map(process).collect::<Result<Vec<Running>>>()?;
    let port = free_port()?;
    let mut daemon = Command::new(program);
    // The last of the groups is ~other.
    let max = groups.saturating_sub(1).to_string();
    daemon
        .args(["serve", "--web.socket", "", "--interval", "1s", "--max-groups", &max])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _daemon = Running(daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
    println!("A daemon watches {groups} processes for a moment.");
    let url = format!("http://127.0.0.1:{port}/metrics");
    let started = Instant::now();
    while ureq::get(&url).call().is_err() {
        ensure!(started.elapsed() < Duration::from_secs(20), "the daemon does not answer on port {port}");
        thread::sleep(Duration::from_millis(50));
    }
    // In this time threads end in each group, and most buckets of waits that ever fill do.
    thread::sleep(Duration::from_secs(10));
    Ok(ureq::get(&url).call()?.body_mut().with_config().limit(64 << 20).read_to_string()?)
}

/// A port nobody listens on.
///
/// # Errors
/// There is none.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn process(number: u32) -> Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["fleet-process", &number.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(Running(command.spawn().with_context(|| format!("starting process {number}"))?))
}

/// Is one of the processes: wakes up, and creates a thread that ends, until whoever started it is gone.
///
/// # Errors
/// The kernel refused something.
pub(crate) fn be_process(number: u32) -> Result<()> {
    let parent = getppid();
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // Had it ended before that call, no signal would come.
    ensure!(getppid() == parent && parent.as_raw() != 1, "this process is started by `cargo xtask fleet`");
    // Lengths as names of programs have them; a comm has 15 bytes at most.
    std::fs::write("/proc/self/comm", format!("service-{number:03}")).context("renaming")?;
    loop {
        let nap = Duration::from_millis(u64::from(number % 7));
        if thread::spawn(move || thread::sleep(nap)).join().is_err() {
            bail!("a thread panicked");
        }
        thread::sleep(Duration::from_millis(400));
    }
}
