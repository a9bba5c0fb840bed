//! The dashboards, rules and the runbook hold together with the metrics and with each other. Needs nothing, but for
//! the rules Debian's prometheus, of which promtool is a part.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use thread_probe::{
    export::metrics::{Kind, METRICS},
    model::alert::AlertName,
};

use crate::support::dashboard::{
    Expression, boards, folder, groupings, labels_of, of_annotations, of_panels, of_rules, panels, read, rules,
    schema::errors as schema_errors, selectors, without_annotation_queries,
};

const PROMTOOL: &str = "/usr/bin/promtool";
const RUNBOOK: &str = "https://github.com/thread-probe/thread-probe/blob/main/dashboards/runbook.md#";

/// The alerts of both files.
fn alert_rules() -> Result<Vec<Value>> {
    Ok([rules("alerts.yml")?, rules("health.yml")?].concat())
}

/// All expressions there are.
fn expressions() -> Result<Vec<Expression>> {
    let mut all = of_rules(&[rules("recording.yml")?, alert_rules()?].concat());
    for (name, board) in boards()? {
        all.extend(of_panels(&name, &board));
        all.extend(of_annotations(&name, &board));
    }
    Ok(all)
}

#[test]
fn the_dashboards_are_valid_by_grafanas_own_types() -> Result<()> {
    let schema: Value = serde_json::from_str(&read("schema/grafana.schema.json")?)?;
    let validate = |kind: &str, what: &str, value: &Value| -> Result<()> {
        let of_kind = &schema["definitions"][kind];
        ensure!(of_kind.is_object(), "{what}: dashboard.ts has no panels of type {kind:?}");
        let errors = schema_errors(of_kind, value, "");
        ensure!(errors.is_empty(), "{what}: {}", errors.join("; "));
        Ok(())
    };
    for (name, board) in boards()? {
        validate("dashboard", &name, &without_annotation_queries(&board))?;
        for panel in board["panels"].as_array().context("panels")? {
            let kind = panel["type"].as_str().unwrap_or_default();
            validate(kind, &format!("{name}: {}", panel["title"]), panel)?;
        }
    }
    Ok(())
}

#[test]
fn every_dashboard_has_a_uid_tags_variables_and_links_of_its_own() -> Result<()> {
    for (name, board) in boards()? {
        ensure!(board["uid"] == format!("threadprobe-{name}") && board["tags"][0] == "thread-probe", "{name}");
        let variables = board["templating"]["list"].as_array().context("variables")?;
        let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
        ensure!(names.starts_with(&["datasource", "job", "instance"]), "{name}: {names:?}");
        let link = &board["links"][0];
        ensure!(link["includeVars"] == true && link["keepTime"] == true && link["tags"][0] == "thread-probe", "{name}");
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().context("panels")? {
            ensure!(ids.insert(panel["id"].as_u64()), "{name}: two panels with the id {}", panel["id"]);
        }
    }
    Ok(())
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_of_what_was_chosen() -> Result<()> {
    for (name, board) in boards()? {
        for panel in panels(&board) {
            let what = format!("{name}: {}", panel["title"]);
            let described = panel["description"].as_str().is_some_and(|description| description.ends_with('.'));
            ensure!(described, "{what}: no description");
            ensure!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{what}: no unit");
            ensure!(panel["datasource"]["uid"] == "${datasource}", "{what}: not of the variable's data source");
        }
        for Expression { place, text } in of_panels(&name, &board) {
            let chosen = text.contains("job=~\"$job\"") || text.contains("job=\"$job\"");
            ensure!(chosen, "{place}: {text}");
        }
    }
    Ok(())
}

/// What can be chosen on a dashboard, and whether several can be.
fn variables(board: &Value) -> impl Iterator<Item = (&str, bool)> {
    let variables = board["templating"]["list"].as_array().into_iter().flatten();
    variables.filter_map(|variable| Some((variable["name"].as_str()?, variable["multi"] == true)))
}

/// Where clicks on a panel lead.
fn urls(panel: &Value) -> impl Iterator<Item = &str> {
    let links = panel["fieldConfig"]["defaults"]["links"].as_array().into_iter().flatten();
    links.filter_map(|link| link["url"].as_str())
}

#[test]
fn a_click_hands_on_all_that_the_other_dashboard_lets_choose() -> Result<()> {
    let boards: BTreeMap<String, Value> = boards()?.into_iter().collect();
    let mut links = 0;
    for url in boards.values().flat_map(panels).flat_map(urls) {
        let (other, query) = url.trim_start_matches("/d/threadprobe-").split_once('?').context("no variables")?;
        for (variable, _) in variables(boards.get(other).with_context(|| format!("{url} leads nowhere"))?) {
            let kept = format!("${{{variable}:queryparam}}");
            let is_set = |part: &str| part == kept || part.starts_with(&format!("var-{variable}="));
            ensure!(query.split('&').any(is_set), "{url} leaves {variable} to be all");
        }
        links += 1;
    }
    ensure!(links > 10, "only {links} links");
    Ok(())
}

#[test]
fn a_panel_of_many_hosts_draws_ten_of_them() -> Result<()> {
    for (name, board) in boards()? {
        if !variables(&board).any(|variable| variable == ("instance", true)) {
            continue;
        }
        for panel in panels(&board).filter(|panel| panel["type"] == "timeseries") {
            for target in panel["targets"].as_array().context("targets")? {
                let (legend, text) = (target["legendFormat"].as_str(), target["expr"].as_str().unwrap_or_default());
                let of_hosts = legend.is_some_and(|legend| legend.contains("{{instance}}"));
                let is_bounded = ["topk(10, ", "bottomk(10, "].iter().any(|bound| text.contains(bound));
                ensure!(!of_hosts || is_bounded, "{name}: {}: a line for each host: {text}", panel["title"]);
            }
        }
    }
    Ok(())
}

/// The labels each series may have, by name: of the table, and of what is recorded.
fn known_labels() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut known = BTreeMap::new();
    for metric in METRICS {
        let labels: BTreeSet<String> =
            metric.labels.iter().chain(&["job", "instance"]).map(|label| (*label).to_owned()).collect();
        if metric.kind == Kind::Histogram {
            let with_le = labels.iter().cloned().chain(["le".to_owned()]).collect();
            known.insert(format!("{}_bucket", metric.name), with_le);
            known.insert(format!("{}_sum", metric.name), labels.clone());
            known.insert(format!("{}_count", metric.name), labels);
        } else {
            known.insert(metric.name.to_owned(), labels);
        }
    }
    for rule in of_rules(&rules("recording.yml")?) {
        // What it groups by; a function of one recorded series has that one's.
        let of_others =
            || selectors(&rule.text).iter().filter_map(|of| known.get(&of.metric)).flatten().cloned().collect();
        let grouped: BTreeSet<String> = groupings(&rule.text).into_iter().collect();
        let labels = if grouped.is_empty() { of_others() } else { grouped };
        known.insert(rule.place, labels);
    }
    Ok(known)
}

