//! A real Prometheus, configured by the example files.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::support::{
    daemon::free_port,
    dashboard::{folder, read},
};

/// Debian's.
pub(super) const PROMETHEUS: &str = "/usr/bin/prometheus";

/// One that ends with this.
pub(super) struct Prometheus {
    child: Child,
    pub port: u16,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// With `provisioning/prometheus/prometheus.yml`, but a second between scrapes and these targets.
    pub(super) fn of_daemons(ports: &[u16], nobody: u16) -> Result<Self> {
        let rules = folder().canonicalize()?.join("rules");
        let targets: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let config = read("provisioning/prometheus/prometheus.yml")?
            .replace("15s", "1s")
            .replace("../../rules", &rules.to_string_lossy())
            .replace("127.0.0.1:9093", &format!("127.0.0.1:{nobody}"))
            .replace("127.0.0.1:10420", &targets.join(", "));
        // What a Prometheus has besides, and here does not answer.
        let others = format!("  - job_name: other\n    static_configs: [{{ targets: ['127.0.0.1:{nobody}'] }}]\n");
        Self::start(&(config + &others))
    }

    /// With `deploy/prometheus/fewer-series.yml`, but a second between scrapes and this target.
    pub(super) fn of_fewer_series(port: u16) -> Result<Self> {
        let deploy = folder().canonicalize()?.join("../deploy/prometheus");
        let discovery = "    file_sd_configs:\n      - files: [\"targets/*.yml\"]\n";
        let config = fs::read_to_string(deploy.join("fewer-series.yml")).context("reading fewer-series.yml")?;
        ensure!(config.contains(discovery), "fewer-series.yml finds its targets in another way");
        let rules = deploy.join("../../dashboards/rules");
        let config = config
            .replace(discovery, &format!("    static_configs: [{{ targets: ['127.0.0.1:{port}'] }}]\n"))
            .replace("60s", "1s")
            .replace("../../dashboards/rules", &rules.to_string_lossy());
        Self::start(&config)
    }

    /// With `provisioning/prometheus/federation.yml`, above another.
    pub(super) fn above(below: &Self) -> Result<Self> {
        let config = read("provisioning/prometheus/federation.yml")?
            .replace("30s", "1s")
            .replace("127.0.0.1:9090", &format!("127.0.0.1:{}", below.port));
        Self::start(&config)
    }

    fn start(config: &str) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config)?;
        let log = fs::File::create(folder.path().join("log"))?;
        let child = Command::new(PROMETHEUS)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let prometheus = Self { child, port, folder };
        prometheus.wait_for("its start", Duration::from_secs(20), || Ok(prometheus.get("/-/ready", &[]).is_ok()))?;
        Ok(prometheus)
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let mut request =
            ureq::get(format!("http://127.0.0.1:{}{path}", self.port)).config().http_status_as_error(false).build();
        for (name, value) in query {
            request = request.query(name, value);
        }
        let mut answer = request.call()?;
        let status = answer.status();
        let body = answer.body_mut().read_to_string()?;
        ensure!(status.is_success(), "{path} {query:?}: {status}: {body}");
        Ok(body)
    }

    /// The `data` of an answer of its API.
    pub(super) fn api(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let answer: Value = serde_json::from_str(&self.get(&format!("/api/v1/{path}"), query)?)?;
        Ok(answer["data"].clone())
    }

    /// The values that an expression has now, without what is not a number.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<f64>> {
        let data = self.api("query", &[("query", expression)])?;
        let result = data["result"].as_array().context("a vector")?;
        let values = result.iter().filter_map(|series| series["value"][1].as_str()?.parse().ok());
        Ok(values.filter(|value: &f64| !value.is_nan()).collect())
    }

    /// The one value of an expression.
    pub(super) fn value(&self, expression: &str) -> Result<f64> {
        match self.query(expression)?[..] {
            [value] => Ok(value),
            ref values => bail!("{expression}: {} series", values.len()),
        }
    }

    /// Waits until `done`, and says what it waited for where that does not come.
    pub(super) fn wait_for(&self, what: &str, limit: Duration, done: impl Fn() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !done()? {
            let log = fs::read_to_string(self.folder.path().join("log"))?;
            ensure!(started.elapsed() < limit, "{what}: not after {limit:?}; Prometheus logged {log}");
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is one.
pub(super) fn is_installed() -> bool {
    Path::new(PROMETHEUS).exists()
}
