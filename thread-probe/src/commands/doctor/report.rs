//! What is found: line by line, and what the probe costs.

use serde::Serialize;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It works, with less or at a higher cost.
    Warning,
    /// The probe can't work without, or counts wrong.
    Missing,
    /// It could not be found out.
    Unknown,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) check: String,
    /// How that went.
    pub(super) status: Status,
    /// What was found.
    pub(super) found: String,
    /// What to do, where it is not ok.
    pub(super) remedy: Option<String>,
}

impl Check {
    pub(super) fn new(check: &str, status: Status, found: impl Into<String>, remedy: Option<String>) -> Self {
        Self { check: check.to_owned(), status, found: found.into(), remedy }
    }

    pub(super) fn ok(check: &str, found: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, found, None)
    }

    pub(super) fn warning(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Warning, found, Some(remedy.into()))
    }

    pub(super) fn missing(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Missing, found, Some(remedy.into()))
    }

    pub(super) fn unknown(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Unknown, found, Some(remedy.into()))
    }
}

/// All that was found; as JSON just so.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The lines.
    pub(super) checks: Vec<Check>,
    /// What the probe costs here, if that could be measured.
    pub(super) cost: Option<Cost>,
}

impl Report {
    pub(super) fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

/// What the program on the context switch costs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    /// Seconds for each switch in a second without the test's load, the kernel's clock reads for this measurement
    /// included.
    pub(super) seconds_per_switch: f64,
    /// Switches of the host in that second.
    pub(super) switches_per_second: f64,
    /// The product: CPUs in use.
    pub(super) cpu_ratio: f64,
    /// Seconds for each switch under the load of the test.
    pub(super) seconds_per_switch_under_load: f64,
}
