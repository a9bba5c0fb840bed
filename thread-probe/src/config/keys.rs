//! Every key of the file, but for the rules' (see [`super::rules`]): where it is, how it is read, how it is written.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

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
    pub(super) set: Set,
    /// Writes it, so that it is read as the same.
    pub(super) get: Get,
}

type Set = fn(&mut Config, &Given<'_>) -> Result<(), Fault>;
type Get = fn(&Config) -> Value;

const fn live(path: &'static str, set: Set, get: Get) -> Key {
    Key { path, is_live: true, set, get }
}

const fn fixed(path: &'static str, set: Set, get: Get) -> Key {
    Key { path, is_live: false, set, get }
}

/// Puts what was read where it belongs.
fn put<T>(place: &mut T, read: Result<T, Fault>) -> Result<(), Fault> {
    *place = read?;
    Ok(())
}

fn strings<T: ToString>(items: &[T]) -> Value {
    items.iter().map(T::to_string).collect::<Vec<_>>().into()
}

fn path(path: Option<&Path>) -> Value {
    path.map(Path::to_string_lossy).unwrap_or_default().into_owned().into()
}

/// The keys, section by section, in the order in which they are shown.
pub(super) const KEYS: &[Key] = &[
    live(
        "interval",
        |config, given| put(&mut config.interval, toml_value::duration(given, value::interval)),
        |config| value::duration_text(config.interval).into(),
    ),
    fixed(
        "groups.by",
        |config, given| put(&mut config.groups.by, toml_value::text(given, "a string", value::choice)),
        |config| value::choice_text(&config.groups.by).into(),
    ),
    live(
        "groups.max",
        |config, given| put(&mut config.groups.max, toml_value::integer(given, value::max_groups)),
        |config| config.groups.max.into(),
    ),
    live(
        "groups.retention",
        |config, given| put(&mut config.groups.retention, toml_value::duration(given, value::retention)),
        |config| value::duration_text(config.groups.retention).into(),
    ),
    live(
        "groups.keep",
        |config, given| put(&mut config.groups.keep, toml_value::list(given, value::group)),
        |config| strings(&config.groups.keep),
    ),
    fixed(
        "web.listen_addresses",
        |config, given| put(&mut config.web.listen_addresses, addresses(given)),
        |config| strings(&config.web.listen_addresses),
    ),
    fixed(
        "web.telemetry_path",
        |config, given| put(&mut config.web.telemetry_path, toml_value::text(given, "a string", value::telemetry_path)),
        |config| config.web.telemetry_path.clone().into(),
    ),
    fixed(
        "web.socket",
        |config, given| {
            put(&mut config.web.socket, toml_value::text(given, "a string", value::socket).map(value::some_path))
        },
        |config| path(config.web.socket.as_deref()),
    ),
    fixed(
        "web.config_file",
        |config, given| {
            put(&mut config.web.config_file, toml_value::text(given, "a string", value::path).map(value::some_path))
        },
        |config| path(config.web.config_file.as_deref()),
    ),
    fixed(
        "probe.user",
        |config, given| put(&mut config.probe.user, toml_value::text(given, "a string", |text| Ok(value::user(text)))),
        |config| config.probe.user.clone().unwrap_or_default().into(),
    ),
    fixed(
        "probe.clone_probe",
        |config, given| put(&mut config.probe.clone_probe, toml_value::text(given, "a string", value::choice)),
        |config| value::choice_text(&config.probe.clone_probe).into(),
    ),
    fixed(
        "probe.ebpf_log",
        |config, given| put(&mut config.probe.ebpf_log, toml_value::boolean(given)),
        |config| config.probe.ebpf_log.into(),
    ),
    live(
        "limits.window",
        |config, given| put(&mut config.limits.window, toml_value::duration(given, value::window)),
        |config| value::duration_text(config.limits.window).into(),
    ),
    live(
        "alerts.alertmanager_urls",
        |config, given| put(&mut config.alerts.alertmanager_urls, toml_value::list(given, value::alertmanager_url)),
        |config| strings(&config.alerts.alertmanager_urls),
    ),
    live(
        "alerts.labels",
        |config, given| put(&mut config.alerts.labels, toml_value::labels(given)),
        |config| config.alerts.labels.clone().into(),
    ),
    live(
        "alerts.switch_cost",
        |config, given| put(&mut config.alerts.rules.switch_cost, toml_value::duration(given, value::switch_cost)),
        |config| value::duration_text(config.alerts.rules.switch_cost).into(),
    ),
];

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
