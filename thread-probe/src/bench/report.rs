//! What was measured, on what, and what changed since.

use std::{fs, io};

use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

use super::repeat::{Repeated, summary};
use crate::text::named::named;

named! {
    /// What is measured.
    pub enum Part {
        /// What one takes of memory.
        Memory = "memory",
        /// Creating a thread, and what people do in its place.
        Create = "create",
        /// Switching from one to another.
        Switch = "switch",
        /// What more threads get done.
        Scale = "scale",
    }
}

/// All that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where.
    pub host: Host,
    /// In the order in which it was measured.
    pub figures: Vec<Figure>,
}

/// What the figures hold for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the CPUs.
    pub cpu_model: String,
    /// How many there are.
    pub cpus: usize,
}

impl Host {
    /// This one.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn read() -> io::Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let named = |name: &str| cpus.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
        // arm64 has numbers only.
        let model = named("model name").or_else(|| named("CPU part")).unwrap_or("unknown");
        Ok(Self {
            kernel: uname()?.release().to_string_lossy().into_owned(),
            cpu_model: model.trim().to_owned(),
            cpus: cpus.lines().filter(|line| line.starts_with("processor")).count(),
        })
    }
}

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Of which part.
    pub part: Part,
    /// What it is of.
    pub what: String,
    /// The median of all repeats; null where it was refused.
    pub seconds: Option<f64>,
    /// Of single events, the 99th percentile; null where single ones can't be told.
    pub p99_seconds: Option<f64>,
    /// The same of memory.
    pub bytes: Option<f64>,
    /// Work of a second, as a multiple of what one thread does.
    pub work_ratio: Option<f64>,
    /// Switches of a second meanwhile, as the kernel counted them.
    pub switches_per_second: Option<f64>,
    /// Half of what lies between the quartiles of the repeats, as a share of the median.
    pub spread_ratio: Option<f64>,
    /// How often it was measured.
    pub repeats: usize,
    /// Switches that the kernel counted, of a figure that was divided by them.
    pub counted_switches: Option<u64>,
    /// Why there is no value, or why not to rely on it.
    pub problem: Option<String>,
}

impl Figure {
    pub(super) fn new(part: Part, what: String) -> Self {
        Self {
            part,
            what,
            seconds: None,
            p99_seconds: None,
            bytes: None,
            work_ratio: None,
            switches_per_second: None,
            spread_ratio: None,
            repeats: 0,
            counted_switches: None,
            problem: None,
        }
    }

    pub(super) fn with(self, repeated: Repeated) -> Self {
        Self { seconds: Some(repeated.median), ..self.repeated(repeated) }
    }

    fn repeated(self, repeated: Repeated) -> Self {
        let percent = repeated.spread_ratio * 100.0;
        let problem = (!repeated.is_steady()).then(|| format!("it did not become steady: {percent:.0} % of spread"));
        Self { spread_ratio: Some(repeated.spread_ratio), repeats: repeated.repeats, problem, ..self }
    }

    /// The median of amounts of memory.
    pub(super) fn bytes(self, values: &[f64]) -> Self {
        match summary(values) {
            // Of nothing there is no share.
            Some(Repeated { median: 0.0, repeats, .. }) => Self { bytes: Some(0.0), repeats, ..self },
            Some(repeated) => Self { bytes: Some(repeated.median), ..self.repeated(repeated) },
            None => self,
        }
    }

    /// What was done, against what one thread does.
    pub(super) fn scaled(self, repeated: Repeated, alone: f64, switches: &[f64]) -> Self {
        let work_ratio = Some(repeated.median / alone).filter(|ratio| ratio.is_finite());
        let switches_per_second = summary(switches).map(|repeated| repeated.median);
        Self { work_ratio, switches_per_second, ..self.repeated(repeated) }
    }

    pub(super) fn counted(self, switches: u64) -> Self {
        Self { counted_switches: Some(switches), ..self }
    }

    /// There is no value, and why.
    pub(super) fn with_problem(self, problem: String) -> Self {
        Self { seconds: None, p99_seconds: None, problem: Some(problem), ..self }
    }
}

/// How a figure changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// By no more than it varies from one repeat to the next.
    Same,
    /// By more than that.
    Different,
}

/// A figure that both reports have.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Of which part.
    pub part: Part,
    /// What it is of.
    pub what: String,
    /// The later value less the earlier, as a share of the earlier.
    pub ratio: f64,
    /// Whether that is more than noise.
    pub change: Change,
}

/// What changed between two reports, of the figures that both have a value of. Different is what differs by over twice
/// the spread of both, and over 2 %.
pub fn compare(before: &Report, after: &Report) -> Vec<Changed> {
    const LEAST_RATIO: f64 = 0.02;
    let same = |a: &Figure, b: &Figure| a.part == b.part && a.what == b.what;
    let pairs = after
        .figures
        .iter()
        .filter_map(|after| Some((before.figures.iter().find(|before| same(before, after))?, after)));
    pairs
        .filter_map(|(before, after)| {
            let value = |figure: &Figure| figure.seconds.or(figure.bytes).or(figure.work_ratio);
            let ratio = value(after)? / value(before).filter(|value| *value != 0.0)? - 1.0;
            let spread = before.spread_ratio.unwrap_or(0.0).hypot(after.spread_ratio.unwrap_or(0.0));
            let is_different = ratio.abs() > (2.0 * spread).max(LEAST_RATIO);
            let change = if is_different { Change::Different } else { Change::Same };
            Some(Changed { part: after.part, what: after.what.clone(), ratio, change })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(values: &[(f64, f64)]) -> Report {
        let figure = |(index, (median, spread_ratio)): (usize, &(f64, f64))| {
            let repeated = Repeated { median: *median, spread_ratio: *spread_ratio, repeats: 9 };
            Figure::new(Part::Switch, index.to_string()).with(repeated)
        };
        let host = Host { kernel: "6.12".into(), cpu_model: "a".into(), cpus: 2 };
        Report { host, figures: values.iter().enumerate().map(figure).collect() }
    }

    #[test]
    fn a_change_is_more_than_noise() {
        let before = report(&[(1.0, 0.0), (1.0, 0.1), (1.0, 0.01), (1.0, 0.0)]);
        let after = report(&[(1.01, 0.0), (1.2, 0.1), (1.2, 0.01)]);
        let changes: Vec<_> = compare(&before, &after).into_iter().map(|changed| changed.change).collect();
        assert_eq!(changes, [Change::Same, Change::Same, Change::Different]);
    }

    #[test]
    fn what_was_refused_is_not_compared() {
        let mut before = report(&[(1.0, 0.0)]);
        before.figures[0] = before.figures[0].clone().with_problem("noise".into());
        assert!(compare(&before, &report(&[(2.0, 0.0)])).is_empty());
    }
}
