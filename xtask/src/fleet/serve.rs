//! The targets: one server, a path for each, and the list of them as `http_sd` wants it.

use std::{net::TcpListener, sync::Arc, thread, time::Instant};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::header,
    response::IntoResponse,
    routing::get,
};
use serde_json::{Value, json};
use tower_http::{CompressionLevel, compression::CompressionLayer};

use super::exposition::Exposition;

/// In this time counters double.
const DOUBLING_SECONDS: f64 = 60.0;

/// Bytes of one answer.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) plain: usize,
    pub(super) compressed: usize,
}

/// Hosts that answer.
pub(super) struct Targets {
    port: u16,
}

struct Hosts {
    exposition: Exposition,
    count: u32,
    port: u16,
    started: Instant,
}

impl Targets {
    /// Serves them on a port of its own, until this process ends.
    ///
    /// # Errors
    /// There is no port.
    pub(super) fn serve(exposition: Exposition, count: u32) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let hosts = Arc::new(Hosts { exposition, count, port, started: Instant::now() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("targets".into()).spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router(hosts)).await
            })
        })?;
        Ok(Self { port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of one scrape, as text and as a Prometheus gets it.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn size_of_a_scrape(&self) -> Result<Size> {
        let url = format!("http://127.0.0.1:{}/targets/0/metrics", self.port);
        let bytes = |encoding: &str| -> Result<usize> {
            let mut answer = ureq::get(&url).header("accept-encoding", encoding).call().context("a target")?;
            Ok(answer.body_mut().with_config().limit(64 << 20).read_to_vec()?.len())
        };
        Ok(Size { plain: bytes("identity")?, compressed: bytes("gzip")? })
    }
}

fn router(hosts: Arc<Hosts>) -> Router {
    Router::new()
        .route("/targets", get(list))
        .route("/targets/{number}/metrics", get(metrics))
        // As the daemon does it.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(hosts)
}

async fn list(State(hosts): State<Arc<Hosts>>) -> Json<Value> {
    Json(target_groups(hosts.count, hosts.port))
}

/// A list of objects with targets and labels, all strings: https://prometheus.io/docs/prometheus/latest/http_sd/
fn target_groups(count: u32, port: u16) -> Value {
    let group = |number| {
        json!({
            "targets": [format!("127.0.0.1:{port}")],
            "labels": { "__metrics_path__": format!("/targets/{number}/metrics"), "instance": format!("host-{number:05}") },
        })
    };
    (0..count).map(group).collect()
}

async fn metrics(State(hosts): State<Arc<Hosts>>, Path(number): Path<u32>) -> impl IntoResponse {
    // Each at a speed of its own, so that no two hosts have the same numbers.
    let speed = 0.5 + f64::from(number % 1000) / 1000.0;
    let factor = 1.0 + hosts.started.elapsed().as_secs_f64() / DOUBLING_SECONDS * speed;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], hosts.exposition.grown(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_targets_has_the_format_of_http_sd() {
        let groups = target_groups(3, 9);
        let groups = groups.as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(groups.len(), 3);
        for group in groups {
            assert_eq!(group["targets"], json!(["127.0.0.1:9"]));
            let labels = group["labels"].as_object().into_iter().flatten();
            assert!(labels.clone().count() == 2 && labels.clone().all(|(_, value)| value.is_string()), "{group}");
        }
        assert_ne!(groups[0]["labels"], groups[1]["labels"]);
    }
}
