//! The command line: types only.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::configuration::{AllKeys, Configuration, ProbeAndGroupKeys, ProbeKeys, RecordKeys};
use crate::{
    bench::Part,
    config::value,
    top::{
        batch::Format,
        choice::{self, ColumnsChoice, SortChoice},
        feed::{Moment, Recording},
        filter::Filter,
        settings::Tree,
    },
};

/// What every thread on a Linux host costs: context switches, run-queue latency, kernel memory. Exact, from eBPF.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("THREAD_PROBE_REVISION"), ")"), max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to log, on standard error [default: info for serve, else warn]
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
    /// Watch the processes and their threads; or with --batch print them, sample by sample
    Top(TopOptions),
    /// Take two samples and print the processes, or the threads of one
    Ps(PsOptions),
    /// Print every limit on threads with its use, the most endangered first; without root those of the host
    Limits(LimitsOptions),
    /// Examine this host: what thread-probe needs and does not find, whether it counts right, and what it costs
    Doctor(DoctorOptions),
    /// Measure what threads cost on this host: memory, to create them, to switch between them; needs no root
    Bench(BenchOptions),
    /// Say how many threads: for the CPUs, for what they wait for, for a rate of requests, and what there is room for
    Plan(PlanOptions),
    /// Show what is in a process: its runtime, its pools of threads, their stacks, what they began with
    Inspect(InspectOptions),
    /// Record every sample into a file, for top, ps and limits to --replay: processes, groups, limits, alerts
    Record(RecordOptions),
    /// Say what to change: threads that are too many, short-lived, throttled, near a limit; the worst first
    Advise(AdviseOptions),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

impl Command {
    /// A daemon tells what it does; a table speaks for itself.
    pub fn default_log_level(&self) -> LogLevel {
        match self {
            Self::Serve(_) => LogLevel::Info,
            // It says itself what is wrong.
            Self::Doctor(_) => LogLevel::Error,
            Self::Top(_)
            | Self::Ps(_)
            | Self::Limits(_)
            | Self::Bench(_)
            | Self::Plan(_)
            | Self::Inspect(_)
            | Self::Record(_)
            | Self::Advise(_)
            | Self::Config(_) => LogLevel::Warn,
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

/// Options of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// The daemon's.
    #[command(flatten)]
    pub configuration: Configuration<AllKeys>,
}

/// Options of `top`.
#[derive(Clone, Debug, Args)]
pub struct TopOptions {
    /// The daemon to ask, as in http://127.0.0.1:10420 or unix:/PATH; without it, or with "", a probe of its own or,
    /// where that may not be loaded, the daemon's socket
    #[arg(long, value_name = "URL", value_parser = choice::url, env = "THREAD_PROBE_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// What was recorded, in place of what is.
    #[command(flatten)]
    pub replay: ReplayOptions,
    /// Time between samples; a number alone is seconds [default: 1s, in the interactive view as it was last]
    #[arg(short = 'd', long, value_name = "DURATION", value_parser = value::interval_or_seconds)]
    pub interval: Option<Duration>,
    /// Print samples; so it does where standard output is no terminal
    #[arg(short, long)]
    pub batch: bool,
    /// End after N samples
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub samples: Option<u64>,
    /// How to print: JSON is a line a sample [default: table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Print only the first N of each sample
    #[arg(long, value_name = "N", value_parser = value::rows)]
    pub top: Option<usize>,
    /// What comes first: the id or heading of a column, or switches, latency, threads, cpu, stack; :asc or :desc turns
    /// it [default: switches, in the interactive view as it was last]
    #[arg(long, value_name = "COLUMN[:asc|:desc]", value_parser = SortChoice::parse)]
    pub sort: Option<SortChoice>,
    /// Only processes that match, as in 'user:www threads>100 !re:^kworker'; docs/top.md has the language
    #[arg(long, value_name = "TEXT", value_parser = Filter::parse, conflicts_with = "pid")]
    pub filter: Option<Filter>,
    /// The columns of the table (with --pid of that of threads), by id or heading
    #[arg(long, value_name = "COLUMN,...", value_parser = ColumnsChoice::parse)]
    pub columns: Option<ColumnsChoice>,
    /// How processes are nested in the interactive view [default: as they were last]
    #[arg(long, value_enum, conflicts_with = "batch")]
    pub tree: Option<Tree>,
    /// The threads of this process
    #[arg(long, value_name = "PID", value_parser = value::pid)]
    pub pid: Option<u32>,
    /// The probe's, and what makes a group: that of the column GROUP.
    #[command(flatten)]
    pub configuration: Configuration<ProbeAndGroupKeys>,
}

impl TopOptions {
    /// The daemon to ask, if one is named: a variable may be there and empty.
    pub fn daemon(&self) -> Option<&str> {
        self.url.as_deref().filter(|url| !url.is_empty())
    }
}

/// What was recorded, in place of what is.
#[derive(Clone, Debug, Args)]
pub struct ReplayOptions {
    /// A recording, or a folder with some: no probe is loaded, and none of the host's files is read
    #[arg(long, value_name = "PATH")]
    pub replay: Option<PathBuf>,
    /// When in the recording, in UTC as in '2026-11-20 03:00', or so long before its end as in -2h
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, allow_hyphen_values = true, requires = "replay")]
    pub at: Option<Moment>,
}

