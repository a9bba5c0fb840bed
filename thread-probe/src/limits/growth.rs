//! Whether the use of a limit grows, and how fast.

use std::time::Duration;

/// How many points a window is kept in.
const POINTS: u32 = 32;
/// Fewer samples in a window show no trend.
pub const MIN_SAMPLES: u32 = 6;

/// A use that clearly grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Growth {
    /// What it grows by per second.
    pub(super) per_second: f64,
    /// For how long it was seen to.
    pub(super) seen_seconds: f64,
    /// Whether it goes at one pace: the slow quarter of it is at least half as fast as the middle.
    pub(super) is_steady: bool,
}

/// The use of one limit over a window.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// Seconds and use. Empty for as long as the use never changed, as that of most limits.
    points: Vec<(f64, u64)>,
    first: (f64, u64),
}

impl History {
    /// One that begins with this use.
    pub(super) fn new(now_seconds: f64, used: u64) -> Self {
        Self { points: Vec::new(), first: (now_seconds, used) }
    }

    /// Takes in the use at a time that is not before the last. Returns how it grows, `None` if it does not clearly.
    pub(super) fn observe(&mut self, now_seconds: f64, used: u64, window: Duration) -> Option<Growth> {
        let window = window.as_secs_f64();
        let spacing = window / f64::from(POINTS);
        if self.points.is_empty() {
            if used == self.first.1 {
                // The newest point from which on it is known not to have changed.
                self.first.0 = self.first.0.max(now_seconds - window);
                return None;
            }
            self.points.extend(flat(self.first, now_seconds, spacing));
        }
        self.points.retain(|(time, _)| now_seconds - time <= window);
        if self.points.iter().all(|(_, before)| *before == used) {
            self.first = self.points.first().copied().unwrap_or((now_seconds, used));
            self.points.clear();
            return None;
        }
        let growth = growth(&self.points, (now_seconds, used));
        if self.points.last().is_none_or(|(time, _)| now_seconds - time >= spacing) {
            self.points.push((now_seconds, used));
        }
        growth
    }
}

/// The points of the time in which nothing changed.
fn flat(first: (f64, u64), now_seconds: f64, spacing: f64) -> impl Iterator<Item = (f64, u64)> {
    let count = ((now_seconds - first.0) / spacing).floor().clamp(1.0, f64::from(POINTS)) as u32;
    (0..count).map(move |index| (first.0 + f64::from(index) * spacing, first.1))
}

/// The Theil-Sen estimator: the median slope of all pairs of points. A restart or a burst moves it little, a leak moves
/// every pair. It counts as growth if three quarters of the pairs do grow.
fn growth(points: &[(f64, u64)], last: (f64, u64)) -> Option<Growth> {
    if points.len() + 1 < MIN_SAMPLES as usize {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * (points.len() + 1) / 2);
    for (index, earlier) in points.iter().enumerate() {
        let later = points[index + 1..].iter().chain([&last]).filter(|later| later.0 > earlier.0);
        slopes.extend(later.map(|later| (later.1 as f64 - earlier.1 as f64) / (later.0 - earlier.0)));
    }
    let (quarter, median) = (slopes.len() / 4, slopes.len() / 2);
    let slowest = *slopes.select_nth_unstable_by(quarter, f64::total_cmp).1;
    let typical = *slopes.select_nth_unstable_by(median, f64::total_cmp).1;
    let began = points.iter().rev().find(|(_, used)| *used <= points[0].1);
    let seen_seconds = last.0 - began.map_or(last.0, |(time, _)| *time);
    (slowest > 0.0).then_some(Growth { per_second: typical, seen_seconds, is_steady: slowest >= typical / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(10);

    /// What the last of a use at every 5 s grows by.
    fn growth(uses: impl IntoIterator<Item = u64>) -> Option<f64> {
        growth_of(uses).map(|growth| growth.per_second)
    }

    fn growth_of(uses: impl IntoIterator<Item = u64>) -> Option<Growth> {
        let mut uses = uses.into_iter();
        let mut history = History::new(0.0, uses.next()?);
        let times = (1..).map(|index| f64::from(index) * 5.0);
        times.zip(uses).map(|(time, used)| history.observe(time, used, WINDOW)).last().flatten()
    }

    fn assert_near(actual: Option<f64>, expected: f64) {
        assert!(actual.is_some_and(|actual| (actual / expected - 1.0).abs() < 0.05), "{actual:?}, not {expected}");
    }

    #[test]
    fn a_leak_grows_by_what_it_leaks_noise_or_not() {
        assert_near(growth((0..200).map(|sample| 100 + sample * 50)), 10.0);
        let noise = [0, 37, 11, 52, 8, 29, 44];
        assert_near(growth((0..200).map(|sample| 100 + sample * 50 + noise[sample as usize % 7])), 10.0);
        assert_near(growth((0..200).map(|sample| 1000 + sample)), 0.2);
    }

    #[test]
    fn what_goes_up_and_down_shrinks_or_stands_does_not_grow() {
        assert_eq!(growth((0..200).map(|sample| 100 + sample % 10 * 7)), None);
        assert_eq!(growth((0..200).map(|sample| 10_000 - sample)), None);
        assert_eq!(growth((0..200).map(|_| 5)), None);
        assert_eq!(growth([]), None);
    }

    #[test]
    fn a_step_is_no_leak() {
        assert_eq!(growth((0..120).map(|sample| if sample < 60 { 100 } else { 5000 })), None);
        assert_eq!(growth((0..120).map(|sample| if sample < 110 { 100 } else { 5000 })), None);
    }

    #[test]
    fn a_leak_that_begins_after_a_long_rest_is_seen_within_the_window() {
        let rest = std::iter::repeat_n(100, 1000);
        assert_near(growth(rest.clone().chain((0..120).map(|sample| 100 + sample * 50))), 10.0);
        assert_eq!(growth(rest.chain((0..3).map(|sample| 100 + sample * 50))), None);
    }

    #[test]
    fn growth_is_seen_for_as_long_as_it_lasts_and_steady_if_it_goes_at_one_pace() {
        let leak = |samples: u64| (0..samples).map(|sample| 100 + sample * 50);
        let known = |growth: Option<Growth>| growth.map(|growth| (growth.seen_seconds.round(), growth.is_steady));
        assert_eq!(known(growth_of(leak(61))), Some((300.0, true)));
        // It rested for the first two minutes: its pace is not known yet, and where it began is.
        let rested = known(growth_of(std::iter::repeat_n(100, 24).chain(leak(61))));
        assert!(rested.is_some_and(|(seen, _)| (290.0..330.0).contains(&seen)), "{rested:?}");
        // It crept for half of the window, and then ran: its pace is none.
        let creeps = (0..60).map(|sample: u64| 100 + sample);
        let runs = (0..60).map(|sample: u64| 160 + sample * 100);
        let is_steady = known(growth_of(creeps.chain(runs))).map(|(_, is_steady)| is_steady);
        assert_eq!(is_steady, Some(false));
    }

    #[test]
    fn the_window_forgets_growth_that_ended() {
        let leak = (0..120).map(|sample| 100 + sample * 50);
        assert_eq!(growth(leak.chain(std::iter::repeat_n(6050, 200))), None);
    }
}
