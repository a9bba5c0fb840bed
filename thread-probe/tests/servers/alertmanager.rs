//! Alerts as a real Alertmanager takes them: down, up, firing, resolved. Needs root, and Debian's
//! prometheus-alertmanager.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::support::{
    cgroup::Cgroup,
    daemon::{Daemon, free_port},
    skip,
};

const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With the example configuration.
fn start_alertmanager(port: u16, folder: &Path) -> Result<Running> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alertmanager.yml");
    let mut command = Command::new(ALERTMANAGER);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    Ok(Running(command.spawn()?))
}

fn fill(cgroup: &Cgroup, processes: usize) -> Result<Vec<Running>> {
    let start = || {
        let child = Running(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn()?);
        cgroup.add(child.0.id())?;
        Ok(child)
    };
    std::iter::repeat_with(start).take(processes).collect()
}

/// The alerts on the group that the daemon has.
fn alerts_of(daemon: &Daemon, group: &str) -> Result<Vec<Value>> {
    let answer: Value = serde_json::from_str(&daemon.get("/api/v1/alerts")?.1)?;
    let alerts = answer["alerts"].as_array().cloned().unwrap_or_default();
    Ok(alerts.into_iter().filter(|alert| alert["group"] == group).collect())
}

/// The alerts on the group that are active at the Alertmanager; none while it does not answer.
fn active(url: &str, group: &str) -> Result<Vec<Value>> {
    let Ok(mut answer) = ureq::get(format!("{url}/api/v2/alerts?active=true")).call() else { return Ok(Vec::new()) };
    let alerts: Vec<Value> = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    Ok(alerts.into_iter().filter(|alert| alert["labels"]["group"] == group).collect())
}

pub(crate) fn an_alertmanager_that_comes_up_late_sees_what_fires_and_that_it_is_resolved() -> Result<()> {
    needs_root!();
    if !Path::new(ALERTMANAGER).exists() {
        skip("Debian's prometheus-alertmanager is not installed");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}");
    let config = folder.path().join("thread-probe.toml");
    fs::write(
        &config,
        format!(
            "interval = '200ms'\n[alerts]\nalertmanager_urls = ['{url}']\nlabels = {{ team = 'db' }}\n\
             [alerts.rules.limit_use]\nfor = '2s'\nkeep_firing_for = '1s'\n"
        ),
    )?;
    let cgroup = Cgroup::new("pids", "tp-alert")?;
    cgroup.set("pids.max", "50")?;
    let daemon = Daemon::start_configured(&["--config", &config.to_string_lossy()])?;
    let processes = fill(&cgroup, 46)?;
    ensure_pending_then_firing(&daemon, &cgroup.path)?;
    let failed = format!("threadprobe_notifications_failed_total{{alertmanager=\"{url}\"}}");
    daemon.wait_until("a failure while the Alertmanager is down", |daemon| {
        Ok(daemon.metric(&failed).is_ok_and(|failed| failed > 0.0))
    })?;
    let _alertmanager = start_alertmanager(port, folder.path())?;
    daemon.wait_until("two alerts there", |_| Ok(active(&url, &cgroup.path)?.len() == 2))?;
    daemon.wait_until("the warning silent, the critical one not", |_| {
        let alerts = active(&url, &cgroup.path)?;
        let silent = |severity: &str| {
            let alert = alerts.iter().find(|alert| alert["labels"]["severity"] == severity);
            alert.is_some_and(|alert| alert["status"]["state"] == "suppressed")
        };
        Ok(silent("warning") && !silent("critical"))
    })?;
    for alert in active(&url, &cgroup.path)? {
        ensure_tells_all(&alert, &cgroup.path)?;
    }
    drop(processes);
    daemon.wait_until("resolved", |daemon| {
        Ok(alerts_of(daemon, &cgroup.path)?.iter().all(|alert| alert["state"] == "resolved"))
    })?;
    daemon.wait_until("none there", |_| Ok(active(&url, &cgroup.path)?.is_empty()))?;
    let (_, metrics) = daemon.get("/metrics")?;
    let firing =
        format!("threadprobe_alert_firing{{alert=\"ThreadLimitNear\",severity=\"critical\",group=\"{}\"", cgroup.path);
    ensure!(!metrics.contains(&firing), "the metric still says that it fires");
    Ok(())
}

fn ensure_pending_then_firing(daemon: &Daemon, group: &str) -> Result<()> {
    let seen = RefCell::new(BTreeSet::new());
    daemon.wait_until("two alerts that fire", |daemon| {
        let alerts = alerts_of(daemon, group)?;
        let states = alerts.iter().filter_map(|alert| alert["state"].as_str().map(str::to_owned));
        seen.borrow_mut().extend(states);
        Ok(alerts.len() == 2 && alerts.iter().all(|alert| alert["state"] == "firing"))
    })?;
    let seen = seen.into_inner();
    ensure!(seen.contains("pending"), "they were never pending, only {seen:?}");
    let (_, metrics) = daemon.get("/metrics")?;
    for severity in ["warning", "critical"] {
        let series = format!("alert=\"ThreadLimitNear\",severity=\"{severity}\",group=\"{group}\"}} 1");
        ensure!(metrics.contains(&series), "no series {series}");
    }
    let raise = format!("advice=\"set pids.max of {group} to 92, or create fewer threads\"");
    daemon.wait_for_log(&["46 of 50 threads", &raise, "ERROR"])
}

fn ensure_tells_all(alert: &Value, group: &str) -> Result<()> {
    let labels = &alert["labels"];
    let expected = serde_json::json!({
        "alertname": "ThreadLimitNear", "severity": labels["severity"], "group": group, "limit": "cgroup_pids",
        "scope": "cgroup", "team": "db", "instance": labels["instance"],
    });
    ensure!(*labels == expected && labels["instance"].is_string(), "{alert}");
    let annotations = &alert["annotations"];
    ensure!(annotations["summary"] == format!("46 of 50 threads of {group} used (92 %)"), "{alert}");
    ensure!(annotations["description"] == format!("set pids.max of {group} to 92, or create fewer threads"), "{alert}");
    Ok(())
}
