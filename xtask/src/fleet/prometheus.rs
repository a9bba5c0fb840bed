//! Debian's Prometheus with our rules, and what it says of itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Options,
    exposition::Keep,
    host::{Running, free_port},
};
use crate::setup::root;

const PROGRAM: &str = "/usr/bin/prometheus";

/// A Prometheus that ends, with all it stored, with this.
pub(super) struct Prometheus {
    _process: Running,
    url: String,
    folder: TempDir,
}

/// What it cost.
pub(super) struct Scraped {
    pub head_series: f64,
    pub recorded_of_hosts: f64,
    pub recorded_of_jobs: f64,
    pub samples_per_second: f64,
    pub cpu_cores: f64,
    pub rss_bytes: f64,
    pub chunk_bytes_per_sample: f64,
    pub index_bytes_per_series: f64,
    pub slowest_scrape_seconds: f64,
    /// By group of rules.
    pub rule_seconds: Vec<(String, f64)>,
    /// The rules that took longest in their last evaluation.
    pub slowest_rules: Vec<(String, f64)>,
    pub missed_evaluations: f64,
    pub failed_scrapes: u64,
}

impl Prometheus {
    /// Starts one that finds its targets by `http_sd` on that port.
    ///
    /// # Errors
    /// It is not installed or did not start.
    pub(super) fn start(options: &Options, targets_port: u16) -> Result<Self> {
        ensure!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing: apt-get install prometheus");
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, configuration(options, targets_port)?)?;
        let port = free_port()?;
        let mut command = Command::new(PROGRAM);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            // For the snapshot that is measured at the end.
            .args(["--web.enable-admin-api", "--log.level=warn"])
            .stdin(Stdio::null());
        let process = Running(command.spawn().with_context(|| format!("starting {PROGRAM}"))?);
        let prometheus = Self { _process: process, url: format!("http://127.0.0.1:{port}"), folder };
        let started = Instant::now();
        while ureq::get(format!("{}/-/ready", prometheus.url)).call().is_err() {
            ensure!(started.elapsed() < Duration::from_secs(30), "Prometheus is not ready");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(prometheus)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Lets it work. CPU time and rates are those of the second half, when all targets and rules are at it.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn watch(&self, time: Duration) -> Result<Scraped> {
        thread::sleep(time / 2);
        let (before, at) = (self.own()?, Instant::now());
        thread::sleep(time / 2);
        let (after, seconds) = (self.own()?, at.elapsed().as_secs_f64());
        let rate = |name: &str| (sum(&after, name) - sum(&before, name)) / seconds;
        let (chunk_bytes_per_sample, index_bytes_per_series) = self.stored()?;
        let window = format!("{}s", time.as_secs() + 60);
        let not_up = format!("sum(count_over_time(up[{window}]) - sum_over_time(up[{window}]))");
        Ok(Scraped {
            head_series: sum(&after, "prometheus_tsdb_head_series"),
            recorded_of_hosts: self.query(r#"count({__name__=~"instance:threadprobe_.+"})"#)?,
            recorded_of_jobs: self.query(r#"count({__name__=~"job:threadprobe_.+"})"#)?,
            samples_per_second: rate("prometheus_tsdb_head_samples_appended_total"),
            cpu_cores: rate("process_cpu_seconds_total"),
            rss_bytes: sum(&after, "process_resident_memory_bytes"),
            chunk_bytes_per_sample,
            index_bytes_per_series,
            slowest_scrape_seconds: self.query("max(scrape_duration_seconds)")?,
            rule_seconds: by_rule_group(&after, "prometheus_rule_group_last_duration_seconds"),
            slowest_rules: self.slowest_rules()?,
            missed_evaluations: sum(&after, "prometheus_rule_group_iterations_missed_total"),
            failed_scrapes: self.query(&not_up)? as u64,
        })
    }

    /// Its own metrics.
    fn own(&self) -> Result<String> {
        Ok(ureq::get(format!("{}/metrics", self.url)).call()?.body_mut().read_to_string()?)
    }

    /// The value of an expression with one; 0 where there is none.
    fn query(&self, expression: &str) -> Result<f64> {
        let mut answer = ureq::get(format!("{}/api/v1/query", self.url)).query("query", expression).call()?;
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        Ok(answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0").parse()?)
    }

    fn slowest_rules(&self) -> Result<Vec<(String, f64)>> {
        let mut answer = ureq::get(format!("{}/api/v1/rules", self.url)).call()?;
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let groups = answer["data"]["groups"].as_array().context("no groups of rules")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let of_rule = |rule: &Value| {
            let severity =
                rule["labels"]["severity"].as_str().map_or_else(String::new, |severity| format!(" ({severity})"));
            Some((format!("{}{severity}", rule["name"].as_str()?), rule["evaluationTime"].as_f64()?))
        };
        let mut rules: Vec<(String, f64)> = rules.filter_map(of_rule).collect();
        rules.sort_by(|a, b| b.1.total_cmp(&a.1));
        rules.truncate(5);
        Ok(rules)
    }

    /// Bytes of chunks per sample and of the index per series, in a block made of all it has.
    fn stored(&self) -> Result<(f64, f64)> {
        let mut answer = ureq::post(format!("{}/api/v1/admin/tsdb/snapshot", self.url)).send_empty()?;
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let name = answer["data"]["name"].as_str().context("Prometheus made no snapshot")?;
        let (mut chunks, mut index, mut samples, mut series) = (0.0, 0.0, 0.0, 0.0);
        for block in fs::read_dir(self.folder.path().join("data/snapshots").join(name))? {
            let block = block?.path();
            let meta: Value = serde_json::from_slice(&fs::read(block.join("meta.json"))?)?;
            samples += meta["stats"]["numSamples"].as_f64().unwrap_or_default();
            series += meta["stats"]["numSeries"].as_f64().unwrap_or_default();
            chunks += files_in(&block.join("chunks"))?
                .iter()
                .try_fold(0, |sum, file| size(file).map(|size| sum + size))? as f64;
            index += size(&block.join("index"))? as f64;
        }
        ensure!(samples > 0.0, "the snapshot has no samples");
        Ok((chunks / samples, index / series))
    }
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file)?.len())
}

/// All series of a metric of this name, added up.
fn sum(exposition: &str, name: &str) -> f64 {
    let values = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit_once(' ')?.1.parse::<f64>().ok())?
    });
    values.sum()
}

