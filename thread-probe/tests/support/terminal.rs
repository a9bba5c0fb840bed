//! A real terminal: tmux, with a shell in it.

use std::{
    ops::Deref,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::geteuid;

use super::skip;

/// How long something may take to be on the screen on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tmux server with one shell, killed with this.
pub(crate) struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    /// The same, for one test at a time: what views show of the host is each other otherwise. `None`, and said, where
    /// there is no root or no tmux.
    pub(crate) fn alone(columns: u16, rows: u16, environment: &[&str]) -> Result<Option<Alone>> {
        let Some(turn) = turn() else { return Ok(None) };
        Ok(Some(Alone { terminal: Self::start(columns, rows, environment)?, _turn: turn }))
    }

    /// Starts a shell, in a folder of its own that is its home, too.
    pub(crate) fn start(columns: u16, rows: u16, environment: &[&str]) -> Result<Self> {
        let terminal = Self { folder: tempfile::tempdir()? };
        let home = terminal.folder().display().to_string();
        let size = [columns, rows].map(|number| number.to_string());
        let mut command = vec!["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "-c", &home];
        let home = format!("HOME={home}");
        let usual = [&home, "LC_ALL=C.UTF-8", "XDG_STATE_HOME=", "NO_COLOR=", "RUST_BACKTRACE=0", "PS1=ready> "];
        for variable in usual.iter().chain(environment) {
            command.extend(["-e", variable]);
        }
        command.extend(["--", "bash", "--norc", "--noprofile", "-i"]);
        terminal.tmux(&command)?;
        terminal.wait_for("ready>")?;
        Ok(terminal)
    }

    /// Where the shell is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Types a line.
    pub(crate) fn enter(&self, line: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", "--", line])?;
        self.press("Enter")
    }

    /// Presses a key that tmux has a name for.
    pub(crate) fn press(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", "--", key]).map(drop)
    }

    /// Changes its size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]).map(drop)
    }

    /// What is on the screen, as text.
    pub(crate) fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with the sequences that set colours.
    pub(crate) fn screen_with_colours(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-e", "-p"])
    }

    /// Whether a program has the alternate screen.
    pub(crate) fn is_alternate(&self) -> Result<bool> {
        Ok(self.tmux(&["display-message", "-p", "#{alternate_on}"])?.trim() == "1")
    }

    /// Whether a program is told of clicks.
    pub(crate) fn gives_mouse(&self) -> Result<bool> {
        Ok(self.tmux(&["display-message", "-p", "#{mouse_any_flag}"])?.trim() == "1")
    }

    /// Whether the cursor is to be seen.
    pub(crate) fn has_cursor(&self) -> Result<bool> {
        Ok(self.tmux(&["display-message", "-p", "#{cursor_flag}"])?.trim() == "1")
    }

    /// Types these bytes.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        let codes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = vec!["send-keys", "-H"];
        command.extend(codes.iter().map(String::as_str));
        self.tmux(&command).map(drop)
    }

    /// Takes the terminal away, as a window that is closed does.
    pub(crate) fn close(&self) -> Result<()> {
        self.tmux(&["kill-server"]).map(drop)
    }

    /// Waits until this is on the screen.
    pub(crate) fn wait_for(&self, text: &str) -> Result<String> {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the shell is ready for the next line.
    pub(crate) fn wait_for_prompt(&self) -> Result<String> {
        self.wait_until("the prompt", |screen| screen.trim_end().ends_with("ready>"))
    }

    /// Waits until the screen is as it should be. Returns it.
    pub(crate) fn wait_until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> Result<String> {
        let started = Instant::now();
        loop {
            let screen = self.screen()?;
            if is_there(&screen) {
                return Ok(screen);
            }
            ensure!(started.elapsed() < PATIENCE, "not on the screen after {PATIENCE:?}: {what}\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.folder.path().join("tmux")).args(arguments).env_remove("TMUX");
        let output = command.output().context("starting tmux")?;
        ensure!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A terminal, while it is this test's turn.
pub(crate) struct Alone {
    terminal: Terminal,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Terminal;

    fn deref(&self) -> &Terminal {
        &self.terminal
    }
}

/// This test's turn to show something; `None`, and said, where that can't be.
pub(crate) fn turn() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    let has_tmux = || Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success());
    if geteuid().is_root() && has_tmux() {
        return Some(ONE.lock().unwrap_or_else(PoisonError::into_inner));
    }
    skip("it needs root and tmux");
    None
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.tmux(&["kill-server"]);
    }
}
