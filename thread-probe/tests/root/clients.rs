//! Clients that are many, slow or hostile, and a log that nobody reads: the daemon samples on and answers others.

use std::{
    fs,
    io::{self, Write as _},
    net::TcpStream,
    os::unix::{net::UnixStream, process::CommandExt as _},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    resource::{Resource, setrlimit},
    signal::Signal,
};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::support::daemon::{Daemon, PROGRAM};

fn ask(stream: &mut (impl io::Read + io::Write), path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn rss_kb(daemon: &Daemon) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn a_log_that_nobody_reads_stops_neither_sampling_nor_sigterm() -> Result<()> {
    needs_root!();
    // A pipe that is full from the start: nobody reads its other end.
    let (reader, mut writer) = io::pipe()?;
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    while writer.write(&[b'x'; 4096]).is_ok() {}
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))?;
    let mut command = Command::new(PROGRAM);
    command.args(["--log-level", "debug"]);
    let mut daemon =
        Daemon::start_logging_to(command, &["--interval", "200ms"], NamedTempFile::new()?, Stdio::from(writer))?;
    let samples = |daemon: &Daemon| -> Result<f64> {
        let snapshot: Value = serde_json::from_str(&daemon.get("/api/v1/snapshot")?.1)?;
        snapshot["time_unix_seconds"].as_f64().context("a time")
    };
    let before = samples(&daemon)?;
    thread::sleep(Duration::from_secs(1));
    ensure!(samples(&daemon)? > before, "it does not sample any more");
    let metrics = daemon.get("/metrics")?.1;
    let lost = metrics.lines().find_map(|line| line.strip_prefix("threadprobe_lost_total{reason=\"log_line\"} "));
    ensure!(lost.context("the counter")?.parse::<f64>()? > 0.0, "no line of the log was counted as left out");
    let stopping = Instant::now();
    daemon.signal(Signal::SIGTERM)?;
    let status = daemon.child.wait()?;
    ensure!(status.success() && stopping.elapsed() < Duration::from_secs(5), "{status} after {:?}", stopping.elapsed());
    drop(reader);
    Ok(())
}

#[test]
fn more_idle_clients_than_open_files_stop_nothing() -> Result<()> {
    needs_root!();
    let mut command = Command::new(PROGRAM);
    // SAFETY: setrlimit is safe between fork and exec.
    unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_NOFILE, 90, 90)?)) };
    let daemon = Daemon::start_by(command, &["--interval", "200ms"])?;
    let idle: Vec<_> = (0..100).map_while(|_| daemon.connect().ok()).collect();
    thread::sleep(Duration::from_secs(2));
    let (status, _) = daemon.get("/healthz")?;
    ensure!(status.contains("200"), "{status}");
    drop(idle);
    Ok(())
}

#[test]
fn a_hundred_scrapers_at_once_are_all_answered() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    let port = daemon.port;
    let scrape = move || -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        ask(&mut stream, "/metrics")
    };
    let scrapers: Vec<_> = (0..100).map(|_| thread::spawn(scrape)).collect();
    let mut refused = 0;
    for scraper in scrapers {
        let answer = scraper.join().map_err(|_| anyhow::anyhow!("panicked"))?.context("cut off")?;
        let head = answer.lines().next().unwrap_or_default().to_owned();
        refused += u32::from(!head.contains("200"));
        ensure!(head.contains("200") || answer.contains("Retry-After"), "{head}");
    }
    ensure!(refused < 10, "{refused} of 100 were told to come again");
    Ok(())
}

/// Asks and does not read.
fn pin(port: u16, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    Ok(stream)
}

#[test]
fn who_does_not_read_denies_neither_threads_to_others_nor_anything_to_the_socket() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    let path = format!("/api/v1/snapshot?pid={}", std::process::id());
    // Enough for one to be in the middle of its answer, wherever the socket's buffers end.
    let slow: Vec<_> = (0..64).map_while(|_| pin(daemon.port, &path).ok()).collect();
    let mut socket = UnixStream::connect(daemon.socket())?;
    let answer = ask(&mut socket, &path)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{}", answer.lines().next().unwrap_or_default());
    let started = Instant::now();
    while !daemon.get(&path).is_ok_and(|(status, _)| status.contains("200")) {
        ensure!(started.elapsed() < Duration::from_secs(15), "the threads are denied to others");
        thread::sleep(Duration::from_millis(100));
    }
    drop(slow);
    Ok(())
}

#[test]
fn readers_that_do_not_read_cost_a_bounded_amount_of_memory() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&["--group-by", "pid", "--max-groups", "5000"])?;
    // Processes that make the answers large.
    let sleepers: Result<Vec<_>, _> = (0..1500).map(|_| Command::new("sleep").arg("100").spawn()).collect();
    let mut sleepers = sleepers?;
    thread::sleep(Duration::from_secs(2));
    let body = daemon.get("/api/v1/snapshot")?.1.len();
    let before = rss_kb(&daemon)?;
    let mut slow = Vec::new();
    let mut most = 0;
    for _ in 0..60 {
        slow.push(pin(daemon.port, "/api/v1/snapshot")?);
        thread::sleep(Duration::from_millis(150));
        most = most.max(rss_kb(&daemon)?);
    }
    for sleeper in &mut sleepers {
        sleeper.kill()?;
        sleeper.wait()?;
    }
    let grown = most.saturating_sub(before);
    ensure!(grown < 120_000, "60 readers of {body} bytes that do not read cost {grown} kB");
    Ok(())
}
