//! Taking over a configuration that changed while the daemon runs.

use std::{sync::Arc, time::SystemTime};

use super::{
    Config, FileError,
    keys::{self, KEYS},
};
use crate::model::ConfigStatus;

/// The configuration in force, and how it got there.
#[derive(Clone, Debug)]
pub struct Running {
    /// The configuration.
    pub config: Arc<Config>,
    /// How its last reload went.
    pub status: ConfigStatus,
}

impl Running {
    /// What the daemon starts with.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), status: ConfigStatus::loaded(SystemTime::now()) }
    }

    /// Takes over what can change while the daemon runs; says what changed, and what did not.
    fn take_over(&self, mut config: Config) -> Self {
        for path in config.keep_fixed(&self.config) {
            tracing::warn!(key = path, "SIGHUP: changed in the file, but not taken over: that needs a restart");
        }
        let changed = keys::differing(&self.config, &config);
        let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        tracing::info!(%changed, "SIGHUP: configuration reloaded");
        Self::new(config)
    }
}

/// What is in force after SIGHUP, by what was read: a file that is wrong changes nothing.
pub fn reload(running: &Running, read: Result<Config, FileError>) -> Running {
    match read {
        Ok(config) => running.take_over(config),
        Err(error) => {
            let mistakes = error.to_string().replace('\n', "; ");
            tracing::error!("SIGHUP: the configuration stays as it was: {mistakes}");
            let status = ConfigStatus { last_reload_successful: false, ..running.status };
            Running { config: Arc::clone(&running.config), status }
        }
    }
}

impl Config {
    /// Gives what can't change while the daemon runs the values of `running`; returns the keys where they differed.
    fn keep_fixed(&mut self, running: &Self) -> Vec<&'static str> {
        let differs = |key: &&keys::Key| !key.is_live && (key.get)(self) != (key.get)(running);
        let differing: Vec<&keys::Key> = KEYS.iter().filter(differs).collect();
        differing.iter().for_each(|key| (key.copy)(self, running));
        differing.iter().map(|key| key.path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_live_is_taken_over_and_what_is_fixed_is_kept_and_named() {
        let old = Running::new(Config::default());
        let text = "interval = '1s'\n[groups]\nby = 'exe'\nmax = 7\n[web]\ntelemetry_path = '/m'\n[probe]\nuser = 'x'\n\
                    [alerts.rules.limit_use]\nenabled = false\n";
        let read = super::super::parse(text.as_bytes()).unwrap_or_default();
        assert_eq!(read.clone().keep_fixed(&old.config), ["groups.by", "web.telemetry_path", "probe.user"]);
        let new = old.take_over(read);
        assert_eq!(
            keys::differing(&old.config, &new.config),
            ["interval", "groups.max", "alerts.rules.limit_use.enabled"]
        );
    }

    #[test]
    fn no_fixed_key_is_forgotten_when_they_are_kept() {
        let mut all = super::super::parse(super::super::tests::FULL.as_bytes()).unwrap_or_default();
        assert_eq!(all.keep_fixed(&Config::default()).len(), KEYS.iter().filter(|key| !key.is_live).count());
        assert_eq!(all.keep_fixed(&Config::default()), [""; 0]);
    }
}
