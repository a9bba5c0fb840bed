//! Every key of the file, but for the rules' (see [`super::rules`]): where it is, how it is read, how it is written.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use toml::Value;

use super::{
    Config, rules,
    toml_value::{self, Fault, Given},
    value,
};

/// A key.
pub(super) struct Key {
    /// Its section and name, as in `groups.max`.
    pub(super) path: &'static str,
    /// Whether it can change while the daemon runs.
    pub(super) is_live: bool,
    /// Reads it.
    pub(super) set: fn(&mut Config, &Given<'_>) -> Result<(), Fault>,
    /// Writes it, so that it is read as the same.
    pub(super) get: fn(&Config) -> Value,
    /// Takes it over from another configuration.
    pub(super) copy: fn(&mut Config, &Config),
}

/// Declares the keys: whether each is `live` or `fixed` while the daemon runs, its path in the file and its place in a
/// [`Config`], how it is read and how it is written.
macro_rules! keys {
    ($($life:ident $path:literal $($field:ident).+ = $read:expr, $write:expr;)+) => {
        /// The keys, section by section, in the order in which they are shown.
        pub(super) const KEYS: &[Key] = &[$(Key {
            path: $path,
            is_live: keys!(@is_live $life),
            set: |config, given| put(&mut config.$($field).+, ($read)(given)),
            get: |config| ($write)(&config.$($field).+),
            copy: |to, from| to.$($field).+.clone_from(&from.$($field).+),
        }),+];
    };
    (@is_live live) => { true };
    (@is_live fixed) => { false };
}

/// Puts what was read where it belongs.
fn put<T>(place: &mut T, read: Result<T, Fault>) -> Result<(), Fault> {
    *place = read?;
    Ok(())
}

fn strings<T: ToString>(items: &[T]) -> Value {
    items.iter().map(T::to_string).collect::<Vec<_>>().into()
}

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
    live "interval" interval = |given| toml_value::duration(given, value::interval), duration;
    fixed "groups.by" groups.by = |given| toml_value::text(given, "a string", value::choice), choice;
    live "groups.max" groups.max = |given| toml_value::integer(given, value::max_groups), |max: &u32| Value::from(*max);
    live "groups.retention" groups.retention = |given| toml_value::duration(given, value::retention), duration;
    live "groups.keep" groups.keep = |given| toml_value::list(given, value::group), strings;
    fixed "web.listen_addresses" web.listen_addresses = addresses, strings;
    fixed "web.telemetry_path" web.telemetry_path
        = |given| toml_value::text(given, "a string", value::telemetry_path), |path: &String| path.clone().into();
    fixed "web.socket" web.socket
        = |given| toml_value::text(given, "a string", value::socket).map(value::some_path), path;
    fixed "web.config_file" web.config_file
        = |given| toml_value::text(given, "a string", value::path).map(value::some_path), path;
    fixed "probe.user" probe.user
        = |given| toml_value::text(given, "a string", |text| Ok(value::user(text))),
        |user: &Option<String>| user.clone().unwrap_or_default().into();
    fixed "probe.clone_probe" probe.clone_probe
        = |given| toml_value::text(given, "a string", value::choice), choice;
    fixed "probe.ebpf_log" probe.ebpf_log = toml_value::boolean, |log: &bool| Value::from(*log);
    live "limits.window" limits.window = |given| toml_value::duration(given, value::window), duration;
    live "alerts.alertmanager_urls" alerts.alertmanager_urls
        = |given| toml_value::list(given, value::alertmanager_url), strings;
    live "alerts.labels" alerts.labels = toml_value::labels, |labels: &BTreeMap<_, _>| labels.clone().into();
    live "alerts.switch_cost" alerts.rules.switch_cost
        = |given| toml_value::duration(given, value::switch_cost), duration;
}

fn addresses(given: &Given<'_>) -> Result<Vec<SocketAddr>, Fault> {
    let addresses = toml_value::list(given, value::address)?;
    if addresses.is_empty() {
        return Err(Fault::new("must have at least one address, as in [\"127.0.0.1:10420\"]", given.span()));
    }
    Ok(addresses)
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
