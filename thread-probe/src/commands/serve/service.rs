//! Notifications to the service manager, by the protocol of sd_notify(3): ready, watchdog, status, reloading,
//! stopping.
//!
//! Alive is the daemon that takes samples *and* answers: the thread that answers says so when it has heard of a new
//! sample. The unit's WatchdogSec is how late a sample may be, so an interval of an hour needs no other unit.

use std::{
    collections::VecDeque,
    env,
    ffi::OsStr,
    future, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::{sync::watch, time::timeout};

use crate::{config::Running, export::server::Published, model::Model};

/// It is not told more often: each status makes systemd send a signal on its bus. Less than a second, as one of two
/// samples a second apart is always a little early.
const MIN_PAUSE: Duration = Duration::from_millis(900);
/// What could not be sent is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// What every message begins with that says no more than that the daemon is alive.
const ALIVE: &str = "WATCHDOG=1\n";

/// The service manager, if one has started the daemon and wants notifications.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How late a sample may be.
    patience: Option<Duration>,
    /// Where the daemon listens.
    addresses: String,
    latest: watch::Receiver<Published>,
    running: watch::Receiver<Running>,
    told: Instant,
    /// What could not be sent yet, in its order: systemd would wait for what is missing, and then end the daemon.
    untold: VecDeque<String>,
    failing: bool,
}

impl ServiceManager {
    /// As the environment names it.
    ///
    /// # Errors
    /// No descriptor is free, or what is named can't be a socket.
    pub(super) fn from_environment(
        addresses: &[String],
        latest: watch::Receiver<Published>,
        running: watch::Receiver<Running>,
    ) -> io::Result<Self> {
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.map(|name| Ok::<_, io::Error>((socket()?, address(&name)?))).transpose()?;
        let (patience, addresses) = (sd_notify::watchdog_enabled(), addresses.join(" and "));
        let (told, untold) = (Instant::now(), VecDeque::new());
        Ok(Self { socket, patience, addresses, latest, running, told, untold, failing: false })
    }

    /// The daemon answers, and has its first sample.
    pub(super) fn ready(&mut self) {
        let status = self.status(self.latest.borrow().model());
        self.tell_ready(&[NotifyState::Status(&status)]);
    }

    /// Waits for the next sample, and reports it. Meanwhile, what could not be sent is tried again.
    pub(super) async fn tell_next_sample(&mut self) {
        while !self.untold.is_empty() {
            match timeout(RETRY, self.latest.changed()).await {
                Ok(changed) => return self.tell_sample(changed.is_ok()).await,
                Err(_) => self.send(),
            }
        }
        let changed = self.latest.changed().await;
        self.tell_sample(changed.is_ok()).await;
    }

    async fn tell_sample(&mut self, is_there: bool) {
        if !is_there {
            // The sampling thread has ended. Why, comes another way.
            future::pending::<()>().await;
        }
        let status = self.status(self.latest.borrow().model());
        if self.told.elapsed() >= MIN_PAUSE {
            self.told = Instant::now();
            // Of several the last will do.
            self.untold.retain(|message| !message.starts_with(ALIVE));
            self.tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
        }
    }

    /// The configuration is about to be read again.
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                // It counts for an earlier one, too, and the ready after it for an earlier ready.
                self.untold.clear();
                self.tell(&[NotifyState::Reloading, now]);
            }
            Err(error) => tracing::warn!(%error, "reading CLOCK_MONOTONIC failed"),
        }
    }

    /// It was; the interval may be another.
    pub(super) fn reloaded(&mut self) {
        self.tell_ready(&[]);
    }

    /// The daemon is about to end.
    pub(super) fn stopping(&mut self) {
        self.untold.clear();
        self.tell(&[NotifyState::Stopping, NotifyState::Status("detaching the programs")]);
    }

    /// Ready, and how long it may then be silent.
    fn tell_ready(&mut self, more: &[NotifyState<'_>]) {
        let limit = self.patience.map(|patience| self.running.borrow().config.interval.max(MIN_PAUSE) + patience);
        // Not NotifyState::WatchdogUsec, which holds 71 minutes.
        let limit = limit.map(|limit| format!("WATCHDOG_USEC={}", limit.as_micros()));
        let limit = limit.as_deref().map(NotifyState::Custom);
        let states: Vec<_> = [NotifyState::Ready].into_iter().chain(more.iter().cloned()).chain(limit).collect();
        self.tell(&states);
    }

    fn status(&self, model: &Model) -> String {
        let probe = &model.probe;
        let lost: u64 = probe.lost.iter().map(|lost| lost.count).sum();
        let clone = probe.programs.iter().find(|program| program.program == "clone");
        format!(
            "{} processes with {} threads, sampled in {:.1} ms; lost {lost}; clone probe {}; listening on {}",
            model.host.processes,
            probe.sample_threads,
            probe.sample_duration_seconds * 1e3,
            clone.map_or("none", |clone| clone.source.label()),
            self.addresses,
        )
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        self.untold.push_back(states.iter().map(|state| format!("{state}\n")).collect());
        self.send();
    }

    /// Sends what is due, as far as the service manager takes it.
    fn send(&mut self) {
        let Some((socket, address)) = &self.socket else { return self.untold.clear() };
        while let Some(message) = self.untold.front() {
            if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(?address, %error, "telling the service manager failed: trying again");
                }
                return;
            }
            self.untold.pop_front();
        }
        if std::mem::take(&mut self.failing) {
            tracing::info!("telling the service manager succeeds again");
        }
    }
}

/// A path, or with an `@` in front a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// Not `sd_notify::notify`: it would wait for a service manager that reads no more, and the daemon would no longer
/// answer on a host whose systemd has crashed, which keeps the socket open for ever.
fn socket() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
