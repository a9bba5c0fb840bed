//! Who took the CPU from a process or a group: by the group of who had it.

use std::sync::Arc;

use thread_probe_ebpf::abi::taken;

use crate::names::grouping::OTHER;

/// Groups that are told by name of each that something was taken of; what all others took is in `~other`.
pub const TAKERS: usize = 8;

/// Of the others as many are remembered, to see when one of them takes more than one of the named.
const CANDIDATES: usize = 32;

/// What a wait is charged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taker {
    /// Processes of a group.
    Group(Arc<str>),
    /// Other threads of the same process, or of the same group.
    Itself,
    /// Threads of the kernel.
    Kernel,
    /// Nobody: a quota was used up.
    Throttled,
    /// Nobody: the CPU was idle.
    Idle,
    /// Whoever had another CPU, on whose run queue it waited first.
    Elsewhere,
    /// More turns on the CPU than are remembered, or a process that nothing is known of any more.
    Unknown,
}

impl Taker {
    /// What stands in place of a thread group id.
    pub fn that_is_no_process(tgid: u32) -> Option<Self> {
        match tgid {
            taken::IDLE => Some(Self::Idle),
            taken::ELSEWHERE => Some(Self::Elsewhere),
            taken::THROTTLED => Some(Self::Throttled),
            taken::UNKNOWN => Some(Self::Unknown),
            _ => None,
        }
    }

    /// Its name: the label `by`.
    pub fn label(&self) -> &str {
        match self {
            Self::Group(name) => name,
            Self::Itself => "~self",
            Self::Kernel => "~kernel",
            Self::Throttled => "~throttled",
            Self::Idle => "~idle",
            Self::Elsewhere => "~elsewhere",
            Self::Unknown => "~unknown",
        }
    }

    /// Whether a label is of somebody who had the CPU.
    pub fn is_somebody(label: &str) -> bool {
        !label.starts_with('~') || [Self::Itself.label(), Self::Kernel.label()].contains(&label)
    }

    fn is_named(&self) -> bool {
        matches!(self, Self::Group(_))
    }
}

/// As the label `by`: waits that are too short to be charged to somebody.
pub const SHORT: &str = "~short";

/// One taker's part.
#[derive(Clone, Debug)]
struct Part {
    taker: Taker,
    /// What it took since it is told by name, in nanoseconds.
    ns: u64,
    /// What it took before, which `~other` has, or a series that has ended.
    earlier_ns: u64,
}

/// What was taken of a process or a group since the probe was started. Each figure only grows for as long as it is
/// there.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    parts: Vec<Part>,
    candidates: Vec<Part>,
    other_ns: u64,
    all_ns: u64,
    /// What is held back in this sample.
    open_ns: u64,
    short_ns: u64,
    interval: (u64, Vec<(Taker, u64)>),
}

impl Taken {
    /// What each took since the start, in nanoseconds, in no order; `~short` and `~other` among them.
    pub fn totals(&self) -> impl Iterator<Item = (&str, u64)> {
        let parts = self.parts.iter().map(|part| (part.taker.label(), part.ns));
        parts.chain([(OTHER, self.other_ns), (SHORT, self.short_ns)]).filter(|(_, ns)| *ns != 0)
    }

    /// What each took in the interval `epoch`, in nanoseconds, those who took most first.
    pub fn interval(&self, epoch: u64) -> &[(Taker, u64)] {
        if self.interval.0 == epoch { &self.interval.1 } else { &[] }
    }

    pub(super) fn add(&mut self, taker: &Taker, ns: u64, epoch: u64) {
        self.all_ns += ns;
        if self.interval.0 != epoch {
            self.interval = (epoch, Vec::new());
        }
        let added = &mut self.interval.1;
        let at = added.iter().position(|(of, _)| of == taker).unwrap_or_else(|| {
            added.push((taker.clone(), 0));
            added.len() - 1
        });
        added[at].1 += ns;
        // Few, and nearly in order.
        added.sort_unstable_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        self.add_total(taker, ns);
    }

