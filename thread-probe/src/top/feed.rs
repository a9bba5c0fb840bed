//! Where samples come from: a thread that hands them on and is told what is asked for.
//!
//! It has a probe of its own ([`own`]), or asks a daemon over HTTP or over its Unix socket ([`daemon`]).

mod daemon;
mod own;

use std::{
    io::{PipeReader, PipeWriter, Read as _, Write as _, pipe},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags};

use self::{daemon::Client, own::Own};
use crate::{
    bpf::{LoadError, SlowToDetach},
    config::{Config, DEFAULT_SOCKET, value},
    http_client::without_userinfo,
    model::{Model, OneProcess},
    wait::until_ready,
};

/// Samples that may wait to be taken.
const PENDING: usize = 4;

/// A sample.
pub struct Sample {
    /// All of the host.
    pub model: Model,
    /// More of the process that was asked for, if one was and it exists.
    pub one: Option<OneProcess>,
}

/// What a feed hands on.
pub enum Update {
    /// A new sample, or the last one with another process.
    Sample(Box<Sample>),
    /// There are no samples, and why, in one line. Of a daemon it goes on trying.
    Lost(String),
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The process of which more is wanted.
    pub pid: Option<u32>,
    /// Time between samples; a daemon's own may be longer.
    pub interval: Duration,
}

/// Where the samples come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// The probe of this process.
    Own,
    /// A daemon over HTTP.
    Daemon {
        /// Its base URL, which may have user and password: show [`Source::label`] instead.
        url: String,
    },
    /// A daemon over its Unix socket.
    Socket(PathBuf),
}

impl Source {
    /// The daemon at `http://`, `https://` or `unix:/PATH`.
    ///
    /// # Errors
    /// What a URL may be.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(path) = url.strip_prefix("unix:") else {
            let base =
                value::base_url(url, "http://127.0.0.1:10420").map_err(|said| format!("{said}; or unix:/PATH"))?;
            return Ok(Self::Daemon { url: base });
        };
        let path = value::socket(path).map_err(|said| format!("the path of a socket {said}"))?;
        if path.as_os_str().is_empty() {
            Err("unix: must have a path, as in unix:/PATH".to_owned())
        } else {
            Ok(Self::Socket(path))
        }
    }

    /// Its name, for people.
    pub fn label(&self) -> String {
        match self {
            Self::Own => "own probe".to_owned(),
            Self::Daemon { url } => without_userinfo(url),
            Self::Socket(path) => path.display().to_string(),
        }
    }
}

/// Samples, as they come. Dropped, it detaches the programs.
pub struct Feed {
    source: Source,
    updates: mpsc::Receiver<Update>,
    request: Arc<Mutex<Request>>,
    /// Wakes the thread; closed, it ends it.
    wake: Option<PipeWriter>,
    /// Of a probe of its own: what is to be waited for, and what is dropped meanwhile. A thread that asks a daemon may
    /// wait for it, and ends by itself.
    own: Option<(JoinHandle<()>, SlowToDetach)>,
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
            let source = Source::parse(url).map_err(|said| anyhow!("--url: {said}"))?;
            return Self::of_daemon(source, request);
        }
        match own::start(config, first_rates) {
            Ok((own, slow_links)) => Self::of_own(own, slow_links, request),
            Err(error) if error.is::<LoadError>() => {
                let path = config.web.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.into());
                if let Err(refusal) = UnixStream::connect(&path) {
                    bail!("{error}; or ask a daemon with --url: there is none at {}: {refusal}", path.display());
                }
                Self::of_daemon(Source::Socket(path), request)
            }
            Err(error) => Err(error),
        }
    }

    /// Where the samples come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The samples. After [`Update::Lost`] of its own probe there are no more.
    pub fn updates(&self) -> &mpsc::Receiver<Update> {
        &self.updates
    }

    /// Asks for something else: another process is answered at once, another interval counts from the last sample.
    pub fn request(&self, request: Request) {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = request;
        if let Some(mut wake) = self.wake.as_ref() {
            // A thread that has ended has said why.
            let _ = wake.write(&[0]);
        }
    }

    fn of_own(own: Own, slow_links: SlowToDetach, request: Request) -> Result<Self> {
        let (mut feed, thread) = Self::spawn(Source::Own, request, move |orders, updates| own.run(orders, &updates))?;
        feed.own = Some((thread, slow_links));
        Ok(feed)
    }

    fn of_daemon(source: Source, request: Request) -> Result<Self> {
        let client = Client::new(&source);
        let (feed, _) = Self::spawn(source, request, move |orders, updates| daemon::run(&client, orders, &updates))?;
        Ok(feed)
    }

    fn spawn(
        source: Source,
        request: Request,
        run: impl FnOnce(Orders, SyncSender<Update>) + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>)> {
        let request = Arc::new(Mutex::new(request));
        let (reader, writer) = pipe().context("making a pipe failed")?;
        let orders = Orders { request: Arc::clone(&request), wake: reader };
        let (sender, updates) = mpsc::sync_channel(PENDING);
        let thread = thread::Builder::new().name("feed".to_owned()).spawn(move || run(orders, sender));
        let thread = thread.context("starting the thread that samples failed")?;
        Ok((Self { source, updates, request, wake: Some(writer), own: None }, thread))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.wake = None;
        // It may wait to say that it failed.
        while self.updates.try_recv().is_ok() {}
        if let Some((thread, slow_links)) = self.own.take() {
            drop(slow_links);
            // A panic was told by the hook.
            let _ = thread.join();
        }
    }
}

/// What the thread is told.
struct Orders {
    request: Arc<Mutex<Request>>,
    wake: PipeReader,
}

/// What ended a wait.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// Time is up.
    Due,
    /// Something else is asked for.
    Asked(Request),
    /// Nobody asks any more.
    Closed,
}

impl Orders {
    fn request(&self) -> Request {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when there is something to [`Self::take`].
    fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What there is to be read from `wake`, once it is ready.
    fn take(&mut self) -> Event {
        match self.wake.read(&mut [0; 64]) {
            Ok(1..) => Event::Asked(self.request()),
            Ok(0) | Err(_) => Event::Closed,
        }
    }

    fn wait(&mut self, time: Duration) -> Event {
        let mut ready = [PollFd::new(self.wake(), PollFlags::POLLIN)];
        match until_ready(&mut ready, Instant::now() + time) {
            Ok(false) => Event::Due,
            Ok(true) => self.take(),
            Err(_) => Event::Closed,
        }
    }
}

/// Hands on an update. A sample that nobody takes in time is left out, as another follows. False when nobody will.
fn hand_on(updates: &SyncSender<Update>, update: Update) -> bool {
    match updates.try_send(update) {
        Ok(()) | Err(TrySendError::Full(Update::Sample(_))) => true,
        Err(TrySendError::Full(lost)) => updates.send(lost).is_ok(),
        Err(TrySendError::Disconnected(_)) => false,
    }
}

#[cfg(test)]
mod tests;
