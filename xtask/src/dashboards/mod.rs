//! The Grafana dashboards, made from what this module's files say of each. `{*` in an expression begins the selector
//! of what the dashboard's variables chose. And the rules, as the Prometheus operator wants them.

mod board;
mod group;
mod host;
mod operator;
mod overview;
mod panel;
mod probe;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::setup::root;

/// Every dashboard, and the operator's rules: its file, and what is in it.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let folder = root().join("dashboards/grafana");
    let boards = [overview::board(), host::board(), group::board(), probe::board()];
    let file = |board: board::Board| {
        let text = serde_json::to_string_pretty(&board.to_json())? + "\n";
        Ok((folder.join(format!("{}.json", board.name)), text))
    };
    boards.into_iter().map(file).chain([operator::rules()]).collect()
}

/// Writes them.
///
/// # Errors
/// A file could not be written.
pub(crate) fn write() -> Result<()> {
    for (path, text) in files()? {
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_and_the_operators_rules_are_what_cargo_xtask_dashboards_writes() -> Result<()> {
        for (path, text) in files()? {
            let written = fs::read_to_string(&path)?;
            assert!(written == text, "{}: run cargo xtask dashboards", path.display());
        }
        Ok(())
    }
}
