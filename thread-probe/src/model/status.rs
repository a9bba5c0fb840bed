//! The probe itself: what is attached, what was lost, what it takes.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::sample::AttachedProgram;

/// The probe itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// The programs and where they are attached.
    pub programs: Arc<[AttachedProgram]>,
    /// How long scan, drain and ledger took.
    pub sample_duration_seconds: f64,
    /// Threads the scan saw.
    pub sample_threads: u64,
    /// Whether the kernel tells what a quota takes from other waits for a CPU: since Linux 6.6.
    #[serde(default)]
    pub tells_throttling: bool,
    /// CPUs that the process of the probe had in use over the interval; null in the first sample.
    pub cpu_ratio: Option<f64>,
    /// What the program on the context switch took for each over the interval; null unless `kernel.bpf_stats_enabled`
    /// is 1.
    pub seconds_per_switch: Option<f64>,
    /// What was dropped, by reason, since start.
    pub lost: Vec<LostCount>,
    /// Processes that went to `~other` because there was no room for their group.
    pub groups_dropped: u64,
    /// The configuration file.
    pub config: ConfigStatus,
}

/// How reading the configuration went. Without a file it is the start that counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Whether the last reload succeeded; true before the first.
    pub last_reload_successful: bool,
    /// When it was last read with success, in seconds since the Unix epoch.
    pub last_reload_success_unix_seconds: f64,
}

impl ConfigStatus {
    /// Read with success at that time.
    pub fn loaded(at: SystemTime) -> Self {
        let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { last_reload_successful: true, last_reload_success_unix_seconds: since_epoch.as_secs_f64() }
    }
}

/// How much was dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostCount {
    /// The reason.
    pub reason: Cow<'static, str>,
    /// How often.
    pub count: u64,
}

/// What the probe itself takes, over an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnCost {
    /// CPUs that this process had in use; `None` in the first sample.
    pub cpu_ratio: Option<f64>,
    /// What the program on the context switch took for each, in seconds; `None` where nobody measures
    /// (`kernel.bpf_stats_enabled` is 0) or nothing switched.
    pub seconds_per_switch: Option<f64>,
}

/// What was kept of samples, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingCounts {
    /// Samples that were written since start.
    pub samples: u64,
    /// Those that were not: the disk was full, gone or too slow.
    pub lost_samples: u64,
    /// Bytes of all recordings.
    pub bytes: u64,
}