fn by_rule_group(exposition: &str, name: &str) -> Vec<(String, f64)> {
    let of_line = |line: &str| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        // The label is the file's path, and after it the group.
        let group = labels.rsplit_once(';')?.1.trim_end_matches("\"}");
        Some((group.to_owned(), value.parse().ok()?))
    };
    exposition.lines().filter_map(of_line).collect()
}

/// As YAML, of which JSON is a part.
fn configuration(options: &Options, targets_port: u16) -> Result<String> {
    let interval = humantime::format_duration(options.interval).to_string();
    let rules = if options.no_rules { Vec::new() } else { vec![root().join("dashboards/rules/*.yml")] };
    let relabel: Value = match options.keep {
        Keep::All => Value::Array(Vec::new()),
        Keep::NoBuckets => serde_json::json!([{
            "source_labels": ["__name__"],
            "regex": "threadprobe_(runqueue_latency|thread_lifetime)_seconds_bucket",
            "action": "drop",
        }]),
    };
    Ok(serde_json::to_string_pretty(&serde_json::json!({
        "global": { "scrape_interval": interval, "evaluation_interval": interval },
        "rule_files": rules,
        "scrape_configs": [{
            "job_name": "thread-probe",
            "http_sd_configs": [{ "url": format!("http://127.0.0.1:{targets_port}/targets") }],
            "metric_relabel_configs": relabel,
        }],
    }))?)
}
