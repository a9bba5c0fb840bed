//! Samples of a probe of its own.

use std::{
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Event, Orders, Request, Sample, Update, hand_on};
use crate::{
    alerts::{Alerting, config::AlertsConfig},
    bpf::SlowToDetach,
    config::Config,
    model::Model,
    sampler::Sampler,
};

/// When who watches is to see rates at the latest: the first sample has none.
pub(super) const FIRST_RATES: Duration = Duration::from_millis(500);

/// The probe, with its last sample.
pub(super) struct Own {
    sampler: Sampler,
    alerting: Alerting,
    model: Model,
    taken: Instant,
    /// When the second sample is taken at the latest.
    first_rates: Duration,
}

/// Loads the programs, takes the first sample and drops privileges. Returns with it what another thread may drop.
///
/// # Errors
/// What the host or this process lacks.
pub(super) fn start(config: &Config, first_rates: Duration) -> Result<(Own, SlowToDetach)> {
    let (mut sampler, mut model) = Sampler::start_and_drop_privileges(config)?;
    let slow_links = sampler.take_slow_links();
    // The daemon tells Alertmanagers: a look at the host tells nobody else.
    let mut alerting = Alerting::new(AlertsConfig { alertmanager_urls: Vec::new(), ..config.alerts.clone() });
    alerting.judge(&mut model);
    Ok((Own { sampler, alerting, model, taken: Instant::now(), first_rates }, slow_links))
}

impl Own {
    /// Hands on samples until nobody takes them or one fails, which can't be repeated: then it says why.
    pub(super) fn run(mut self, orders: Orders, updates: &SyncSender<Update>) {
        if let Err(error) = self.hand_on_samples(orders, updates) {
            hand_on(updates, Update::Lost(format!("{error:#}")));
        }
    }

    fn hand_on_samples(&mut self, mut orders: Orders, updates: &SyncSender<Update>) -> Result<()> {
        let mut request = orders.request();
        while hand_on(updates, self.answer(request.pid)) && self.next(&mut orders, &mut request)? {}
        Ok(())
    }

    fn answer(&self, pid: Option<u32>) -> Update {
        let one = pid.map(|pid| self.sampler.one_process(pid)).filter(|one| !one.threads.is_empty());
        Update::Sample(Box::new(Sample { model: self.model.clone(), one }))
    }

    /// Waits until there is something to hand on: the next sample, or the last one with another process. False when
    /// nobody asks any more.
    fn next(&mut self, orders: &mut Orders, request: &mut Request) -> Result<bool> {
        while self.sampler.wait_or_woken(self.time_left(request.interval), Some(orders.wake()))? {
            let Event::Asked(asked) = orders.take() else { return Ok(false) };
            let before = std::mem::replace(request, asked);
            if before.pid != asked.pid {
                return Ok(true);
            }
        }
        self.taken = Instant::now();
        self.model = self.sampler.sample()?;
        self.alerting.judge(&mut self.model);
        Ok(true)
    }

    fn time_left(&self, interval: Duration) -> Duration {
        let has_rates = self.model.interval_seconds.is_some();
        let due = if has_rates { interval } else { interval.min(self.first_rates) };
        due.saturating_sub(self.taken.elapsed())
    }
}
