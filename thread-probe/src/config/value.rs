//! What a value may be, whether it comes from the command line or the file.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::ValueEnum;
use ureq::http::Uri;

use crate::bench::SwitchCost;

const DAY: Duration = Duration::from_hours(24);

/// A duration within a range, as in `500ms`, `5s` or `10m`.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error} (as in 500ms, 5s, 10m)"))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    Err(format!("must be from {} to {}", duration_text(*range.start()), duration_text(*range.end())))
}

/// A duration in the largest unit that divides it: what [`duration`] reads as the same one.
pub(crate) fn duration_text(duration: Duration) -> String {
    const UNITS_NS: [(u128, &str); 6] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    let ns = duration.as_nanos();
    if ns == 0 {
        return "0s".to_owned();
    }
    let divides = UNITS_NS.iter().find(|(unit_ns, _)| ns.is_multiple_of(*unit_ns));
    divides.map_or_else(|| format!("{ns}ns"), |(unit_ns, unit)| format!("{}{unit}", ns / unit_ns))
}

/// The times there may be between samples.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

/// The time between samples.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    duration(text, INTERVALS)
}

/// The same, where a number alone is seconds.
pub(crate) fn interval_or_seconds(text: &str) -> Result<Duration, String> {
    let Ok(seconds) = text.parse::<f64>() else { return interval(text) };
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| INTERVALS.contains(duration));
    duration.ok_or_else(|| "must be from 0.1 to 3600 seconds".to_owned())
}

/// For how long samples are recorded.
pub(crate) fn record_for(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1)..=365 * DAY)
}

/// How long a group without a live process is kept.
pub(crate) fn retention(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1)..=365 * DAY)
}

/// The time over which growth is measured.
pub(crate) fn window(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1)..=DAY)
}

/// How long a rule waits before it fires or is resolved.
pub(super) fn hold(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO..=DAY)
}

/// What one context switch costs.
pub(super) fn switch_cost(text: &str) -> Result<SwitchCost, String> {
    if text == MEASURED {
        return Ok(SwitchCost::Measured(None));
    }
    let given = duration(text, Duration::from_nanos(1)..=Duration::from_millis(1));
    given.map(SwitchCost::Given).map_err(|error| format!("{error}, or \"{MEASURED}\""))
}

/// The inverse.
pub(super) fn switch_cost_text(cost: SwitchCost) -> String {
    match cost {
        SwitchCost::Measured(_) => MEASURED.to_owned(),
        SwitchCost::Given(cost) => duration_text(cost),
    }
}

/// As `alerts.switch_cost`.
const MEASURED: &str = "measured";

/// How many groups there may be.
pub(super) fn max_groups(number: i64) -> Result<u32, String> {
    let max = u32::try_from(number).ok().filter(|max| (1..=100_000).contains(max));
    max.ok_or_else(|| "must be from 1 to 100000".to_owned())
}

/// An address, or as in the exporter toolkit a port alone, which listens on every address.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text };
    full.parse().map_err(|_| "must be ADDRESS:PORT, as in 127.0.0.1:10420, [::1]:10420 or :10420".to_owned())
}

/// Paths that are taken.
const RESERVED_PATHS: [&str; 4] = ["/", "/healthz", "/api/v1/snapshot", "/api/v1/alerts"];

/// The path of the metrics.
pub(crate) fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if !text.starts_with('/') || !text.chars().all(plain) {
        return Err("must begin with / and have only letters, digits and /-_.~".to_owned());
    }
    if RESERVED_PATHS.contains(&text) {
        return Err(format!("{text} is taken: choose another path"));
    }
    Ok(text.to_owned())
}

/// Bytes that the path of a Unix socket may have: `sun_path` less its end.
const MAX_SOCKET_BYTES: usize = 107;

/// The path of a Unix socket, or empty.
pub(crate) fn socket(text: &str) -> Result<PathBuf, String> {
    if text.len() > MAX_SOCKET_BYTES {
        return Err(format!("must have at most {MAX_SOCKET_BYTES} bytes"));
    }
    path(text)
}

/// The same; an empty one is none.
pub(super) fn socket_or_none(text: &str) -> Result<Option<PathBuf>, String> {
    socket(text).map(some_path)
}

