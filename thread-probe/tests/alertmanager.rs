//! Alerts as a real Alertmanager takes them: down, up, firing, resolved. Needs Debian's prometheus-alertmanager.
use std::{
    fs,
    io::{self, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, ensure};
use serde_json::Value;
use thread_probe::{
    alerts::{
        config::{AlertsConfig, Rules},
        engine::{Engine, Now},
        notify::{Notifier, Timing},
        view::State,
    },
    grouping::{GroupBy, Grouper},
    ledger::Ledger,
    limits::{Limit, LimitUse, Scope},
    model::{Model, SampleFacts},
    sample::{HostCounters, ThreadCost},
};

const PROGRAM: &str = "/usr/bin/prometheus-alertmanager";
const QUICK: Timing = Timing {
    resend: Duration::from_millis(200),
    retry: Duration::from_millis(200),
    expiry: Duration::from_secs(240),
    request_timeout: Duration::from_secs(5),
};

/// One on a port and in a directory of its own.
struct Alertmanager {
    child: Child,
    _directory: tempfile::TempDir,
}

impl Alertmanager {
    fn start(port: u16) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("alertmanager.yml");
        fs::write(&config, "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n")?;
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", directory.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, _directory: directory })
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The alerts that are active there.
fn active(url: &str) -> Result<Vec<Value>> {
    let text = ureq::get(format!("{url}/api/v2/alerts?active=true")).call()?.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&text)?)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !condition() {
        ensure!(started.elapsed() < Duration::from_secs(30), "waited for ever: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn model(limits: Vec<LimitUse>) -> Model {
    let mut ledger = Ledger::new(Grouper::new(GroupBy::Comm), 10, Duration::from_secs(600));
    let facts = SampleFacts {
        time: SystemTime::now(),
        interval: None,
        duration: Duration::ZERO,
        threads: 0,
        group_by: GroupBy::Comm,
        counters: &HostCounters::default(),
        cost: ThreadCost { stack_bytes: 0, task_struct_bytes: 0, task_struct_from_slab: true, probe_bytes: 0 },
        programs: &Arc::from([]),
    };
    let mut model = Model::build(&mut ledger, &facts);
    model.limits.shared = limits;
    model
}

fn nearly_full() -> LimitUse {
    LimitUse {
        limit: Limit::CgroupPids,
        scope: Scope::Cgroup,
        name: "/system.slice/a \"b\" \u{fc}.service".into(),
        set_by: "TasksMax of a.service".into(),
        unit: Limit::CgroupPids.unit(),
        used: 95,
        max: 100,
        used_ratio: 0.95,
        headroom_threads: 5,
        growth_per_second: None,
        exhaustion_seconds: None,
        peak: None,
        refused: None,
    }
}

/// What the daemon does with each sample.
struct Daemon {
    engine: Engine,
    notifier: Notifier,
    started: Instant,
}

impl Daemon {
    /// A sample so long after the start, by the clock of durations.
    fn sample(&mut self, after: Duration, limits: Vec<LimitUse>) {
        let now = Now { instant: self.started + after, time: SystemTime::now() };
        let changed = self.engine.evaluate(&Rules::default(), &model(limits), now);
        let told = changed.iter().any(|alert| alert.state != State::Pending);
        self.notifier.update(&self.engine.alerts(), told);
    }

    fn failed(&self) -> u64 {
        self.notifier.counts().iter().map(|count| count.failed).sum()
    }
}

#[test]
fn an_alertmanager_that_comes_up_late_sees_what_fires_and_that_it_is_resolved() -> Result<()> {
    if !Path::new(PROGRAM).exists() {
        // Not println, which the test harness swallows when a test passes.
        let _ = writeln!(io::stderr(), "*** SKIPPED: alertmanager: Debian's prometheus-alertmanager is not installed");
        return Ok(());
    }
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    let mut notifier = Notifier::new(QUICK);
    let labels = [("team".to_owned(), "db".to_owned()), ("instance".to_owned(), "box".to_owned())];
    notifier.configure(&AlertsConfig {
        alertmanager_urls: vec![url.clone()],
        labels: labels.into(),
        ..AlertsConfig::default()
    })?;
    let mut daemon = Daemon { engine: Engine::default(), notifier, started: Instant::now() };
    daemon.sample(Duration::ZERO, vec![nearly_full()]);
    wait_until("a failure while it is down", || daemon.failed() > 0)?;
    let _alertmanager = Alertmanager::start(port)?;
    wait_until("two alerts", || active(&url).is_ok_and(|alerts| alerts.len() == 2))?;
    let alerts = active(&url)?;
    let critical = alerts.iter().find(|alert| alert["labels"]["severity"] == "critical").cloned().unwrap_or_default();
    let expected = serde_json::json!({
        "alertname": "ThreadLimitNear", "severity": "critical", "group": nearly_full().name, "limit": "cgroup_pids",
        "scope": "cgroup", "team": "db", "instance": "box",
    });
    ensure!(critical["labels"] == expected, "{critical}");
    let summary = "95 of 100 threads of a \"b\" \u{fc}.service used (95 %)";
    ensure!(critical["annotations"]["summary"] == summary, "{critical}");
    ensure!(critical["annotations"]["description"] == "raise TasksMax of a.service", "{critical}");
    daemon.sample(Duration::from_secs(5), Vec::new());
    ensure!(active(&url)?.len() == 2, "gone before keep_firing");
    daemon.sample(Duration::from_secs(65), Vec::new());
    wait_until("none", || active(&url).is_ok_and(|alerts| alerts.is_empty()))?;
    let failed = daemon.failed();
    // What is told again from now on is that they are resolved: they stay so.
    std::thread::sleep(2 * QUICK.resend);
    ensure!(active(&url)?.is_empty() && daemon.failed() == failed);
    Ok(())
}