    fn add_total(&mut self, taker: &Taker, ns: u64) {
        if taker.label() == OTHER {
            self.other_ns += ns;
            return;
        }
        if let Some(part) = self.parts.iter_mut().find(|part| part.taker == *taker) {
            part.ns += ns;
            return;
        }
        let named = self.parts.iter().filter(|part| part.taker.is_named()).count();
        if !taker.is_named() || named < TAKERS {
            self.parts.push(Part { taker: taker.clone(), ns, earlier_ns: 0 });
            return;
        }
        self.other_ns += ns;
        self.add_candidate(taker, ns);
    }

    /// One that took twice what one of the named did takes its place, from now on.
    fn add_candidate(&mut self, taker: &Taker, ns: u64) {
        let at = self.candidates.iter().position(|part| part.taker == *taker).unwrap_or_else(|| {
            if self.candidates.len() == CANDIDATES
                && let Some(least) = least(&self.candidates)
            {
                self.candidates.swap_remove(least);
            }
            self.candidates.push(Part { taker: taker.clone(), ns: 0, earlier_ns: 0 });
            self.candidates.len() - 1
        });
        self.candidates[at].earlier_ns += ns;
        let all_ns = |part: &Part| part.ns + part.earlier_ns;
        if let Some(least) = least(&self.parts)
            && all_ns(&self.candidates[at]) > 2 * all_ns(&self.parts[least])
        {
            std::mem::swap(&mut self.parts[least], &mut self.candidates[at]);
            // Its series ends. What it had is not added to the others': they would seem to have taken it now.
            let gone = &mut self.candidates[at];
            gone.earlier_ns += std::mem::take(&mut gone.ns);
        }
    }

    /// So much is charged once it is known to whom: see [`Self::set_waited`].
    pub(super) fn hold_back(&mut self, open_ns: u64) {
        self.open_ns += open_ns;
    }

    /// What of so much waiting is charged to nobody is short.
    pub(super) fn set_waited(&mut self, waited_ns: u64) {
        let charged_ns = self.all_ns + std::mem::take(&mut self.open_ns);
        self.short_ns = self.short_ns.max(waited_ns.saturating_sub(charged_ns));
    }
}

/// Who took least of those that are told by name.
fn least(parts: &[Part]) -> Option<usize> {
    let named = parts.iter().enumerate().filter(|(_, part)| part.taker.is_named());
    named.min_by_key(|(_, part)| part.ns + part.earlier_ns).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use rustc_hash::FxHashMap;

    use super::*;

    fn group(name: &str) -> Taker {
        Taker::Group(name.into())
    }

    #[test]
    fn figures_grow_by_what_was_taken_whoever_is_named() {
        let mut taken = Taken::default();
        let mut before = FxHashMap::<String, u64>::default();
        let mut all_ns = 0;
        for round in 0..2_000u64 {
            // Those of high numbers come late and take much.
            let taker = match round % 7 {
                0 => Taker::Kernel,
                1 => Taker::Throttled,
                _ => group(&format!("g{}", round * round % (1 + round / 20))),
            };
            let ns = 1 + round * round;
            taken.add(&taker, ns, round / 50);
            all_ns += ns;
            taken.set_waited(all_ns + 5);
            let now: FxHashMap<String, u64> = taken.totals().map(|(by, ns)| (by.to_owned(), ns)).collect();
            let grown = |(by, ns): (&String, &u64)| ns - before.get(by).copied().unwrap_or(0);
            assert_eq!(now.iter().map(grown).sum::<u64>(), if round == 0 { ns + 5 } else { ns });
            assert!(now.keys().filter(|by| !by.starts_with('~')).count() <= TAKERS);
            assert!(taken.candidates.len() <= CANDIDATES);
            before = now;
        }
        let first = taken.parts.iter().filter(|part| part.taker.is_named()).map(|part| part.taker.label());
        assert!(first.clone().any(|by| by.len() > 2), "who came late is not named: {:?}", first.collect::<Vec<_>>());
    }

    #[test]
    fn an_interval_forgets_the_one_before_and_has_who_took_most_first() {
        let mut taken = Taken::default();
        taken.add(&group("a"), 5, 1);
        taken.add(&group("a"), 5, 2);
        taken.add(&group("b"), 7, 2);
        assert_eq!(taken.interval(2), [(group("b"), 7), (group("a"), 5)]);
        assert_eq!(taken.interval(3), []);
    }
}
