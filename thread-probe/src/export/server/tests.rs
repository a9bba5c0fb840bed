//! The routes, without a socket: what a client gets for what it asks.

use std::io::Read as _;

use axum::http::{HeaderValue, Method, Request, request};
use flate2::read::GzDecoder;
use tower::ServiceExt as _;

use super::*;
use crate::{
    config::Config,
    model::alert,
    testing::{self, empty_model},
};

fn running(interval: Duration) -> (watch::Sender<Running>, watch::Receiver<Running>) {
    watch::channel(Running::new(Config { interval, ..Config::default() }))
}

/// Asks the routes of a daemon whose samples are due every `interval`.
fn ask(interval: Duration, method: Method, path: &str) -> Option<(StatusCode, String)> {
    let (status, _, body) = answer(interval, Request::builder().method(method).uri(path))?;
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// What a daemon whose samples are due every `interval` answers: status, encoding and body.
fn answer(interval: Duration, request: request::Builder) -> Option<(StatusCode, Option<HeaderValue>, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let mut model = empty_model();
        model.alerts = vec![testing::alert(alert::State::Firing, "/a")];
        let (_models, latest) = watch::channel(Published::new(model));
        let (requests, _pending) = mpsc::channel(1);
        let (_running, config) = running(interval);
        let state = State::new(latest, requests, config);
        let answer = router(state).oneshot(request.body(Body::empty()).ok()?).await.ok()?;
        let (status, encoding) = (answer.status(), answer.headers().get(header::CONTENT_ENCODING).cloned());
        Some((status, encoding, axum::body::to_bytes(answer.into_body(), 1 << 20).await.ok()?))
    })
}

fn status_of(method: Method, path: &str) -> Option<StatusCode> {
    ask(Duration::from_secs(5), method, path).map(|(status, _)| status)
}

#[test]
fn get_and_head_are_answered_and_nothing_else() {
    for path in ["/", "/metrics", "/healthz", "/api/v1/snapshot", "/api/v1/alerts"] {
        assert_eq!(status_of(Method::GET, path), Some(StatusCode::OK), "{path}");
        assert_eq!(status_of(Method::HEAD, path), Some(StatusCode::OK), "{path}");
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert_eq!(status_of(method, path), Some(StatusCode::METHOD_NOT_ALLOWED), "{path}");
        }
    }
    assert_eq!(status_of(Method::GET, "/nothing"), Some(StatusCode::NOT_FOUND));
}

#[test]
fn who_accepts_gzip_gets_the_same_compressed() {
    let interval = Duration::from_secs(5);
    let plain = Request::builder().uri("/metrics");
    let gzip = Request::builder().uri("/metrics").header(header::ACCEPT_ENCODING, "gzip");
    let (_, plain_encoding, plain) = answer(interval, plain).unwrap_or_default();
    let (_, gzip_encoding, gzip) = answer(interval, gzip).unwrap_or_default();
    assert_eq!((plain_encoding, gzip_encoding), (None, Some(HeaderValue::from_static("gzip"))));
    assert!(gzip.len() < plain.len() / 2, "{} of {} bytes", gzip.len(), plain.len());
    let mut decoded = String::new();
    assert!(GzDecoder::new(&*gzip).read_to_string(&mut decoded).is_ok());
    let own = |text: &str| {
        text.lines().filter(|line| line.starts_with("threadprobe_")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(own(&decoded), own(&String::from_utf8_lossy(&plain)));
}

#[test]
fn gzip_is_what_is_named_and_not_refused_and_is_made_once_a_sample() {
    let accepts = |value: &'static str| {
        accepts_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
    };
    assert_eq!(["gzip", "br, GZIP;q=0.5", "deflate,gzip"].map(accepts), [true; 3]);
    assert_eq!(["", "br", "gzip;q=0", "gzip; q=0.0", "gzip;q=x", "gzipped"].map(accepts), [false; 6]);
    let (published, answers) = (Published::new(empty_model()), Answers::default());
    let places = [0, 1].map(|_| published.metrics_gzip(&answers).map(|bytes| bytes.as_ptr().addr()).ok());
    assert!(places[0].is_some() && places[0] == places[1]);
}

#[test]
fn a_head_has_no_body() {
    assert_eq!(ask(Duration::from_secs(5), Method::HEAD, "/metrics"), Some((StatusCode::OK, String::new())));
}

#[test]
fn alerts_are_those_of_the_snapshot() {
    let json = |path| {
        let (_, text) = ask(Duration::from_secs(5), Method::GET, path)?;
        serde_json::from_str::<serde_json::Value>(&text).ok()
    };
    let (snapshot, alerts) = (json("/api/v1/snapshot"), json("/api/v1/alerts"));
    let fields = alerts.as_ref().and_then(|alerts| alerts.as_object());
    assert_eq!(fields.map(serde_json::Map::len), Some(3));
    for (name, value) in fields.into_iter().flatten() {
        assert!(name == "time_unix_seconds" || snapshot.as_ref().is_some_and(|all| all[name] == *value), "{name}");
    }
}

#[test]
fn a_query_that_is_no_pid_is_a_bad_request_that_says_so() {
    let answer = ask(Duration::from_secs(5), Method::GET, "/api/v1/snapshot?pid=me");
    assert!(answer.is_some_and(|(status, text)| status == StatusCode::BAD_REQUEST && text.contains("?pid=NUMBER")));
}

#[test]
fn health_ends_when_samples_are_overdue() {
    let fresh = ask(Duration::from_secs(5), Method::GET, "/healthz").map(|(status, _)| status);
    assert_eq!(fresh, Some(StatusCode::OK));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (models, latest) = watch::channel(Published::new(empty_model()));
    let old = Instant::now().checked_sub(Duration::from_secs(3));
    models.send_modify(|published| {
        *published = Published(Arc::new(Rendered {
            model: empty_model(),
            at: old.unwrap_or_else(Instant::now),
            metrics: OnceLock::new(),
            metrics_gzip: OnceLock::new(),
            snapshot: OnceLock::new(),
            alerts: OnceLock::new(),
        }));
    });
    let (requests, _pending) = mpsc::channel(1);
    let (running, config) = running(Duration::from_millis(500));
    let state = State::new(latest, requests, config);
    let ask = |state| runtime.as_ref().map(|runtime| runtime.block_on(healthz(Extract(state))).status()).ok();
    assert_eq!(ask(state.clone()), Some(StatusCode::SERVICE_UNAVAILABLE));
    // A longer interval makes it fresh again.
    running.send_replace(Running::new(Config::default()));
    assert_eq!(ask(state), Some(StatusCode::OK));
}

#[test]
fn the_landing_page_shows_what_a_program_said_without_becoming_markup() {
    assert_eq!(escape("<b> & c"), "&lt;b&gt; &amp; c");
}
