//! What the probe itself takes, from one sample to the next.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::{model::OwnCost, sample::Runs};

/// Where the last sample stood.
#[derive(Debug, Default)]
pub(crate) struct OwnCostMeter {
    last: Option<(Instant, Duration)>,
    runs: Runs,
}

impl OwnCostMeter {
    /// The cost since the last call; `switches` are the runs of the program on the context switch.
    pub(crate) fn measure(&mut self, switches: Runs) -> OwnCost {
        // Without that clock, which every kernel has, the figure is missing and said to be.
        let cpu_time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(Duration::from);
        let now = cpu_time.map(|cpu_time| (Instant::now(), cpu_time));
        let before = std::mem::replace(&mut self.last, now);
        let cpu_ratio = before.zip(now).map(|((then, used_then), (now, used_now))| {
            used_now.saturating_sub(used_then).as_secs_f64() / (now - then).as_secs_f64().max(1e-9)
        });
        let timed = switches.timed.saturating_sub(self.runs.timed);
        let timed_ns = switches.timed_ns.saturating_sub(self.runs.timed_ns);
        self.runs = switches;
        OwnCost { cpu_ratio, seconds_per_switch: (timed != 0).then(|| timed_ns as f64 / timed as f64 / 1e9) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_switch_is_that_of_the_interval_and_none_while_nobody_measures() {
        let mut meter = OwnCostMeter::default();
        let runs = |timed, timed_ns| Runs { skipped: 0, timed, timed_ns };
        assert_eq!(meter.measure(runs(10, 1000)).seconds_per_switch, Some(100e-9));
        assert_eq!(meter.measure(runs(20, 1500)).seconds_per_switch, Some(50e-9));
        assert_eq!(meter.measure(runs(20, 1500)).seconds_per_switch, None);
    }

    #[test]
    fn cpu_time_spent_between_two_samples_is_seen_from_the_second_on() -> nix::Result<()> {
        const SPENT: Duration = Duration::from_millis(5);
        let cpu_time = || clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from);
        let mut meter = OwnCostMeter::default();
        let started = Instant::now();
        assert_eq!(meter.measure(Runs::default()).cpu_ratio, None);
        // By the clock of the CPU: on a loaded host the other one may pass without any of it.
        let until = cpu_time()? + SPENT;
        while cpu_time()? < until {}
        let ratio = meter.measure(Runs::default()).cpu_ratio;
        let at_least = SPENT.as_secs_f64() / started.elapsed().as_secs_f64();
        assert!(ratio.is_some_and(|ratio| ratio >= at_least), "{ratio:?} of {at_least}");
        Ok(())
    }
}