impl ReplayOptions {
    /// What is to be replayed, if anything is.
    pub fn recording(&self) -> Option<Recording> {
        self.replay.clone().map(|path| Recording { path, at: self.at })
    }
}

/// Options of `record`.
#[derive(Clone, Debug, Args)]
pub struct RecordOptions {
    /// The file to make
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// For how long; without it until SIGINT or SIGTERM
    #[arg(long = "for", value_name = "DURATION", value_parser = value::record_for)]
    pub duration: Option<Duration>,
    /// The probe's, and what makes a group.
    #[command(flatten)]
    pub configuration: Configuration<RecordKeys>,
}

/// Options of `ps`.
#[derive(Clone, Debug, Args)]
pub struct PsOptions {
    /// The daemon to ask, as in http://127.0.0.1:10420 or unix:/PATH; without it, or with "", a probe of its own or,
    /// where that may not be loaded, the daemon's socket
    #[arg(long, value_name = "URL", value_parser = choice::url, env = "THREAD_PROBE_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// What was recorded, in place of what is.
    #[command(flatten)]
    pub replay: ReplayOptions,
    /// Time between the two samples; that in the file is the daemon's
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = value::interval)]
    pub interval: Duration,
    /// What comes first: the id or heading of a column, or switches, latency, threads, cpu, stack; :asc or :desc turns
    /// it
    #[arg(long, value_name = "COLUMN[:asc|:desc]", default_value = "switches", value_parser = SortChoice::parse)]
    pub sort: SortChoice,
    /// Print only the first N
    #[arg(short = 'n', long, value_name = "N", value_parser = value::rows)]
    pub top: Option<usize>,
    /// Only processes that match, as in 'user:www threads>100 !re:^kworker'; docs/top.md has the language
    #[arg(long, value_name = "TEXT", value_parser = Filter::parse, conflicts_with = "pid")]
    pub filter: Option<Filter>,
    /// The columns of the table (with --pid of that of threads), by id or heading
    #[arg(long, value_name = "COLUMN,...", value_parser = ColumnsChoice::parse)]
    pub columns: Option<ColumnsChoice>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Print the threads of this process
    #[arg(long, value_name = "PID", value_parser = value::pid)]
    pub pid: Option<u32>,
    /// Sum up the threads of a name, the numbers in it aside; JSON has both
    #[arg(long, requires = "pid", conflicts_with = "columns")]
    pub by_name: bool,
    /// The probe's, and what makes a group: that of the column GROUP.
    #[command(flatten)]
    pub configuration: Configuration<ProbeAndGroupKeys>,
}

/// Options of `limits`.
#[derive(Clone, Debug, Args)]
pub struct LimitsOptions {
    /// Print only the limits that hold for this process, that with room for the fewest threads first
    #[arg(long, value_name = "PID", value_parser = value::pid)]
    pub pid: Option<u32>,
    /// What was recorded, in place of what is.
    #[command(flatten)]
    pub replay: ReplayOptions,
    /// Print all limits, not only the 20 most endangered
    #[arg(long)]
    pub all: bool,
    /// How long to watch for growth; that in the file is the daemon's
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = value::window)]
    pub window: Duration,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: TableOrJson,
    /// The probe's.
    #[command(flatten)]
    pub configuration: Configuration<ProbeKeys>,
}

/// Options of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorOptions {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: TableOrJson,
    /// The probe's.
    #[command(flatten)]
    pub configuration: Configuration<ProbeKeys>,
}

/// Options of `bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchOptions {
    /// What to measure [default: all]
    #[arg(value_name = "PART", value_parser = parts())]
    pub parts: Vec<Part>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: TableOrJson,
    /// Keep the figures in a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Say what changed since such a file was written, beyond what figures vary by from one repeat to the next
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
}

/// How to take two samples, and to print what comes of them.
#[derive(Clone, Debug, Args)]
pub struct LookOptions {
    /// How long to watch
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = value::window)]
    pub window: Duration,
    /// The daemon to ask, as in http://127.0.0.1:10420 or unix:/PATH; without it, or with "", a probe of its own or,
    /// where that may not be loaded, the daemon's socket
    #[arg(long, value_name = "URL", value_parser = choice::url, env = "THREAD_PROBE_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: TableOrJson,
    /// The probe's, and what makes a group.
    #[command(flatten)]
    pub configuration: Configuration<ProbeAndGroupKeys>,
}

