use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    keys::{KEYS, write},
    *,
};
use crate::{bench::SwitchCost, commands::options::Cli, names::grouping::GroupBy};

const EXAMPLE: &str = include_str!("../../../packaging/thread-probe.toml");

/// Every plain key with a value that is not its default, and a rule in part.
pub(super) const FULL: &str = r#"
interval = "250ms"
[groups]
by = "unit"
max = 0x20
retention = "7d"
keep = ["db", "web \"1\""]
[web]
listen_addresses = [":1", "[::1]:2", "localhost:3"]
telemetry_path = "/probe"
socket = ""
config_file = "/web.yml"
[probe]
user = "nobody"
clone_probe = "off"
ebpf_log = true
time_ledger = false
who = false
[limits]
window = "1m 30s"
[record]
dir = "/records"
budget = "1G"
interval = "1m"
[alerts]
alertmanager_urls = ["http://a:9093", "https://b/prefix"]
labels = { datacenter = "a\"b", "_x" = "" }
switch_cost = "1500ns"
[alerts.rules.limit_use]
enabled = false
critical = 1
[alerts.rules.exhaustion]
warning = "2h"
critical = "15m"
for = "10s"
keep_firing_for = "0s"
hysteresis = 0.25
[alerts.rules.runqueue_latency]
warning = "off"
critical = "1ms"
"#;

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
}

/// What is said of a file that is wrong.
fn error(text: &str) -> String {
    parse(text.as_bytes()).map_or_else(|mistakes| lines(&mistakes), |config| format!("no error: {config:?}"))
}

fn table(text: &str) -> Option<toml::Table> {
    text.parse().ok()
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse(b""), Ok(Config::default()));
    assert_eq!(parse(b"[alerts.rules.limit_use]\n[groups]\n"), Ok(Config::default()));
}

#[test]
fn every_key_is_taken_from_the_file() {
    let config = parse(FULL.as_bytes()).unwrap_or_default();
    let differing = keys::differing(&config, &Config::default());
    assert!(KEYS.iter().all(|key| differing.iter().any(|path| path == key.path)), "{differing:?}");
    assert_eq!(config.interval, Duration::from_millis(250));
    assert_eq!((config.groups.by, config.groups.max), (GroupBy::Unit, 32));
    assert_eq!(config.web.listen_addresses.len(), 3);
    assert_eq!(
        config.alerts.labels,
        BTreeMap::from([("_x", ""), ("datacenter", "a\"b")].map(|(a, b)| (a.into(), b.into())))
    );
    assert_eq!(config.alerts.rules.switch_cost, SwitchCost::Given(Duration::from_nanos(1500)));
}

#[test]
fn a_rule_given_in_part_keeps_its_own_other_defaults() {
    let (config, default) = (parse(FULL.as_bytes()).unwrap_or_default(), Config::default());
    let (rules, defaults) = (config.alerts.rules, default.alerts.rules);
    assert_eq!((rules.limit_use.enabled, rules.limit_use.critical), (false, Some(1.0)));
    assert_eq!((rules.limit_use.warning, rules.limit_use.hold), (Some(0.8), Duration::ZERO));
    assert_eq!((rules.exhaustion.warning, rules.exhaustion.critical), (Some(7200.0), Some(900.0)));
    assert_eq!((rules.runqueue_latency.warning, rules.runqueue_latency.critical), (None, Some(0.001)));
    assert_eq!(rules.runqueue_latency.hold, defaults.runqueue_latency.hold);
    assert_eq!(rules.kernel_stack_depth, defaults.kernel_stack_depth);
}

#[test]
fn the_example_has_every_key_with_its_default_but_that_the_unit_keeps_samples() {
    let mut expected = Config::default();
    assert_eq!(expected.record.dir, None);
    expected.record.dir = Some("/var/lib/thread-probe/records".into());
    assert_eq!(parse(EXAMPLE.as_bytes()), Ok(expected.clone()));
    assert_eq!(table(EXAMPLE), table(&write(&expected)));
}

#[test]
fn what_is_shown_is_read_as_the_same_configuration() {
    for config in [Config::default(), parse(FULL.as_bytes()).unwrap_or_default()] {
        assert_eq!(parse(write(&config).as_bytes()), Ok(config));
    }
}

