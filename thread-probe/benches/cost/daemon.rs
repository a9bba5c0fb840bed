//! The daemon as it runs: at rest, scraped, under churn, and with many threads.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{load::Load, scan::resident_kb_of, sysctl::Sysctl};

const ADDRESS: &str = "127.0.0.1:10499";
const AT_REST: Duration = Duration::from_mins(1);
const CHURN: Duration = Duration::from_secs(20);
const CHURN_PER_SECOND: u64 = 20_000;

/// A daemon that runs until this is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(interval: &str) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thread-probe"));
        command.args([
            "serve",
            "--interval",
            interval,
            "--web.listen-address",
            ADDRESS,
            "--web.socket=",
            "--log-level",
            "warn",
        ]);
        let daemon = Self(command.stdin(Stdio::null()).spawn()?);
        let started = Instant::now();
        while get("/healthz").is_err() {
            ensure!(started.elapsed() < Duration::from_secs(10), "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    fn resident_mb(&self) -> Result<f64> {
        Ok(resident_kb_of(&self.0.id().to_string())? as f64 / 1024.0)
    }

    /// Ends it, and says how long that took.
    fn stop(mut self) -> Result<f64> {
        let started = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(started.elapsed().as_secs_f64())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Seconds of CPU that a process used so far.
pub(crate) fn cpu_seconds_of(pid: u32) -> Result<f64> {
    let schedstats = fs::read_dir(format!("/proc/{pid}/task"))?
        .flatten()
        .map(|task| fs::read_to_string(task.path().join("schedstat")));
    let mut total = 0;
    for schedstat in schedstats {
        let schedstat = schedstat?;
        total += schedstat.split_whitespace().next().context("schedstat")?.parse::<u64>()?;
    }
    Ok(total as f64 / 1e9)
}

fn get(path: &str) -> Result<String> {
    Ok(String::from_utf8(get_encoded(path, "identity")?)?)
}

/// The answer in the given encoding, with its head.
fn get_encoded(path: &str, encoding: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    let head = format!("Host: localhost\r\nAccept-Encoding: {encoding}\r\nConnection: close");
    write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

pub(crate) fn measure() -> Result<()> {
    println!("| daemon | |\n|---|---|");
    at_rest()?;
    scrapes()?;
    churn()?;
    many_threads()?;
    println!();
    Ok(())
}

fn at_rest() -> Result<()> {
    let daemon = Daemon::start("5s")?;
    std::thread::sleep(Duration::from_secs(6));
    let (before, started) = (cpu_seconds_of(daemon.0.id())?, Instant::now());
    std::thread::sleep(AT_REST);
    let share = (cpu_seconds_of(daemon.0.id())? - before) / started.elapsed().as_secs_f64();
    println!("| CPU at rest, default interval | {:.3} % of a core |", share * 100.0);
    println!("| RSS at rest | {:.1} MB |", daemon.resident_mb()?);
    println!("| SIGTERM to exit | {:.2} s |", daemon.stop()?);
    Ok(())
}

/// The first scrape of a sample renders it: the slowest of several is what is reported.
fn scrapes() -> Result<()> {
    let _pids = Sysctl::set("kernel/pid_max", "4194304")?;
    let load = Load::start(&["sleepers", "200", "10000"])?;
    // By pid, so that 200 processes are 200 groups.
    let mut command = Command::new(env!("CARGO_BIN_EXE_thread-probe"));
    command.args([
        "serve",
        "--interval",
        "500ms",
        "--group-by",
        "pid",
        "--web.listen-address",
        ADDRESS,
        "--web.socket=",
        "--log-level",
        "warn",
    ]);
    let daemon = Daemon(command.stdin(Stdio::null()).spawn()?);
    std::thread::sleep(Duration::from_secs(3));
    for (encoding, what) in [("gzip", "as Prometheus asks for it (gzip)"), ("identity", "not compressed")] {
        let mut slowest = Duration::ZERO;
        let mut bytes = 0;
        for _ in 0..10 {
            let started = Instant::now();
            bytes = get_encoded("/metrics", encoding)?.len();
            slowest = slowest.max(started.elapsed());
            std::thread::sleep(Duration::from_millis(600));
        }
        let ms = slowest.as_secs_f64() * 1e3;
        println!(
            "| `/metrics` at 10,000 threads in 200 processes, each a group, {what} | {ms:.1} ms, {} kB |",
            bytes / 1000
        );
    }
    drop(daemon);
    drop(load);
    Ok(())
}

/// The value of a series, all labels added up.
fn sum_of(exposition: &str, name: &str) -> f64 {
    let values = exposition
        .lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

fn churn() -> Result<()> {
    let daemon = Daemon::start("5s")?;
    let first = get("/metrics")?;
    let load = Load::start(&["churn", &CHURN_PER_SECOND.to_string()])?;
    let (cpu, started) = (cpu_seconds_of(daemon.0.id())?, Instant::now());
    std::thread::sleep(CHURN);
    let seconds = started.elapsed().as_secs_f64();
    let share = (cpu_seconds_of(daemon.0.id())? - cpu) / seconds;
    drop(load);
    std::thread::sleep(Duration::from_secs(6));
    let last = get("/metrics")?;
    let ended = sum_of(&last, "threadprobe_threads_exited_total") - sum_of(&first, "threadprobe_threads_exited_total");
    let lost = |text| {
        sum_of(text, "threadprobe_lost_total{reason=\"fold_full\"")
            + sum_of(text, "threadprobe_lost_total{reason=\"end_missing\"")
    };
    println!(
        "| lost at {:.0} thread ends a second | {:.0} of {ended:.0} |",
        ended / seconds,
        lost(&last) - lost(&first)
    );
    println!("| CPU at that rate | {:.1} % of a core |", share * 100.0);
    Ok(())
}

fn many_threads() -> Result<()> {
    let _pids = Sysctl::set("kernel/pid_max", "4194304")?;
    let load = Load::start(&["sleepers", "20", "100000"])?;
    let daemon = Daemon::start("1s")?;
    std::thread::sleep(Duration::from_secs(5));
    get("/metrics")?;
    println!("| RSS at 100,000 threads | {:.1} MB |", daemon.resident_mb()?);
    drop(daemon);
    drop(load);
    Ok(())
}
