//! Alerts as Alertmanager's API v2 takes them.

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;

use crate::{
    limits::{Limit, Scope},
    model::alert::AlertView,
    text::dates::{rfc3339, unix_seconds},
};

/// Alerts in one request.
pub(super) const MAX_ALERTS: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: Annotations<'a>,
    starts_at: String,
    ends_at: String,
}

#[derive(Serialize)]
struct Annotations<'a> {
    summary: &'a str,
    description: &'a str,
}

impl<'a> PostableAlert<'a> {
    fn new(alert: &'a AlertView, more_labels: &'a BTreeMap<String, String>, expires: f64) -> Self {
        let mut labels: BTreeMap<&str, &str> =
            more_labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // Last: they replace what the configuration named the same.
        labels.extend([
            ("alertname", alert.alert.label()),
            ("severity", alert.severity.label()),
            ("group", &*alert.group),
        ]);
        labels.extend(alert.limit.map(|limit| ("limit", Limit::label(limit))));
        labels.extend(alert.scope.map(|scope| ("scope", Scope::label(scope))));
        // An alert that ends before it starts, as after a step of the clock, is refused with all others.
        let ends = alert.resolved_at.unwrap_or(expires).max(alert.since);
        Self {
            labels,
            annotations: Annotations { summary: &alert.summary, description: &alert.advice },
            starts_at: rfc3339(alert.since),
            ends_at: rfc3339(ends),
        }
    }
}

/// The bodies of the requests that tell all alerts; none without one. An alert that fires ends when it `expires`,
/// unless it is sent again.
pub(super) fn bodies<'a>(
    alerts: &'a [AlertView],
    more_labels: &'a BTreeMap<String, String>,
    expires: SystemTime,
) -> impl Iterator<Item = serde_json::Result<Vec<u8>>> + 'a {
    let expires = unix_seconds(expires);
    alerts.chunks(MAX_ALERTS).map(move |alerts| {
        let postable: Vec<_> = alerts.iter().map(|alert| PostableAlert::new(alert, more_labels, expires)).collect();
        serde_json::to_vec(&postable)
    })
}
