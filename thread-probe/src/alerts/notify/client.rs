//! Requests to one Alertmanager.

use std::time::Duration;

use ureq::Agent;

use crate::http_client::{agent, reason, refusal};

/// Posts to one Alertmanager.
pub(super) struct Client {
    endpoint: String,
    agent: Agent,
}

impl Client {
    /// `url` may carry user and password.
    pub(super) fn new(url: &str, timeout: Duration) -> Self {
        let endpoint = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
        Self { endpoint, agent: agent(url, timeout) }
    }

    /// Posts JSON. What is not a success is an error, in words.
    pub(super) fn post(&self, body: &[u8]) -> Result<(), String> {
        let request = self.agent.post(&self.endpoint).content_type("application/json");
        let mut response = request.send(body).map_err(reason)?;
        if response.status().is_success() { Ok(()) } else { Err(refusal(&mut response)) }
    }
}
