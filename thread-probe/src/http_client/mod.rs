//! An HTTP client that blocks its thread and makes no other one; over TCP, TLS or a Unix socket.

mod unix;

use std::{io::Read as _, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use ureq::{
    Agent, Body, Error, RequestBuilder,
    config::Config,
    http::header::AUTHORIZATION,
    tls::{Certificate, RootCerts, TlsConfig},
    typestate::{WithBody, WithoutBody},
    unversioned::resolver::DefaultResolver,
};

use self::unix::UnixConnector;
pub(crate) use self::unix::connect;
use crate::text::human::plain;

/// How much of a refusal is shown.
const MAX_REASON_BYTES: u64 = 300;

/// A client of one server.
pub(crate) struct Client {
    agent: Agent,
    /// Its URL, without user and password and without a `/` at the end.
    base: String,
    authorization: Option<String>,
}

impl Client {
    /// Of `url`, which may carry user and password. `timeout` is for each part of a request: to connect, to send, to
    /// receive.
    pub(crate) fn of_url(url: &str, timeout: Duration) -> Self {
        let is_https = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        let tls = is_https.then(tls_of_the_host);
        let agent = config(tls.unwrap_or_default(), timeout).new_agent();
        let base = without_userinfo(url).trim_end_matches('/').to_owned();
        Self { agent, base, authorization: authorization(url) }
    }

    /// Of the server on a Unix socket.
    pub(crate) fn of_socket(path: &Path, timeout: Duration) -> Self {
        let config = config(TlsConfig::default(), timeout);
        let agent = Agent::with_parts(config, UnixConnector::new(path), DefaultResolver::default());
        // The host is not used, but it must be an address, or a name would be looked up.
        Self { agent, base: "http://127.0.0.1".to_owned(), authorization: None }
    }

    /// A question for what is at a path.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder<WithoutBody> {
        self.authorized(self.agent.get(self.url(path)))
    }

    /// Something to be posted to a path.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder<WithBody> {
        self.authorized(self.agent.post(self.url(path)))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
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

/// Why a request failed, in words and without the URL.
pub(crate) fn reason(error: Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Timeout(phase) => format!("no answer in time ({phase})"),
        Error::HostNotFound => "no address for this host".to_owned(),
        Error::BodyExceedsLimit(bytes) => format!("the answer has more than {bytes} bytes"),
        // It would quote the URL, with its password.
        Error::BadUri(_) | Error::Http(_) => "the URL is not valid".to_owned(),
        other => other.to_string(),
    }
}

/// What an answer that is no success says.
pub(crate) fn refusal(response: &mut ureq::http::Response<Body>) -> String {
    let mut said = Vec::new();
    // What it had said until then will do.
    let _ = response.body_mut().as_reader().take(MAX_REASON_BYTES).read_to_end(&mut said);
    let status = response.status().as_u16();
    format!("HTTP status {status}: {}", plain(&String::from_utf8_lossy(&said)).trim())
}

/// Without user and password, to be shown: `http://user:secret@host/path` is shown as `http://host/path`.
pub(crate) fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}{path}")
}

/// A text with `***` in place of the passwords of URLs in it.
pub(crate) fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from) = rest.split_at(at + 3);
        shown.push_str(before);
        // A password may have anything in it but what ends the URL.
        let (url, after) = from.split_at(from.find([' ', '\'', '"', '\n']).unwrap_or(from.len()));
        match url.rsplit_once('@').map(|(userinfo, host)| (userinfo.split_once(':'), host)) {
            Some((Some((user, _)), host)) => shown.extend([user, ":***@", host]),
            _ => shown.push_str(url),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// `Authorization` for the user and password in a URL, where `%40` is an `@`. ureq by itself would send the `%40`.
fn authorization(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let sent: Vec<u8> = percent_decode_str(name).chain([b':']).chain(percent_decode_str(password)).collect();
    Some(format!("Basic {}", BASE64_STANDARD.encode(sent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_whatever_is_in_it() {
        for (text, shown) in [
            ("'http://u:p/a@ss@host/x' is wrong", "'http://u:***@host/x' is wrong"),
            ("[\"http://u:p@a\", \"https://b:1/c\"]\n", "[\"http://u:***@a\", \"https://b:1/c\"]\n"),
            ("http://user@host and no URL", "http://user@host and no URL"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn user_and_password_of_a_url_are_sent_as_they_are() {
        for (url, sent) in [
            ("http://a:1/x@y", None),
            ("https://me:secret@a", Some("me:secret")),
            ("https://me@a/b", Some("me:")),
            ("https://me:a%3Ab%40%25@a", Some("me:a:b@%")),
        ] {
            let expected = sent.map(|sent| format!("Basic {}", BASE64_STANDARD.encode(sent)));
            assert_eq!(authorization(url), expected, "{url}");
        }
    }

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

    #[test]
    fn user_and_password_are_not_told() {
        for (url, told) in [
            ("http://a:9093", "http://a:9093"),
            ("https://me:s@cret@a/b@c", "https://a/b@c"),
            ("http://me@[::1]:9093/x", "http://[::1]:9093/x"),
        ] {
            assert_eq!(without_userinfo(url), told);
        }
    }
}
