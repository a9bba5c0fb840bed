//! Alerts: rules over the model, with a state for each subject.
//!
//! [`rules`] says what is to be seen in a model, [`engine`] what is new in that, [`notify`] tells Alertmanagers.
//! [`Alerting`] is all of them, for one daemon.

pub mod config;
mod describe;
pub mod engine;
pub mod notify;
pub mod rules;

use std::time::{Instant, SystemTime};

use self::{
    config::AlertsConfig,
    engine::{Engine, Now},
    notify::{Notifier, Timing},
};
use crate::{
    model::{
        Model,
        alert::{AlertView, Severity, State},
    },
    text::dates::rfc3339,
};

/// The alerts of a daemon.
pub struct Alerting {
    config: AlertsConfig,
    engine: Engine,
    notifier: Notifier,
}

impl Alerting {
    /// Starts with these rules, and with a thread if there is an Alertmanager to tell.
    pub fn new(config: AlertsConfig) -> Self {
        let mut alerting = Self {
            config: AlertsConfig::default(),
            engine: Engine::default(),
            notifier: Notifier::new(Timing::default()),
        };
        alerting.reconfigure(config);
        alerting
    }

    /// Replaces rules, Alertmanagers and labels; alerts stay unless their rule is off. An Alertmanager that can't be
    /// told is logged: the alerts are everywhere else.
    pub fn reconfigure(&mut self, config: AlertsConfig) {
        if let Err(error) = self.notifier.configure(&config) {
            tracing::error!(%error, "starting the notifier thread failed: no Alertmanager is told; reload to try again");
        }
        self.config = config;
        self.config.rules.switch_cost = self.config.rules.switch_cost.looked_up();
    }

    /// Evaluates the rules on a sample that was just taken, puts the alerts in it, logs what changed and tells it.
    pub fn apply(&mut self, model: &mut Model) {
        let changed = self.judge(model);
        changed.iter().for_each(log_transition);
        self.notifier.update(&model.alerts, changed.iter().any(|alert| alert.state != State::Pending));
        model.notifications = self.notifier.counts();
    }

    /// Evaluates the rules on a sample that was just taken and puts the alerts in it; tells nobody. Returns those that
    /// changed.
    pub fn judge(&mut self, model: &mut Model) -> Vec<AlertView> {
        let now = Now { instant: Instant::now(), time: SystemTime::now() };
        let changed = self.engine.evaluate(&self.config.rules, model, now);
        model.alerts = self.engine.alerts();
        model.alerts_suppressed = self.engine.suppressed();
        changed
    }
}

macro_rules! log_at {
    ($level:ident, $alert:expr) => {{
        let alert = $alert;
        tracing::event!(
            tracing::Level::$level,
            state = alert.state.label(),
            alert = alert.alert.label(),
            severity = alert.severity.label(),
            group = &*alert.group,
            limit = alert.limit.map(crate::limits::Limit::label),
            value = alert.value,
            threshold = alert.threshold,
            since = rfc3339(alert.since),
            advice = &*alert.advice,
            "{}",
            alert.summary
        );
    }};
}

/// A level is part of a log statement: it can't be a value.
fn log_transition(alert: &AlertView) {
    match (alert.state, alert.severity) {
        (State::Firing, Severity::Critical) => log_at!(ERROR, alert),
        (State::Firing, Severity::Warning) => log_at!(WARN, alert),
        (State::Resolved, _) => log_at!(INFO, alert),
        (State::Pending, _) => log_at!(DEBUG, alert),
    }
}
