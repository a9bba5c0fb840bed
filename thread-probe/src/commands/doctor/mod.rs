//! `thread-probe doctor`: what this host offers, what it lacks and what to do about it, and whether the probe counts
//! right.

mod kernel;
mod print;
mod process;
mod programs;
mod report;
mod self_test;

use anyhow::{Result, bail};

use self::report::{Report, Status};
use crate::{commands::options::DoctorOptions, config::Config, text::human};

/// Examines this host and prints what was found.
///
/// # Errors
/// What is wrong with the configuration file, standard output that can't be written to, or that something is missing.
pub fn doctor(options: &DoctorOptions) -> Result<()> {
    let report = examine(&options.configuration.read()?);
    print::print(options.format, &report)?;
    match report.count(Status::Missing) {
        0 => Ok(()),
        missing => bail!("{} missing: each says what to do", human::counted(missing as u64, "thing")),
    }
}

fn examine(config: &Config) -> Report {
    // What the process may do, before it gives that up.
    let this_process = process::ThisProcess::of_this_process();
    let (loaded, dropped) = programs::load(config);
    let mut checks = kernel::checks(loaded.is_ok());
    checks.extend(this_process.checks(dropped));
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
