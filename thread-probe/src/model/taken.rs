//! Who took the CPU while threads waited for one.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::histogram::NS_PER_SECOND;
use crate::ledger::{self, SHORT, Taker};

/// Who took the CPU from a process or a group: groups, and `~self`, `~kernel`, `~throttled`, `~idle`, `~elsewhere`,
/// `~short`, `~unknown`, `~other`. Together they are its waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuTaken {
    /// Seconds since the probe was started.
    pub seconds: BTreeMap<Arc<str>, f64>,
    /// Those of the interval, who took most first; empty in the first sample.
    pub rates: Vec<TakenBy>,
}

/// What one took in the interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TakenBy {
    /// Who.
    pub by: Arc<str>,
    /// Threads that waited meanwhile, on average: 1 is one thread all the time.
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

impl CpuTaken {
    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// Who took most in the interval, and which share of all that was taken.
    pub fn most(&self) -> Option<(&str, f64)> {
        let all: f64 = self.rates.iter().map(|taken| taken.ratio).sum();
        self.rates.first().filter(|_| all > 0.0).map(|taken| (&*taken.by, taken.ratio / all))
    }

    /// Who had the CPU for most of the waits of the interval that no quota made, and for which share of these: a group,
    /// `~self` or `~kernel`. `None` where nobody is known to have had it.
    pub fn culprit(&self) -> Option<(&str, f64)> {
        let throttled = Taker::Throttled.label();
        let contended = || self.rates.iter().filter(|taken| *taken.by != *throttled);
        let all: f64 = contended().map(|taken| taken.ratio).sum();
        let culprit = contended().find(|taken| Taker::is_somebody(&taken.by));
        culprit.filter(|_| all > 0.0).map(|taken| (&*taken.by, taken.ratio / all))
    }

    /// Takes in those of another.
    pub fn include(&mut self, other: &Self) {
        for (by, seconds) in &other.seconds {
            *self.seconds.entry(Arc::clone(by)).or_default() += seconds;
        }
        for taken in &other.rates {
            match self.rates.iter_mut().find(|sum| sum.by == taken.by) {
                Some(sum) => sum.ratio += taken.ratio,
                None => self.rates.push(taken.clone()),
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.rates.sort_by(|a, b| b.ratio.total_cmp(&a.ratio).then_with(|| a.by.cmp(&b.by)));
    }

    /// Of a process or a group that has waited for `waited_ns` in the interval.
    pub(super) fn of(taken: &ledger::Taken, epoch: u64, waited_ns: u64, interval_seconds: Option<f64>) -> Self {
        let seconds = taken.totals().map(|(by, ns)| (by.into(), ns as f64 / NS_PER_SECOND)).collect();
        let mut made = Self { seconds, rates: Vec::new() };
        if let Some(interval_seconds) = interval_seconds {
            let ratio = |ns: u64| ns as f64 / NS_PER_SECOND / interval_seconds;
            let added = taken.interval(epoch);
            made.rates.extend(added.iter().map(|(by, ns)| TakenBy { by: by.label().into(), ratio: ratio(*ns) }));
            let charged_ns: u64 = added.iter().map(|(_, ns)| ns).sum();
            if waited_ns > charged_ns {
                made.rates.push(TakenBy { by: SHORT.into(), ratio: ratio(waited_ns - charged_ns) });
            }
            made.sort();
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_took_most_of_two_processes_is_who_took_most_of_both() {
        let of = |parts: &[(&str, f64)]| CpuTaken {
            seconds: parts.iter().map(|(by, seconds)| ((*by).into(), *seconds)).collect(),
            rates: parts.iter().map(|(by, ratio)| TakenBy { by: (*by).into(), ratio: *ratio }).collect(),
        };
        let mut both = of(&[("a", 3.0), ("b", 2.0)]);
        both.include(&of(&[("b", 2.0), ("c", 1.0)]));
        assert_eq!(both.most(), Some(("b", 0.5)));
        assert_eq!(both.seconds.values().sum::<f64>(), 8.0);
        assert_eq!(CpuTaken::default().most(), None);
    }

    #[test]
    fn the_culprit_is_who_had_the_cpu_and_no_quota() {
        let rates = |rates: &[(&str, f64)]| CpuTaken {
            rates: rates.iter().map(|(by, ratio)| TakenBy { by: (*by).into(), ratio: *ratio }).collect(),
            ..CpuTaken::default()
        };
        let known = rates(&[("~throttled", 6.0), ("~short", 2.0), ("~kernel", 1.0), ("a", 1.0)]);
        assert_eq!(known.culprit(), Some(("~kernel", 0.25)));
        assert_eq!(rates(&[("~throttled", 6.0), ("~idle", 2.0)]).culprit(), None);
        assert_eq!(CpuTaken::default().culprit(), None);
    }
}
