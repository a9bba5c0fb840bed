//! An alert as everybody sees it: the snapshot, the log, the metrics, an Alertmanager.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{Limit, Scope};

/// The alerts, by what they say. One for each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertName {
    /// `limit_use`.
    ThreadLimitNear,
    /// `exhaustion`.
    ThreadLimitExhaustionSoon,
    /// `clone_failures`.
    CloneFailures,
    /// `runqueue_latency`.
    RunQueueLatencyHigh,
    /// `kernel_stack_depth`.
    KernelStackDeep,
    /// `short_lived_threads`.
    ShortLivedThreads,
    /// `switch_overhead`.
    ContextSwitchOverhead,
}

impl AlertName {
    /// The value of the label `alertname`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ThreadLimitNear => "ThreadLimitNear",
            Self::ThreadLimitExhaustionSoon => "ThreadLimitExhaustionSoon",
            Self::CloneFailures => "CloneFailures",
            Self::RunQueueLatencyHigh => "RunQueueLatencyHigh",
            Self::KernelStackDeep => "KernelStackDeep",
            Self::ShortLivedThreads => "ShortLivedThreads",
            Self::ContextSwitchOverhead => "ContextSwitchOverhead",
        }
    }
}

/// How bad it is. Each is an alert of its own: a critical one does not end the warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody must act now.
    Critical,
    /// Somebody should look at it.
    Warning,
}

impl Severity {
    /// The value of the label `severity`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was told.
    Firing,
    /// The condition holds, but not for long enough.
    Pending,
    /// It fired, and the condition is gone.
    Resolved,
}

impl State {
    /// Its name in JSON and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Pending => "pending",
            Self::Resolved => "resolved",
        }
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
    /// Whom that limit holds for.
    pub scope: Option<Scope>,
}

impl Subject {
    /// Whether it is a limit that every sample tells of for as long as it is there: of those of one process it tells the nearest.
    pub fn is_always_told(&self) -> bool {
        let is_limit = matches!(self.alert, AlertName::ThreadLimitNear | AlertName::ThreadLimitExhaustionSoon);
        is_limit && self.scope != Some(Scope::Process)
    }
}

/// An alert. Value and texts of one about a limit that processes share are those of now, or of before it was gone; of others those of when the
/// condition held last.
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
    /// Whom that limit holds for.
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
