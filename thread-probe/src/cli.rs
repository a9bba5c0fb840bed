//! The command line: types only.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::grouping::GroupBy;

/// What every thread on a Linux host costs: context switches, run-queue latency, kernel memory. Exact, from eBPF.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to log, on standard error [default: info for serve, warn for ps]
    #[arg(long, global = true, value_enum)]
    pub log_level: Option<LogLevel>,
    /// How to log.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sample all the time and export the samples over HTTP: Prometheus metrics and JSON
    Serve(ServeOptions),
    /// Take two samples and print the processes, or the threads of one
    Ps(PsOptions),
}

impl Command {
    /// A daemon tells what it does; a table speaks for itself.
    pub fn default_log_level(&self) -> LogLevel {
        match self {
            Self::Serve(_) => LogLevel::Info,
            Self::Ps(_) => LogLevel::Warn,
        }
    }
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Only what ends the program.
    Error,
    /// And what was done without.
    Warn,
    /// And what it does.
    Info,
    /// And why.
    Debug,
}

impl LogLevel {
    /// As tracing spells it.
    pub fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// Lines of JSON.
    Json,
}

/// How processes are grouped.
#[derive(Clone, Copy, Debug, Args)]
pub struct GroupOptions {
    /// What makes processes one group
    #[arg(long, value_enum, default_value_t)]
    pub group_by: GroupBy,
    /// How many groups there may be; processes of further ones are counted under ~other
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_groups: u32,
    /// How long a group without a live process is kept before it is dropped whole
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_retention)]
    pub group_retention: Duration,
}

/// Options of every command that loads the programs.
#[derive(Clone, Debug, Args)]
pub struct ProbeOptions {
    /// The user to become once the programs are attached, by name or number
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Let the eBPF programs log what is rare (a failed clone, a full ring buffer), at level info and warn
    #[arg(long)]
    pub ebpf_log: bool,
    /// How to see clones that fail and how long others take
    #[arg(long, value_enum, default_value_t)]
    pub clone_probe: CloneProbe,
    /// How processes are grouped.
    #[command(flatten)]
    pub groups: GroupOptions,
}

/// How to see clones that fail and how long others take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CloneProbe {
    /// At kernel_clone where the kernel allows it, else at the system calls' tracepoints
    #[default]
    Auto,
    /// Only at kernel_clone: tracepoints cost every system call of the host some nanoseconds
    Fexit,
    /// Not at all
    Off,
}

/// Options of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// Time between samples
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Address and port to listen on; may be given more than once
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10420", value_parser = parse_address)]
    pub listen_addresses: Vec<SocketAddr>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = parse_path)]
    pub telemetry_path: String,
    /// The probe's.
    #[command(flatten)]
    pub probe: ProbeOptions,
}

/// Options of `ps`.
#[derive(Clone, Debug, Args)]
pub struct PsOptions {
    /// Time between the two samples
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// What comes first
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// Print only the first N
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Print the threads of this process
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// The probe's.
    #[command(flatten)]
    pub probe: ProbeOptions,
}

/// What comes first in a table; the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Context switches per second
    #[default]
    Switches,
    /// Time waited for a CPU
    Latency,
    /// Number of threads
    Threads,
    /// Time on a CPU
    Cpu,
    /// Kernel-stack memory, or of a thread its kernel-stack depth
    Stack,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    #[default]
    Table,
    /// The JSON of /api/v1/snapshot
    Json,
    /// Comma-separated values, with a header
    Csv,
}

fn parse_duration(text: &str, range: std::ops::RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error} (as in 500ms, 5s, 10m)"))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let (min, max) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
    Err(format!("must be from {min} to {max}"))
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_millis(100)..=Duration::from_secs(3600))
}

fn parse_retention(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_secs(1)..=Duration::from_secs(365 * 86400))
}

/// An address, or as in the exporter toolkit a port alone, which listens on every address.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text };
    full.parse().map_err(|_| "must be ADDRESS:PORT, as in 127.0.0.1:10420, [::1]:10420 or :10420".to_owned())
}

/// Paths that are taken.
const RESERVED_PATHS: [&str; 3] = ["/", "/healthz", "/api/v1/snapshot"];

fn parse_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if !text.starts_with('/') || !text.chars().all(plain) {
        return Err("must begin with / and have only letters, digits and /-_.~".to_owned());
    }
    if RESERVED_PATHS.contains(&text) {
        return Err(format!("{text} is taken: choose another path"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_interval_out_of_range_is_refused_with_the_range() {
        assert_eq!(parse_interval("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_interval("1ms"), Err("must be from 100ms to 1h".to_owned()));
        assert!(parse_interval("soon").is_err_and(|error| error.contains("as in 500ms")));
    }

    #[test]
    fn a_port_alone_listens_on_every_address() {
        assert_eq!(parse_address(":1").map(|address| address.to_string()), Ok("[::]:1".to_owned()));
        assert_eq!(parse_address("localhost:1").map(|address| address.to_string()), Ok("127.0.0.1:1".to_owned()));
        assert!(parse_address("nowhere").is_err());
    }

    #[test]
    fn a_telemetry_path_that_is_taken_or_no_path_is_refused() {
        assert!(parse_path("/healthz").is_err());
        assert!(parse_path("metrics").is_err());
        assert!(parse_path("/a{b}").is_err());
        assert_eq!(parse_path("/probe/metrics"), Ok("/probe/metrics".to_owned()));
    }
}
