//! The rules and their defaults.

use std::{collections::BTreeMap, time::Duration};

use crate::bench::SwitchCost;

/// All about alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertsConfig {
    /// Where alerts are sent: base URLs of Alertmanagers, `http://` or `https://`.
    pub alertmanager_urls: Vec<String>,
    /// Labels added to each alert that is sent, besides its own (which they can't replace).
    pub labels: BTreeMap<String, String>,
    /// The rules.
    pub rules: Rules,
}

/// The rules. Each compares one figure of one subject (the host, a cgroup, a user, a group) with its thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Use of a host's, pid namespace's, cgroup's or user's limit, as a ratio.
    pub limit_use: Rule,
    /// Seconds until a limit of the host, of a cgroup, of a user or of a group's process is reached; fires *below*.
    pub exhaustion: Rule,
    /// Clones of a group that failed with EAGAIN or ENOMEM, per second.
    pub clone_failures: Rule,
    /// 99th percentile of a group's waits for a CPU, in seconds.
    pub runqueue_latency: Rule,
    /// Share of the time in which a group's threads had work that a quota took from them.
    pub cpu_throttled: Rule,
    /// Share of that time in which they waited for a CPU that others had.
    pub cpu_contended: Rule,
    /// Threads of a group that had work for each CPU that it may use.
    pub oversubscription: Rule,
    /// How long a thread of a group has been in uninterruptible sleep, in seconds.
    pub thread_blocked: Rule,
    /// CPU time of a thread without a voluntary switch, in seconds, of a process whose threads used to sleep.
    pub cpu_burst: Rule,
    /// Deepest kernel stack of a group's threads at the last scan, as a ratio of THREAD_SIZE.
    pub kernel_stack_depth: Rule,
    /// Share of a group's ended threads that lived for a millisecond at most, where over 100 a second ended.
    pub short_lived_threads: Rule,
    /// CPUs' worth of time a group loses to its context switches: switches per second times [`Rules::switch_cost`].
    pub switch_overhead: Rule,
    /// What one context switch costs.
    pub switch_cost: SwitchCost,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Whether it is evaluated.
    pub enabled: bool,
    /// From where on it is a warning; `None` never.
    pub warning: Option<f64>,
    /// From where on it is critical; `None` never.
    pub critical: Option<f64>,
    /// How long the condition must have held before the alert fires.
    pub hold: Duration,
    /// How long the condition must have been gone before the alert is resolved.
    pub keep_firing: Duration,
    /// How far the figure must come back behind the threshold to count as gone, as a share of the threshold: 0.05 with
    /// a threshold of 0.8 is gone below 0.76.
    pub hysteresis: f64,
}

const fn rule(warning: Option<f64>, critical: Option<f64>, hold_s: u64, keep_firing_s: u64, hysteresis: f64) -> Rule {
    Rule {
        enabled: true,
        warning,
        critical,
        hold: Duration::from_secs(hold_s),
        keep_firing: Duration::from_secs(keep_firing_s),
        hysteresis,
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            limit_use: rule(Some(0.8), Some(0.9), 0, 60, 0.05),
            exhaustion: rule(Some(4.0 * 3600.0), Some(3600.0), 60, 300, 0.1),
            // A failure is over as soon as it has happened: the alert stays for a while, to be seen.
            clone_failures: rule(Some(0.0), None, 0, 300, 0.0),
            runqueue_latency: rule(Some(0.05), Some(0.25), 300, 60, 0.1),
            cpu_throttled: rule(Some(0.1), Some(0.5), 300, 60, 0.1),
            cpu_contended: rule(Some(0.5), Some(0.8), 300, 60, 0.1),
            oversubscription: rule(Some(4.0), Some(16.0), 300, 60, 0.1),
            thread_blocked: rule(Some(120.0), Some(600.0), 0, 60, 0.0),
            cpu_burst: rule(Some(10.0), Some(60.0), 0, 60, 0.0),
            kernel_stack_depth: rule(Some(0.75), Some(0.9), 0, 300, 0.05),
            short_lived_threads: rule(Some(0.5), None, 300, 60, 0.1),
            switch_overhead: rule(Some(0.1), None, 300, 60, 0.1),
            switch_cost: SwitchCost::Measured(None),
        }
    }
}
