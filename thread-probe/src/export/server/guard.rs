//! Who may ask over TCP, as the web configuration says; and what each answer has.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    passwords::{Credentials, Passwords},
    web_config::{LiveWebConfig, Settings},
};
use crate::config::WebConfig;

/// Reads the web configuration, if there is one, while its files can still be read. Warns where anybody may ask.
///
/// # Errors
/// What is wrong with it, and where.
pub fn open_web_config(config: &WebConfig) -> Result<Option<LiveWebConfig>> {
    let Some(path) = &config.config_file else {
        Settings::default().warn_of_what_is_open(&config.listen_addresses);
        return Ok(None);
    };
    Ok(Some(LiveWebConfig::open(path, &config.listen_addresses)?))
}

/// A web configuration, and who checks passwords by it.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    live: LiveWebConfig,
    passwords: Passwords,
}

impl Guard {
    /// Guards by a web configuration that was read before privileges were dropped. Starts a thread.
    ///
    /// # Errors
    /// The host refuses it.
    pub fn start(live: LiveWebConfig) -> Result<Self> {
        live.warn_if_unreadable();
        Ok(Self(Arc::new(Inner { live, passwords: Passwords::start()? })))
    }

    /// Reads the web configuration again.
    pub fn reload(&self) {
        self.0.live.reload();
    }

    /// What is in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.0.live.settings()
    }

    async fn lets_in(&self, settings: &Settings, headers: &HeaderMap) -> bool {
        if settings.users.is_empty() {
            return true;
        }
        match credentials(headers) {
            Some(credentials) => self.0.passwords.are_right(&settings.users, credentials).await,
            None => false,
        }
    }
}

/// Answers who may ask.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let settings = guard.settings();
    let mut response =
        if guard.lets_in(&settings, request.headers()).await { next.run(request).await } else { unauthorized() };
    response.headers_mut().extend(settings.headers.clone());
    response
}

fn unauthorized() -> Response {
    let challenge = HeaderValue::from_static("Basic realm=\"thread-probe\", charset=\"UTF-8\"");
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], "Unauthorized\n").into_response()
}

/// `Authorization: Basic`, with user and password around a colon.
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some(Credentials { user: String::from_utf8(user).ok()?, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(authorization: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(authorization).ok()?);
        let Credentials { user, password } = credentials(&headers)?;
        Some((user, String::from_utf8(password).ok()?))
    }

    #[test]
    fn user_and_password_are_what_is_before_and_behind_the_first_colon() {
        let basic = |text: &str| read(&format!("Basic {}", BASE64_STANDARD.encode(text)));
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(basic("alice:secret"), pair("alice", "secret"));
        assert_eq!(basic("alice:a:b"), pair("alice", "a:b"));
        assert_eq!((basic(":"), basic("alice:")), (pair("", ""), pair("alice", "")));
        assert_eq!(read("bAsIc YTpi"), pair("a", "b"));
        assert_eq!(basic("alice"), None);
        for wrong in ["", "Basic", "Basic ", "Basic !", "Bearer YTpi", "YTpi"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
