//! Samples of a daemon, over HTTP or its Unix socket.

use std::time::{Duration, SystemTime};

use super::{
    Address, Request, Sample, Update,
    background::{Background, Event, Orders, Outbox},
};
use crate::{
    http_client::{self, reason, refusal},
    model::Model,
    text::human::plain,
};
use serde::{Deserialize, de::DeserializeOwned};

/// How long each part of a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer: one with the threads of a process may have a hundred megabytes.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// Time after a failure until it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many samples may be missing before the daemon is said to have stopped.
const MAX_MISSING: f64 = 3.0;
/// Seconds from one question to the next, at least and at most.
const MIN_WAIT_SECONDS: f64 = 0.25;
const MAX_WAIT_SECONDS: f64 = 3600.0;
/// What a sample takes besides its own duration until it can be asked for.
const PUBLISHING_SECONDS: f64 = 0.02;
const NOT_FOUND: u16 = 404;
const SNAPSHOT: &str = "/api/v1/snapshot";

/// Asks one daemon.
pub(super) struct Client {
    name: String,
    http: http_client::Client,
}

impl Client {
    pub(super) fn new(address: &Address) -> Self {
        let http = match address {
            Address::Socket(path) => http_client::Client::of_socket(path, TIMEOUT),
            Address::Url(url) => http_client::Client::of_url(url, TIMEOUT),
        };
        Self { name: address.label(), http }
    }

    /// Its last sample, with more of a process if that exists.
    fn fetch(&self, pid: Option<u32>) -> Result<Sample, String> {
        if let Some(pid) = pid
            && let Some(body) = self.get(&format!("{SNAPSHOT}?pid={pid}"))?
        {
            return Ok(Sample { model: parse(&body)?, one: Some(parse(&body)?), command_line: None });
        }
        let body = self.get(SNAPSHOT)?;
        let body = body.ok_or("what answers is no thread-probe: it has no /api/v1/snapshot")?;
        Ok(Sample { model: parse(&body)?, one: None, command_line: None })
    }

    /// `None` if there is no such thing.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        // The daemon closes a connection after a minute, be it in the middle of an answer: each question has its own.
        let mut response = self.http.get(path).header("Connection", "close").call().map_err(reason)?;
        match response.status() {
            status if status.is_success() => {
                response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map(Some).map_err(reason)
            }
            status if status == NOT_FOUND => Ok(None),
            _ => Err(refusal(&mut response)),
        }
    }
}

/// A part of an answer; what else is in it is for others.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| misunderstood(body, &error))
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

fn misunderstood(body: &[u8], error: &serde_json::Error) -> String {
    let error = error.to_string();
    let error = plain(&error);
    match serde_json::from_slice::<Version>(body) {
        Ok(Version { version }) => format!(
            "thread-probe {} answers, and thread-probe {} does not understand it: update the older one ({error})",
            plain(&version),
            env!("CARGO_PKG_VERSION"),
        ),
        Err(_) => format!("what answers is no thread-probe ({error})"),
    }
}

/// Has a thread ask a daemon.
///
/// # Errors
/// The host refuses a thread or a pipe.
pub(super) fn start(address: &Address, request: Request) -> anyhow::Result<Background> {
    let client = Client::new(address);
    Background::spawn(request, move |orders, outbox| run(&client, orders, outbox))
}

/// Hands on what the daemon has, until nobody takes it.
fn run(client: &Client, mut orders: Orders, mut outbox: Outbox) {
    let mut told = Told::default();
    let mut request = orders.request();
    loop {
        let outcome = client.fetch(request.pid);
        let (update, wait) = told.next(outcome, request, SystemTime::now());
        let update = update.map(|update| match update {
            Update::Lost(reason) => Update::Lost(format!("{}: {reason}", client.name)),
            other @ (Update::Sample(_) | Update::Over) => other,
        });
        if update.is_some_and(|update| !outbox.hand_on(update)) {
            return;
        }
        match orders.wait(wait) {
            Event::Due => {}
            Event::Asked(asked) => request = asked,
            Event::Closed => return,
        }
    }
}

/// What was handed on last.
#[derive(Default)]
struct Told {
    /// The sample's time, and the process that was asked for.
    sample: Option<(f64, Option<u32>)>,
    failure: Option<String>,
    /// When the last new one came; `None` once it was told that there are no more.
    new_at: Option<SystemTime>,
}

impl Told {
    /// What is to be handed on, if it is new, and how long to wait before asking again.
    fn next(
        &mut self,
        outcome: Result<Sample, String>,
        request: Request,
        now: SystemTime,
    ) -> (Option<Update>, Duration) {
        match outcome {
            Ok(sample) => {
                let told = self.sample.replace((sample.model.time_unix_seconds, request.pid));
                let is_new = told != self.sample;
                self.failure = None;
                let wait = wait_seconds(&sample.model, request.interval, is_new, now);
                let wait = Duration::from_secs_f64(wait.clamp(MIN_WAIT_SECONDS, MAX_WAIT_SECONDS));
                if is_new {
                    self.new_at = Some(now);
                    return (Some(Update::Sample(Box::new(sample))), wait);
                }
                let waited = self.new_at.and_then(|new_at| now.duration_since(new_at).ok()).unwrap_or_default();
                let is_stale =
                    waited.as_secs_f64() > MAX_MISSING * (period_seconds(&sample.model, request.interval) + 1.0);
                let lost = is_stale.then(|| Update::Lost("it answers, but takes no samples: see its log".to_owned()));
                if is_stale {
                    self.new_at = None;
                }
                (lost, wait)
            }
            Err(reason) => {
                self.sample = None;
                let is_new = self.failure.as_ref() != Some(&reason);
                self.failure = Some(reason.clone());
                (is_new.then_some(Update::Lost(reason)), RETRY)
            }
        }
    }
}

/// The time from one sample that is handed on to the next, in seconds.
fn period_seconds(model: &Model, interval: Duration) -> f64 {
    model.interval_seconds.unwrap_or(0.0).max(interval.as_secs_f64())
}

/// The time until the sample after this one is due, in seconds.
fn wait_seconds(model: &Model, interval: Duration, is_new: bool, now: SystemTime) -> f64 {
    let period = period_seconds(model, interval);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let age = now - model.time_unix_seconds;
    if (0.0..2.0 * period).contains(&age) {
        return period + model.probe.sample_duration_seconds + PUBLISHING_SECONDS - age;
    }
    // The clock of another host, or a daemon that has stopped sampling.
    if is_new { period } else { period / 4.0 }
}

#[cfg(test)]
mod tests;
