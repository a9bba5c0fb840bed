//! The files in `dashboards/`, and what their expressions ask for.

pub(crate) mod schema;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context as _, Result, ensure};
use regex_lite::Regex;
use serde_json::Value;

/// The folder `dashboards`.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// A file in it.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(folder().join(path)).with_context(|| format!("reading dashboards/{path}"))
}

/// Every dashboard: the name of its file, and what is in it.
pub(crate) fn boards() -> Result<Vec<(String, Value)>> {
    let mut boards = Vec::new();
    for file in fs::read_dir(folder().join("grafana"))? {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        boards.push((name, serde_json::from_slice(&fs::read(&path)?)?));
    }
    boards.sort_by(|(one, _), (other, _)| one.cmp(other));
    ensure!(boards.len() >= 4, "only {} dashboards", boards.len());
    Ok(boards)
}

/// The panels of a dashboard that ask something.
pub(crate) fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    let panels = board["panels"].as_array().into_iter().flatten();
    panels.filter(|panel| panel["type"] != "row")
}

/// An expression, and where it stands.
pub(crate) struct Expression {
    pub place: String,
    pub text: String,
}

/// Those of a dashboard's panels.
pub(crate) fn of_panels(name: &str, board: &Value) -> Vec<Expression> {
    let of_panel = |panel: &Value| {
        let place = format!("{name}: {}", panel["title"].as_str().unwrap_or_default());
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let text = |target: &Value| target["expr"].as_str().unwrap_or_default().to_owned();
        targets.iter().map(|target| Expression { place: place.clone(), text: text(target) }).collect::<Vec<_>>()
    };
    panels(board).flat_map(of_panel).collect()
}

/// Those of a dashboard's annotations.
pub(crate) fn of_annotations(name: &str, board: &Value) -> Vec<Expression> {
    let annotations = board["annotations"]["list"].as_array().cloned().unwrap_or_default();
    let expression = |annotation: &Value| Expression {
        place: format!("{name}: {}", annotation["name"].as_str().unwrap_or_default()),
        text: annotation["expr"].as_str().unwrap_or_default().to_owned(),
    };
    annotations.iter().map(expression).collect()
}

/// A dashboard without what its annotations say to the data source, which Grafana's types leave open.
pub(crate) fn without_annotation_queries(board: &Value) -> Value {
    let mut board = board.clone();
    for annotation in board["annotations"]["list"].as_array_mut().into_iter().flatten() {
        if let Some(fields) = annotation.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "expr" | "titleFormat" | "textFormat"));
        }
    }
    board
}

/// The rules of a file.
pub(crate) fn rules(file: &str) -> Result<Vec<Value>> {
    let file: Value = serde_saphyr::from_str(&read(&format!("rules/{file}"))?)?;
    let groups = file["groups"].as_array().context("groups")?;
    Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
}

/// The expressions of rules.
pub(crate) fn of_rules(rules: &[Value]) -> Vec<Expression> {
    let name = |rule: &Value| rule["alert"].as_str().or(rule["record"].as_str()).unwrap_or_default().to_owned();
    let text = |rule: &Value| rule["expr"].as_str().unwrap_or_default().to_owned();
    rules.iter().map(|rule| Expression { place: name(rule), text: text(rule) }).collect()
}

/// A metric in an expression, with what has to match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector {
    /// The metric, with `_bucket` and the like.
    pub metric: String,
    /// The matchers, braces included; empty if there are none.
    pub matchers: String,
}

/// Those of an expression that are ours, recorded ones included.
pub(crate) fn selectors(expression: &str) -> Vec<Selector> {
    static SELECTOR: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"((?:instance:|job:)?threadprobe_[a-z0-9_:]+)(\{[^}]*\})?").ok());
    let found = SELECTOR.iter().flat_map(|selector| selector.captures_iter(expression));
    let part = |capture: Option<regex_lite::Match<'_>>| capture.map_or("", |part| part.as_str()).to_owned();
    found.map(|captures| Selector { metric: part(captures.get(1)), matchers: part(captures.get(2)) }).collect()
}

/// The labels that the matchers of a selector name.
pub(crate) fn labels_of(matchers: &str) -> Vec<String> {
    static LABEL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"([a-z_]+)\s*(?:=~|!=|!~|=)").ok());
    let found = LABEL.iter().flat_map(|label| label.captures_iter(matchers));
    found.filter_map(|captures| Some(captures.get(1)?.as_str().to_owned())).collect()
}

/// The labels by which an expression groups or joins.
pub(crate) fn groupings(expression: &str) -> Vec<String> {
    static GROUPING: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)").ok());
    let found = GROUPING.iter().flat_map(|grouping| grouping.captures_iter(expression));
    let lists = found.filter_map(|captures| Some(captures.get(1)?.as_str()));
    lists
        .flat_map(|list| list.split(','))
        .map(|label| label.trim().to_owned())
        .filter(|label| !label.is_empty())
        .collect()
}
