//! The figures of the header over the last ten minutes.

use std::collections::VecDeque;

use crate::{model::Model, record::Glance};

/// Seconds that are kept.
const KEPT_SECONDS: f64 = 600.0;
/// Points that are kept at most: the shortest interval is 100 ms, and as many columns are on no screen.
const MAX_POINTS: usize = 6000;

/// One sample's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// When, in seconds since the Unix epoch.
    time: f64,
    /// Context switches per second.
    pub switches_per_second: f64,
    /// 99th percentile of the waits for a CPU, in seconds; 0 without one.
    pub wait_p99_seconds: f64,
    /// Threads.
    pub threads: f64,
    /// Threads and processes created per second.
    pub clones_per_second: f64,
    /// Clones that failed per second.
    pub clone_failures_per_second: f64,
}

/// The last points, the oldest first.
#[derive(Debug, Default)]
pub struct Trend {
    points: VecDeque<Point>,
    /// How many there were before the first of them.
    before: usize,
}

impl Trend {
    /// The course of what was recorded, up to the last of these.
    pub fn of(glances: &[Glance]) -> Self {
        let last = glances.last().map_or(0.0, |glance| glance.time_unix_seconds);
        let is_kept = |glance: &&Glance| (last - KEPT_SECONDS..=last).contains(&glance.time_unix_seconds);
        let has_rates = |glance: &&Glance| !glance.switches_per_second.is_nan();
        let point = |glance: &Glance| Point {
            time: glance.time_unix_seconds,
            switches_per_second: glance.switches_per_second.into(),
            wait_p99_seconds: glance.wait_p99_seconds.into(),
            threads: glance.threads.into(),
            clones_per_second: glance.clones_per_second.into(),
            clone_failures_per_second: glance.clone_failures_per_second.into(),
        };
        let kept = glances.iter().filter(is_kept).filter(has_rates);
        let points: VecDeque<Point> = kept.map(point).collect();
        Self { before: glances.len() - points.len(), points }
    }

    /// Takes in a sample; one without rates is none, nor is one that was seen.
    pub fn push(&mut self, model: &Model) {
        let time = model.time_unix_seconds;
        let Some(rates) = &model.host.rates else { return };
        if self.points.back().is_some_and(|last| last.time == time) {
            return;
        }
        self.points.push_back(Point {
            time,
            switches_per_second: rates.switches_per_second,
            wait_p99_seconds: rates.wait_p99_seconds.unwrap_or(0.0),
            threads: model.host.threads.total as f64,
            clones_per_second: rates.threads_created_per_second + rates.processes_created_per_second,
            clone_failures_per_second: rates.clone_failures_per_second,
        });
        while self.points.len() > MAX_POINTS || self.points.front().is_some_and(|p| p.time < time - KEPT_SECONDS) {
            self.points.pop_front();
            self.before += 1;
        }
    }

    /// The time from the first of them to the last.
    pub fn seconds(&self) -> f64 {
        let (first, last) = (self.points.front(), self.points.back());
        first.zip(last).map_or(0.0, |(first, last)| last.time - first.time)
    }

    /// The time from the first column of a course to the last, in seconds, and how many columns it has.
    pub fn extent(&self, columns: usize) -> (f64, usize) {
        let times = self.course(columns, |point| point.time);
        let (first, last) = (times.first(), times.last());
        (first.zip(last).map_or(0.0, |(first, last)| last - first), times.len())
    }

    /// The course of one figure in at most `columns`, the newest last. Where there are more points, each column has the
    /// largest of as many as it takes; which ones these are does not change from sample to sample.
    pub fn course(&self, columns: usize, of: impl Fn(&Point) -> f64) -> Vec<f64> {
        let each = self.points.len().div_ceil(columns.max(1)).max(1);
        let mut course: Vec<f64> = Vec::new();
        let mut last = None;
        for (index, point) in self.points.iter().enumerate() {
            let (group, figure) = ((self.before + index) / each, of(point));
            match course.last_mut().filter(|_| last == Some(group)) {
                Some(largest) => *largest = largest.max(figure),
                None => course.push(figure),
            }
            last = Some(group);
        }
        // A group may be cut at both ends.
        course.split_off(course.len().saturating_sub(columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Rates, testing::empty_model};

    fn trend(seconds: u64) -> Trend {
        let mut trend = Trend::default();
        for second in 0..seconds {
            let mut model = empty_model();
            model.time_unix_seconds = second as f64;
            model.host.rates = Some(Rates { switches_per_second: second as f64, ..Rates::default() });
            trend.push(&model);
            trend.push(&model);
        }
        trend
    }

    fn course(seconds: u64, columns: usize) -> Vec<f64> {
        trend(seconds).course(columns, |point| point.switches_per_second)
    }

    #[test]
    fn a_course_reaches_back_ten_minutes_whatever_its_width() {
        assert_eq!(course(3, 10), [0.0, 1.0, 2.0]);
        assert_eq!(course(6, 3), [1.0, 3.0, 5.0]);
        let ten_minutes = course(1000, 20);
        assert!(ten_minutes.len() == 20 && ten_minutes[0] < 460.0, "{ten_minutes:?}");
        assert_eq!(ten_minutes.last(), Some(&999.0));
        assert_eq!(course(5, 0), [0.0; 0]);
    }

    #[test]
    fn columns_move_as_a_whole_when_a_sample_comes() {
        let (before, after) = (course(1000, 20), course(1001, 20));
        let common = before.iter().filter(|figure| after.contains(figure)).count();
        assert!(common >= 18, "{before:?} {after:?}");
    }
}
