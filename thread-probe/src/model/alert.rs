//! An alert as everybody sees it: the snapshot, the log, the metrics, an Alertmanager.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    limits::{Limit, Scope},
    text::named::named,
};

named! {
    /// The alerts, by what they say. One for each rule.
    pub enum AlertName {
        /// `limit_use`.
        ThreadLimitNear = "ThreadLimitNear",
        /// `exhaustion`.
        ThreadLimitExhaustionSoon = "ThreadLimitExhaustionSoon",
        /// `clone_failures`.
        CloneFailures = "CloneFailures",
        /// `runqueue_latency`.
        RunQueueLatencyHigh = "RunQueueLatencyHigh",
        /// `cpu_throttled`.
        CpuThrottled = "CpuThrottled",
        /// `cpu_contended`.
        CpuContended = "CpuContended",
        /// `oversubscription`.
        ThreadsOversubscribed = "ThreadsOversubscribed",
        /// `thread_blocked`.
        ThreadStuck = "ThreadStuck",
        /// `cpu_burst`.
        ThreadSpinning = "ThreadSpinning",
        /// `kernel_stack_depth`.
        KernelStackDeep = "KernelStackDeep",
        /// `short_lived_threads`.
        ShortLivedThreads = "ShortLivedThreads",
        /// `switch_overhead`.
        ContextSwitchOverhead = "ContextSwitchOverhead",
    }
}

named! {
    /// How bad it is. Each is an alert of its own: a critical one does not end the warning.
    pub enum Severity {
        /// Somebody must act now.
        Critical = "critical",
        /// Somebody should look at it.
        Warning = "warning",
    }
}

named! {
    /// Where an alert is in its life.
    pub enum State {
        /// It was told.
        Firing = "firing",
        /// The condition holds, but not for long enough.
        Pending = "pending",
        /// It fired, and the condition is gone.
        Resolved = "resolved",
    }
}

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Which alert.
    pub alert: AlertName,
    /// The group; or `host`, a cgroup's path, `user NAME`, `pid namespace N` whose limit it is.
    pub group: Arc<str>,
    /// The limit, of the alerts that are about one.
    pub limit: Option<Limit>,
    /// Who that limit applies to.
    pub scope: Option<Scope>,
}

impl Subject {
    /// Whether it is a limit that every sample tells of for as long as it is there: of those of one process it tells
    /// the nearest.
    pub fn is_always_told(&self) -> bool {
        let is_limit = matches!(self.alert, AlertName::ThreadLimitNear | AlertName::ThreadLimitExhaustionSoon);
        is_limit && self.scope != Some(Scope::Process)
    }
}

/// An alert. Value and texts of one about a limit that processes share are those of now, or of before it was gone; of
/// others those of when the condition held last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// What it says.
    pub alert: AlertName,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: State,
    /// The group; or `host`, a cgroup's path, `user NAME`, `pid namespace N` whose limit it is.
    pub group: Arc<str>,
    /// The limit, of the alerts that are about one.
    pub limit: Option<Limit>,
    /// Who that limit applies to.
    pub scope: Option<Scope>,
    /// The figure, in the unit of the rule's threshold.
    pub value: f64,
    /// The threshold that it reached.
    pub threshold: f64,
    /// What, where and how much, in one line.
    pub summary: Arc<str>,
    /// What to do.
    pub advice: Arc<str>,
    /// Since when it is pending or fires, or from when on it fired, in seconds since the Unix epoch.
    pub since: f64,
    /// When it was resolved.
    pub resolved_at: Option<f64>,
}

/// Requests to one Alertmanager since it was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationCount {
    /// Its URL, without user and password.
    pub alertmanager: Arc<str>,
    /// All requests.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
}
