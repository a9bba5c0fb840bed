//! What the service manager is told, by the protocol of sd_notify(3): ready, what is watched, alive, reloading, stopping.
//!
//! Alive is the daemon that takes samples *and* answers: the thread that answers says so when it has heard of a new sample.
//! The unit's WatchdogSec is how late a sample may be, so an interval of an hour needs no other unit.

use std::{
    env, future, io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::{config::Running, model::Model, server::Published};

/// It is not told more often: each status makes systemd send a signal on its bus. Less than a second, as one of two samples
/// a second apart is always a little early.
const MIN_PAUSE: Duration = Duration::from_millis(900);

/// The service manager, if one has started the daemon and wants to be told.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, PathBuf)>,
    /// How late a sample may be.
    patience: Option<Duration>,
    /// Where the daemon listens.
    addresses: String,
    latest: watch::Receiver<Published>,
    running: watch::Receiver<Running>,
    samples: u64,
    told: Instant,
}

impl ServiceManager {
    /// As the environment names it.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn from_environment(
        addresses: &[String],
        latest: watch::Receiver<Published>,
        running: watch::Receiver<Running>,
    ) -> io::Result<Self> {
        let socket =
            env::var_os("NOTIFY_SOCKET").map(|path| Ok::<_, io::Error>((socket()?, path.into()))).transpose()?;
        let (patience, addresses) = (sd_notify::watchdog_enabled(), addresses.join(" and "));
        Ok(Self { socket, patience, addresses, latest, running, samples: 1, told: Instant::now() })
    }

    /// The daemon answers, and has its first sample.
    pub fn ready(&self) {
        let status = self.status(self.latest.borrow().model());
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.set_watchdog();
    }

    /// Waits for the next sample, and tells of it.
    pub async fn tell_next_sample(&mut self) {
        if self.latest.changed().await.is_err() {
            // The sampling thread has ended. Why, comes another way.
            future::pending::<()>().await;
        }
        self.samples += 1;
        let status = self.status(self.latest.borrow().model());
        if self.told.elapsed() >= MIN_PAUSE {
            self.told = Instant::now();
            self.tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
        }
    }

    /// The configuration is about to be read again.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "reading CLOCK_MONOTONIC failed"),
        }
    }

    /// It was; the interval may be another.
    pub fn reloaded(&self) {
        self.tell(&[NotifyState::Ready]);
        self.set_watchdog();
    }

    /// The daemon is about to end.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("detaching the programs")]);
    }

    fn set_watchdog(&self) {
        if let Some(patience) = self.patience {
            let limit = self.running.borrow().config.interval.max(MIN_PAUSE) + patience;
            // Not NotifyState::WatchdogUsec, which holds 71 minutes.
            self.tell(&[NotifyState::Custom(&format!("WATCHDOG_USEC={}", limit.as_micros()))]);
        }
    }

    fn status(&self, model: &Model) -> String {
        let probe = &model.probe;
        let lost: u64 = probe.lost.iter().map(|lost| lost.count).sum();
        let clone = probe.programs.iter().find(|program| program.program == "clone");
        format!(
            "{} processes with {} threads; sample {} in {:.1} ms; lost {lost}; clone probe {}; listening on {}",
            model.host.processes,
            probe.sample_threads,
            self.samples,
            probe.sample_duration_seconds * 1e3,
            clone.map_or("none", |clone| clone.source.label()),
            self.addresses,
        )
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some((socket, path)) = &self.socket else { return };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send_to(message.as_bytes(), path) {
            tracing::warn!(path = %path.display(), %error, "telling the service manager failed");
        }
    }
}

/// Not `sd_notify::notify`: it would wait for a service manager that reads no more, and the daemon would no longer answer
/// on a host whose systemd has crashed, which keeps the socket open for ever.
fn socket() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
