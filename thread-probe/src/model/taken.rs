//! Who took the CPU while threads waited for one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::histogram::NS_PER_SECOND;
use crate::ledger::{self, SHORT, Taker};

/// Who took the CPU from a process or a group, who took most in the interval first: groups, and `~self`, `~kernel`,
/// `~throttled`, `~idle`, `~elsewhere`, `~short`, `~unknown`, `~other`. Together they are its waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuTaken(Vec<TakenBy>);

/// What one took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TakenBy {
    /// Who.
    pub by: Arc<str>,
    /// Seconds since it is told by name, or since the probe was started; 0 of who is not among those that took most.
    pub seconds: f64,
    /// Of the interval: threads that waited meanwhile, on average. 1 is one thread all the time.
    pub ratio: f64,
}

/// One process that took the CPU from another, with `?pid=`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TakerProcess {
    /// Its thread group id; null of what is no process: see [`CpuTaken`].
    pub pid: Option<u32>,
    /// Name of its main thread, empty if it has ended; or what is no process.
    pub comm: String,
    /// As [`TakenBy::ratio`].
    pub ratio: f64,
}

/// Who had the CPU for less than this share of the waits is no culprit.
const LEAST_SHARE: f64 = 0.2;

impl CpuTaken {
    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each who took some.
    pub fn iter(&self) -> impl Iterator<Item = &TakenBy> {
        self.0.iter()
    }

    /// The parts, in any order: they are put into theirs when it is made of them again.
    pub(crate) fn into_parts(self) -> Vec<TakenBy> {
        self.0
    }

    /// Of parts that are in another order than theirs, and stay so.
    pub(crate) fn unsorted(parts: Vec<TakenBy>) -> Self {
        Self(parts)
    }

    /// Who took most in the interval, and which share of all that was taken.
    pub fn most(&self) -> Option<(&str, f64)> {
        let all: f64 = self.iter().map(|taken| taken.ratio).sum();
        self.0.first().filter(|_| all > 0.0).map(|taken| (&*taken.by, taken.ratio / all))
    }

    /// Who had the CPU for longest while threads waited in the interval, but not for a quota, and for which share of these
    /// waits: a group, `~self` or `~kernel`. `None` where nobody is known to have had it for a fifth.
    pub fn culprit(&self) -> Option<(&str, f64)> {
        let throttled = Taker::Throttled.label();
        let contended = || self.iter().filter(|taken| *taken.by != *throttled);
        let all: f64 = contended().map(|taken| taken.ratio).sum();
        let culprit = contended().find(|taken| Taker::is_somebody(&taken.by));
        culprit
            .filter(|taken| taken.ratio >= LEAST_SHARE * all && taken.ratio > 0.0)
            .map(|taken| (&*taken.by, taken.ratio / all))
    }

    /// Takes in those of another.
    pub fn include(&mut self, other: &Self) {
        other.iter().for_each(|taken| self.add(taken));
        self.sort();
    }

    fn add(&mut self, taken: &TakenBy) {
        match self.0.iter_mut().find(|sum| sum.by == taken.by) {
            Some(sum) => {
                sum.seconds += taken.seconds;
                sum.ratio += taken.ratio;
            }
            None => self.0.push(taken.clone()),
        }
    }

    fn sort(&mut self) {
        self.0.sort_by(|a, b| b.ratio.total_cmp(&a.ratio).then_with(|| a.by.cmp(&b.by)));
    }

    /// Of a process or a group that has waited for `waited_ns` in the interval.
    pub(super) fn of(taken: &ledger::Taken, epoch: u64, waited_ns: u64, interval_seconds: Option<f64>) -> Self {
        let mut made = Self::default();
        for (by, ns) in taken.totals() {
            made.add(&TakenBy { by: by.into(), seconds: ns as f64 / NS_PER_SECOND, ratio: 0.0 });
        }
        // Where nothing is charged nothing is short either: nobody keeps it.
        if let Some(interval_seconds) = interval_seconds.filter(|_| !made.is_empty()) {
            let added = taken.interval(epoch);
            let charged_ns: u64 = added.iter().map(|(_, ns)| ns).sum();
            let short = (SHORT, waited_ns.saturating_sub(charged_ns));
            let parts = added.iter().map(|(by, ns)| (by.label(), *ns)).chain([short]);
            for (by, ns) in parts.filter(|(_, ns)| *ns != 0) {
                let ratio = ns as f64 / NS_PER_SECOND / interval_seconds;
                made.add(&TakenBy { by: by.into(), seconds: 0.0, ratio });
            }
        }
        made.sort();
        made
    }
}

impl FromIterator<TakenBy> for CpuTaken {
    fn from_iter<T: IntoIterator<Item = TakenBy>>(parts: T) -> Self {
        let mut made = Self(parts.into_iter().collect());
        made.sort();
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(&str, f64)]) -> CpuTaken {
        parts.iter().map(|(by, ratio)| TakenBy { by: (*by).into(), seconds: 2.0 * ratio, ratio: *ratio }).collect()
    }

    #[test]
    fn without_who_took_the_cpu_nothing_is_told_however_long_threads_waited() {
        assert!(CpuTaken::of(&ledger::Taken::default(), 1, 5_000_000, Some(1.0)).is_empty());
    }

    #[test]
    fn who_took_most_of_two_processes_is_who_took_most_of_both() {
        let mut both = of(&[("a", 3.0), ("b", 2.0)]);
        both.include(&of(&[("b", 2.0), ("c", 1.0)]));
        assert_eq!(both.most(), Some(("b", 0.5)));
        assert_eq!(both.iter().map(|taken| taken.seconds).sum::<f64>(), 16.0);
        assert_eq!(CpuTaken::default().most(), None);
    }

    #[test]
    fn the_culprit_is_who_had_the_cpu_and_no_quota() {
        let known = of(&[("~throttled", 6.0), ("~short", 2.0), ("~kernel", 1.0), ("zsh", 0.9), ("bash", 0.1)]);
        assert_eq!(known.culprit(), Some(("~kernel", 0.25)));
        assert_eq!(of(&[("~short", 9.0), ("zsh", 1.0)]).culprit(), None, "it is not to blame");
        assert_eq!(of(&[("~throttled", 6.0), ("~idle", 2.0)]).culprit(), None);
        assert_eq!(of(&[("a", 0.0)]).culprit(), None, "it took some before");
    }
}
