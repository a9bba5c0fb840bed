//! An HTTP client that blocks its thread and makes no other one.

use std::{io::Read as _, time::Duration};

use ureq::{
    Agent, Error,
    config::Config,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::human::plain;

/// How much of a refusal is told.
const MAX_REASON_BYTES: u64 = 300;

/// Posts to one Alertmanager.
pub(super) struct Client {
    endpoint: String,
    agent: Agent,
}

impl Client {
    /// `url` may carry user and password.
    pub(super) fn new(url: &str, timeout: Duration) -> Self {
        let endpoint = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
        let is_https = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        let tls = is_https.then(tls_of_the_host);
        Self { endpoint, agent: config(tls.unwrap_or_default(), timeout).new_agent() }
    }

    /// Posts JSON. What is not a success is an error, in words.
    pub(super) fn post(&self, body: &[u8]) -> Result<(), String> {
        let request = self.agent.post(&self.endpoint).content_type("application/json");
        let mut response = request.send(body).map_err(reason)?;
        if response.status().is_success() {
            return Ok(());
        }
        let mut said = Vec::new();
        // What it had said until then will do.
        let _ = response.body_mut().as_reader().take(MAX_REASON_BYTES).read_to_end(&mut said);
        Err(format!("HTTP status {}: {}", response.status().as_u16(), plain(&String::from_utf8_lossy(&said)).trim()))
    }
}

/// A timeout of the whole, of a call or of the name's resolution would make it resolve names on a thread of their own,
/// and so would a proxy from the environment; there may be no other thread at the host's limit. The resolver has its
/// own timeouts, those of resolv.conf.
fn config(tls: TlsConfig, timeout: Duration) -> Config {
    Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .timeout_connect(Some(timeout))
        .timeout_send_request(Some(timeout))
        .timeout_send_body(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_recv_body(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("thread-probe/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The authorities that the host trusts, as those of a company are.
fn tls_of_the_host() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the host's authorities can't be read");
    }
    let roots: RootCerts = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).into();
    TlsConfig::builder().root_certs(roots).build()
}

fn reason(error: Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Timeout(phase) => format!("no answer in time ({phase})"),
        Error::HostNotFound => "no address for this host".to_owned(),
        // It would quote the URL, with its password.
        Error::BadUri(_) | Error::Http(_) => "the URL is not valid".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_makes_the_client_start_a_thread() {
        let config = config(TlsConfig::default(), Duration::from_secs(5));
        let timeouts = config.timeouts();
        assert_eq!((timeouts.global, timeouts.per_call, timeouts.resolve), (None, None, None));
        assert!(config.proxy().is_none());
    }

    #[test]
    fn the_authorities_of_the_host_are_loaded_for_https() {
        let there = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt").exists();
        let tls = tls_of_the_host();
        let certificates = match tls.root_certs() {
            RootCerts::Specific(certificates) => certificates.len(),
            _ => 0,
        };
        assert_eq!(certificates > 0, there);
    }
}
