//! Three daemons under load, a real Prometheus with our rules that scrapes them, and one above it that federates. Every
//! expression of every panel and rule gets an answer. Needs root, and Debian's prometheus.
//!
//! It watches for 20 s; `THREAD_PROBE_PROMETHEUS_SECONDS` says for how long else.

mod quantiles;
mod server;
pub(crate) mod workload;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use thread_probe::export::metrics::METRICS;

use crate::{
    servers::prometheus::{server::Prometheus, workload::Workloads},
    support::{
        daemon::{Daemon, free_port},
        dashboard::{Expression, boards, of_panels, of_rules, rules, selectors},
        skip,
    },
};

/// Expressions that may have no answer: a part of them, and why.
const MAY_BE_EMPTY: &[(&str, &str)] = &[
    ("threadprobe_limits_unreadable_total", "no file is unreadable here"),
    ("threadprobe_host_threads{", "only kernels that hide threads from eBPF have such"),
    (
        "threadprobe_exhaustion_seconds{limit=~\"threads_max|pid_max|memory\"}",
        "no limit of this host is about to be full",
    ),
];

pub(crate) fn every_expression_has_an_answer_and_quantiles_agree_with_the_api() -> Result<()> {
    needs_root!();
    if !server::is_installed() {
        skip("Debian's prometheus is not installed");
        return Ok(());
    }
    let seconds = std::env::var("THREAD_PROBE_PROMETHEUS_SECONDS").map_or(Ok(20), |seconds| seconds.parse())?;
    let mut workloads = Workloads::start(seconds)?;
    let folder = tempfile::tempdir()?;
    let nobody = free_port()?;
    let daemons =
        [("comm", 500), ("cgroup", 500), ("comm", 1)].map(|groups| start_daemon(folder.path(), groups, nobody));
    let daemons = daemons.into_iter().collect::<Result<Vec<_>>>()?;
    fail_a_reload(folder.path(), &daemons[2])?;
    let ports: Vec<u16> = daemons.iter().map(|daemon| daemon.port).collect();
    let prometheus = Prometheus::of_daemons(&ports, nobody)?;
    let above = Prometheus::above(&prometheus)?;
    prometheus.wait_for("three targets", Duration::from_secs(20), || {
        Ok(prometheus.value("sum(up)").is_ok_and(|up| up == 3.0))
    })?;
    // Counters need two scrapes, the growth of limits a part of its window.
    thread::sleep(Duration::from_secs(10));
    quantiles::agree(&daemons[0], &prometheus, Duration::from_secs(seconds))?;
    workloads.check()?;
    metrics_are_those_of_the_table(&prometheus)?;
    let asked = every_expression_has_an_answer(&prometheus, ports[0], &workloads.groups())?;
    what_others_scrape_is_not_down(&prometheus)?;
    let alerts = alerts_are_told(&prometheus)?;
    few_buckets_are_those_of_the_alerts(ports[0])?;
    let recorded = the_fleet_is_federated(&prometheus, &above)?;
    let _ = writeln!(
        io::stderr(),
        "{asked} expressions asked, {alerts} alerts seen, {recorded} recorded series a host at most"
    );
    Ok(())
}

/// One whose limits grow within seconds, and whose Alertmanager is not there.
fn start_daemon(folder: &std::path::Path, (by, max): (&str, u32), nobody: u16) -> Result<Daemon> {
    let config = folder.join(format!("{by}-{max}.toml"));
    fs::write(
        &config,
        format!(
            "interval = '500ms'\n[limits]\nwindow = '20s'\n[groups]\nby = '{by}'\nmax = {max}\n\
             [alerts]\nalertmanager_urls = ['http://127.0.0.1:{nobody}']\n"
        ),
    )?;
    let records = folder.join(format!("records-{by}-{max}"));
    Daemon::start_configured(&["--config", &config.to_string_lossy(), "--record.dir", &records.to_string_lossy()])
}

fn fail_a_reload(folder: &std::path::Path, daemon: &Daemon) -> Result<()> {
    fs::write(folder.join("comm-1.toml"), "interval = 'soon'\n")?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_for_metric("threadprobe_config_last_reload_successful", 0.0)
}

fn may_be_empty(text: &str) -> Option<&'static str> {
    MAY_BE_EMPTY.iter().find(|(part, _)| text.contains(part)).map(|(_, why)| *why)
}

