//! Requests to one Alertmanager.

use std::time::Duration;

use crate::http_client::{self, reason, refusal};

/// Posts to one Alertmanager.
pub(super) struct Client(http_client::Client);

impl Client {
    /// `url` may carry user and password.
    pub(super) fn new(url: &str, timeout: Duration) -> Self {
        Self(http_client::Client::of_url(url, timeout))
    }

    /// Posts JSON. What is not a success is an error, in words.
    pub(super) fn post(&self, body: &[u8]) -> Result<(), String> {
        let request = self.0.post("/api/v2/alerts").content_type("application/json");
        let mut response = request.send(body).map_err(reason)?;
        if response.status().is_success() { Ok(()) } else { Err(refusal(&mut response)) }
    }
}
