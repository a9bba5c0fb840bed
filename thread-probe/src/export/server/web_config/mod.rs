//! `--web.config.file`: TLS, client certificates, passwords and headers, in the format of Prometheus's exporter
//! toolkit.
//!
//! [`file`] is the format; what is in it becomes [`Settings`], whole or not at all; [`live`] reads it again when it
//! changes.

mod client_certificates;
mod file;
mod live;
mod pem;
mod sources;
mod tls;

use std::{collections::BTreeMap, net::SocketAddr, path::Path, str::FromStr as _, sync::Arc};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bcrypt::HashParts;
use tokio_rustls::rustls::ServerConfig;

pub use self::live::LiveWebConfig;
use self::{
    file::{File, HttpSection, Text, mistake},
    pem::Place,
    sources::Sources,
};
use crate::config::{FileError, Mistake, file::content_and_mode};

/// What a web configuration asks for.
#[derive(Default)]
pub struct Settings {
    /// How connections are encrypted, if they are.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether who connects must have a certificate.
    pub requires_certificate: bool,
    /// What every answer has.
    pub headers: HeaderMap,
    /// Users and the hashes of their passwords; none if anybody may ask.
    pub users: BTreeMap<String, String>,
}

impl Settings {
    /// Whether not everybody who can connect may ask.
    fn has_authentication(&self) -> bool {
        self.requires_certificate || !self.users.is_empty()
    }

    /// What protects with these and would not with others.
    fn protections_not_in(&self, others: &Self) -> Vec<&'static str> {
        let kinds = [
            ("TLS", self.tls.is_some(), others.tls.is_some()),
            ("client certificates", self.requires_certificate, others.requires_certificate),
            ("passwords", !self.users.is_empty(), !others.users.is_empty()),
        ];
        kinds.into_iter().filter(|(_, here, there)| *here && !there).map(|(name, ..)| name).collect()
    }

    /// Says which addresses anybody could ask, or get passwords from.
    pub fn warn_of_what_is_open(&self, addresses: &[SocketAddr]) {
        for address in addresses.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
            if !self.has_authentication() {
                tracing::warn!(
                    "anybody who reaches {address} can read which processes and users this host has: ask for passwords \
                     or client certificates with --web.config.file, or listen on 127.0.0.1"
                );
            }
            if self.tls.is_none() && !self.users.is_empty() {
                tracing::warn!("passwords go to {address} in clear text: add tls_server_config to --web.config.file");
            }
        }
    }
}

/// Says whether a web configuration is valid, and the files that it names.
///
/// # Errors
/// What is wrong, and where.
pub fn check(path: &Path) -> Result<(), FileError> {
    load(path).1.map(|_| ())
}

/// What a web configuration asks for, and the files that this comes from, also where one of them is wrong.
fn load(path: &Path) -> (Sources, Result<Settings, FileError>) {
    let mut sources = Sources::default();
    sources.add(path);
    let read = |sources: &mut Sources| {
        let (content, mode) = content_and_mode(path)?;
        let place = Place { file: path, mode };
        let settings = file::parse(&content).and_then(|file| {
            files_of(&file).for_each(|name| sources.add(&place.path_of(&name.value)));
            settings(&file, &place)
        });
        settings.map_err(|mistake| FileError::Content { path: path.to_owned(), mistakes: vec![mistake] })
    };
    let outcome = read(&mut sources);
    (sources, outcome)
}

/// The files that it names.
fn files_of(file: &File) -> impl Iterator<Item = &Text> {
    let section = file.tls_server_config.as_ref().map(|section| &section.value);
    let files = section.map(|section| [&section.cert_file, &section.key_file, &section.client_ca_file]);
    files.into_iter().flatten().filter_map(|name| file::given(name.as_ref()))
}

fn settings(file: &File, place: &Place<'_>) -> Result<Settings, Mistake> {
    if let Some(given) = &file.rate_limit {
        let said = "not supported: connections and checks of passwords are limited without it";
        return Err(mistake(given, "rate_limit", said));
    }
    let mut settings = Settings::default();
    if let Some(section) = &file.tls_server_config
        && let Some(tls) = tls::tls(section, place)?
    {
        settings.tls = Some(tls.config);
        settings.requires_certificate = tls.requires_certificate;
    }
    if let Some(section) = &file.http_server_config {
        settings.headers = headers(section)?;
    }
    for (name, hash) in file.basic_auth_users.iter().flatten() {
        check_user(name, hash)?;
        settings.users.insert(name.clone(), hash.value.clone());
    }
    Ok(settings)
}

/// The headers there may be, and what they may say; anything where nothing is listed.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

fn headers(section: &HttpSection) -> Result<HeaderMap, Mistake> {
    if let Some(http2) = section.http2.as_ref().filter(|http2| http2.value) {
        return Err(mistake(http2, "http_server_config.http2", "HTTP/2 is not supported: must be false or left out"));
    }
    let mut headers = HeaderMap::new();
    for (name, text) in section.headers.iter().flatten().filter(|(_, text)| !text.value.is_empty()) {
        let wrong = |said: String| mistake(text, &format!("http_server_config.headers.{name}"), said);
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let known = HEADERS.map(|(known, _)| known).join(", ");
            return Err(wrong(format!("this header can't be set: those that can are {known}")));
        };
        if !allowed.is_empty() && !allowed.contains(&text.value.as_str()) {
            return Err(wrong(format!("must be {}", allowed.join(" or "))));
        }
        let value = HeaderValue::from_str(&text.value).map_err(|error| wrong(error.to_string()))?;
        let name = HeaderName::from_str(name).map_err(|error| wrong(error.to_string()))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A hash of this cost takes some seconds; each step doubles that.
const MAX_COST: u32 = 16;

fn check_user(name: &str, hash: &Text) -> Result<(), Mistake> {
    let wrong = |said: String| mistake(hash, &format!("basic_auth_users.{name}"), said);
    if name.contains(':') {
        return Err(wrong("a name with a colon can't be sent: choose another".to_owned()));
    }
    let parts = HashParts::from_str(&hash.value)
        .map_err(|error| wrong(format!("not a bcrypt hash, as `htpasswd -nBC 10 NAME` prints one: {error}")))?;
    if !(4..=MAX_COST).contains(&parts.get_cost()) {
        return Err(wrong(format!("the cost of the hash is {}: must be from 4 to {MAX_COST}", parts.get_cost())));
    }
    Ok(())
}
