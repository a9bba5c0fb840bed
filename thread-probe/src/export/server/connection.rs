//! Connections: accepted, bounded in number and time, over TLS if the web configuration says so.

use std::{
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
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::{
    guard::{Guard, guard},
    watched::{Answers, LastMove, Watched},
};

const MAX_HEAD_BYTES: usize = 16 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of a listener at a time, at most.
pub const MAX_CONNECTIONS: usize = 64;
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Where all places are taken: who moved nothing for so long, or is there for so long, gives way;
const MAX_REST: Duration = Duration::from_millis(500);
const MAX_AGE: Duration = Duration::from_secs(10);
/// so often that is looked for; and after so long the next is refused.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How long after a connection could not be accepted that is tried again, and how long that is not said again.
const RETRY: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Serves who connects to an address, for ever.
pub(super) async fn serve_tcp(listener: TcpListener, router: Router, web: Option<Guard>, hall: Hall) {
    let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    let next = move |context: &mut task::Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    match web {
        None => accept(&address, next, hall, |stream| serve_http(stream, router.clone())).await,
        Some(web) => {
            let router = router.layer(middleware::from_fn_with_state(web.clone(), guard));
            accept(&address, next, hall, |stream| serve_guarded(stream, router.clone(), web.clone())).await;
        }
    }
}

/// Serves who may open the socket, for ever: they need no password.
pub(super) async fn serve_unix(listener: UnixListener, router: Router, hall: Hall) {
    let next = move |context: &mut task::Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    accept("the Unix socket", next, hall, |stream| serve_http(stream, router.clone())).await;
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
async fn accept<S, F>(
    address: &str,
    mut next: impl FnMut(&mut task::Context<'_>) -> Poll<io::Result<S>> + Send,
    hall: Hall,
    serve: impl Fn(Watched<S>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = Connections::new(hall.places);
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
        let last_move = LastMove::now();
        let stream = Watched::new(stream, last_move.clone(), hall.answers.clone());
        match connections.place().await {
            Some(place) => connections.add(last_move, place, serve(stream)),
            None => refuse(stream).await,
        }
    }
}

/// How many may come in at a time, and what all of them hold.
#[derive(Clone)]
pub(super) struct Hall {
    pub(super) places: usize,
    pub(super) answers: Answers,
}

/// The connections of a listener.
struct Connections {
    places: Arc<Semaphore>,
    all: Vec<(LastMove, AbortHandle)>,
}

impl Connections {
    fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), all: Vec::new() }
    }

    /// A place for a connection; those after it wait with the kernel meanwhile. Others end soon, or one that does
    /// nothing gives way. `None` if all are busy for as long as a client may wait.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        let deadline = Instant::now() + MAX_WAIT;
        while self.places.available_permits() == 0 && Instant::now() < deadline {
            self.all.retain(|(_, connection)| !connection.is_finished());
            let idle = self.all.iter().filter(|(moved, _)| moved.rest() > MAX_REST || moved.age() > MAX_AGE);
            if let Some((_, idle)) = idle.max_by_key(|(moved, _)| moved.rest()) {
                idle.abort();
            }
            // Until that one, or any, has left; or it is time to look again.
            let free = timeout(LOOK_EVERY, self.places.acquire()).await;
            drop(free);
        }
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    fn add(
        &mut self,
        last_move: LastMove,
        place: OwnedSemaphorePermit,
        serving: impl Future<Output = ()> + Send + 'static,
    ) {
        let connection = tokio::spawn(async move {
            if timeout(CONNECTION_TIMEOUT, serving).await.is_err() {
                tracing::debug!("connection closed: it was open for too long");
            }
            drop(place);
        });
        self.all.retain(|(_, connection)| !connection.is_finished());
        self.all.push((last_move, connection.abort_handle()));
    }
}

/// Says that there is no place, to who speaks HTTP; to others it is not worth a handshake.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain\r\n\
        Connection: close\r\nContent-Length: 37\r\n\r\ntoo many connections: ask again later\n";
    let answer = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        // What is closed with something unread is reset, and the answer may be lost.
        let mut request = [0; 4096];
        while stream.read(&mut request).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not listen misses it.
    let _ = timeout(LOOK_EVERY, answer).await;
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
async fn serve_guarded(stream: Watched<TcpStream>, router: Router, web: Guard) {
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
    Done(Box<TlsStream<Watched<TcpStream>>>),
    /// With HTTP.
    None(Watched<TcpStream>),
}

async fn handshake(stream: Watched<TcpStream>, tls: Arc<ServerConfig>) -> io::Result<Handshake> {
    let mut first = [0];
    // Methods of HTTP are in capitals; a handshake begins with 22.
    if stream.get_ref().peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
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
