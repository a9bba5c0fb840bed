//! `thread-probe record`: every sample into a file.

use std::{
    fs,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{
    alerts::{Alerting, config::AlertsConfig},
    commands::options::RecordOptions,
    record::Recording,
    sampler::Sampler,
    text::human,
    top::signals::Signals,
};

/// How often it looks whether it is to end.
const SIGNAL_CHECK: Duration = Duration::from_millis(200);

/// Records until time is up, or a signal comes.
///
/// # Errors
/// What the host lacks, a file that is there, or a disk that is full.
pub(super) fn record(options: &RecordOptions) -> Result<()> {
    let config = options.configuration.read()?;
    let failed = || format!("writing {} failed", options.file.display());
    // Before privileges are dropped: it may be in a folder of root's.
    let mut recording = Recording::create(&options.file).with_context(failed)?;
    let signals = Signals::block().context("blocking signals failed")?;
    // Nothing is in it then, and who tries again must not be told that it is there.
    let (mut sampler, mut model) =
        Sampler::start_and_drop_privileges(&config.sampler()).inspect_err(|_| drop(fs::remove_file(&options.file)))?;
    let mut alerting = Alerting::new(AlertsConfig { alertmanager_urls: Vec::new(), ..config.alerts.clone() });
    let end = options.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut samples = 0_u64;
    loop {
        alerting.judge(&mut model);
        let taken = Instant::now();
        let looked_into = sampler.look_into(&model);
        recording.write(Arc::new(model), &looked_into).with_context(failed)?;
        samples += 1;
        let next = taken + config.interval;
        while Instant::now() < next {
            if end.is_some_and(|end| Instant::now() >= end) || is_to_end(&signals)? {
                return say(options, samples, recording.bytes());
            }
            sampler.wait(SIGNAL_CHECK.min(next.saturating_duration_since(Instant::now())))?;
        }
        model = sampler.sample()?;
    }
}

fn is_to_end(signals: &Signals) -> Result<bool> {
    while let Some(signal) = signals.next().context("reading a signal failed")? {
        if !matches!(signal, Signal::SIGWINCH | Signal::SIGCONT | Signal::SIGTSTP) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn say(options: &RecordOptions, samples: u64, bytes: u64) -> Result<()> {
    let path = options.file.display();
    let (samples, bytes) = (human::counted(samples, "sample"), human::bytes(bytes));
    super::output::print(|out| writeln!(out, "{samples} in {path}, {bytes}: thread-probe top --replay {path}"))
}
