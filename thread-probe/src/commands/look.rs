//! One look at a host, for what is asked once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{
    config::Config,
    top::feed::{Feed, Request, Sample, Update},
};

/// The first sample with rates, over a window; with more of one process, if one is asked for.
///
/// # Errors
/// What the host lacks, or no daemon.
pub(super) fn sample(url: Option<&str>, config: &Config, pid: Option<u32>, window: Duration) -> Result<Sample> {
    let request = Request { pid, interval: window };
    let mut feed = Feed::start_evenly(url.filter(|url| !url.is_empty()), config, request)?;
    loop {
        match feed.next(Instant::now() + Duration::from_secs(1))? {
            Some(Update::Sample(sample)) if sample.model.interval_seconds.is_some() => return Ok(*sample),
            Some(Update::Lost(reason)) => bail!(reason),
            Some(Update::Sample(_)) | None => {}
        }
    }
}
