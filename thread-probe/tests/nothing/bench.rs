//! What threads cost, measured on this machine, whatever else it does.

use anyhow::{Context as _, Result, ensure};
use thread_probe::bench::{self, Figure, Observer, Part};

/// Ends it after so many figures.
struct EndsAfter(usize);

impl Observer for EndsAfter {
    fn begins(&mut self, _: Part, _: &str) {}

    fn has(&mut self, _: &Figure) {
        self.0 = self.0.saturating_sub(1);
    }

    fn goes_on(&mut self) -> bool {
        self.0 > 0
    }
}

#[test]
fn each_figure_has_a_value_or_says_why_not() -> Result<()> {
    let report = bench::run(&Part::ALL, &mut EndsAfter(usize::MAX))?;
    for part in Part::ALL {
        ensure!(report.figures.iter().filter(|figure| figure.part == part).count() > 7, "{part:?}: {report:?}");
    }
    for figure in &report.figures {
        let value = figure.seconds;
        // A switch may come out at less than nothing where the system calls alone varied: then it is not steady.
        ensure!(value.is_some_and(|seconds| seconds > 0.0) || figure.problem.is_some(), "{figure:?}");
        ensure!(value.is_none_or(|seconds| seconds < 0.1), "{figure:?}");
        ensure!((figure.part == Part::Switch) == figure.counted_switches.is_some(), "{figure:?}");
    }
    Ok(())
}

#[test]
fn who_ends_it_gets_what_there_is() -> Result<()> {
    let report = bench::run(&[Part::Switch, Part::Create], &mut EndsAfter(2))?;
    ensure!(report.figures.len() == 2, "{report:?}");
    let first = report.figures.first().context("the first")?;
    ensure!(first.part == Part::Switch && (first.seconds.is_some() || first.problem.is_some()), "{first:?}");
    Ok(())
}
