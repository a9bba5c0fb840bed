//! `thread-probe serve`: one thread samples, the main one answers; where samples are kept another writes them, where
//! there is an Alertmanager another tells it, and where there is a web configuration another checks passwords.
//!
//! All are there before the first request; nothing creates a thread or process afterwards, so at the host's limit the
//! daemon goes on.

mod losses;
mod recording;
mod service;

use std::{os::fd::OwnedFd, path::Path, sync::Arc, thread};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::{TcpListener, UnixListener},
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use self::{
    losses::{Line, LossLog},
    recording::Recording,
    service::ServiceManager,
};
use super::options::ServeOptions;
use crate::{
    alerts::Alerting,
    config::{self, Config, Running},
    export::server::{self, Guard, Published, ThreadsRequest},
    limits,
    os::{descriptors, priority},
    privileges::find_user,
    sampler::Sampler,
};

/// Requests for the threads of a process that may wait for the sampler.
const PENDING_REQUESTS: usize = 16;

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What is wrong with the configuration file, an address in use, what the host lacks, or a sample that failed.
pub fn serve(options: &ServeOptions) -> Result<()> {
    let config = options.configuration.read()?;
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "raising the limit of open files failed: fewer clients are served at a time");
    }
    warn_if_nothing_is_foreseen(&config);
    // Before privileges are dropped: its files may be for root alone.
    let web = server::open_web_config(&config.web)?;
    let runtime = new_runtime()?;
    // Before anything takes time: a signal while the programs load ends the daemon as later, once they are attached.
    let signals = runtime.block_on(async { Signals::new() })?;
    // Before the probe: a port in use is said at once, and a low port needs a privilege that is dropped later.
    let listeners = runtime.block_on(server::bind(&config.web.listen_addresses))?;
    let user = config.probe.user.as_deref().map(find_user).transpose()?;
    let (socket, _socket_file) = runtime.block_on(server::bind_socket(&config.web, user.as_ref()))?.unzip();
    if let Some(dir) = &config.record.dir {
        recording::make_folder(dir, user.as_ref());
    }
    let nice = priority::raise();
    let (mut sampler, mut first) = Sampler::start_and_drop_privileges(&config.sampler())?;
    let slow_links = sampler.take_slow_links();
    let mut alerting = Alerting::new(config.alerts.clone());
    alerting.apply(&mut first);
    let losses = LossLog::new(&first.probe.lost);
    let recording = Recording::start(&config.record, nice)?;
    first.recording = recording.as_ref().map(Recording::counts);
    let monitor = Monitor { sampler, alerting, losses, recording };
    let guard = web.map(Guard::start).transpose()?;
    let (running, reloads) = watch::channel(Running { config: Arc::new(config), status: first.probe.config });
    let (models, latest) = watch::channel(Published::new(first));
    let (requests, pending) = mpsc::channel(PENDING_REQUESTS);
    let (stop, stopped) = oneshot::channel();
    let (failed, failure) = oneshot::channel();
    let service = ServiceManager::from_environment(&say(&listeners, socket.as_ref())?, latest.clone(), reloads.clone())
        .context("telling the service manager that NOTIFY_SOCKET names is not possible")?;
    let state = server::State::new(latest, requests, reloads.clone());
    let thread = thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(move || {
            // If the other end is gone, the daemon is ending anyway.
            let _ = failed.send(sample_until_stopped(monitor, reloads, &models, pending, stopped));
        })
        .context("starting the sampling thread failed")?;
    // What others ask for is not so urgent.
    priority::lower(nice);
    let reload = || {
        guard.iter().for_each(Guard::reload);
        if options.configuration.config_file.is_some() {
            let reloaded = config::reload(&running.borrow(), options.configuration.read());
            warn_if_nothing_is_foreseen(&reloaded.config);
            running.send_replace(reloaded);
        } else if guard.is_none() {
            tracing::warn!("SIGHUP: there is no file to reload, as it was started without --config");
        }
    };
    let places = connection_places(listeners.len() + usize::from(socket.is_some()))?;
    let serving = server::run(listeners, socket, state, guard.clone(), places);
    let outcome = runtime.block_on(serve_until_signal(serving, service, failure, signals, reload));
    // The sampler hears of it at once, or when the scan it is in is done, and detaches the programs.
    drop(stop);
    drop(slow_links);
    thread.join().map_err(|_| anyhow!("the sampling thread panicked: please report it"))?;
    outcome
}

/// How many clients each listener may serve at a time. Those of one take none of another's.
///
/// # Errors
/// The limit of open files leaves none.
fn connection_places(listeners: usize) -> Result<usize> {
    let spare = descriptors::spare().context("counting the open files failed")?;
    let places = (spare as usize / listeners.max(1)).min(server::MAX_CONNECTIONS);
    ensure!(places > 0, "the limit of open files (RLIMIT_NOFILE) leaves none for clients: raise it to 256 or more");
    if places < server::MAX_CONNECTIONS {
        tracing::warn!(
            places,
            "few open files are allowed (RLIMIT_NOFILE): as many clients an address are served at a time"
        );
    }
    Ok(places)
}