/// What is looked at: all of what is said, of what is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whose<'a> {
    /// A process.
    pub pid: Option<u32>,
    /// A group.
    pub group: Option<&'a str>,
    /// A systemd unit.
    pub unit: Option<&'a str>,
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanOptions {
    /// Of this process, as it is
    #[arg(long, value_name = "PID", value_parser = value::pid, group = "whose")]
    pub pid: Option<u32>,
    /// Of this group of processes, as it is
    #[arg(long, value_name = "GROUP", group = "whose")]
    pub group: Option<String>,
    /// Of this systemd unit, as it is
    #[arg(long, value_name = "UNIT", group = "whose")]
    pub unit: Option<String>,
    /// CPUs that its threads may use, as in 2 or 0.5 [default: those that it may; by hand those of this process]
    #[arg(long, value_name = "CPUS", value_parser = value::amount, allow_negative_numbers = true)]
    pub cpus: Option<f64>,
    /// By hand: memory that there is for threads, as in 2G [default: what this host has available]
    #[arg(long, value_name = "BYTES", value_parser = value::bytes, conflicts_with = "whose")]
    pub ram: Option<u64>,
    /// What a thread touches of its stack, as in 128K [default: what its threads were seen to take, else 64K]
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub stack: Option<u64>,
    /// How long a request waits for something else than a CPU [default: as its threads do]
    #[arg(long, value_name = "MS", value_parser = value::amount, allow_negative_numbers = true)]
    pub wait_ms: Option<f64>,
    /// How long a request works on a CPU
    #[arg(long, value_name = "MS", value_parser = value::amount, allow_negative_numbers = true)]
    pub work_ms: Option<f64>,
    /// Requests of a second
    #[arg(long, value_name = "N", value_parser = value::amount, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// How long a request keeps a thread [default: wait and work]
    #[arg(long, value_name = "MS", value_parser = value::amount, allow_negative_numbers = true)]
    pub response_ms: Option<f64>,
    /// How to look, and to print.
    #[command(flatten)]
    pub look: LookOptions,
}

impl PlanOptions {
    /// Whether nothing is to be looked at.
    pub fn is_by_hand(&self) -> bool {
        self.pid.is_none() && self.group.is_none() && self.unit.is_none()
    }

    /// What is to be looked at.
    pub fn whose(&self) -> Whose<'_> {
        Whose { pid: self.pid, group: self.group.as_deref(), unit: self.unit.as_deref() }
    }
}

/// Options of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectOptions {
    /// Of this process
    #[arg(value_name = "PID", value_parser = value::pid)]
    pub pid: u32,
    /// How to look, and to print.
    #[command(flatten)]
    pub look: LookOptions,
}

/// Options of `advise`.
#[derive(Clone, Debug, Args)]
pub struct AdviseOptions {
    /// Of this process [default: of all, the worst first]
    #[arg(value_name = "PID", value_parser = value::pid, conflicts_with = "group")]
    pub pid: Option<u32>,
    /// Of this group of processes
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// How to look, and to print.
    #[command(flatten)]
    pub look: LookOptions,
}

impl AdviseOptions {
    /// What is to be looked at.
    pub fn whose(&self) -> Whose<'_> {
        Whose { pid: self.pid, group: self.group.as_deref(), unit: None }
    }
}

fn parts() -> impl TypedValueParser<Value = Part> {
    let named = |label: String| Part::ALL.into_iter().find(|part| part.label() == label);
    PossibleValuesParser::new(Part::ALL.map(Part::label)).try_map(move |label| named(label).ok_or("no such part"))
}

/// How to print what has no CSV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableOrJson {
    /// Columns for people
    #[default]
    Table,
    /// JSON: the same with all fields
    Json,
}

/// What to do with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether a file is a valid configuration: exit code 0, or 1 and what is wrong
    Check {
        /// The file; the web configuration that it names is checked, too
        #[arg(required_unless_present = "web_config_file")]
        file: Option<PathBuf>,
        /// A web configuration
        #[arg(long = "web.config.file", value_name = "FILE")]
        web_config_file: Option<PathBuf>,
    },
    /// Print the configuration in force, every key with its value, as a file
    Show {
        /// The configuration file; without one, the defaults are shown
        #[arg(long = "config", value_name = "FILE")]
        config_file: Option<PathBuf>,
    },
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
    fn an_empty_url_is_none() {
        let daemon = |url: &str| {
            let cli = Cli::try_parse_from(["thread-probe", "top", "--url", url]).ok()?;
            let Command::Top(options) = cli.command else { return None };
            Some(options.daemon().map(str::to_owned))
        };
        assert_eq!(daemon(""), Some(None));
        assert_eq!(daemon("unix:/a"), Some(Some("unix:/a".to_owned())));
        assert_eq!(daemon("a"), None);
    }
}