/// The path of a file, or empty: in a file it can't depend on the folder that the daemon is started in.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("must begin with /".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("must have no control characters".to_owned());
    }
    Ok(text.into())
}

/// A path; an empty one is none.
pub(super) fn some_path(path: PathBuf) -> Option<PathBuf> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// A process id: PID_MAX_LIMIT of include/linux/threads.h bounds it.
pub(crate) fn pid(text: &str) -> Result<u32, String> {
    let pid = text.parse().ok().filter(|pid| (1..=4_194_304).contains(pid));
    pid.ok_or_else(|| "must be a process id: a whole number from 1 to 4194304".to_owned())
}

/// An amount of something that there is some of.
pub(crate) fn amount(text: &str) -> Result<f64, String> {
    let amount = text.parse().ok().filter(|amount: &f64| *amount > 0.0 && *amount <= 1e9);
    amount.ok_or_else(|| "must be a number above 0, to 1000000000".to_owned())
}

/// An amount of memory, in bytes or in the units that are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.strip_suffix("iB").unwrap_or(text) {
        text if text.ends_with(['K', 'k']) => (&text[..text.len() - 1], 10),
        text if text.ends_with('M') => (&text[..text.len() - 1], 20),
        text if text.ends_with('G') => (&text[..text.len() - 1], 30),
        text if text.ends_with('T') => (&text[..text.len() - 1], 40),
        text => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    let bytes = bytes.filter(|bytes| (1..=1 << 50).contains(bytes));
    bytes.ok_or_else(|| "must be a whole number of bytes, as in 65536, 64K, 512M or 2G".to_owned())
}

/// Room for recordings.
pub(super) fn record_budget(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 8 << 20;
    bytes(text)
        .ok()
        .filter(|bytes| *bytes >= LEAST)
        .ok_or_else(|| "must be 8M at the least, as in 512M or 2G".to_owned())
}

/// Bytes in the largest unit that divides them: what [`bytes`] reads as the same.
pub(super) fn bytes_text(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let divides = units.into_iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    divides.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// How many rows to print.
pub(crate) fn rows(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "must be a whole number from 0 on".to_owned())
}

/// The name of a group.
pub(crate) fn group(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must be the name of a group".to_owned()) } else { Ok(text.to_owned()) }
}

/// The base URL of an Alertmanager.
pub(crate) fn alertmanager_url(text: &str) -> Result<String, String> {
    base_url(text, "http://localhost:9093")
}

/// A URL that paths are appended to.
pub(crate) fn base_url(text: &str, example: &str) -> Result<String, String> {
    let allowed = || format!("must be http:// or https:// with a host, as in {example}");
    let url: Uri = text.parse().map_err(|_| allowed())?;
    let has_scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let has_host = url.host().is_some_and(|host| !host.is_empty());
    if !has_scheme || !has_host {
        return Err(allowed());
    }
    if url.query().is_some() || text.contains('#') {
        return Err(format!("{}, and without query or fragment", allowed()));
    }
    // What is before it would be taken for the host, and shown.
    if url.path().contains('@') {
        return Err("a / in a user or password is written %2F, and an @ elsewhere %40".to_owned());
    }
    Ok(text.to_owned())
}

/// The name of a Prometheus label, of those that are not Prometheus's own.
pub(super) fn label_name(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain) {
        return Err("a label's name has letters, digits and _ only and does not begin with a digit".to_owned());
    }
    if name.starts_with("__") {
        return Err("label names that begin with __ are Prometheus's own: choose another".to_owned());
    }
    Ok(name.to_owned())
}

/// The user to become; an empty name is nobody else.
pub(super) fn user(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()).filter(|name| !name.is_empty()))
}

/// One of the values that the command line offers.
pub(crate) fn choice<T: ValueEnum>(text: &str) -> Result<T, String> {
    let names = || T::value_variants().iter().map(choice_text).collect::<Vec<_>>().join(", ");
    T::from_str(text, false).map_err(|_| format!("must be one of {}", names()))
}

