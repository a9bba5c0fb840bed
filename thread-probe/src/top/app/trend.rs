//! The figures of the header over the last ten minutes.

use std::collections::VecDeque;

use crate::model::Model;

/// Points that are kept: ten minutes at a sample a second.
const MAX_POINTS: usize = 600;

/// One sample's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
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
pub struct Trend(VecDeque<Point>);

impl Trend {
    /// Takes in a sample; one without rates is none.
    pub fn push(&mut self, model: &Model) {
        let Some(rates) = &model.host.rates else { return };
        if self.0.len() == MAX_POINTS {
            self.0.pop_front();
        }
        self.0.push_back(Point {
            switches_per_second: rates.switches_per_second,
            wait_p99_seconds: rates.wait_p99_seconds.unwrap_or(0.0),
            threads: model.host.threads.total as f64,
            clones_per_second: rates.threads_created_per_second + rates.processes_created_per_second,
            clone_failures_per_second: rates.clone_failures_per_second,
        });
    }

    /// One figure of the last points, the newest last, at most `count`.
    pub fn last(&self, count: usize, of: impl Fn(&Point) -> f64) -> Vec<f64> {
        self.0.iter().skip(self.0.len().saturating_sub(count)).map(of).collect()
    }
}