#[test]
fn every_metric_and_label_that_an_expression_names_exists() -> Result<()> {
    let known = known_labels()?;
    for Expression { place, text } in expressions()? {
        let mut allowed = BTreeSet::new();
        for selector in selectors(&text) {
            let labels =
                known.get(&selector.metric).with_context(|| format!("{place}: no metric {}", selector.metric))?;
            for label in labels_of(&selector.matchers) {
                ensure!(labels.contains(&label), "{place}: {} has no label {label}", selector.metric);
            }
            allowed.extend(labels.iter().cloned());
        }
        for label in groupings(&text).iter().filter(|_| !allowed.is_empty()) {
            ensure!(allowed.contains(label), "{place}: nothing in {text} has a label {label}");
        }
    }
    Ok(())
}

#[test]
fn every_metric_is_used_or_listed_with_the_reason_why_not() -> Result<()> {
    let expressions = expressions()?;
    let used: BTreeSet<String> =
        expressions.iter().flat_map(|expression| selectors(&expression.text)).map(|selector| selector.metric).collect();
    let list = read("unused.md")?;
    let listed: BTreeSet<&str> = list.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect();
    let series = |name: &str, kind| match kind {
        Kind::Histogram => ["bucket", "sum", "count"].iter().map(|part| format!("{name}_{part}")).collect(),
        Kind::Counter | Kind::Gauge => vec![name.to_owned()],
    };
    let recorded = of_rules(&rules("recording.yml")?).into_iter().map(|rule| (rule.place.clone(), vec![rule.place]));
    let metrics = METRICS.iter().map(|metric| (metric.name.to_owned(), series(metric.name, metric.kind)));
    let all: BTreeMap<String, Vec<String>> = metrics.chain(recorded).collect();
    for (name, series) in &all {
        let is_used = series.iter().any(|series| used.contains(series));
        let is_listed = listed.contains(name.as_str());
        ensure!(is_used != is_listed, "{name}: used {is_used}, listed in dashboards/unused.md {is_listed}");
    }
    let unknown: Vec<_> = listed.iter().filter(|name| !all.contains_key(**name)).collect();
    ensure!(unknown.is_empty(), "dashboards/unused.md: there is no {unknown:?}");
    Ok(())
}

/// All alerts of the daemon. A match, so that one that is added has to be added here.
fn built_in() -> impl Iterator<Item = AlertName> {
    std::iter::successors(Some(AlertName::ThreadLimitNear), |alert| match alert {
        AlertName::ThreadLimitNear => Some(AlertName::ThreadLimitExhaustionSoon),
        AlertName::ThreadLimitExhaustionSoon => Some(AlertName::CloneFailures),
        AlertName::CloneFailures => Some(AlertName::RunQueueLatencyHigh),
        AlertName::RunQueueLatencyHigh => Some(AlertName::CpuThrottled),
        AlertName::CpuThrottled => Some(AlertName::CpuContended),
        AlertName::CpuContended => Some(AlertName::ThreadsOversubscribed),
        AlertName::ThreadsOversubscribed => Some(AlertName::ThreadStuck),
        AlertName::ThreadStuck => Some(AlertName::ThreadSpinning),
        AlertName::ThreadSpinning => Some(AlertName::KernelStackDeep),
        AlertName::KernelStackDeep => Some(AlertName::ShortLivedThreads),
        AlertName::ShortLivedThreads => Some(AlertName::ContextSwitchOverhead),
        AlertName::ContextSwitchOverhead => None,
    })
}

