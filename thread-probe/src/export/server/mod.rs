//! HTTP, over TCP and a Unix socket: `/metrics`, `/healthz`, `/api/v1/snapshot`, `/api/v1/alerts` and a landing page,
//! from the last sample.
//!
//! What a client can make the daemon hold is bounded: a head of 16 kB, 64 connections an address of at most a minute
//! each, of which an idle one goes when another comes. Bodies are rendered once a sample and shared, but for those with
//! the threads of a process, of which there are two at a time over TCP and two over the socket. Who reads slowly is
//! ended.

mod connection;
mod guard;
mod passwords;
mod socket;
mod watched;
pub mod web_config;

use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State as Extract, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
};
use tower_http::{CompressionLevel, compression::CompressionLayer};

use self::{
    connection::Hall,
    watched::{Answers, Counted},
};
pub use self::{
    connection::MAX_CONNECTIONS,
    guard::{Guard, open_web_config},
    socket::{SocketFile, bind_socket},
};
use crate::{
    config::Running,
    export::{json, metrics},
    model::{Model, OneProcess, alert::AlertView},
    sampler::Sampler,
};

/// Answers with the threads of a process that may be held at a time: each may be a hundred megabytes.
const MAX_THREAD_BODIES: usize = 2;

/// A sample, with what was rendered of it so far.
#[derive(Clone, Debug)]
pub struct Published(Arc<Rendered>);

#[derive(Debug)]
struct Rendered {
    model: Model,
    at: Instant,
    metrics: OnceLock<Bytes>,
    metrics_gzip: OnceLock<Bytes>,
    snapshot: OnceLock<Bytes>,
    alerts: OnceLock<Bytes>,
}

impl Published {
    /// Publishes a sample, taken now.
    pub fn new(model: Model) -> Self {
        Self(Arc::new(Rendered {
            model,
            at: Instant::now(),
            metrics: OnceLock::new(),
            metrics_gzip: OnceLock::new(),
            snapshot: OnceLock::new(),
            alerts: OnceLock::new(),
        }))
    }

    /// The sample itself.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    fn metrics(&self, answers: &Answers) -> Result<Bytes> {
        let render = || metrics::render(&self.0.model).context("rendering the metrics failed");
        once(&self.0.metrics, answers, render)
    }

    /// The same, compressed. The names and labels repeat: they shrink to a twentieth at the fastest level, and better ones
    /// cost more than they save.
    fn metrics_gzip(&self, answers: &Answers) -> Result<Bytes> {
        let plain = self.metrics(answers)?;
        let compress = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&plain).and_then(|()| encoder.finish()).context("compressing the metrics failed")
        };
        once(&self.0.metrics_gzip, answers, compress)
    }

    fn snapshot(&self, answers: &Answers) -> Result<Bytes> {
        let render = || json::to_vec(&self.0.model).context("rendering the snapshot failed");
        once(&self.0.snapshot, answers, render)
    }

    fn alerts(&self, answers: &Answers) -> Result<Bytes> {
        let Model { time_unix_seconds, alerts, alerts_suppressed, .. } = &self.0.model;
        let alerts = Alerts { time_unix_seconds: *time_unix_seconds, alerts, alerts_suppressed: *alerts_suppressed };
        once(&self.0.alerts, answers, || json::to_vec(&alerts).context("rendering the alerts failed"))
    }
}

impl AsRef<Model> for Published {
    fn as_ref(&self) -> &Model {
        self.model()
    }
}

fn once(rendered: &OnceLock<Bytes>, answers: &Answers, render: impl FnOnce() -> Result<Vec<u8>>) -> Result<Bytes> {
    if let Some(rendered) = rendered.get() {
        return Ok(rendered.clone());
    }
    let bytes = Bytes::from_owner(answers.count(render()?));
    Ok(rendered.get_or_init(|| bytes).clone())
}

/// The part of the snapshot that is about alerts.
#[derive(Serialize)]
struct Alerts<'a> {
    time_unix_seconds: f64,
    alerts: &'a [AlertView],
    alerts_suppressed: u64,
}

/// Asks the sampler for the threads of a process: it alone has them.
pub struct ThreadsRequest {
    pid: u32,
    reply: oneshot::Sender<OneProcess>,
}

