//! The example configurations in `deploy/`: as Debian's promtool reads them, and the manifests against what the daemon
//! listens on. Need Debian's prometheus, or nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

const PROMTOOL: &str = "/usr/bin/promtool";

fn deploy(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(path)
}

fn is_skipped() -> bool {
    let skip = !Path::new(PROMTOOL).exists();
    if skip {
        // Not println, which the test harness swallows when a test passes.
        let _ = writeln!(io::stderr(), "*** SKIPPED: deploy: Debian's prometheus is not installed");
    }
    skip
}

fn promtool_accepts(file: &Path) -> Result<()> {
    let output = Command::new(PROMTOOL).args(["check", "config"]).arg(file).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {text}", file.display());
    // It does not follow links and patterns that match nothing silently: it names each file of rules.
    let has_rules = fs::read_to_string(file)?.contains("rule_files:");
    ensure!(!has_rules || text.contains("rules found"), "{}: no rules found: {text}", file.display());
    Ok(())
}

#[test]
fn promtool_accepts_the_example_configurations() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    for name in ["file-sd", "http-sd", "fewer-series", "federation", "shard-remote-write"] {
        promtool_accepts(&deploy(&format!("prometheus/{name}.yml")))?;
    }
    // Debian builds it without discovery in Kubernetes: all but those three lines are checked.
    let discovery = "    kubernetes_sd_configs:\n      - role: pod\n        namespaces: { names: [thread-probe] }\n";
    let text = fs::read_to_string(deploy("prometheus/kubernetes.yml"))?;
    ensure!(text.contains(discovery), "kubernetes.yml finds its pods in another way");
    let rules = deploy("../dashboards/rules");
    let text = text.replace(discovery, "").replace("../../dashboards/rules", &rules.to_string_lossy());
    let mut file = tempfile::Builder::new().suffix(".yml").tempfile()?;
    file.write_all(text.as_bytes())?;
    promtool_accepts(file.path())
}

#[test]
fn a_host_listed_with_or_without_a_port_is_an_instance_without() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let mut command = Command::new(PROMTOOL);
    // It looks for targets as long as it is told to.
    command.args(["check", "service-discovery", "--timeout=1s"]).arg(deploy("prometheus/file-sd.yml"));
    let output = command.arg("thread-probe").output()?;
    let targets: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let found = |label: &str| {
        let of = targets.iter().map(|target| target["labels"][label].as_str().unwrap_or_default());
        // The groups of targets come in any order.
        of.collect::<BTreeSet<&str>>().into_iter().collect::<Vec<_>>().join(" ")
    };
    ensure!(found("instance") == "build-1.example.net db-1.example.net db-2.example.net", "{targets:#?}");
    ensure!(found("__address__").matches(":10420").count() == 3, "{targets:#?}");
    Ok(())
}

fn yaml_of(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| anyhow!("{error}"))
}

#[test]
fn the_operators_rules_are_those_of_the_dashboards() -> Result<()> {
    let manifest = fs::read_to_string(deploy("kubernetes/prometheusrule.yaml"))?;
    let mut objects = Vec::new();
    for document in manifest.split("---\n").skip(1) {
        objects.push(yaml_of(document)?);
    }
    let mut files = 0;
    for entry in fs::read_dir(deploy("../dashboards/rules"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        files += 1;
        let name = format!("thread-probe-{}", path.file_stem().context("a name")?.display());
        let object = objects.iter().find(|object| object["metadata"]["name"] == name).with_context(|| name.clone())?;
        ensure!(object["spec"] == yaml_of(&fs::read_to_string(&path)?)?, "{name}: run cargo xtask dashboards");
    }
    ensure!(files > 0 && files == objects.len(), "{files} files, {} objects", objects.len());
    Ok(())
}

/// The configuration within the manifest of one.
fn config_map() -> Result<String> {
    let manifest = fs::read_to_string(deploy("kubernetes/config.yaml"))?;
    let (_, block) = manifest.split_once("config.toml: |\n").context("no config.toml")?;
    Ok(block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_daemon_accepts_the_configuration_of_the_manifest_and_listens_where_it_is_asked() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), config_map()?)?;
    let checked = |subcommand: &[&str]| -> Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_thread-probe")).args(subcommand).arg(file.path()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    checked(&["config", "check"])?;
    ensure!(checked(&["config", "show", "--config"])?.contains(":10420\""), "it listens elsewhere");
    let pod = fs::read_to_string(deploy("kubernetes/daemonset.yaml"))?;
    ensure!(pod.contains("{ name: metrics, containerPort: 10420 }") && pod.contains("path: /healthz, port: metrics"));
    ensure!(fs::read_to_string(deploy("kubernetes/networkpolicy.yaml"))?.contains("port: 10420"));
    // The user that the configuration names is in the image.
    let users = fs::read_to_string(deploy("container/passwd"))?;
    ensure!(config_map()?.contains("user = \"thread-probe\"") && users.contains("thread-probe:x:65532:65532:"));
    Ok(())
}
