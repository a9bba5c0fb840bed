//! What the daemon tells a service manager, whose part the test plays. It needs root.

use std::{
    collections::HashMap,
    fs,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::support::daemon::Daemon;

/// The socket that a service manager listens on.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = UnixDatagram::bind(folder.path().join("notify"))?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { socket, folder })
    }

    fn start(&self, args: &[&str]) -> Result<Daemon> {
        let socket = self.folder.path().join("notify").display().to_string();
        Daemon::start_with(args, &[("NOTIFY_SOCKET", &socket), ("WATCHDOG_USEC", "30000000")])
    }

    /// Fills its queue, so that nobody else can tell it anything.
    fn fill(&self) -> Result<()> {
        let queue: usize = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")?.trim().parse()?;
        let other = UnixDatagram::unbound()?;
        other.set_nonblocking(true)?;
        let mut sent = 0;
        while other.send_to(b"full", self.folder.path().join("notify")).is_ok() {
            sent += 1;
        }
        ensure!(sent >= queue, "the queue holds only {sent}");
        Ok(())
    }

    fn next(&self) -> Result<HashMap<String, String>> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).context("the daemon tells nothing more")?;
        let text = std::str::from_utf8(&bytes[..length])?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.into(), value.into()))
            .collect())
    }

    /// The next message with this key.
    fn next_with(&self, key: &str) -> Result<HashMap<String, String>> {
        loop {
            let message = self.next()?;
            if message.contains_key(key) {
                return Ok(message);
            }
        }
    }
}

#[test]
fn it_is_told_ready_alive_with_each_sample_and_stopping() -> Result<()> {
    needs_root!();
    let manager = Manager::new()?;
    let mut daemon = manager.start(&["--interval", "1s"])?;
    let ready = manager.next()?;
    ensure!(ready["READY"] == "1", "{ready:?}");
    let status = &ready["STATUS"];
    let listening = format!("listening on 127.0.0.1:{} and {}", daemon.port, daemon.socket().display());
    for part in [" processes with ", " threads, sampled in ", "; lost ", "; clone probe ", &listening] {
        ensure!(status.contains(part), "no {part:?} in {status:?}");
    }
    // The interval, and how late a sample may be.
    ensure!(ready["WATCHDOG_USEC"] == "31000000", "{ready:?}");
    for _ in 0..2 {
        let message = manager.next()?;
        ensure!(message["WATCHDOG"] == "1" && message["STATUS"].contains("; listening on "), "{message:?}");
    }
    daemon.signal(Signal::SIGTERM)?;
    manager.next_with("STOPPING")?;
    ensure!(daemon.child.wait()?.success());
    Ok(())
}

#[test]
fn without_samples_it_is_not_told_alive_although_the_daemon_answers() -> Result<()> {
    needs_root!();
    let manager = Manager::new()?;
    let daemon = manager.start(&["--interval", "1h"])?;
    manager.next_with("WATCHDOG_USEC")?;
    manager.socket.set_read_timeout(Some(Duration::from_millis(1500)))?;
    ensure!(daemon.get("/healthz")?.0.contains("200"), "it does not answer");
    ensure!(manager.next().is_err(), "it was told something between the samples");
    Ok(())
}

#[test]
fn a_reload_is_told_and_the_watchdog_follows_the_interval() -> Result<()> {
    needs_root!();
    let manager = Manager::new()?;
    let config = manager.folder.path().join("config.toml");
    fs::write(&config, "interval = '1h'\n")?;
    let daemon = manager.start(&["--config", &config.display().to_string()])?;
    ensure!(manager.next_with("WATCHDOG_USEC")?["WATCHDOG_USEC"] == "3630000000");
    fs::write(&config, "interval = '10s'\n")?;
    daemon.signal(Signal::SIGHUP)?;
    let reloading = manager.next()?;
    ensure!(reloading["RELOADING"] == "1" && reloading["MONOTONIC_USEC"].parse::<u64>()? > 0, "{reloading:?}");
    let reloaded = manager.next()?;
    ensure!(reloaded["READY"] == "1" && reloaded["WATCHDOG_USEC"] == "40000000", "{reloaded:?}");
    Ok(())
}

#[test]
fn a_service_manager_with_a_full_queue_is_told_when_it_reads_again_and_the_daemon_answers_meanwhile() -> Result<()> {
    needs_root!();
    let manager = Manager::new()?;
    // As at boot, when everything starts at once.
    manager.fill()?;
    let daemon = manager.start(&["--interval", "1h"])?;
    daemon.wait_for_log(&["telling the service manager failed"])?;
    let ready = manager.next_with("READY")?;
    ensure!(ready["WATCHDOG_USEC"] == "3630000000", "{ready:?}");
    manager.fill()?;
    let started = Instant::now();
    for _ in 0..3 {
        daemon.signal(Signal::SIGHUP)?;
        ensure!(daemon.get("/healthz")?.0.contains("200"), "it does not answer");
    }
    ensure!(started.elapsed() < Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(1200));
    manager.next_with("RELOADING")?;
    let reloaded = manager.next()?;
    ensure!(reloaded["READY"] == "1" && reloaded.contains_key("WATCHDOG_USEC"), "{reloaded:?}");
    manager.socket.set_read_timeout(Some(Duration::from_millis(1500)))?;
    ensure!(manager.next().is_err(), "it is told more than the last reload");
    Ok(())
}

#[test]
fn a_service_manager_may_listen_in_the_abstract_namespace() -> Result<()> {
    needs_root!();
    let name = format!("thread-probe-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let _daemon = Daemon::start_with(&[], &[("NOTIFY_SOCKET", &format!("@{name}"))])?;
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).context("the daemon tells nothing")?;
    ensure!(bytes[..length].starts_with(b"READY=1\n"));
    Ok(())
}
