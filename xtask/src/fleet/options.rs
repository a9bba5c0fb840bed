//! Options of `fleet`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::exposition::Keep;

/// Options of `fleet`
#[derive(Args)]
pub(crate) struct Options {
    /// Hosts to pretend
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) targets: u32,
    /// Groups on each of them
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=500))]
    pub(super) groups: u32,
    /// Time between two scrapes of a target
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    pub(super) interval: Duration,
    /// Time to scrape for
    #[arg(long = "for", default_value = "5m", value_parser = humantime::parse_duration)]
    pub(super) time: Duration,
    /// What Prometheus keeps: all, or no buckets of histograms per group (deploy/prometheus/fewer-series.yml)
    #[arg(long, value_enum, default_value_t = Keep::All)]
    pub(super) keep: Keep,
    /// The thread-probe whose answer is multiplied; built if none is given
    #[arg(long, value_name = "PATH")]
    pub(super) program: Option<PathBuf>,
    /// Without recording and alert rules
    #[arg(long)]
    pub(super) no_rules: bool,
}
