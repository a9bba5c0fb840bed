//! One look at a host, for what is asked once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{
    bench::SwitchCost,
    commands::options::{LookOptions, Whose},
    model::{Model, Process},
    text::human,
    top::feed::{Feed, Request, Sample, Update},
};

/// The first sample with rates, over a window; with more of one process, if one is asked for.
///
/// # Errors
/// What is wrong with the configuration, what the host lacks, or no daemon.
pub(super) fn sample(options: &LookOptions, pid: Option<u32>) -> Result<Sample> {
    let config = options.configuration.read()?;
    let request = Request { pid, interval: options.window };
    let url = options.url.as_deref().filter(|url| !url.is_empty());
    let mut feed = Feed::start_evenly(url, &config, request)?;
    loop {
        match feed.next(Instant::now() + Duration::from_secs(1))? {
            Some(Update::Sample(sample)) if sample.model.interval_seconds.is_some() => return Ok(*sample),
            Some(Update::Lost(reason)) => bail!(reason),
            Some(Update::Sample(_) | Update::Over) | None => {}
        }
    }
}

/// Whether that is this host for certain: a daemon over a network may be anywhere.
pub(super) fn is_here(url: Option<&str>) -> bool {
    url.is_none_or(|url| url.is_empty() || url.starts_with("unix:"))
}

/// What was measured here holds for here.
pub(super) fn cost_of_a_switch(url: Option<&str>) -> SwitchCost {
    let cost = SwitchCost::Measured(None);
    if is_here(url) { cost.looked_up() } else { cost }
}

/// The processes that are chosen; of none of the kernel's.
///
/// # Errors
/// There is none.
pub(super) fn chosen<'a>(model: &'a Model, whose: Whose<'_>) -> Result<Vec<&'a Process>> {
    let is_one = |process: &&Process| {
        let unit = process.owner.as_ref().and_then(|owner| owner.unit.as_deref());
        !process.is_kernel_thread
            && whose.pid.is_none_or(|pid| pid == process.pid)
            && whose.group.is_none_or(|group| group == &*process.group)
            && whose.unit.is_none_or(|of| Some(of) == unit)
    };
    let chosen: Vec<_> = model.processes.iter().filter(is_one).collect();
    match whose {
        _ if !chosen.is_empty() => Ok(chosen),
        Whose { pid: Some(pid), .. } => {
            bail!("no process {pid}: it does not exist, ended, is a kernel thread, or is hidden from eBPF")
        }
        Whose { group: Some(group), .. } => {
            let group = human::plain(group);
            bail!("no process in group {group}: `thread-probe ps --columns group` shows the groups")
        }
        Whose { unit: Some(unit), .. } => {
            let unit = human::plain(unit);
            bail!("no process of unit {unit}: systemctl status {unit} says whether it runs")
        }
        _ => bail!("no process but the kernel's can be seen"),
    }
}
