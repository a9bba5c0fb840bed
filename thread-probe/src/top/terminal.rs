//! The terminal: taken over, given back whatever happens, and what it says.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read as _, Stdout, stdin, stdout},
    mem::ManuallyDrop,
    os::fd::{AsFd as _, BorrowedFd},
    panic,
    sync::Once,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};
use ratatui::{
    Frame, Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        execute,
        style::Print,
        terminal::{
            self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
        },
    },
    layout::{Rect, Size},
};

use super::{app::Key, input::KeyReader, render::Theme};
use crate::{
    os::{log, wait::until_ready},
    text::terminal::is_utf8,
};

/// How long after an escape the rest of a sequence may come, through a slow line.
const ESCAPE_TIME: Duration = Duration::from_millis(25);

/// Buttons and wheel of a mouse, in the form that has no end at column 223. Crossterm's own command asks for each
/// movement, too.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// The terminal in raw mode, with the view on its alternate screen. It is given back when this is dropped, and before
/// the message of a panic. What is logged meanwhile is printed then.
pub struct Screen {
    /// Not dropped: it would say on standard error, in a panic if that is gone, too, that the terminal is gone.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
    input: File,
    reader: KeyReader,
    _log: log::Held,
}

impl Screen {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// There is none, or it can't be set up.
    pub fn enter() -> io::Result<Self> {
        let input = if stdin().is_terminal() {
            File::from(stdin().as_fd().try_clone_to_owned()?)
        } else {
            OpenOptions::new().read(true).write(true).open("/dev/tty")?
        };
        give_back_before_a_panic_is_told(thread::current().id());
        let log = log::hold();
        let terminal = blank(size()?)?;
        let mut screen = Self { terminal, input, reader: KeyReader::default(), _log: log };
        screen.enter_again()?;
        Ok(screen)
    }

    /// Draws, in the size that the terminal has now.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let size = size()?;
        if self.terminal.get_frame().area().as_size() != Size::from(size) {
            self.terminal = blank(size)?;
            execute!(stdout(), Clear(ClearType::All))?;
        }
        self.terminal.draw(draw).map(|_| ())
    }

    /// Readable when there are [`Self::keys`].
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// The keys that were pressed; to be asked once [`Self::input`] is readable.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn keys(&mut self) -> io::Result<Vec<Key>> {
        let mut bytes = [0; 4096];
        let length = self.input.read(&mut bytes)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = &bytes[..length];
        // Nothing but an escape is waited for: all other keys are answered at once.
        let is_all = !KeyReader::may_go_on(bytes) || {
            let mut more = [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
            !until_ready(&mut more, Instant::now() + ESCAPE_TIME)?
        };
        Ok(self.reader.keys(bytes, is_all))
    }

    /// Gives the terminal back for a while.
    pub fn leave(&mut self) {
        give_back();
    }

    /// Takes it over again, and draws all anew.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn enter_again(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, Hide, Print(MOUSE_ON), Clear(ClearType::All))?;
        self.terminal = blank(size()?)?;
        Ok(())
    }
}

/// The terminal's columns and rows. A serial console says 0 for what it does not know: it is taken for 80 by 24.
pub(crate) fn size() -> io::Result<(u16, u16)> {
    let (columns, rows) = terminal::size()?;
    Ok((if columns == 0 { 80 } else { columns }, if rows == 0 { 24 } else { rows }))
}

/// Draws on a blank screen of this size. Not one that follows the terminal's size or clears it by itself: for that it
/// asks where the cursor is, and takes keys for the answer.
fn blank((width, height): (u16, u16)) -> io::Result<ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>> {
    let viewport = Viewport::Fixed(Rect { x: 0, y: 0, width, height });
    Terminal::with_options(CrosstermBackend::new(stdout()), TerminalOptions { viewport }).map(ManuallyDrop::new)
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// If the terminal is gone, there is nobody to give it back to.
fn give_back() {
    let _ = execute!(stdout(), Print(MOUSE_OFF), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// The message of a panic would be lost on the alternate screen. One of another thread does not end the view, and is
/// told with the log.
fn give_back_before_a_panic_is_told(owner: ThreadId) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() == owner {
                give_back();
                default(info);
            } else {
                tracing::error!("{info}");
            }
        }));
    });
}

/// What the terminal and its user allow: no colour with NO_COLOR (no-color.org), and only ASCII where the locale has no
/// more.
pub fn theme() -> Theme {
    let is_unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let terminal = env::var("TERM").unwrap_or_default();
    let is_monochrome = ["", "dumb", "vt100", "vt220"].contains(&&*terminal) || terminal.ends_with("-m");
    Theme::new(!is_unwanted && !is_monochrome, is_utf8())
}
