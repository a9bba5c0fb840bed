//! Samples of a probe of its own.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Request, Sample, Update};
use crate::{
    alerts::{Alerting, config::AlertsConfig},
    config::Config,
    model::Model,
    sampler::Sampler,
};

/// When who watches is to see rates at the latest: the first sample has none.
pub(super) const FIRST_RATES: Duration = Duration::from_millis(500);
/// Rates over a shorter time say little.
const SHORTEST: Duration = Duration::from_millis(100);

/// The probe.
pub(super) struct Own {
    sampler: Sampler,
    ring: OwnedFd,
    alerting: Alerting,
    /// Until it is handed on.
    first: Option<Model>,
    taken: Instant,
    /// How long after that the next sample is taken at the latest.
    at_most: Duration,
}

impl Own {
    /// Loads the programs, takes the first sample and drops privileges.
    ///
    /// # Errors
    /// What the host or this process lacks.
    pub(super) fn start(config: &Config, first_rates: Duration) -> Result<Self> {
        let (sampler, mut model) = Sampler::start_and_drop_privileges(&config.sampler())?;
        let ring = sampler.ring_fd().context("duplicating the ring buffer's descriptor failed")?;
        // The daemon tells Alertmanagers: a look at the host tells nobody else.
        let mut alerting = Alerting::new(AlertsConfig { alertmanager_urls: Vec::new(), ..config.alerts.clone() });
        alerting.judge(&mut model);
        Ok(Self { sampler, ring, alerting, first: Some(model), taken: Instant::now(), at_most: first_rates })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    pub(super) fn due_in(&self, interval: Duration) -> Duration {
        if self.first.is_some() {
            return Duration::ZERO;
        }
        interval.min(self.at_most).saturating_sub(self.taken.elapsed())
    }

    /// The next sample is wanted soon.
    pub(super) fn hurry(&mut self) {
        self.at_most = SHORTEST;
    }

    /// The sample that is due, if one is.
    ///
    /// # Errors
    /// The scan failed: it can't be repeated.
    pub(super) fn turn(&mut self, request: Request) -> Result<Option<Update>> {
        self.sampler.drain();
        if !self.due_in(request.interval).is_zero() {
            return Ok(None);
        }
        let model = match self.first.take() {
            Some(first) => first,
            None => self.sample()?,
        };
        let one = request.pid.map(|pid| self.sampler.one_process(pid)).filter(|one| !one.threads.is_empty());
        let command_line = request.pid.and_then(command_line);
        Ok(Some(Update::Sample(Box::new(Sample { model, one, command_line }))))
    }

    fn sample(&mut self) -> Result<Model> {
        self.taken = Instant::now();
        self.at_most = Duration::MAX;
        let mut model = self.sampler.sample()?;
        self.alerting.judge(&mut model);
        Ok(model)
    }
}

/// `None` of a kernel thread, of a process that has ended, and where /proc hides it.
fn command_line(pid: u32) -> Option<String> {
    /// More than is shown of it anywhere.
    const MAX_BYTES: u64 = 4096;
    let mut arguments = Vec::new();
    File::open(format!("/proc/{pid}/cmdline")).ok()?.take(MAX_BYTES).read_to_end(&mut arguments).ok()?;
    let arguments: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    Some(arguments.join(" ").trim_end().to_owned()).filter(|text| !text.is_empty())
}

impl Drop for Own {
    /// Detaches in half the time where there is a thread to be had.
    fn drop(&mut self) {
        let slow_links = self.sampler.take_slow_links();
        let _ = thread::Builder::new().spawn(move || drop(slow_links));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_has_its_arguments_and_what_has_none_has_no_command_line() {
        let own = command_line(std::process::id());
        assert!(own.is_some_and(|own| own.contains("thread_probe")), "that of this test");
        assert_eq!(command_line(u32::MAX), None);
    }
}
