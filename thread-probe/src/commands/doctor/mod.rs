//! `thread-probe doctor`: what this host offers, what it lacks and what to do about it, and whether the probe counts right.

mod kernel;
mod place;
mod print;
mod programs;
mod self_test;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{commands::options::DoctorOptions, config::Config, text::human};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
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
struct Check {
    /// What was looked at.
    check: String,
    /// How that went.
    status: Status,
    /// What was found.
    found: String,
    /// What to do, where it is not ok.
    remedy: Option<String>,
}

impl Check {
    fn new(check: &str, status: Status, found: impl Into<String>, remedy: Option<String>) -> Self {
        Self { check: check.to_owned(), status, found: found.into(), remedy }
    }

    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, found, None)
    }

    fn warning(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Warning, found, Some(remedy.into()))
    }

    fn missing(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Missing, found, Some(remedy.into()))
    }

    fn unknown(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Unknown, found, Some(remedy.into()))
    }
}

/// All that was found; as JSON just so.
#[derive(Debug, Serialize)]
struct Report {
    /// The lines.
    checks: Vec<Check>,
    /// What the probe costs here, if that could be measured.
    cost: Option<self_test::Cost>,
}

impl Report {
    fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

/// Examines this host and prints what was found.
///
/// # Errors
/// What is wrong with the configuration file, standard output that can't be written to, or that something is missing.
pub fn doctor(options: &DoctorOptions) -> Result<()> {
    let report = examine(&options.probe.configure()?);
    print::print(options.format, &report)?;
    match report.count(Status::Missing) {
        0 => Ok(()),
        missing => bail!("{} missing: each says what to do", human::counted(missing as u64, "thing")),
    }
}

fn examine(config: &Config) -> Report {
    // What the process may do, before it gives that up.
    let place = place::Place::of_this_process();
    let (loaded, dropped) = programs::load(config);
    let mut checks = kernel::checks(loaded.is_ok());
    checks.extend(place.checks(dropped));
    let mut cost = None;
    match loaded {
        Ok(loaded) => {
            checks.extend(programs::attached(loaded.sampler.programs()));
            let tested = self_test::run(loaded);
            checks.extend(tested.checks);
            cost = tested.cost;
        }
        Err(error) => checks.extend([programs::refused(&error), self_test::not_run()]),
    }
    Report { checks, cost }
}