#[test]
fn all_mistakes_are_told_in_the_order_of_their_places() {
    let text =
        "interval = 5\n[groups]\nmaxx = 1\nby = \"colour\"\n[alerts.rules.limit_use]\nwarning = 2\ncritical = \"a\"\n";
    let places: Vec<String> = error(text).lines().map(|line| line.chars().take(4).collect()).collect();
    assert_eq!(places, ["1:12", "3:1:", "4:6:", "6:11", "7:12"], "{}", error(text));
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_those_there_are() {
    let known = "expected one of interval, groups, web, probe, limits, record, alerts";
    assert_eq!(error("intervall = '5s'"), format!("1:1: unknown key \"intervall\": {known}"));
    let known = "expected one of by, max, retention, keep";
    assert_eq!(error("[groups]\n\n  maxx = 5"), format!("3:3: unknown key \"maxx\" in [groups]: {known}"));
    assert_eq!(error("groups.maxx = 5"), format!("1:8: unknown key \"maxx\" in [groups]: {known}"));
    let known = "expected one of alertmanager_urls, labels, switch_cost, rules";
    assert_eq!(error("[alerts]\na = 5"), format!("2:1: unknown key \"a\" in [alerts]: {known}"));
    assert!(
        error("[alerts.rules.limits]")
            .starts_with("1:15: unknown key \"limits\" in [alerts.rules]: expected one of limit_use, ")
    );
    let known = "expected one of enabled, warning, critical, for, keep_firing_for, hysteresis";
    let place = "in [alerts.rules.limit_use]";
    assert_eq!(error("[alerts.rules.limit_use]\nhold = '1s'"), format!("2:1: unknown key \"hold\" {place}: {known}"));
    assert!(error("\"groups.max\" = 5").starts_with("1:1: unknown key \"groups.max\": "), "a quoted dot is no section");
    assert!(error("\"a\\nb\" = 1").starts_with("1:1: unknown key \"a\\nb\": "));
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_the_right_one() {
    for (text, said) in [
        (
            "interval = 5",
            "1:12: interval: must be a duration in quotes, as in \"500ms\", \"5s\" or \"10m\", not a whole number",
        ),
        ("[interval]", "1:1: interval: must be a duration in quotes, as in \"500ms\", \"5s\" or \"10m\", not a table"),
        ("groups = 5", "1:10: groups: must be a table of keys, not a whole number"),
        ("groups.max = '5'", "1:14: groups.max: must be a whole number, not a string"),
        ("groups.max = 5.0", "1:14: groups.max: must be a whole number, not a number"),
        ("groups.by = true", "1:13: groups.by: must be a string, not true or false"),
        (
            "web.listen_addresses = ':1'",
            "1:24: web.listen_addresses: must be a list of strings, as in [\"...\"], not a string",
        ),
        ("web.listen_addresses = [':1', 2]", "1:31: web.listen_addresses: must be a string, not a whole number"),
        ("probe.ebpf_log = 'no'", "1:18: probe.ebpf_log: must be true or false, not a string"),
        (
            "[alerts]\nlabels = []",
            "2:10: alerts.labels: must be a table of labels, as in { datacenter = \"a\" }, not a list",
        ),
        ("[alerts]\nlabels.a = 1", "2:12: alerts.labels: must be a string, not a whole number"),
        ("[alerts]\nrules = 1", "2:9: alerts.rules: must be a table of keys, not a whole number"),
        (
            "[alerts.rules]\nlimit_use = 1",
            "2:13: alerts.rules.limit_use: must be a table of its keys, not a whole number",
        ),
    ] {
        assert_eq!(error(text), said);
    }
}

#[test]
fn a_value_out_of_range_is_told_with_the_range() {
    for (text, said) in [
        ("interval = '1ms'", "1:12: interval: must be from 100ms to 1h"),
        ("interval = 'soon'", "1:12: interval: expected number at 0 (as in 500ms, 5s, 10m)"),
        ("groups.max = 0", "1:14: groups.max: must be from 1 to 100000"),
        ("groups.max = -99999999999999999999", "1:14: groups.max: must be from 1 to 100000"),
        ("groups.by = 'x'", "1:13: groups.by: must be one of comm, exe, cgroup, unit, container, pod, user, pid"),
        (
            "web.listen_addresses = []",
            "1:24: web.listen_addresses: must have at least one address, as in [\"127.0.0.1:10420\"]",
        ),
        ("limits.window = '2d'", "1:17: limits.window: must be from 1s to 1d"),
        (
            "alerts.alertmanager_urls = ['localhost']",
            "1:29: alerts.alertmanager_urls: must be http:// or https:// with a host, as in http://localhost:9093",
        ),
        ("alerts.switch_cost = '2ms'", "1:22: alerts.switch_cost: must be from 1ns to 1ms, or \"measured\""),
    ] {
        assert_eq!(error(text), said);
    }
    assert!(error("[alerts.labels]\n\"a-b\" = 'c'").starts_with("2:1: alerts.labels: a label's name"));
}

#[test]
fn a_threshold_is_of_its_rules_unit_and_critical_is_worse_than_warning() {
    let rule = |name: &str, keys: &str| error(&format!("[alerts.rules.{name}]\n{keys}"));
    for (name, keys, said) in [
        ("limit_use", "warning = 80", "2:11: alerts.rules.limit_use.warning: must be a number from 0 to 1, or \"off\""),
        (
            "limit_use",
            "warning = nan",
            "2:11: alerts.rules.limit_use.warning: must be a number from 0 to 1, or \"off\"",
        ),
        (
            "limit_use",
            "warning = 'no'",
            "2:11: alerts.rules.limit_use.warning: must be a number from 0 to 1, or \"off\", not a string",
        ),
        (
            "exhaustion",
            "critical = '0s'",
            "2:12: alerts.rules.exhaustion.critical: must be from 1s to 365d, or \"off\"",
        ),
        ("limit_use", "hysteresis = 1.0", "2:14: alerts.rules.limit_use.hysteresis: must be a number from 0 to 0.9"),
        ("limit_use", "for = '2d'", "2:7: alerts.rules.limit_use.for: must be from 0s to 1d"),
    ] {
        assert_eq!(rule(name, keys), said);
    }
    let change = "change one of them, or make it \"off\"";
    assert_eq!(
        rule("limit_use", "warning = 0.95"),
        format!("2:11: alerts.rules.limit_use: critical (0.9) must be above warning (0.95): {change}")
    );
    assert_eq!(
        rule("exhaustion", "warning = '2h'\ncritical = '3h'"),
        format!("3:12: alerts.rules.exhaustion: critical (\"3h\") must be below warning (\"2h\"): {change}")
    );
    assert!(rule("limit_use", "critical = 0.8").contains("must be above"), "the same is not worse");
    assert!(rule("limit_use", "warning = 0.95\ncritical = 'off'").starts_with("no error"));
}

#[test]
fn the_first_mistake_of_the_file_is_the_one_that_is_told() {
    assert!(error("[web]\nz = 1\na = 1\n[groups]\nb = 1").starts_with("2:1: "));
}

#[test]
fn what_is_no_toml_or_no_text_is_told_in_one_line_with_its_place() {
    for (text, place) in
        [("interval = ", "1:"), ("[groups", "1:"), ("a = 1\na = 2", "2:1: "), ("\n\"ä\" == 1", "2:6: ")]
    {
        let said = error(text);
        assert!(said.starts_with(place) && said.lines().count() == 1, "{text:?}: {said:?}");
    }
    assert_eq!(
        parse(b"a = 1\nb\xff").map_err(|mistakes| lines(&mistakes)),
        Err("2:2: not text: the file must be UTF-8".to_owned())
    );
}

#[test]
fn what_is_no_file_is_refused_by_name() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let said = |path: &std::path::Path| read(path).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(said(folder.path()).ends_with(" is not a regular file"));
    assert!(said(std::path::Path::new("/dev/zero")).ends_with("/dev/zero is not a regular file"));
    let missing = folder.path().join("missing.toml");
    assert!(said(&missing).contains("missing.toml failed: No such file"), "{}", said(&missing));
    let large = folder.path().join("large.toml");
    std::fs::write(&large, "#".repeat((1 << 20) + 1))?;
    assert!(said(&large).contains("larger than 1 MB"), "{}", said(&large));
    std::fs::write(&large, "#".repeat(1 << 20))?;
    assert_eq!(said(&large), "");
    std::fs::write(&large, "\ninterval = 1")?;
    assert!(said(&large).starts_with(&format!("{}:2:12: interval: ", large.display())));
    Ok(())
}

#[test]
fn the_command_line_wins_over_the_file_and_the_file_over_the_defaults() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("thread-probe.toml");
    std::fs::write(&path, FULL)?;
    let file = path.display().to_string();
    let all = "--interval 1s --group-by pid --max-groups 3 --group-retention 1h --web.listen-address :4 \
               --web.telemetry-path /t --web.socket /s --web.config.file c.yml --user 1 --clone-probe fexit --ebpf-log=false --time-ledger=true --who=true --record.dir /r --record.budget 9M --record.interval 2s --alertmanager.url http://c \
               --alertmanager.url http://d";
    let configured = |flags: &str| match clap::Parser::try_parse_from(
        ["thread-probe", "serve", "--config", &file].into_iter().chain(flags.split_whitespace()),
    ) {
        Ok(Cli { command: crate::commands::options::Command::Serve(options), .. }) => options.configuration.read().ok(),
        _ => None,
    };
    let of_file = read(&path).ok();
    assert_eq!(configured(""), of_file);
    let (of_file, with_all) = (of_file.unwrap_or_default(), configured(all).unwrap_or_default());
    let given: Vec<_> = KEYS.iter().filter(|key| key.option.is_some()).map(|key| key.path).collect();
    assert_eq!(keys::differing(&of_file, &with_all), given);
    assert_eq!(with_all.alerts.alertmanager_urls, ["http://c", "http://d"]);
    Ok(())
}