impl ThreadsRequest {
    /// Answers from the last sample.
    pub fn answer(self, sampler: &Sampler) {
        // The client may be gone.
        let _ = self.reply.send(sampler.one_process(self.pid));
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct State {
    latest: watch::Receiver<Published>,
    requests: mpsc::Sender<ThreadsRequest>,
    running: watch::Receiver<Running>,
    telemetry_path: String,
    thread_bodies: Arc<Semaphore>,
    answers: Answers,
}

impl State {
    /// From the samples, the way to ask for more, and the configuration.
    pub fn new(
        latest: watch::Receiver<Published>,
        requests: mpsc::Sender<ThreadsRequest>,
        running: watch::Receiver<Running>,
    ) -> Self {
        let telemetry_path = running.borrow().config.web.telemetry_path.clone();
        let thread_bodies = Arc::new(Semaphore::new(MAX_THREAD_BODIES));
        Self { latest, requests, running, telemetry_path, thread_bodies, answers: Answers::default() }
    }

    /// For a listener of which others must take none: who may open the socket is not who reaches the port.
    fn with_places_of_its_own(&self) -> Self {
        Self { thread_bodies: Arc::new(Semaphore::new(MAX_THREAD_BODIES)), ..self.clone() }
    }

    fn latest(&self) -> Published {
        self.latest.borrow().clone()
    }

    /// A sample is fresh for two intervals and a second: one may be late, two mean that something is wrong.
    fn fresh_for(&self) -> Duration {
        2 * self.running.borrow().config.interval + Duration::from_secs(1)
    }
}

/// Binds every address.
///
/// # Errors
/// The first that can't be bound, by name.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address} failed; choose another --web.listen-address"))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves for ever; what comes over TCP as the web configuration says, if there is one.
/// `places` is how many connections each listener may have at a time.
pub async fn run(
    listeners: Vec<TcpListener>,
    socket: Option<UnixListener>,
    state: State,
    web: Option<Guard>,
    places: usize,
) {
    let hall = Hall { places, answers: state.answers.clone() };
    let mut accepting = tokio::task::JoinSet::new();
    if let Some(listener) = socket {
        let router = router(state.with_places_of_its_own());
        accepting.spawn(connection::serve_unix(listener, router, hall.clone()));
    }
    let router = router(state);
    for listener in listeners {
        accepting.spawn(connection::serve_tcp(listener, router.clone(), web.clone(), hall.clone()));
    }
    accepting.join_all().await;
}

/// The routes.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(landing_page))
        .route("/healthz", get(healthz))
        .route("/api/v1/snapshot", get(snapshot))
        .route("/api/v1/alerts", get(alerts))
        .route(&state.telemetry_path, get(telemetry))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(state)
}

async fn telemetry(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    // The text format of Prometheus, version 0.0.4.
    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    if !accepts_gzip(&headers) {
        return body(state.latest().metrics(&state.answers), TYPE);
    }
    // Once a sample, whoever asks: two servers that scrape the same are the rule.
    let compressed = body(state.latest().metrics_gzip(&state.answers), TYPE);
    let is_compressed = compressed.status() == StatusCode::OK;
    let how = [(header::CONTENT_ENCODING, "gzip"), (header::VARY, "accept-encoding")];
    if is_compressed { (how, compressed).into_response() } else { compressed }
}

/// Whether gzip is named among what the client accepts, and not refused by `q=0`: RFC 9110, 12.5.3.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let is_gzip = |coding: &str| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    };
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(is_gzip)
}

async fn alerts(Extract(state): Extract<State>) -> Response {
    body(state.latest().alerts(&state.answers), "application/json")
}

async fn healthz(Extract(state): Extract<State>) -> Response {
    let age = state.latest().0.at.elapsed();
    let text = format!("last sample {:.1} s ago\n", age.as_secs_f64());
    let status = if age <= state.fresh_for() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotQuery {
    pid: Option<u32>,
}

/// The model, with more of one process.
#[derive(Serialize)]
pub(crate) struct SnapshotOfProcess<'a> {
    #[serde(flatten)]
    pub(crate) model: &'a Model,
    #[serde(flatten)]
    pub(crate) process: OneProcess,
}

/// A body of its own, of which there may be few: it gives its place back when the last of it was sent.
struct HeldBody {
    json: Counted,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        self.json.as_ref()
    }
}

async fn snapshot(
    Extract(state): Extract<State>,
    query: std::result::Result<Query<SnapshotQuery>, QueryRejection>,
) -> Response {
    let pid = match query {
        Ok(Query(query)) => query.pid,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &format!("the query is not ?pid=NUMBER: {error}")),
    };
    let published = state.latest();
    let Some(pid) = pid else {
        return body(published.snapshot(&state.answers), "application/json");
    };
    let Ok(permit) = Arc::clone(&state.thread_bodies).try_acquire_owned() else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "too many answers with threads are being sent: ask again");
    };
    let (reply, process) = oneshot::channel();
    if state.requests.try_send(ThreadsRequest { pid, reply }).is_err() {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "too many requests for threads wait for the sampler");
    }
    let process = process.await.unwrap_or_default();
    if process.threads.is_empty() {
        return failure(StatusCode::NOT_FOUND, &format!("no process {pid} in the last sample"));
    }
    let json = json::to_vec(&SnapshotOfProcess { model: &published.0.model, process });
    let held = json.map(|json| Bytes::from_owner(HeldBody { json: state.answers.count(json), _permit: permit }));
    body(held.context("rendering the snapshot failed"), "application/json")
}

fn body(content: Result<Bytes>, content_type: &'static str) -> Response {
    match content {
        Ok(bytes) => ([(header::CONTENT_TYPE, content_type)], Body::from(bytes)).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

fn failure(status: StatusCode, error: &str) -> Response {
    let json = serde_json::json!({ "error": error }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}

async fn landing_page(Extract(state): Extract<State>) -> Response {
    let published = state.latest();
    let model = &published.0.model;
    let mut programs = String::new();
    for program in model.probe.programs.iter() {
        // Writing to a String never fails.
        let _ = write!(
            programs,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            program.program,
            program.source.label(),
            escape(&program.reason)
        );
    }
    let page = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>thread-probe</title></head><body>\
         <h1>thread-probe {version}</h1>\
         <p>{threads} threads in {processes} processes and {groups} groups; last sample {age:.1} s ago.</p>\
         <ul><li><a href=\"{path}\">metrics</a></li><li><a href=\"/api/v1/snapshot\">snapshot (JSON)</a></li>\
         <li><a href=\"/api/v1/alerts\">alerts (JSON)</a></li>\
         <li><a href=\"/healthz\">health</a></li></ul>\
         <h2>Programs</h2><table><tr><th>program</th><th>source</th><th>why</th></tr>{programs}</table>\
         </body></html>\n",
        version = model.version,
        threads = model.host.threads.total,
        processes = model.host.processes,
        groups = model.groups.len(),
        age = published.0.at.elapsed().as_secs_f64(),
        path = state.telemetry_path,
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
