//! The routes, without a socket: what a client gets for what it asks.

use std::sync::Arc;

use axum::http::{Method, Request};
use tower::ServiceExt as _;

use super::*;
use crate::{
    config::Config,
    grouping::{GroupBy, Grouper},
    ledger::Ledger,
    model::{ConfigStatus, SampleFacts},
    sample::{HostCounters, ThreadCost},
};

fn empty_model() -> Model {
    let mut ledger = Ledger::new(Grouper::new(GroupBy::Comm), 10, Duration::from_secs(600));
    ledger.begin_scan(1);
    ledger.finish_sample();
    let facts = SampleFacts {
        time: std::time::SystemTime::now(),
        interval: None,
        duration: Duration::ZERO,
        threads: 0,
        group_by: GroupBy::Comm,
        counters: &HostCounters::default(),
        cost: ThreadCost { stack_bytes: 0, task_struct_bytes: 0, task_struct_from_slab: true, probe_bytes: 0 },
        programs: &Arc::from([]),
        config: ConfigStatus::loaded(std::time::SystemTime::UNIX_EPOCH),
    };
    Model::build(&mut ledger, &crate::limits::Evaluation::default(), &facts)
}

fn running(interval: Duration) -> (watch::Sender<Running>, watch::Receiver<Running>) {
    watch::channel(Running::new(Config { interval, ..Config::default() }))
}

/// Asks the routes of a daemon whose samples are due every `interval`.
fn ask(interval: Duration, method: Method, path: &str) -> Option<(StatusCode, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let (_models, latest) = watch::channel(Published::new(empty_model()));
        let (requests, _pending) = mpsc::channel(1);
        let (_running, config) = running(interval);
        let state = State::new(latest, requests, config);
        let request = Request::builder().method(method).uri(path).body(Body::empty()).ok()?;
        let answer = router(state).oneshot(request).await.ok()?;
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.ok()?;
        Some((status, String::from_utf8_lossy(&bytes).into_owned()))
    })
}

fn status_of(method: Method, path: &str) -> Option<StatusCode> {
    ask(Duration::from_secs(5), method, path).map(|(status, _)| status)
}

#[test]
fn get_and_head_are_answered_and_nothing_else() {
    for path in ["/", "/metrics", "/healthz", "/api/v1/snapshot"] {
        assert_eq!(status_of(Method::GET, path), Some(StatusCode::OK), "{path}");
        assert_eq!(status_of(Method::HEAD, path), Some(StatusCode::OK), "{path}");
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert_eq!(status_of(method, path), Some(StatusCode::METHOD_NOT_ALLOWED), "{path}");
        }
    }
    assert_eq!(status_of(Method::GET, "/nothing"), Some(StatusCode::NOT_FOUND));
}

#[test]
fn a_head_has_no_body() {
    assert_eq!(ask(Duration::from_secs(5), Method::HEAD, "/metrics"), Some((StatusCode::OK, String::new())));
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
            snapshot: OnceLock::new(),
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
