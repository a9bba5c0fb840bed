//! Every key of the file, but for the rules' (see [`super::rules`]): where it is, how it is read, how it is written.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use toml::Value;

use super::{
    Config,
    read::{
        Addresses, BYTES, Choice, DURATION, FilePath, Integer, Labels, List, Read as _, STRING, Shape, Shaped as _,
        Switch, Text,
    },
    rules,
    toml_value::{Fault, Given},
    value,
};
use crate::{bench::SwitchCost, names::grouping::GroupBy, probe::CloneProbe};

/// A key.
pub(crate) struct Key {
    /// Its section and name, as in `groups.max`.
    pub(crate) path: &'static str,
    /// Whether it can change while the daemon runs.
    pub(super) is_live: bool,
    /// Reads it.
    pub(super) set: fn(&mut Config, &Given<'_>) -> Result<(), Fault>,
    /// Writes it, so that it is read as the same.
    pub(crate) get: fn(&Config) -> Value,
    /// Takes it over from another configuration.
    pub(crate) copy: fn(&mut Config, &Config),
    /// The option that stands for it, if one does.
    pub(crate) option: Option<KeyOption>,
}

/// An option of the command line that stands for a key.
pub(crate) struct KeyOption {
    /// Its name, after `--`.
    pub(crate) long: &'static str,
    /// What it takes, as the help calls it.
    pub(crate) value_name: &'static str,
    /// What it is; the default follows from the key.
    pub(crate) help: &'static str,
    /// What it looks like.
    pub(crate) shape: fn() -> Shape,
    /// Takes over what was given, in the order of the command line.
    pub(crate) set: fn(&mut Config, &[&str]) -> Result<(), String>,
}

/// Declares the keys: whether each is `live` or `fixed` while the daemon runs, its path in the file and its place in a
/// [`Config`], how it is read and how it is written, and the option that stands for it.
macro_rules! keys {
    ($($life:ident $path:literal $($field:ident).+ = $read:expr, $write:expr
        $(, --$long:literal $value_name:literal $help:literal)?;)+) => {
        /// The keys, section by section, in the order in which they are shown.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            path: $path,
            is_live: keys!(@is_live $life),
            set: |config, given| {
                config.$($field).+ = $read.file(given)?;
                Ok(())
            },
            get: |config| ($write)(&config.$($field).+),
            copy: |to, from| to.$($field).+.clone_from(&from.$($field).+),
            option: keys!(@option ($($field).+) $read $(, $long $value_name $help)?),
        }),+];
    };
    (@is_live live) => { true };
    (@is_live fixed) => { false };
    (@option ($($field:ident).+) $read:expr) => { None };
    (@option ($($field:ident).+) $read:expr, $long:literal $value_name:literal $help:literal) => {
        Some(KeyOption {
            long: $long,
            value_name: $value_name,
            help: $help,
            shape: || $read.shape(),
            set: |config, texts| {
                config.$($field).+ = $read.command_line(texts)?;
                Ok(())
            },
        })
    };
}

fn strings<T: ToString>(items: &[T]) -> Value {
    items.iter().map(T::to_string).collect::<Vec<_>>().into()
}

#[expect(clippy::ref_option, reason = "the table hands out references to fields")]
fn path(path: &Option<PathBuf>) -> Value {
    path.as_deref().map(Path::to_string_lossy).unwrap_or_default().into_owned().into()
}

fn duration(duration: &Duration) -> Value {
    value::duration_text(*duration).into()
}

fn choice<T: ValueEnum>(choice: &T) -> Value {
    value::choice_text(choice).into()
}

