//! The terminal: taken over, given back whatever happens, and what it says.

use std::{
    env,
    fs::OpenOptions,
    io::{self, IsTerminal as _, stdin},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::{
        cursor::Hide,
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
        terminal::{EnterAlternateScreen, enable_raw_mode},
    },
};

use super::{app::Key, render::Theme};
use crate::{limits_view::is_utf8, log};

/// The terminal in raw mode, with the view on its alternate screen. It is given back when this is dropped, and before
/// the message of a panic. What is logged meanwhile is printed then.
pub struct Screen {
    terminal: DefaultTerminal,
    input: OwnedFd,
    _log: log::Held,
}

impl Screen {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// There is none, or it can't be set up.
    pub fn enter() -> io::Result<Self> {
        // As crossterm does.
        let input = if stdin().is_terminal() {
            stdin().as_fd().try_clone_to_owned()?
        } else {
            OpenOptions::new().read(true).write(true).open("/dev/tty")?.into()
        };
        let log = log::hold();
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        Ok(Self { terminal, input, _log: log })
    }

    /// Draws.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Readable when there are [`Self::keys`].
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// The keys that were pressed. Does not wait.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn keys(&mut self) -> io::Result<Vec<Key>> {
        let mut keys = Vec::new();
        while event::poll(Duration::ZERO)? {
            // A new size is seen by the next draw.
            if let Event::Key(pressed) = event::read()? {
                keys.extend(key(pressed));
            }
        }
        Ok(keys)
    }

    /// Gives the terminal back for a while.
    pub fn leave(&mut self) {
        ratatui::restore();
    }

    /// Takes it over again, and draws all anew.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn enter_again(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char(c) if control => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::F(number) => Key::F(number),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

/// What the terminal and its user allow: no colour with NO_COLOR (no-color.org), and only ASCII where the locale has no more.
pub fn theme() -> Theme {
    let is_unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let terminal = env::var("TERM").unwrap_or_default();
    let is_monochrome = ["", "dumb", "vt100", "vt220"].contains(&&*terminal) || terminal.ends_with("-m");
    Theme::new(!is_unwanted && !is_monochrome, is_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_by_control_and_a_release_is_none() {
        let press = |code, modifiers| key(KeyEvent::new(code, modifiers));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Ctrl('c')));
        assert_eq!(press(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Key::Char('G')));
        let released = KeyEvent::new_with_kind(KeyCode::Enter, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(key(released), None);
    }
}
