//! The loop: keys, samples and signals go to the state, and the state is drawn. One thread waits for all of them, so
//! that a look at a host that refuses new threads needs none.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::{
    app::{Action, App, Key, View},
    feed::{Feed, Update},
    render::{self, Theme},
    signals::{Signals, stop},
    terminal::Screen,
};

/// Shows the view until the user, or a signal, ends it. Returns its state.
///
/// # Errors
/// The terminal or the feed is gone.
pub fn run(mut app: App, mut feed: Feed, signals: &Signals, theme: &Theme) -> Result<App> {
    let mut screen = Screen::enter().context("taking over the terminal failed")?;
    loop {
        screen.draw(|frame| render::draw(frame, &app, theme)).context("drawing failed")?;
        let woken = wait(&screen, &feed, signals)?;
        if woken.by_signal && !on_signals(signals, &mut screen)? {
            return Ok(app);
        }
        // Also when it was no key: a new size is an event of the terminal, but nothing that can be read.
        for key in screen.keys().context("reading the terminal failed")? {
            if !on_key(key, &mut app, &mut feed, &mut screen)? {
                return Ok(app);
            }
        }
        match feed.turn() {
            Some(Update::Sample(sample)) => app.on_sample(*sample),
            Some(Update::Lost(reason)) => app.on_lost(reason),
            None => {}
        }
    }
}

/// What ended a wait.
struct Woken {
    by_signal: bool,
}

fn wait(screen: &Screen, feed: &Feed, signals: &Signals) -> Result<Woken> {
    /// A new size may come between two waits: it is seen this late at most.
    const LONGEST: Duration = Duration::from_secs(1);
    let time = feed.due_in().map_or(LONGEST, |due| due.min(LONGEST));
    // Rounded up, lest the last millisecond be spent polling.
    let timeout = u16::try_from(time.as_millis() + 1).map(PollTimeout::from).unwrap_or(PollTimeout::MAX);
    let fds = [Some(signals.fd()), Some(screen.input()), feed.fd()].into_iter().flatten();
    let mut ready: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut ready, timeout) {
        // By the signal of a new size.
        Err(Errno::EINTR) => Ok(Woken { by_signal: false }),
        outcome => {
            outcome.context("waiting for keys and samples failed")?;
            // To crossterm a terminal that is gone is one that has always something to read.
            let is_gone = ready[1].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
            ensure!(!is_gone, "the terminal is gone");
            Ok(Woken { by_signal: ready[0].any() == Some(true) })
        }
    }
}

/// Whether to go on.
fn on_signals(signals: &Signals, screen: &mut Screen) -> Result<bool> {
    while let Some(signal) = signals.next().context("reading a signal failed")? {
        match signal {
            Signal::SIGTSTP => suspend(screen)?,
            Signal::SIGCONT => screen.enter_again().context("taking over the terminal failed")?,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Until the shell continues it: then there is a SIGCONT to be read, too.
fn suspend(screen: &mut Screen) -> Result<()> {
    screen.leave();
    stop().context("stopping failed")
}

/// Whether to go on.
fn on_key(key: Key, app: &mut App, feed: &mut Feed, screen: &mut Screen) -> Result<bool> {
    if key == Key::Ctrl('l') {
        screen.enter_again().context("drawing failed")?;
    }
    match app.on_key(key) {
        Action::None => {}
        Action::Request(request) => feed.request(request),
        Action::Export(json) => {
            let said = export(app.view(), &json);
            app.say(said);
        }
        Action::Suspend => suspend(screen)?,
        Action::Quit => return Ok(false),
    }
    Ok(true)
}

/// Writes a file of its own, and says how that went.
fn export(view: View, json: &str) -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string().replace([':', '.'], "-");
    let path = PathBuf::from(format!("thread-probe-{}-{now}.json", view.title().to_lowercase()));
    let written = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(json.as_bytes())?;
        file.write_all(b"\n")
    });
    match written {
        Ok(()) => format!("wrote {}", path.display()),
        Err(error) => format!("writing {} failed: {error}", path.display()),
    }
}
