//! The Prometheus rules as objects for the Prometheus operator, one for each file, so that one can be left out.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::setup::root;

const HEAD: &str = "\
# The rules of dashboards/rules for the Prometheus operator (0.66 or later: keep_firing_for), an object for each file. Made
# by `cargo xtask dashboards`: change those. A Prometheus takes those that its ruleSelector wants; it may ask for more labels.
";

/// The manifest's file, and what is in it.
pub(super) fn rules() -> Result<(PathBuf, String)> {
    let folder = root().join("dashboards/rules");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    let mut text = HEAD.to_owned();
    for file in files {
        text += &object(&file)?;
    }
    Ok((root().join("deploy/kubernetes/prometheusrule.yaml"), text))
}

fn object(file: &Path) -> Result<String> {
    let name = file.file_stem().context("a file of rules has a name")?.display();
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let (_, groups) = text.split_once("groups:\n").with_context(|| format!("no groups in {}", file.display()))?;
    let mut object = format!(
        "---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: thread-probe-{name}
  namespace: thread-probe
  labels: {{ app.kubernetes.io/name: thread-probe }}
spec:
  groups:
"
    );
    for line in groups.lines() {
        let indent = if line.is_empty() { "" } else { "  " };
        writeln!(object, "{indent}{line}")?;
    }
    Ok(object)
}
