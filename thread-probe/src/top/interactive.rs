//! The loop: keys, samples and signals go to the state, and the state is drawn. One thread waits for all of them, so
//! that a look at a host that refuses new threads needs none.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use nix::{
    poll::{PollFd, PollFlags},
    sys::signal::Signal,
};

use super::{
    app::{Action, App, Key, View},
    feed::{Feed, Update},
    render::{self, Theme},
    signals::{Signals, stop},
    terminal::Screen,
};
use crate::os::wait::until_ready;

/// Shows the view until the user, or a signal, ends it. Returns its state.
///
/// # Errors
/// The terminal or the feed is gone.
pub(crate) fn run(mut app: App, mut feed: Feed, signals: &Signals, theme: &Theme) -> Result<App> {
    let mut screen = Screen::enter().context("taking over the terminal failed")?;
    loop {
        screen.draw(|frame| render::draw(frame, &app, theme)).context("drawing failed")?;
        let ready = wait(&screen, &feed, signals)?;
        if ready.signals && !on_signals(signals, &mut screen)? {
            return Ok(app);
        }
        if ready.keys {
            for key in screen.keys().context("reading the terminal failed")? {
                if !on_key(key, &mut app, &mut feed, &mut screen)? {
                    return Ok(app);
                }
            }
        }
        match feed.turn() {
            Some(Update::Sample(sample)) => app.on_sample(*sample),
            Some(Update::Lost(reason)) => app.on_lost(reason),
            Some(Update::Over) | None => {}
        }
    }
}

/// What there is to be read.
struct Ready {
    signals: bool,
    keys: bool,
}

fn wait(screen: &Screen, feed: &Feed, signals: &Signals) -> Result<Ready> {
    const LONGEST: Duration = Duration::from_hours(1);
    let until = Instant::now() + feed.due_in().map_or(LONGEST, |due| due.min(LONGEST));
    let fds = [Some(signals.fd()), Some(screen.input()), feed.fd()].into_iter().flatten();
    let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    until_ready(&mut fds, until).context("waiting for keys and samples failed")?;
    // A terminal that is gone can be read, too: that it is gone.
    let is_ready = |index: usize| fds[index].any() == Some(true);
    Ok(Ready { signals: is_ready(0), keys: is_ready(1) })
}

/// Whether to go on. A new size is seen by the next draw.
fn on_signals(signals: &Signals, screen: &mut Screen) -> Result<bool> {
    while let Some(signal) = signals.next().context("reading a signal failed")? {
        match signal {
            Signal::SIGTSTP => suspend(screen, false)?,
            // Stopped by a SIGSTOP, it could not give the terminal back; whoever had it since may have changed it.
            Signal::SIGCONT => screen.enter_again().context("taking over the terminal failed")?,
            Signal::SIGWINCH => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Gives the terminal to the shell until that continues this process.
fn suspend(screen: &mut Screen, with_job: bool) -> Result<()> {
    screen.leave();
    stop(with_job).context("stopping failed")?;
    // The SIGCONT is still to be read, and took with it what stopped the job.
    screen.enter_again().context("taking over the terminal failed")
}

/// Whether to go on.
fn on_key(key: Key, app: &mut App, feed: &mut Feed, screen: &mut Screen) -> Result<bool> {
    if key == Key::Ctrl('l') {
        screen.enter_again().context("drawing failed")?;
    }
    match app.on_key(key) {
        Action::None => {}
        Action::Request(request) => feed.request(request),
        Action::Travel(travel) => feed.travel(travel),
        Action::Export(json) => {
            let said = export(app.view(), &json);
            app.say(said);
        }
        Action::Suspend => suspend(screen, true)?,
        Action::Quit => return Ok(false),
    }
    Ok(true)
}

/// Writes a file of its own, and says how that went. Where the current folder is closed to a root that gave up its
/// privileges, as that of another user is, it goes where temporary files go.
fn export(view: View, json: &str) -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string().replace([':', '.'], "-");
    let name = format!("thread-probe-{}-{now}.json", view.title().to_lowercase());
    let mut refusals = Vec::new();
    for path in [PathBuf::from(&name), env::temp_dir().join(&name)] {
        match write_new(&path, json) {
            Ok(()) => return format!("wrote {}", path.display()),
            Err(error) => refusals.push(format!("{}: {error}", path.display())),
        }
    }
    format!("writing failed: {}", refusals.join("; "))
}

fn write_new(path: &Path, json: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(json.as_bytes())?;
    file.write_all(b"\n")
}
