//! A terminal of our own: a tmux server that nobody looks at.

use std::{
    ffi::OsString,
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{build::as_root, setup::output};

/// The columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size {
    pub(crate) columns: NonZeroU16,
    pub(crate) rows: NonZeroU16,
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('x').and_then(|(columns, rows)| {
            let small = |text: &str| text.parse().ok().filter(|number: &NonZeroU16| number.get() <= 500);
            Some(Self { columns: small(columns)?, rows: small(rows)? })
        });
        numbers.ok_or_else(|| "columns and rows of at most 500, as in 160x45".to_owned())
    }
}

/// A server with one program in one pane, killed with this.
pub(crate) struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// Starts a program as root, with its home in this folder; the server's socket is there, too.
    ///
    /// # Errors
    /// There is no tmux, or it could not be started.
    pub(crate) fn start(size: Size, home: &Path, program: &[OsString]) -> Result<Self> {
        output(Command::new("tmux").arg("-V")).context("no tmux: install it (Debian, Ubuntu and Fedora: tmux)")?;
        // Made first, so that a server that half started is killed as well.
        let tmux = Self { socket: home.join("tmux") };
        let mut command = tmux.command();
        command.args(["-f", "/dev/null", "start-server", ";"]);
        command.args(["set-option", "-g", "default-terminal", "tmux-256color", ";"]);
        command.args(["set-option", "-g", "status", "off", ";"]);
        // What it said before it ended would be gone with it.
        command.args(["set-option", "-g", "remain-on-exit", "on", ";"]);
        command.args(["new-session", "-d", "-x", &size.columns.to_string(), "-y", &size.rows.to_string()]);
        for variable in ["COLORTERM=truecolor", "LC_ALL=C.UTF-8"] {
            command.args(["-e", variable]);
        }
        // Not with what a developer's own use has left there.
        for variable in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            command.arg("-e").arg(format!("{variable}={}", home.display()));
        }
        output(command.args(["--", "env", "-u", "NO_COLOR"]).args(program))?;
        Ok(tmux)
    }

    /// Presses a key, which tmux has a name for.
    ///
    /// # Errors
    /// There is no such key.
    pub(crate) fn press(&self, key: &str) -> Result<()> {
        output(self.command().args(["send-keys", "--", key])).map(drop).with_context(|| format!("pressing {key}"))
    }

    /// Whether the program is still running.
    ///
    /// # Errors
    /// It ended: what it said last.
    pub(crate) fn check(&self) -> Result<()> {
        let state = output(self.command().args(["display-message", "-p", "#{pane_dead} #{pane_dead_status}"]))?;
        if let Some(status) = state.trim().strip_prefix("1") {
            // With the history: tmux's own line, that the pane is dead, scrolls the first one away.
            let said = output(self.command().args(["capture-pane", "-p", "-S", "-"]))?;
            let said: Vec<&str> =
                said.lines().filter(|line| !line.is_empty() && !line.starts_with("Pane is dead")).collect();
            anyhow::bail!("the program ended with status{status}: {}", said.join("\n"));
        }
        Ok(())
    }

    /// What is on the screen, as text.
    ///
    /// # Errors
    /// The server is gone.
    pub(crate) fn text(&self) -> Result<String> {
        output(self.command().args(["capture-pane", "-p"]))
    }

    /// The same with its colours.
    ///
    /// # Errors
    /// The server is gone.
    pub(crate) fn coloured(&self) -> Result<String> {
        output(self.command().args(["capture-pane", "-e", "-N", "-p"]))
    }

    fn command(&self) -> Command {
        let mut command = as_root(Path::new("tmux"));
        command.args(["-u", "-S"]).arg(&self.socket).env_remove("TMUX");
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_numbers() {
        let size = "160x45".parse::<Size>().map(|size| (size.columns.get(), size.rows.get()));
        assert_eq!(size, Ok((160, 45)));
        for wrong in ["", "160", "0x45", "160x0", "160x45x1", "-1x4", "501x40"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
