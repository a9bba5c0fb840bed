//! Where samples come from: a probe of its own ([`own`]), or a daemon over HTTP or over its Unix socket ([`daemon`]).

mod background;
mod daemon;
mod own;
mod replay;
mod sample;
mod source;

use std::{
    io::{self, ErrorKind},
    os::fd::BorrowedFd,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags};

use self::{background::Background, own::Own, replay::Replay};
pub use self::{
    replay::{Direction, Moment, Recording, Travel},
    sample::{Request, Sample, Update},
    source::{Address, Source},
};
use crate::{
    config::{Config, DEFAULT_SOCKET},
    http_client::connect,
    os::wait::until_ready,
    probe::LoadError,
    record::Glance,
};

/// Samples, as they come: whoever waits for other things, too, waits for [`Self::fd`] until [`Self::due_in`], and then
/// takes its [`Self::turn`]. Dropped, it detaches the programs.
pub struct Feed {
    source: Source,
    request: Request,
    kind: Kind,
}

enum Kind {
    /// Samples on the thread that takes turns: a host that refuses new threads can be looked at without one.
    Own(Box<Own>),
    /// Another thread waits for the daemon.
    Daemon(Background),
    /// What was recorded.
    Replay(Box<Replay>),
    /// There are no more samples.
    Ended,
}

impl Feed {
    /// Finds the source and starts. Without `url` it is a probe of its own or else, where that may not be loaded, the
    /// daemon's Unix socket. Called while the process has one thread: privileges are dropped.
    ///
    /// # Errors
    /// A URL that is none; without one, what the host or this process lacks and why there is no daemon to ask.
    pub fn start(url: Option<&str>, config: &Config, request: Request) -> Result<Self> {
        Self::start_with(url, config, request, own::FIRST_RATES)
    }

    /// The same, for who can wait: the first rates are of a whole interval, too.
    ///
    /// # Errors
    /// The same.
    pub fn start_evenly(url: Option<&str>, config: &Config, request: Request) -> Result<Self> {
        Self::start_with(url, config, request, Duration::MAX)
    }

    fn start_with(url: Option<&str>, config: &Config, request: Request, first_rates: Duration) -> Result<Self> {
        if let Some(url) = url {
            let address = Address::parse(url).map_err(|said| anyhow!("--url: {said}"))?;
            return Self::of_daemon(address, request);
        }
        match Own::start(config, first_rates) {
            Ok(own) => Ok(Self { source: Source::Own, request, kind: Kind::Own(Box::new(own)) }),
            Err(error) if error.is::<LoadError>() => {
                let path = config.web.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.into());
                if let Err(refusal) = connect(&path) {
                    bail!("{error}; or ask a daemon: {}", way_to_daemon(&path, &refusal));
                }
                Self::of_daemon(Address::Socket(path), request)
            }
            Err(error) => Err(error),
        }
    }

    /// What was recorded; `plays` if sample follows sample by itself, until the last.
    ///
    /// # Errors
    /// It can't be read.
    pub fn replay(recording: &Recording, plays: bool) -> Result<Self> {
        let replay = Replay::open(recording, plays)?;
        let request = Request { pid: None, interval: Duration::ZERO };
        Ok(Self { source: Source::Recording(recording.label()), request, kind: Kind::Replay(Box::new(replay)) })
    }

    /// All samples of a recording at a glance; none of anything else.
    pub fn glances(&self) -> Vec<Glance> {
        if let Kind::Replay(replay) = &self.kind { replay.track().glances().copied().collect() } else { Vec::new() }
    }

    /// Goes elsewhere in a recording; of anything else nothing happens.
    pub fn travel(&mut self, travel: Travel) {
        if let Kind::Replay(replay) = &mut self.kind {
            replay.travel(travel);
        }
    }

    fn of_daemon(address: Address, request: Request) -> Result<Self> {
        let daemon = daemon::start(&address, request)?;
        Ok(Self { source: Source::Daemon(address), request, kind: Kind::Daemon(daemon) })
    }

    /// Where the samples come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Asks for something else: another process is answered at once, another interval counts from the last sample.
    pub fn request(&mut self, request: Request) {
        match &mut self.kind {
            Kind::Own(own) if request.pid != self.request.pid => own.hurry(),
            Kind::Replay(replay) if request.pid != self.request.pid => replay.again(),
            Kind::Own(_) | Kind::Replay(_) | Kind::Ended => {}
            Kind::Daemon(daemon) => daemon.request(request),
        }
        self.request = request;
    }

    /// Readable when there is something to do before it is due.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Own(own) => Some(own.fd()),
            Kind::Daemon(daemon) => Some(daemon.fd()),
            Kind::Replay(_) | Kind::Ended => None,
        }
    }

    /// When to take a turn even if nothing is readable.
    pub fn due_in(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Own(own) => Some(own.due_in(self.request.interval)),
            Kind::Replay(replay) => replay.due_in(),
            Kind::Daemon(_) | Kind::Ended => None,
        }
    }

    /// Does what is to be done by now. Returns what is new, if anything is. Does not wait, but for a sample to be
    /// taken.
    pub fn turn(&mut self) -> Option<Update> {
        let update = match &mut self.kind {
            Kind::Own(own) => own.turn(self.request).map_err(|error| format!("{error:#}")),
            Kind::Daemon(daemon) => daemon.turn(),
            // Another sample may not be damaged.
            Kind::Replay(replay) => {
                Ok(replay.turn(self.request).unwrap_or_else(|error| Some(Update::Lost(format!("{error:#}")))))
            }
            Kind::Ended => Ok(None),
        };
        // Neither can go on: a scan can't be repeated, and a thread ends by a panic only.
        update.unwrap_or_else(|reason| {
            self.kind = Kind::Ended;
            Some(Update::Lost(reason))
        })
    }

    /// The next update, or `None` if none comes by then.
    ///
    /// # Errors
    /// Waiting failed.
    pub fn next(&mut self, until: Instant) -> Result<Option<Update>> {
        loop {
            if let Some(update) = self.turn() {
                return Ok(Some(update));
            }
            let now = Instant::now();
            if now >= until {
                return Ok(None);
            }
            let until = self.due_in().and_then(|due| now.checked_add(due)).map_or(until, |due| due.min(until));
            let mut ready: Vec<_> = self.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
            until_ready(&mut ready, until).context("waiting for a sample failed")?;
        }
    }
}

/// Why there is no daemon to ask at its socket, and what to do.
fn way_to_daemon(path: &Path, refusal: &io::Error) -> String {
    let path = path.display();
    match refusal.kind() {
        ErrorKind::PermissionDenied => format!(
            "who is not in its group may not ask it: become a member of the group of {path}, or thread-probe top --url http://127.0.0.1:10420"
        ),
        ErrorKind::NotFound => {
            format!("there is no {path}: start thread-probe serve, or say with --url where one listens")
        }
        ErrorKind::ConnectionRefused => {
            format!("none listens at {path} any more: start it again, or say with --url where one listens")
        }
        _ => format!("{path}: {refusal}; start it again, or say with --url where one listens"),
    }
}

#[cfg(test)]
mod tests;
