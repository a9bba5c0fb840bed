//! The daemon as its users run it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_thread-probe");

/// The name of its socket in its folder.
const SOCKET: &str = "probe.sock";

/// A daemon on a port of its own.
pub(crate) struct Daemon {
    pub child: Child,
    pub port: u16,
    pub log: tempfile::NamedTempFile,
    /// Where its socket is, unless the arguments say where.
    pub folder: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        Self::start_configured(&[&["--interval", "200ms"], args].concat())
    }

    /// With no option but these, the port and a socket.
    pub(crate) fn start_configured(args: &[&str]) -> Result<Self> {
        Self::start_with(args, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(PROGRAM);
        command.envs(environment.iter().copied());
        Self::start_by(command, args)
    }

    /// The same, by another command, to which all arguments are added.
    pub(crate) fn start_by(command: Command, args: &[&str]) -> Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        let stderr = log.reopen()?.into();
        Self::start_logging_to(command, args, log, stderr)
    }

    /// The same, with standard error elsewhere than in the file.
    pub(crate) fn start_logging_to(
        mut command: Command,
        args: &[&str],
        log: tempfile::NamedTempFile,
        stderr: Stdio,
    ) -> Result<Self> {
        let port = free_port()?;
        command.args(["serve", "--web.listen-address", &format!("127.0.0.1:{port}")]);
        let folder = tempfile::tempdir()?;
        if !args.contains(&"--web.socket") {
            command.arg("--web.socket").arg(folder.path().join(SOCKET));
        }
        let child = command.args(args).stdin(Stdio::null()).stderr(stderr).spawn()?;
        let daemon = Self { child, port, log, folder };
        let started = Instant::now();
        while daemon.get("/healthz").is_err() {
            ensure!(started.elapsed() < Duration::from_secs(20), "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    }

    /// The status line and the body.
    pub(crate) fn get(&self, path: &str) -> Result<(String, String)> {
        let mut stream = self.connect()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
        Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
    }

    /// The snapshot with the threads of a process, from the second sample on: the first has no rates.
    pub(crate) fn second_snapshot(&self, pid: u32) -> Result<Value> {
        loop {
            let (status, body) = self.get(&format!("/api/v1/snapshot?pid={pid}"))?;
            ensure!(status.contains("200"), "{status}");
            let snapshot: Value = serde_json::from_str(&body)?;
            if snapshot["interval_seconds"].is_number() {
                return Ok(snapshot);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Waits until `done`, and says what it waited for where that does not come.
    pub(crate) fn wait_until(&self, what: &str, done: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !done(self)? {
            let log = fs::read_to_string(&self.log)?;
            ensure!(started.elapsed() < Duration::from_secs(20), "{what}: not after 20 s; it logged {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn wait_for_log(&self, parts: &[&str]) -> Result<()> {
        let says = |line: &str| parts.iter().all(|part| line.contains(part));
        self.wait_until(&format!("a line with {parts:?}"), |daemon| {
            Ok(fs::read_to_string(&daemon.log)?.lines().any(says))
        })
    }

    /// The value of a series without labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.get("/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("{name} in /metrics"))?.parse()?)
    }

    pub(crate) fn wait_for_metric(&self, name: &str, value: f64) -> Result<()> {
        self.wait_until(&format!("{name} {value}"), |daemon| Ok(daemon.metric(name)? == value))
    }

    pub(crate) fn field(&self, name: &str) -> Result<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        Ok(line.with_context(|| format!("{name} in status"))?.trim().to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
