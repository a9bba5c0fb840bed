//! Connections: accepted, bounded in number and time, over TLS if the web configuration says so.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    sync::Arc,
    task::{self, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{StatusCode, header},
    middleware,
    response::IntoResponse,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, rt::TokioTimer, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::guard::{Guard, guard};

const MAX_HEAD_BYTES: usize = 16 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: usize = 64;
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after a connection could not be accepted that is tried again, and how long that is not said again.
const RETRY: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Serves who connects to an address, for ever.
pub(super) async fn serve_tcp(listener: TcpListener, router: Router, web: Option<Guard>) {
    let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    let next = move |context: &mut task::Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    match web {
        None => accept(&address, next, |stream| serve_http(stream, router.clone())).await,
        Some(web) => {
            let router = router.layer(middleware::from_fn_with_state(web.clone(), guard));
            accept(&address, next, |stream| serve_guarded(stream, router.clone(), web.clone())).await;
        }
    }
}

/// Serves who may open the socket, for ever: they need no password.
pub(super) async fn serve_unix(listener: UnixListener, router: Router) {
    let next = move |context: &mut task::Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    accept("the Unix socket", next, |stream| serve_http(stream, router.clone())).await;
}

/// When something that goes on and on is said again.
#[derive(Default)]
struct Sayings(Option<Instant>);

impl Sayings {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|said| now.duration_since(said) >= SAY_EVERY);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// Serves what the listener at an address hands out.
async fn accept<S, F: Future<Output = ()> + Send + 'static>(
    address: &str,
    mut next: impl FnMut(&mut task::Context<'_>) -> Poll<io::Result<S>> + Send,
    serve: impl Fn(S) -> F,
) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    let mut failures = Sayings::default();
    loop {
        let stream = match poll_fn(&mut next).await {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors: those of other clients come back.
                if failures.is_due(Instant::now()) {
                    tracing::warn!(address, %error, "accepting a connection failed: trying again, and saying so once a minute");
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let serving = serve(stream);
        let connection = tokio::spawn(async {
            if timeout(CONNECTION_TIMEOUT, serving).await.is_err() {
                tracing::debug!("connection closed: it was open for too long");
            }
        });
        connections.push_back(connection.abort_handle());
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection");
    }
}

/// As the web configuration says that is in force when the connection is made.
async fn serve_guarded(stream: TcpStream, router: Router, web: Guard) {
    let Some(tls) = web.settings().tls.clone() else { return serve_http(stream, router).await };
    match timeout(HANDSHAKE_TIMEOUT, handshake(stream, tls)).await {
        Ok(Ok(Handshake::Done(stream))) => serve_http(stream, router).await,
        Ok(Ok(Handshake::None(stream))) => serve_http(stream, Router::new().fallback(get_tls)).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
        Err(_) => tracing::debug!("connection closed: its TLS handshake took too long"),
    }
}

/// How a connection begins where TLS is spoken.
enum Handshake {
    Done(Box<TlsStream<TcpStream>>),
    /// With HTTP.
    None(TcpStream),
}

async fn handshake(stream: TcpStream, tls: Arc<ServerConfig>) -> io::Result<Handshake> {
    let mut first = [0];
    // Methods of HTTP are in capitals; a handshake begins with 22.
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        return Ok(Handshake::None(stream));
    }
    Ok(Handshake::Done(Box::new(TlsAcceptor::from(tls).accept(stream).await?)))
}

/// For who speaks HTTP without TLS; in the words of Go's servers.
async fn get_tls() -> impl IntoResponse {
    let close = [(header::CONNECTION, "close")];
    (StatusCode::BAD_REQUEST, close, "Client sent an HTTP request to an HTTPS server.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_said_at_once_and_then_once_a_minute() {
        let (mut sayings, start) = (Sayings::default(), Instant::now());
        let said = (0..1300).filter(|tries| sayings.is_due(start + RETRY * *tries)).collect::<Vec<_>>();
        assert_eq!(said, [0, 600, 1200]);
    }
}
