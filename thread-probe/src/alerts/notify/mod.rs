//! Telling Alertmanagers: one thread that sends them the state of the alerts, not events, so nothing queues up.
//!
//! Whoever has the state leaves the newest in a mailbox and goes on. The thread hands it to each Alertmanager when an
//! alert changed, again from time to time, and after a failure until it succeeds.

mod client;
mod payload;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::utsname::uname;

use self::client::Client;
use super::config::AlertsConfig;
use crate::{
    http_client::without_userinfo,
    model::alert::{AlertView, NotificationCount, State},
};

/// When what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often the state is sent though nothing changed.
    pub resend: Duration,
    /// How long after a failure it is tried again.
    pub retry: Duration,
    /// After how long an Alertmanager that hears nothing more takes an alert as resolved.
    pub expiry: Duration,
    /// How long each part of a request may take: to connect, to send, to receive.
    pub request_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            resend: Duration::from_mins(1),
            retry: Duration::from_secs(5),
            expiry: Duration::from_mins(4),
            request_timeout: Duration::from_secs(5),
        }
    }
}

/// Tells Alertmanagers. Dropped, it ends its thread when the request that it is in is over, and does not wait.
pub struct Notifier {
    timing: Timing,
    shared: Arc<Shared>,
    thread_started: bool,
}

impl Notifier {
    /// A notifier without an Alertmanager, and without a thread.
    pub fn new(timing: Timing) -> Self {
        Self { timing, shared: Arc::default(), thread_started: false }
    }

    /// Replaces the Alertmanagers and labels. The first Alertmanager starts the thread.
    ///
    /// # Errors
    /// The thread could not be started. The next call tries again.
    pub fn configure(&mut self, config: &AlertsConfig) -> io::Result<()> {
        let urls: Arc<[Arc<str>]> = config.alertmanager_urls.iter().map(|url| Arc::from(&**url)).collect();
        self.shared.set_alertmanagers(&urls);
        let mut mail = self.shared.mail();
        mail.labels = Arc::new(labels(config));
        mail.urls = urls;
        mail.change += 1;
        let needs_thread = !mail.urls.is_empty() && !self.thread_started;
        drop(mail);
        if needs_thread {
            let (shared, timing) = (Arc::clone(&self.shared), self.timing);
            thread::Builder::new().name("notifier".to_owned()).spawn(move || run(&shared, timing))?;
            self.thread_started = true;
        }
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Leaves the newest state of the alerts for the thread; `changed` if one fires or is resolved since the last. Even
    /// if there is no Alertmanager: one that is configured later gets the state at once.
    pub fn update(&self, alerts: &[AlertView], changed: bool) {
        let mut mail = self.shared.mail();
        mail.alerts = alerts.iter().filter(|alert| alert.state != State::Pending).cloned().collect();
        if changed {
            mail.change += 1;
            self.shared.wake.notify_one();
        }
    }

    /// The requests to each Alertmanager so far.
    pub fn counts(&self) -> Vec<NotificationCount> {
        self.shared.counts().values().cloned().collect()
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.shared.mail().closed = true;
        self.shared.wake.notify_one();
    }
}

/// The labels of the configuration, and the host's name if they don't have one.
fn labels(config: &AlertsConfig) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    if let Ok(host) = uname() {
        labels.entry("instance".to_owned()).or_insert_with(|| host.nodename().to_string_lossy().into_owned());
    }
    labels
}

/// What both sides of the mailbox see.
#[derive(Default)]
struct Shared {
    mail: Mutex<Mail>,
    wake: Condvar,
    counts: Mutex<BTreeMap<Arc<str>, NotificationCount>>,
}

/// The newest of everything.
#[derive(Clone, Default)]
struct Mail {
    urls: Arc<[Arc<str>]>,
    labels: Arc<BTreeMap<String, String>>,
    /// Those that fire or are resolved.
    alerts: Arc<[AlertView]>,
    /// The number of the last change that must be sent at once.
    change: u64,
    closed: bool,
}