/// A trend needs some samples within the window.
fn warn_if_nothing_is_foreseen(config: &Config) {
    if config.interval * limits::MIN_SAMPLES > config.limits.window {
        tracing::warn!(
            "limits.window is less than {} times interval: no time to exhaustion will be told; make it longer",
            limits::MIN_SAMPLES
        );
    }
}

fn new_runtime() -> Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_io().enable_time().build().context("starting the event loop failed")
}

/// What ends the daemon, or makes it read its configuration again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("handling SIGTERM failed")?,
            interrupt: signal(SignalKind::interrupt()).context("handling SIGINT failed")?,
            hangup: signal(SignalKind::hangup()).context("handling SIGHUP failed")?,
        })
    }
}

/// Logs where the daemon listens.
fn say(listeners: &[TcpListener], socket: Option<&UnixListener>) -> Result<Vec<String>> {
    let mut addresses = Vec::new();
    for listener in listeners {
        let address = listener.local_addr()?;
        tracing::info!(%address, "listening");
        addresses.push(address.to_string());
    }
    if let Some(path) = socket.and_then(|socket| socket.local_addr().ok()?.as_pathname().map(Path::to_owned)) {
        tracing::info!(path = %path.display(), "listening");
        addresses.push(path.display().to_string());
    }
    Ok(addresses)
}

async fn serve_until_signal(
    serving: impl Future<Output = ()>,
    mut service: ServiceManager,
    failure: oneshot::Receiver<Result<()>>,
    mut signals: Signals,
    reload: impl Fn(),
) -> Result<()> {
    tokio::pin!(serving, failure);
    service.ready();
    loop {
        tokio::select! {
            () = &mut serving => return Ok(()),
            outcome = &mut failure => {
                return outcome.unwrap_or_else(|_| Err(anyhow!("the sampling thread ended: please report it")));
            }
            _ = signals.terminate.recv() => { tracing::info!("SIGTERM: detaching"); break }
            _ = signals.interrupt.recv() => { tracing::info!("SIGINT: detaching"); break }
            _ = signals.hangup.recv() => {
                service.reloading();
                reload();
                service.reloaded();
            }
            () = service.tell_next_sample() => {}
        }
    }
    service.stopping();
    Ok(())
}

/// What the sampling thread has.
struct Monitor {
    sampler: Sampler,
    alerting: Alerting,
    losses: LossLog,
    recording: Option<Recording>,
}

impl Monitor {
    fn sample(&mut self) -> Result<Published> {
        let mut model = self.sampler.sample()?;
        model.recording = self.recording.as_ref().map(Recording::counts);
        self.alerting.apply(&mut model);
        match self.losses.line(&model.probe.lost, std::time::Instant::now()) {
            Some(Line { text, is_warning: true }) => tracing::warn!(lost = text, "lost since the last such line"),
            Some(Line { text, .. }) => tracing::info!(lost = text, "lost since the last such line"),
            None => {}
        }
        let sample = Published::new(model);
        if let Some(recording) = &mut self.recording {
            recording.keep(&sample, &self.sampler);
        }
        Ok(sample)
    }

    fn reconfigure(&mut self, running: &Running) {
        self.sampler.reconfigure(&running.config.sampler());
        self.sampler.set_config_status(running.status);
        self.alerting.reconfigure(running.config.alerts.clone());
    }
}

fn sample_until_stopped(
    monitor: Monitor,
    reloads: watch::Receiver<Running>,
    models: &watch::Sender<Published>,
    pending: mpsc::Receiver<ThreadsRequest>,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let ring = monitor.sampler.ring_fd().context("duplicating the ring buffer's descriptor failed")?;
    new_runtime()?.block_on(async {
        // SAFETY: the descriptor is owned, so it stays open and the same for as long as the AsyncFd lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("waiting for the ring buffer failed")?;
        sample_loop(monitor, reloads, models, pending, stopped, ring).await
    })
}

async fn sample_loop(
    mut monitor: Monitor,
    mut reloads: watch::Receiver<Running>,
    models: &watch::Sender<Published>,
    mut pending: mpsc::Receiver<ThreadsRequest>,
    mut stopped: oneshot::Receiver<()>,
    ring: AsyncFd<OwnedFd>,
) -> Result<()> {
    let mut last = Instant::now();
    let mut ticks = ticks_after(last, &reloads);
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return Ok(()),
            due = ring.readable() => {
                monitor.sampler.drain();
                due.context("waiting for the ring buffer failed")?.clear_ready();
            }
            Ok(()) = reloads.changed() => {
                let running = reloads.borrow_and_update().clone();
                monitor.reconfigure(&running);
                // The next sample is due a new interval after the last one, or at once.
                if ticks.period() != running.config.interval {
                    ticks = ticks_after(last, &reloads);
                }
            }
            _ = ticks.tick() => {
                last = Instant::now();
                models.send_replace(monitor.sample()?);
            }
            Some(request) = pending.recv() => request.answer(&monitor.sampler),
        }
    }
}

/// The first tick is an interval after `last`.
fn ticks_after(last: Instant, reloads: &watch::Receiver<Running>) -> Interval {
    let interval = reloads.borrow().config.interval;
    let mut ticks = interval_at(last + interval, interval);
    // After a suspend or a stall one sample is due, not all that were missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
