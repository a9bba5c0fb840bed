//! A web configuration that is read again when its files change.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Settings, load, sources::Sources};
use crate::config::FileError;

/// How often its files are looked at, at most, and only when somebody connects or asks; and how long they must have
/// been as they are before a change of them counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The web configuration in force.
pub struct LiveWebConfig {
    path: PathBuf,
    /// What it protects.
    addresses: Vec<SocketAddr>,
    state: Mutex<State>,
}

struct State {
    settings: Arc<Settings>,
    /// The files as they were when they were read.
    sources: Sources,
    /// The same as they were at the last look, if they had changed.
    changed: Option<Sources>,
    looked: Instant,
}

impl LiveWebConfig {
    /// Reads it for the first time. It protects the addresses.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn open(path: &Path, addresses: &[SocketAddr]) -> Result<Self, FileError> {
        let (sources, settings) = load(path);
        let settings = settings?;
        settings.warn_of_what_is_open(addresses);
        let state = State { settings: Arc::new(settings), sources, changed: None, looked: Instant::now() };
        Ok(Self { path: path.to_owned(), addresses: addresses.to_owned(), state: Mutex::new(state) })
    }

    /// What is in force: what the files say or, where they are wrong, what they said before.
    pub fn settings(&self) -> Arc<Settings> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        Arc::clone(&state.settings)
    }

    /// Reads it again, whether it changed or not: what it says now is meant.
    pub fn reload(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (sources, outcome) = load(&self.path);
        self.take(&mut state, sources, outcome);
    }

    /// Reads it again if it changed and whoever does that is done. A file that is written in place is empty at first,
    /// and half of one may be valid: it asks for less.
    fn look(&self, state: &mut State) {
        let now = state.sources.now();
        let has_rested = state.changed.as_ref() == Some(&now) || now.have_rested_for(LOOK_EVERY);
        state.changed = (now != state.sources).then_some(now);
        if state.changed.is_none() || !has_rested {
            return;
        }
        let (sources, outcome) = load(&self.path);
        if sources != sources.now() {
            // It goes on changing.
            return;
        }
        match outcome.as_ref().map(|settings| state.settings.protections_not_in(settings)) {
            Ok(lost) if !lost.is_empty() => {
                state.sources = sources;
                let (path, lost) = (self.path.display(), lost.join(" and "));
                tracing::error!(
                    "the web configuration stays as it was: {path} asks no more for {lost}; if that is meant, send \
                     SIGHUP (systemctl reload) or restart"
                );
            }
            _ => self.take(state, sources, outcome),
        }
    }

    fn take(&self, state: &mut State, sources: Sources, outcome: Result<Settings, FileError>) {
        // Also where they are wrong: that is said once, until they change again.
        state.sources = sources;
        state.changed = None;
        match outcome {
            Ok(settings) => {
                let (path, users) = (self.path.display(), settings.users.len());
                let (tls, client_certificates) = (settings.tls.is_some(), settings.requires_certificate);
                tracing::info!(%path, tls, client_certificates, users, "web configuration read again");
                settings.warn_of_what_is_open(&self.addresses);
                state.settings = Arc::new(settings);
            }
            Err(error) => tracing::error!("the web configuration stays as it was: {error}"),
        }
    }

    /// Says so if its files can't be read any more, now that privileges are dropped.
    pub fn warn_if_unreadable(&self) {
        let (sources, Err(error)) = load(&self.path) else { return };
        // What can't be seen any more has not changed: that is not said a second time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sources = sources;
        tracing::warn!(
            "the web configuration can't be read any more now that privileges are dropped, so changes of it will need a \
             restart; let the daemon's user or its group read its files (chgrp, chmod 640): {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread::sleep};

    use anyhow::Result;

    use super::*;

    /// Of "secret".
    const HASH: &str = "$2y$04$eC4Iu6wOWpSttUX.7Io0w.PzqLKLMc0NAVp2KhkJVChuEgoZvFoFO";

    fn users(live: &LiveWebConfig) -> String {
        live.settings().users.keys().cloned().collect::<Vec<_>>().join(",")
    }

    #[test]
    fn a_file_that_is_being_written_counts_when_it_has_been_left_alone_for_a_second() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("web.yml");
        fs::write(&path, format!("basic_auth_users:\n  alice: {HASH}\n"))?;
        let live = LiveWebConfig::open(&path, &[])?;
        // Each state of it is valid, and each has fewer users than are meant.
        for count in 1..12 {
            let lines: String = (0..count).map(|number| format!("  user{number}: {HASH}\n")).collect();
            fs::write(&path, format!("basic_auth_users:\n{lines}"))?;
            sleep(Duration::from_millis(200));
            assert_eq!(users(&live), "alice", "after {count} lines");
        }
        sleep(LOOK_EVERY);
        assert_eq!(users(&live).split(',').count(), 11);
        Ok(())
    }
}
