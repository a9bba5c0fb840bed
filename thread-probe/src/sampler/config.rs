//! The sampler's configuration.

use std::time::Duration;

use crate::{names::grouping::GroupBy, probe::CloneProbe};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SamplerConfig {
    /// How processes are grouped.
    pub groups: GroupsConfig,
    /// How the programs are loaded.
    pub probe: ProbeConfig,
    /// How limits are evaluated.
    pub limits: LimitsConfig,
}

/// How processes are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsConfig {
    /// What makes processes one group.
    pub by: GroupBy,
    /// How many groups there may be.
    pub max: u32,
    /// How long a group without a live process is kept.
    pub retention: Duration,
    /// Groups for which there is always room, by name.
    pub keep: Vec<String>,
}

/// How the programs are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// The user to become once they are attached, by name or number.
    pub user: Option<String>,
    /// How to see clones that fail and how long others take.
    pub clone_probe: CloneProbe,
    /// Whether the programs log what is rare.
    pub ebpf_log: bool,
    /// Whether to keep the ledger of time.
    pub time_ledger: bool,
    /// Whether to charge waits to who had the CPU.
    pub who: bool,
}

/// How limits are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The time over which the growth of their use is measured.
    pub window: Duration,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self { by: GroupBy::default(), max: 500, retention: Duration::from_mins(10), keep: Vec::new() }
    }
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { user: None, clone_probe: CloneProbe::default(), ebpf_log: false, time_ledger: true, who: true }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { window: Duration::from_mins(10) }
    }
}
