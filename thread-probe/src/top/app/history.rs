//! The samples of the last ten minutes.

use std::{collections::VecDeque, sync::Arc};

use crate::top::feed::Sample;

/// How long samples are kept.
const KEPT_SECONDS: f64 = 600.0;
/// Processes and threads that are kept in all samples together: each takes about a kilobyte.
const MAX_ROWS: usize = 60_000;

/// The samples of the last ten minutes; the older, the fewer of them where there is no room for all.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    rows: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    sample: Arc<Sample>,
}

impl Entry {
    fn time(&self) -> f64 {
        self.sample.model.time_unix_seconds
    }

    fn numbered(&self) -> (u64, &Arc<Sample>) {
        (self.number, &self.sample)
    }
}

/// A sample of a process that was asked for has its threads, too.
fn rows_of(sample: &Sample) -> usize {
    1 + sample.model.processes.len() + sample.one.as_ref().map_or(0, |one| one.threads.len())
}

impl History {
    /// Takes in the newest sample; one that was taken when the last was, with another process, replaces it.
    pub(super) fn push(&mut self, mut sample: Sample) {
        // Large, and drawn nowhere.
        sample.model.groups = Vec::new();
        let time = sample.model.time_unix_seconds;
        self.rows += rows_of(&sample);
        let mut number = self.next;
        if let Some(last) = self.entries.pop_back_if(|last| last.time() == time) {
            self.rows -= rows_of(&last.sample);
            number = last.number;
        }
        self.entries.push_back(Entry { number, sample: Arc::new(sample) });
        self.next = number + 1;
        while self.entries.len() > 1 && self.entries.front().is_some_and(|first| first.time() < time - KEPT_SECONDS) {
            self.remove(0);
        }
        while self.rows > MAX_ROWS && self.entries.len() > 2 {
            self.remove(self.least_missed());
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(entry) = self.entries.remove(index) {
            self.rows -= rows_of(&entry.sample);
        }
    }

    /// The sample that leaves the smallest gap for its age. So gaps grow with age, and none of the last ten minutes is
    /// empty.
    fn least_missed(&self) -> usize {
        let newest = self.entries.back().map_or(0.0, Entry::time);
        let gap = |index: usize| {
            let time = |index: usize| self.entries.get(index).map_or(newest, Entry::time);
            (time(index + 1) - time(index - 1)) / (newest - time(index)).max(1e-3)
        };
        let inner = 1..self.entries.len() - 1;
        inner.min_by(|a, b| gap(*a).total_cmp(&gap(*b))).unwrap_or(0)
    }

    /// The newest sample with its number; `None` before the first.
    pub(super) fn latest(&self) -> Option<(u64, &Arc<Sample>)> {
        self.entries.back().map(Entry::numbered)
    }

    /// The sample that is `steps` samples later than that of a number, or earlier; the first or last if there are not
    /// so many.
    pub(super) fn step(&self, from: u64, steps: isize) -> Option<(u64, &Arc<Sample>)> {
        let last = self.entries.len().checked_sub(1)?;
        let here = self.entries.partition_point(|entry| entry.number < from).min(last);
        // That sample itself may be gone by now: then the first later one is here.
        let is_there = self.entries.get(here).is_some_and(|entry| entry.number <= from);
        let steps = if steps > 0 && !is_there { steps - 1 } else { steps };
        self.entries.get(here.saturating_add_signed(steps).min(last)).map(Entry::numbered)
    }

    /// The first sample that is at least so many seconds later than that of a number, or the last that is so much
    /// earlier; the last or first of all if there is none.
    pub(super) fn step_seconds(&self, from: u64, seconds: f64) -> Option<(u64, &Arc<Sample>)> {
        let time = self.step(from, 0)?.1.model.time_unix_seconds + seconds;
        let last = self.entries.len().checked_sub(1)?;
        let index = if seconds > 0.0 {
            self.entries.partition_point(|entry| entry.time() < time).min(last)
        } else {
            self.entries.partition_point(|entry| entry.time() <= time).saturating_sub(1)
        };
        self.entries.get(index).map(Entry::numbered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{empty_model, process};

    fn sample(second: u64, processes: u32) -> Sample {
        let mut model = empty_model();
        model.time_unix_seconds = second as f64;
        model.processes = (0..processes).map(|pid| process(pid, "x")).collect();
        Sample { model, one: None, command_line: None }
    }

    #[test]
    fn ten_minutes_are_kept_and_the_newest_sample_whatever_its_time() {
        let mut history = History::default();
        for second in 0..1000 {
            history.push(sample(second, 1));
        }
        assert_eq!(history.entries.len(), 601);
        history.push(sample(5, 1));
        assert_eq!(history.latest().map(|(_, sample)| sample.model.time_unix_seconds), Some(5.0));
    }

    #[test]
    fn where_there_is_no_room_for_all_gaps_grow_with_age_and_none_is_long_for_it() {
        for (processes, longest) in [(300, 0.1), (2000, 0.5)] {
            let mut history = History::default();
            for second in 0..1500 {
                history.push(sample(second, processes));
            }
            assert!(history.rows <= MAX_ROWS, "{}", history.rows);
            let times: Vec<f64> = history.entries.iter().map(Entry::time).collect();
            assert!(times[0] < 1500.0 - 0.6 * KEPT_SECONDS, "{times:?}");
            for pair in times.windows(2) {
                let (gap, age) = (pair[1] - pair[0], 1500.0 - pair[1]);
                assert!(gap <= (longest * age).max(2.0), "{processes}: {gap} s, {age} s ago: {times:?}");
            }
        }
    }

    #[test]
    fn a_sample_with_another_process_replaces_the_same_without() {
        let mut history = History::default();
        history.push(sample(1, 1));
        history.push(Sample { one: Some(Default::default()), ..sample(1, 1) });
        let samples: Vec<_> = history.entries.iter().map(|entry| (entry.number, entry.sample.one.is_some())).collect();
        assert_eq!((samples, history.rows), (vec![(0, true)], 2));
    }

    #[test]
    fn steps_end_at_the_first_and_the_last_and_skip_none_that_is_gone() {
        let mut history = History::default();
        assert!(history.step(0, 1).is_none());
        for second in 0..4 {
            history.push(sample(second * 100, 1));
        }
        let step = |history: &History, from, steps| history.step(from, steps).map(|(number, _)| number);
        let steps = [(3, -1), (3, -9), (0, 1), (0, 9)].map(|(from, by)| step(&history, from, by));
        assert_eq!(steps, [Some(2), Some(0), Some(1), Some(3)]);
        let seconds = |from, by| history.step_seconds(from, by).map(|(number, _)| number);
        assert_eq!([seconds(3, -60.0), seconds(2, -60.0), seconds(0, -60.0)], [Some(2), Some(1), Some(0)]);
        assert_eq!([seconds(0, 60.0), seconds(2, 60.0), seconds(3, 60.0)], [Some(1), Some(3), Some(3)]);
        history.remove(1);
        assert_eq!([step(&history, 1, 1), step(&history, 1, -1)], [Some(2), Some(0)]);
    }
}