keys! {
    live "interval" interval = Text(DURATION, value::interval), duration,
        --"interval" "DURATION" "Time between samples";
    fixed "groups.by" groups.by = Choice::<GroupBy>::ANY, choice,
        --"group-by" "GROUP_BY" "What makes processes one group, as in the label group and the column GROUP";
    live "groups.max" groups.max = Integer(value::max_groups), |max: &u32| Value::from(*max),
        --"max-groups" "N" "How many groups there may be; processes of further ones are counted under ~other";
    live "groups.retention" groups.retention = Text(DURATION, value::retention), duration,
        --"group-retention" "DURATION" "How long a group without a live process is kept before it is dropped whole";
    live "groups.keep" groups.keep = List(value::group), strings;
    fixed "web.listen_addresses" web.listen_addresses = Addresses, strings,
        --"web.listen-address" "ADDRESS" "Address and port to listen on; may be given more than once";
    fixed "web.telemetry_path" web.telemetry_path
        = Text(STRING, value::telemetry_path), |path: &String| path.clone().into(),
        --"web.telemetry-path" "PATH" "Path of the metrics";
    fixed "web.socket" web.socket = Text(STRING, value::socket_or_none), path,
        --"web.socket" "PATH" "Unix socket to listen on besides, for `thread-probe top`; \"\" is none";
    fixed "web.config_file" web.config_file = FilePath, path,
        --"web.config.file" "FILE"
        "TLS, passwords and headers of the addresses listened on, as in Prometheus's exporter toolkit; \"\" is none";
    fixed "probe.user" probe.user
        = Text(STRING, value::user),
        |user: &Option<String>| user.clone().unwrap_or_default().into(),
        --"user" "USER" "The user to become once the programs are attached, by name or number";
    fixed "probe.clone_probe" probe.clone_probe = Choice::<CloneProbe>::ANY, choice,
        --"clone-probe" "CLONE_PROBE" "How to see clones that fail and how long others take";
    fixed "probe.ebpf_log" probe.ebpf_log = Switch, |log: &bool| Value::from(*log),
        --"ebpf-log" "BOOL"
        "Let the eBPF programs log what is rare (a failed clone, a full ring buffer), at level info and warn";
    fixed "probe.time_ledger" probe.time_ledger = Switch, |keeps: &bool| Value::from(*keeps),
        --"time-ledger" "BOOL"
        "Whether to account for where threads' time goes, which costs a context switch some nanoseconds";
    fixed "probe.who" probe.who = Switch, |keeps: &bool| Value::from(*keeps),
        --"who" "BOOL"
        "Whether to charge waits for a CPU to who had it, which costs a context switch some nanoseconds";
    live "limits.window" limits.window = Text(DURATION, value::window), duration;
    fixed "record.dir" record.dir = FilePath, path,
        --"record.dir" "FOLDER" "Folder to keep samples in, for --replay; \"\" is none";
    fixed "record.budget" record.budget_bytes = Text(BYTES, value::record_budget), |bytes: &u64| value::bytes_text(*bytes).into(),
        --"record.budget" "BYTES" "Room for all recordings together, as in 512M; the oldest make room";
    fixed "record.interval" record.interval = Text(DURATION, value::interval), duration,
        --"record.interval" "DURATION" "Time between samples that are kept; those of the daemon may be further apart";
    live "alerts.alertmanager_urls" alerts.alertmanager_urls = List(value::alertmanager_url), strings,
        --"alertmanager.url" "URL"
        "Base URL of an Alertmanager to send alerts to, as in http://localhost:9093; may be given more than once";
    live "alerts.labels" alerts.labels = Labels, |labels: &BTreeMap<_, _>| labels.clone().into();
    live "alerts.switch_cost" alerts.rules.switch_cost
        = Text(DURATION, value::switch_cost), |cost: &SwitchCost| value::switch_cost_text(*cost).into();
}

/// The section of a key, empty for the first one, and its name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Every key with its value, the rules' last.
pub(super) fn settings(config: &Config) -> impl Iterator<Item = (String, Value)> {
    let plain = KEYS.iter().map(|key| (key.path.to_owned(), (key.get)(config)));
    plain.chain(rules::settings(&config.alerts.rules))
}

/// The keys in which two configurations differ.
pub(super) fn differing(one: &Config, other: &Config) -> Vec<String> {
    let pairs = settings(one).zip(settings(other));
    pairs.filter(|((_, one), (_, other))| one != other).map(|((path, _), _)| path).collect()
}

/// The configuration as a file, every key with its value.
pub fn write(config: &Config) -> String {
    let mut text = String::new();
    let mut section = String::new();
    for (path, value) in settings(config) {
        let (of, name) = split(&path);
        if of != section {
            let _ = writeln!(text, "\n[{of}]");
            of.clone_into(&mut section);
        }
        // Writing to a String never fails.
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}