/// Its name.
pub(crate) fn choice_text<T: ValueEnum>(choice: &T) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::grouping::GroupBy;

    #[test]
    fn an_interval_out_of_range_is_refused_with_the_range() {
        assert_eq!(interval("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(interval("1ms"), Err("must be from 100ms to 1h".to_owned()));
        assert_eq!(retention("366d"), Err("must be from 1s to 365d".to_owned()));
        assert!(interval("soon").is_err_and(|error| error.contains("as in 500ms")));
    }

    #[test]
    fn an_interval_may_be_a_number_of_seconds() {
        for (text, ms) in [("1", 1000), ("0.5", 500), ("1s", 1000), ("500ms", 500), (".1", 100), ("3600", 3_600_000)] {
            assert_eq!(interval_or_seconds(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["0", "0.09", "-1", "inf", "nan", "3601", "1ms", "", "soon"] {
            assert!(interval_or_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_alone_listens_on_every_address() {
        assert_eq!(address(":1").map(|address| address.to_string()), Ok("[::]:1".to_owned()));
        assert_eq!(address("localhost:1").map(|address| address.to_string()), Ok("127.0.0.1:1".to_owned()));
        assert!(address("nowhere").is_err());
    }

    #[test]
    fn a_telemetry_path_that_is_taken_or_no_path_is_refused() {
        assert!(telemetry_path("/healthz").is_err());
        assert!(telemetry_path("metrics").is_err());
        assert!(telemetry_path("/a{b}").is_err());
        assert_eq!(telemetry_path("/probe/metrics"), Ok("/probe/metrics".to_owned()));
    }

    #[test]
    fn a_socket_is_an_absolute_path_that_the_kernel_takes_or_none() {
        let longest = format!("/{}", "a".repeat(106));
        for good in ["", "/a", "/run/a b.sock", &longest] {
            assert_eq!(socket(good), Ok(good.into()));
        }
        for (bad, why) in [("a", "begin"), ("./a", "begin"), ("/a\0b", "control"), (&format!("{longest}a"), "107")] {
            assert!(socket(bad).is_err_and(|said| said.contains(why)), "{bad:?}");
        }
        assert_eq!(path("/a\nb"), Err("must have no control characters".to_owned()));
        assert_eq!((some_path("".into()), some_path("/a".into())), (None, Some("/a".into())));
    }

    #[test]
    fn an_alertmanager_is_an_http_url_with_a_host() {
        for good in ["http://localhost:9093", "https://alerts.example.org/prefix/", "http://[::1]:9093", "http://a"] {
            assert_eq!(alertmanager_url(good), Ok(good.to_owned()));
        }
        for bad in ["", "localhost:9093", "ftp://a", "http://", "http:///x", "http://:9093", "/a", "http://a b"] {
            assert!(alertmanager_url(bad).is_err_and(|error| error.contains("http:// or https://")), "{bad}");
        }
        for slash in ["http://user:12/34@a", "http://a/b@c", "https://u:1/@a:9093/x"] {
            assert!(alertmanager_url(slash).is_err_and(|error| error.contains("%2F")), "{slash}");
        }
        for too_much in ["http://a/?b=c", "http://a/#b"] {
            assert!(alertmanager_url(too_much).is_err_and(|error| error.contains("without query")), "{too_much}");
        }
    }

    #[test]
    fn a_label_has_a_name_that_prometheus_takes() {
        for good in ["a", "_a1", "Datacenter_2"] {
            assert!(label_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "a-b", "a.b", "ä", "__name__"] {
            assert!(label_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_choice_is_one_that_the_command_line_offers() {
        assert_eq!(choice("unit"), Ok(GroupBy::Unit));
        assert_eq!(
            choice::<GroupBy>("colour"),
            Err("must be one of comm, exe, cgroup, unit, container, pod, user, pid".to_owned())
        );
    }

    #[test]
    fn a_duration_is_written_in_the_largest_unit_that_divides_it() {
        for text in ["0s", "1ns", "2us", "1500ms", "5s", "90s", "10m", "36h", "365d"] {
            assert_eq!(humantime::parse_duration(text).map(duration_text).as_deref(), Ok(text));
        }
    }

    proptest! {
        #[test]
        fn a_duration_written_is_the_duration_read(ns in 0..=(365 * DAY).as_nanos() as u64) {
            let all = Duration::ZERO..=365 * DAY;
            prop_assert_eq!(duration(&duration_text(Duration::from_nanos(ns)), all), Ok(Duration::from_nanos(ns)));
        }
    }
}