/// Both ways: nothing is scraped that the table does not have, and nothing is in it that is not scraped.
fn metrics_are_those_of_the_table(prometheus: &Prometheus) -> Result<()> {
    let names = prometheus.api("label/__name__/values", &[])?;
    let names: BTreeSet<&str> = names.as_array().context("names")?.iter().filter_map(Value::as_str).collect();
    let own = names.iter().filter(|name| name.starts_with("threadprobe_"));
    let base = |name: &str| {
        METRICS.iter().any(|metric| {
            name == metric.name
                || name.strip_prefix(metric.name).is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
        })
    };
    for name in own {
        ensure!(base(name), "{name} is scraped, but no metric of the table");
    }
    for metric in METRICS.iter().filter(|metric| may_be_empty(metric.name).is_none()) {
        let is_scraped = names.contains(metric.name) || names.contains(&*format!("{}_bucket", metric.name));
        ensure!(is_scraped, "{} was never scraped", metric.name);
    }
    Ok(())
}

/// The expression as Grafana would send it.
fn substituted(text: &str, instance: &str, group: &str) -> String {
    let mut text = text.replace("$__rate_interval", "15s").replace("$job", "thread-probe").replace("$group", group);
    text = text.replace("=~\"$instance\"", "=~\".+\"").replace("$instance", instance);
    text
}

fn every_expression_has_an_answer(prometheus: &Prometheus, port: u16, groups: &[String]) -> Result<usize> {
    let mut unanswered = Vec::new();
    let mut asked = 0;
    let mut ask = |expression: &Expression, texts: Vec<String>| -> Result<()> {
        asked += 1;
        let mut answers = false;
        for text in &texts {
            answers |= !prometheus.query(text).with_context(|| expression.place.clone())?.is_empty();
        }
        match may_be_empty(&expression.text) {
            _ if answers => {}
            Some(why) => writeln!(io::stderr(), "{}: no data: {why}", expression.place)?,
            None => unanswered.push(format!("{}: {}", expression.place, texts.join("\n  or "))),
        }
        Ok(())
    };
    let instance = format!("127.0.0.1:{port}");
    for (name, board) in boards()? {
        for expression in of_panels(&name, &board) {
            let texts: BTreeSet<_> =
                groups.iter().map(|group| substituted(&expression.text, &instance, group)).collect();
            ask(&expression, texts.into_iter().collect())?;
        }
    }
    for expression in of_rules(&rules("recording.yml")?) {
        ask(&expression, vec![expression.text.clone()])?;
    }
    // An alert has no answer where nothing is wrong: what it looks at has.
    for expression in of_rules(&[rules("alerts.yml")?, rules("health.yml")?].concat()) {
        for selector in selectors(&expression.text) {
            let text = format!("{}{}", selector.metric, selector.matchers);
            let nothing_wrong = ["program!=\"clone\"", "program=\"clone\""].iter().any(|part| text.contains(part));
            let text = if nothing_wrong { format!("{text} >= 0") } else { text };
            ask(&Expression { place: expression.place.clone(), text: text.clone() }, vec![text])?;
        }
    }
    if !unanswered.is_empty() {
        bail!("{} expressions without an answer:\n{}", unanswered.len(), unanswered.join("\n"));
    }
    Ok(asked)
}

/// A target of another job that can't be scraped is not counted with the probes, whatever is chosen.
fn what_others_scrape_is_not_down(prometheus: &Prometheus) -> Result<()> {
    ensure!(prometheus.value("count(up == 0)")? == 1.0, "the target of another job is up");
    let boards = boards()?;
    let (name, board) = boards.iter().find(|(name, _)| name == "probe").context("no dashboard of probes")?;
    let panels = of_panels(name, board);
    let down = panels.iter().find(|panel| panel.place == "probe: Down").context("no panel Down")?;
    let of_all = substituted(&down.text.replace("$job", ".+"), "", "");
    let down = prometheus.value(&of_all)?;
    ensure!(down == 0.0, "{down} probes are down, by {of_all}");
    Ok(())
}

