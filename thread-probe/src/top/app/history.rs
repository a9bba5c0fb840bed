//! The samples of the last ten minutes.

use std::{collections::VecDeque, sync::Arc};

use crate::top::feed::Sample;

/// How long samples are kept.
const KEPT_SECONDS: f64 = 600.0;
/// Processes and threads that are kept in all samples together: each takes about a kilobyte.
const MAX_ROWS: usize = 60_000;

/// The samples of the last ten minutes; the older, the fewer of them where there is no room for all.
#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    rows: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    sample: Arc<Sample>,
}

/// A sample of a process that was asked for has its threads, too.
fn rows_of(sample: &Sample) -> usize {
    1 + sample.model.processes.len() + sample.one.as_ref().map_or(0, |one| one.threads.len())
}

impl History {
    /// Takes in the newest sample.
    pub fn push(&mut self, mut sample: Sample) {
        // Large, and drawn nowhere.
        sample.model.groups = Vec::new();
        let oldest = sample.model.time_unix_seconds - KEPT_SECONDS;
        self.rows += rows_of(&sample);
        self.entries.push_back(Entry { number: self.next, sample: Arc::new(sample) });
        self.next += 1;
        self.retain(|_, entry| entry.sample.model.time_unix_seconds >= oldest);
        while self.rows > MAX_ROWS && self.entries.len() > 2 {
            let half = self.entries.len() / 2;
            self.retain(|index, _| index >= half.max(2) || index % 2 == 0);
        }
    }

    /// The newest one always stays.
    fn retain(&mut self, keep: impl Fn(usize, &Entry) -> bool) {
        let newest = self.entries.len().saturating_sub(1);
        let mut index = 0;
        self.entries.retain(|entry| {
            let kept = index == newest || keep(index, entry);
            index += 1;
            kept
        });
        self.rows = self.entries.iter().map(|entry| rows_of(&entry.sample)).sum();
    }

    /// The newest sample with its number; `None` before the first.
    pub fn latest(&self) -> Option<(u64, &Arc<Sample>)> {
        self.entries.back().map(|entry| (entry.number, &entry.sample))
    }

    /// The sample that is `steps` samples later than that of a number, or earlier; the first or last if there are not so
    /// many.
    pub fn step(&self, from: u64, steps: isize) -> Option<(u64, &Arc<Sample>)> {
        let last = self.entries.len().checked_sub(1)?;
        // That sample itself may be gone by now.
        let here = self.entries.partition_point(|entry| entry.number < from).min(last);
        self.entries.get(here.saturating_add_signed(steps).min(last)).map(|entry| (entry.number, &entry.sample))
    }

    /// The sample nearest to a time, by the clock of the samples in seconds.
    pub fn at(&self, time_unix_seconds: f64) -> Option<(u64, &Arc<Sample>)> {
        let last = self.entries.len().checked_sub(1)?;
        let later = |entry: &Entry| entry.sample.model.time_unix_seconds < time_unix_seconds;
        let here = self.entries.partition_point(later).min(last);
        self.entries.get(here).map(|entry| (entry.number, &entry.sample))
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
        Sample { model, one: None }
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
    fn where_there_is_no_room_for_all_the_older_ones_are_fewer_and_still_reach_back() {
        let mut history = History::default();
        for second in 0..600 {
            history.push(sample(second, 2000));
        }
        assert!(history.rows <= MAX_ROWS, "{}", history.rows);
        let times: Vec<f64> = history.entries.iter().map(|entry| entry.sample.model.time_unix_seconds).collect();
        assert!(times[0] < 300.0, "{times:?}");
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps.last(), Some(&1.0));
    }

    #[test]
    fn steps_end_at_the_first_and_the_last() {
        let mut history = History::default();
        assert!(history.step(0, 1).is_none());
        for second in 0..3 {
            history.push(sample(second, 1));
        }
        let step = |from, steps| history.step(from, steps).map(|(number, _)| number);
        assert_eq!([step(2, -1), step(2, -9), step(0, 1), step(0, 9)], [Some(1), Some(0), Some(1), Some(2)]);
        assert_eq!(history.at(1.2).map(|(number, _)| number), Some(2));
    }
}
