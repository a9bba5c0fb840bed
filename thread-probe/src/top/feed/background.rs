//! The thread that waits for a daemon, and the mailbox between it and the view.

use std::{
    io::{PipeReader, PipeWriter, Read as _, Write as _, pipe},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, SyncSender, TryRecvError, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags};

use super::{Request, Update};
use crate::os::wait::until_ready;

/// Updates that may wait to be taken.
const PENDING: usize = 4;

/// A daemon that is asked by a thread. The thread may wait for it when this is dropped, and ends by itself.
pub(super) struct Background {
    updates: mpsc::Receiver<Update>,
    /// Has a byte for each update.
    ready: PipeReader,
    request: Arc<Mutex<Request>>,
    /// Wakes the thread; closed, it ends it.
    wake: PipeWriter,
}

impl Background {
    /// Starts the thread, which does what `run` does.
    ///
    /// # Errors
    /// The host refuses a thread or a pipe.
    pub(super) fn spawn(request: Request, run: impl FnOnce(Orders, Outbox) + Send + 'static) -> Result<Self> {
        let request = Arc::new(Mutex::new(request));
        let (wake, writer) = pipe().context("making a pipe failed")?;
        let orders = Orders { request: Arc::clone(&request), wake };
        let (ready, told) = pipe().context("making a pipe failed")?;
        let (sender, updates) = mpsc::sync_channel(PENDING);
        let outbox = Outbox { updates: sender, ready: told };
        let thread = thread::Builder::new().name("feed".to_owned()).spawn(move || run(orders, outbox));
        thread.context("starting the thread that asks the daemon failed")?;
        Ok(Self { updates, ready, request, wake: writer })
    }

    pub(super) fn request(&mut self, request: Request) {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = request;
        // A thread that has ended is noticed at the next turn.
        let _ = self.wake.write(&[0]);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    pub(super) fn turn(&mut self) -> Result<Option<Update>, String> {
        match self.updates.try_recv() {
            Ok(update) => {
                // It is written right after the update was sent.
                let _ = self.ready.read(&mut [0]);
                Ok(Some(update))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err("the thread that asks the daemon ended: please report it".to_owned())
            }
        }
    }
}

/// Where the thread puts what it has.
pub(super) struct Outbox {
    updates: SyncSender<Update>,
    ready: PipeWriter,
}

impl Outbox {
    /// Hands on an update. A sample that nobody takes in time is left out, as another follows. False when nobody will.
    pub(super) fn hand_on(&mut self, update: Update) -> bool {
        let sent = match self.updates.try_send(update) {
            Ok(()) => true,
            Err(TrySendError::Full(Update::Sample(_))) => return true,
            Err(TrySendError::Full(lost)) => self.updates.send(lost).is_ok(),
            Err(TrySendError::Disconnected(_)) => false,
        };
        sent && self.ready.write_all(&[0]).is_ok()
    }
}

/// What the thread receives.
pub(super) struct Orders {
    request: Arc<Mutex<Request>>,
    wake: PipeReader,
}

/// What ended a wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Time is up.
    Due,
    /// Something else is asked for.
    Asked(Request),
    /// Nobody asks any more.
    Closed,
}

impl Orders {
    pub(super) fn request(&self) -> Request {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self) -> Event {
        match self.wake.read(&mut [0; 64]) {
            Ok(1..) => Event::Asked(self.request()),
            Ok(0) | Err(_) => Event::Closed,
        }
    }

    pub(super) fn wait(&mut self, time: Duration) -> Event {
        let mut ready = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        match until_ready(&mut ready, Instant::now() + time) {
            Ok(false) => Event::Due,
            Ok(true) => self.take(),
            Err(_) => Event::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::feed::Sample;

    const REQUEST: Request = Request { pid: None, interval: Duration::from_secs(1) };
    const LONG: Duration = Duration::from_secs(20);

    /// The next update.
    fn next(daemon: &mut Background) -> Result<Option<Update>, String> {
        let mut ready = [PollFd::new(daemon.fd(), PollFlags::POLLIN)];
        let is_ready = until_ready(&mut ready, Instant::now() + LONG);
        if is_ready == Ok(true) { daemon.turn() } else { Err("nothing came".to_owned()) }
    }

    fn lost(daemon: &mut Background) -> Option<String> {
        match next(daemon) {
            Ok(Some(Update::Lost(text))) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn it_hears_at_once_of_another_request_and_of_the_end() -> Result<()> {
        let (ended, end) = mpsc::channel();
        let mut daemon = Background::spawn(REQUEST, move |mut orders, mut outbox| {
            for _ in 0..2 {
                outbox.hand_on(Update::Lost(format!("{:?}", orders.wait(LONG))));
            }
            let _ = ended.send([orders.wait(Duration::ZERO), orders.wait(LONG)]);
        })?;
        for pid in [1, 2] {
            let request = Request { pid: Some(pid), ..REQUEST };
            daemon.request(request);
            assert_eq!(lost(&mut daemon), Some(format!("{:?}", Event::Asked(request))));
        }
        let started = Instant::now();
        drop(daemon);
        assert_eq!(end.recv_timeout(LONG)?, [Event::Due, Event::Closed]);
        assert!(started.elapsed() < LONG / 2);
        Ok(())
    }

    #[test]
    fn samples_that_nobody_takes_do_not_pile_up_and_what_ends_them_is_not_left_out() -> Result<()> {
        let (told, last_is_next) = mpsc::channel();
        let mut daemon = Background::spawn(REQUEST, move |_, mut outbox| {
            for _ in 0..2 * PENDING {
                let model = crate::testing::empty_model();
                assert!(outbox.hand_on(Update::Sample(Box::new(Sample { model, one: None, command_line: None }))));
            }
            let _ = told.send(());
            outbox.hand_on(Update::Lost("the end".to_owned()));
        })?;
        // Before anything is taken: else one that should be left out would find room.
        last_is_next.recv_timeout(LONG)?;
        for _ in 0..PENDING {
            assert!(matches!(next(&mut daemon), Ok(Some(Update::Sample(_)))));
        }
        assert_eq!(lost(&mut daemon).as_deref(), Some("the end"));
        assert!(next(&mut daemon).is_err_and(|said| said.contains("report")), "the thread has ended");
        Ok(())
    }
}