/// No rule failed; those whose cause the workloads are have fired or are about to, and their texts could be made.
fn alerts_are_told(prometheus: &Prometheus) -> Result<usize> {
    let groups = prometheus.api("rules", &[])?;
    let rules = groups["groups"]
        .as_array()
        .context("groups")?
        .iter()
        .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for rule in rules {
        let name = rule["name"].as_str().unwrap_or_default().to_owned();
        ensure!(rule["health"] == "ok", "{name}: {rule}");
        for alert in rule["alerts"].as_array().into_iter().flatten() {
            count += 1;
            let [summary, description] =
                ["summary", "description"].map(|text| alert["annotations"][text].as_str().unwrap_or_default());
            let has_failed =
                ["<error", "<no value>", "%!"].iter().any(|mark| summary.contains(mark) || description.contains(mark));
            ensure!(!has_failed && summary.contains("127.0.0.1:"), "{name}: {summary:?}, {description:?}");
            seen.insert(name.clone());
        }
    }
    let expected = [
        "ThreadLimitNear",
        "ThreadLimitExhaustionSoon",
        "CloneFailures",
        "ThreadProbeConfigReloadFailed",
        "ThreadProbeGroupsDropped",
        "ThreadProbeLimitsLeftOut",
        "ThreadProbeNotificationsFailing",
    ];
    for name in expected {
        ensure!(seen.contains(name), "{name} is not even pending, only {seen:?}");
    }
    Ok(count)
}

/// With `fewer-series.yml` no alert loses what it asks, and no other bucket of a group is kept.
fn few_buckets_are_those_of_the_alerts(port: u16) -> Result<()> {
    let prometheus = Prometheus::of_fewer_series(port)?;
    let asked = of_rules(&rules("alerts.yml")?).into_iter().flat_map(|rule| selectors(&rule.text));
    let asked: BTreeSet<String> = asked
        .filter(|selector| selector.metric.ends_with("_bucket"))
        .map(|selector| format!("{}{}", selector.metric, selector.matchers))
        .collect();
    ensure!(asked.len() == 3, "the alerts ask other buckets: {asked:?}");
    for selector in &asked {
        prometheus.wait_for(selector, Duration::from_secs(20), || {
            Ok(!prometheus.query(&format!("rate({selector}[1m])"))?.is_empty())
        })?;
    }
    let kept =
        prometheus.value("count(count by (__name__, le) ({__name__=~\"threadprobe_(run|thread).+_bucket\"}))")?;
    ensure!(kept == 3.0, "{kept} buckets of a group are kept");
    let labels = prometheus.api("labels", &[])?;
    let marks: Vec<_> = labels.as_array().into_iter().flatten().filter(|label| *label == "__keep").collect();
    ensure!(marks.is_empty(), "the mark of what stays is kept as a label");
    Ok(())
}

/// What is recorded of three hosts adds up, is bounded, and arrives above, where the overview needs nothing else.
fn the_fleet_is_federated(below: &Prometheus, above: &Prometheus) -> Result<f64> {
    let bound = 48.0;
    let recorded = below.value("max(count by (instance) ({__name__=~\"instance:threadprobe_.+\"}))")?;
    ensure!(recorded <= bound, "{recorded} series of one host");
    let per_job = below.value("count({__name__=~\"job:threadprobe_.+\"})")?;
    ensure!(per_job <= 34.0, "{per_job} series of a job");
    above.wait_for("three hosts above", Duration::from_secs(20), || {
        Ok(above.value("job:threadprobe_instances:count").is_ok_and(|count| count == 3.0))
    })?;
    let of_groups = above.query("{__name__=~\"threadprobe_.+\"}")?;
    ensure!(of_groups.is_empty(), "{} series that are not recorded were federated", of_groups.len());
    // Of one scrape of /federate, though the two are recorded one after the other.
    let sum = above.value("sum(job:threadprobe_threads:sum) - sum(instance:threadprobe_threads:sum)")?;
    ensure!(sum.abs() < 100.0, "the fleet differs from its hosts by {sum} threads");
    let started = Instant::now();
    loop {
        let mut missing = Vec::new();
        for (name, board) in boards()?.iter().filter(|(name, _)| name == "overview") {
            for expression in of_panels(name, board) {
                if above.query(&substituted(&expression.text, "", ""))?.is_empty() {
                    missing.push(expression.place);
                }
            }
        }
        if missing.is_empty() {
            return Ok(recorded);
        }
        ensure!(started.elapsed() < Duration::from_secs(10), "not answered above: {missing:?}");
        thread::sleep(Duration::from_secs(1));
    }
}