impl Shared {
    /// A thread that panicked leaves nothing half done in these.
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, NotificationCount>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts start at 0, so that the first failure is an increase; those of an Alertmanager that is gone are gone.
    fn set_alertmanagers(&self, urls: &[Arc<str>]) {
        let names: BTreeSet<Arc<str>> = urls.iter().map(|url| Arc::from(without_userinfo(url))).collect();
        let mut counts = self.counts();
        counts.retain(|name, _| names.contains(name));
        for name in names {
            let alertmanager = Arc::clone(&name);
            counts.entry(name).or_insert(NotificationCount { alertmanager, requests: 0, failed: 0 });
        }
    }

    fn count(&self, name: &str, failed: bool) {
        if let Some(count) = self.counts().get_mut(name) {
            count.requests += 1;
            count.failed += u64::from(failed);
        }
    }

    /// The newest, after a change since `seen` or after `timeout`. `None` when the notifier is gone.
    fn wait(&self, timeout: Duration, seen: u64) -> Option<Mail> {
        let unchanged = |mail: &mut Mail| !mail.closed && mail.change == seen;
        let waited = self.wake.wait_timeout_while(self.mail(), timeout, unchanged);
        let (mail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!mail.closed).then(|| mail.clone())
    }
}

fn run(shared: &Shared, timing: Timing) {
    /// Without an Alertmanager only a change ends the wait.
    const LONG: Duration = Duration::from_hours(1);
    let mut targets: Vec<Target> = Vec::new();
    let (mut timeout, mut seen) = (Duration::ZERO, 0);
    while let Some(mail) = shared.wait(timeout, seen) {
        seen = mail.change;
        let mut known = std::mem::take(&mut targets);
        for url in mail.urls.iter() {
            let before = known.iter().position(|target| target.url == *url).map(|index| known.swap_remove(index));
            targets.push(before.unwrap_or_else(|| Target::new(url, timing.request_timeout)));
        }
        for target in &mut targets {
            // The one before may have been slow: this one gets what is the newest now.
            let mail = shared.mail().clone();
            if mail.closed {
                return;
            }
            target.tell(&mail, shared, timing);
        }
        let next = targets.iter().map(|target| target.next).min();
        timeout = next.map_or(LONG, |next| next.saturating_duration_since(Instant::now()));
    }
}

/// An Alertmanager.
struct Target {
    url: Arc<str>,
    /// The URL without user and password.
    name: Arc<str>,
    client: Client,
    /// The last change it was told.
    told: Option<u64>,
    failing: bool,
    next: Instant,
}

impl Target {
    fn new(url: &Arc<str>, timeout: Duration) -> Self {
        let name = Arc::from(without_userinfo(url));
        Self {
            url: Arc::clone(url),
            name,
            client: Client::new(url, timeout),
            told: None,
            failing: false,
            next: Instant::now(),
        }
    }

    /// Sends it the state if it is due.
    fn tell(&mut self, mail: &Mail, shared: &Shared, timing: Timing) {
        let has_news = !self.failing && self.told != Some(mail.change);
        if !has_news && Instant::now() < self.next {
            return;
        }
        match self.send(mail, shared, timing) {
            Ok(Sent::All) => {
                self.told = Some(mail.change);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(alertmanager = &*self.name, "sending alerts succeeds again");
                }
            }
            Ok(Sent::Nothing) => self.told = Some(mail.change),
            Err(reason) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let retry = humantime::format_duration(timing.retry);
                    tracing::warn!(alertmanager = &*self.name, reason, %retry, "sending alerts failed: trying again");
                }
            }
        }
        self.next = Instant::now() + if self.failing { timing.retry } else { timing.resend };
    }

    /// One request after the other; the first that fails ends it.
    fn send(&self, mail: &Mail, shared: &Shared, timing: Timing) -> Result<Sent, String> {
        let mut sent = Sent::Nothing;
        for body in payload::bodies(&mail.alerts, &mail.labels, SystemTime::now() + timing.expiry) {
            let outcome = body.map_err(|error| error.to_string()).and_then(|body| self.client.post(&body));
            shared.count(&self.name, outcome.is_err());
            outcome?;
            sent = Sent::All;
        }
        Ok(sent)
    }
}

/// What an Alertmanager was sent.
enum Sent {
    /// There is no alert: whether it can be reached is not known.
    Nothing,
    All,
}

#[cfg(test)]
mod tests;