#[test]
fn every_alert_has_a_severity_texts_a_section_in_the_runbook_and_a_test() -> Result<()> {
    let runbook = read("runbook.md")?;
    let tests = [read("rules/tests/alerts.yml")?, read("rules/tests/health.yml")?].concat();
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut alerts = BTreeSet::new();
    for rule in alert_rules()? {
        let alert = rule["alert"].as_str().context("an alert")?.to_owned();
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        ensure!(["info", "warning", "critical"].contains(&severity), "{alert}: severity {severity:?}");
        for text in ["summary", "description"] {
            ensure!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 20), "{alert}: no {text}");
        }
        ensure!(
            rule["annotations"]["runbook_url"] == format!("{RUNBOOK}{}", alert.to_lowercase()),
            "{alert}: its runbook_url"
        );
        let fires = tests.lines().any(|line| {
            line.contains(&format!("alertname=\"{alert}\"")) && line.contains(&format!("severity=\"{severity}\""))
        });
        ensure!(fires, "no test in which {alert} is {severity}");
        alerts.insert(alert);
    }
    // alerts.yml is what may be left out where the daemons tell of all in it: that and no more.
    let left_out: BTreeSet<String> = of_rules(&rules("alerts.yml")?).into_iter().map(|rule| rule.place).collect();
    let of_daemon: BTreeSet<String> = built_in().map(|alert| alert.label().to_owned()).collect();
    ensure!(left_out == of_daemon, "alerts.yml has {left_out:?}, the daemon {of_daemon:?}");
    for alert in &alerts {
        ensure!(sections.contains(&alert.as_str()), "{alert} has no section in the runbook");
    }
    let of_alerts = sections.iter().filter(|section| !section.contains(' '));
    for section in of_alerts {
        ensure!(alerts.contains(*section), "the runbook has a section on {section}, which is no alert");
    }
    Ok(())
}

/// Runs promtool in `dashboards/`; says so where there is none.
fn promtool(arguments: &[&str]) -> Result<()> {
    if !Path::new(PROMTOOL).exists() {
        // Not println, which the test harness swallows when a test passes.
        let _ = writeln!(
            io::stderr(),
            "*** SKIPPED: promtool {}: Debian's prometheus is not installed",
            arguments.join(" ")
        );
        return Ok(());
    }
    let output = Command::new(PROMTOOL).args(arguments).current_dir(folder()).stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
    ensure!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() -> Result<()> {
    promtool(&["check", "rules", "--lint-fatal", "rules/recording.yml", "rules/alerts.yml", "rules/health.yml"])
}

#[test]
fn each_rule_does_what_its_tests_say() -> Result<()> {
    promtool(&["test", "rules", "rules/tests/recording.yml", "rules/tests/alerts.yml", "rules/tests/health.yml"])
}

/// A counter that is born with its first failure has no increase: the panel that CloneFailures leads to says why.
#[test]
fn the_panel_of_refused_clones_shows_a_single_burst() -> Result<()> {
    let boards = boards()?;
    let (name, board) = boards.iter().find(|(name, _)| name == "group").context("no dashboard of a group")?;
    let panels = of_panels(name, board);
    let panel = panels.iter().find(|panel| panel.place == "group: Refused clones").context("no such panel")?;
    let asked = ["job", "instance", "group"]
        .iter()
        .fold(panel.text.clone(), |text, name| text.replace(&format!("${name}"), name));
    let shown = |minute: u32, clones: u32| {
        let samples = json!([{ "labels": "{errno=\"EAGAIN\",limit=\"nproc\"}", "value": clones }]);
        json!({ "expr": asked, "eval_time": format!("{minute}m"), "exp_samples": samples })
    };
    let of_target = "job=\"job\",instance=\"instance\"";
    let failures =
        format!("threadprobe_clone_failures_total{{{of_target},group=\"group\",errno=\"EAGAIN\",limit=\"nproc\"}}");
    let test = json!({
        "interval": "1m",
        "input_series": [
            { "series": format!("threadprobe_build_info{{{of_target},version=\"1\"}}"), "values": "1x30" },
            { "series": failures, "values": "_x9 3x20" },
        ],
        "promql_expr_test": [shown(10, 3), shown(13, 3), shown(20, 0)],
    });
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, &json!({ "evaluation_interval": "1m", "tests": [test] }))?;
    promtool(&["test", "rules", &file.path().to_string_lossy()])
}

#[test]
fn promtool_finds_nothing_wrong_with_the_example_configurations() -> Result<()> {
    promtool(&["check", "config", "provisioning/prometheus/prometheus.yml"])?;
    promtool(&["check", "config", "provisioning/prometheus/federation.yml"])
}