/// The example with one thing changed.
fn mutated(at: usize, byte: u8, how: u8) -> Vec<u8> {
    let mut bytes = EXAMPLE.as_bytes().to_vec();
    let at = at % bytes.len();
    match how {
        0 => bytes.insert(at, byte),
        1 => drop(bytes.remove(at)),
        2 => bytes[at] = byte,
        _ => {
            let mut lines: Vec<&[u8]> = EXAMPLE.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
            let line = at % lines.len();
            lines.insert((line + usize::from(byte)) % lines.len(), lines[line]);
            return lines.concat();
        }
    }
    bytes
}

fn check_place(content: &[u8]) -> Result<(), TestCaseError> {
    let mistakes = parse(content).err();
    prop_assert!(mistakes.as_ref().is_none_or(|mistakes| !mistakes.is_empty()));
    for mistake in mistakes.into_iter().flatten() {
        let line = content.split(|byte| *byte == b'\n').nth(mistake.line.wrapping_sub(1));
        prop_assert!(line.is_some_and(|line| (1..=line.len() + 1).contains(&mistake.column)), "{mistake}");
        prop_assert!(!mistake.message.is_empty() && mistake.to_string().lines().count() == 1, "{mistake}");
    }
    Ok(())
}

/// What looks like TOML.
const LINES: &str = "(\\[[a-z.]{0,9}\\]\n|[a-z.\"]{1,9} = [-'\"0-9a-z{}\\[\\],.]{0,9}\n){0,9}";

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in "(?s).{0,200}") {
        check_place(text.as_bytes())?;
    }

    #[test]
    fn any_bytes_are_read_or_refused_with_a_place(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_place(&bytes)?;
    }

    #[test]
    fn lines_of_toml_are_read_or_refused_with_a_place(text in LINES) {
        check_place(text.as_bytes())?;
    }

    #[test]
    fn a_changed_example_is_read_or_refused_with_a_place(at in 0..EXAMPLE.len(), byte: u8, how in 0..4u8) {
        check_place(&mutated(at, byte, how))?;
    }

    #[test]
    fn whatever_is_configured_is_shown_as_it_is(
        ns in 1_000..31_536_000_000_000_000u64,
        ratio in 0.0..0.9f64,
        label in "(?s).{0,20}",
        max in 1..=100_000u32,
    ) {
        let mut config = Config::default();
        let long = Duration::from_nanos(ns.max(1_000_000_000));
        config.groups = GroupsConfig { max, retention: long, ..config.groups };
        config.alerts.labels.insert("a".to_owned(), label);
        config.alerts.rules.exhaustion.warning = Some(long.as_secs_f64());
        config.alerts.rules.exhaustion.critical = None;
        config.alerts.rules.runqueue_latency.warning = None;
        let short = Duration::from_nanos(ns % 1_000_000 + 1_000);
        config.alerts.rules.runqueue_latency.critical = Some(short.as_secs_f64());
        config.alerts.rules.limit_use.hysteresis = ratio;
        prop_assert_eq!(parse(write(&config).as_bytes()), Ok(config));
    }
}
