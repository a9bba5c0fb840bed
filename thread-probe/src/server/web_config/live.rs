//! A web configuration that is read again when its files change.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Settings, load, sources::Sources};
use crate::config::FileError;

/// How often its files are looked at, at most, and only when somebody connects or asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The web configuration in force.
pub struct LiveWebConfig {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    settings: Arc<Settings>,
    sources: Sources,
    looked: Instant,
}

impl LiveWebConfig {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (sources, settings) = load(path);
        let state = State { settings: Arc::new(settings?), sources, looked: Instant::now() };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// What is in force: what the files say or, where they are wrong, what they said before.
    pub fn settings(&self) -> Arc<Settings> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            if state.sources.changed() {
                self.read_again(&mut state);
            }
        }
        Arc::clone(&state.settings)
    }

    /// Reads it again, whether it changed or not.
    pub fn reload(&self) {
        self.read_again(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read_again(&self, state: &mut State) {
        let (sources, outcome) = load(&self.path);
        // Also where they are wrong: that is said once, until they change again.
        state.sources = sources;
        match outcome {
            Ok(settings) => {
                let (path, users) = (self.path.display(), settings.users.len());
                let (tls, client_certificates) = (settings.tls.is_some(), settings.requires_certificate);
                tracing::info!(%path, tls, client_certificates, users, "web configuration read again");
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
