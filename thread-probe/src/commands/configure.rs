//! The command line on top of the file.

use super::options::{ProbeOptions, ServeOptions};
use crate::{
    config::{Config, FileError, read, value},
    names::grouping::GroupBy,
};

/// Replaces a setting by what the command line gives, if it does.
fn replace<T: Clone>(setting: &mut T, given: Option<&T>) {
    if let Some(given) = given {
        setting.clone_from(given);
    }
}

impl ProbeOptions {
    /// The configuration that file and options give.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn configure(&self) -> Result<Config, FileError> {
        let mut config = self.config_file.as_deref().map(read).transpose()?.unwrap_or_default();
        if let Some(user) = &self.user {
            config.probe.user = value::user(user);
        }
        replace(&mut config.probe.clone_probe, self.clone_probe.as_ref());
        Ok(config)
    }

    /// The same, grouped otherwise if so given.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn configure_grouped(&self, by: Option<GroupBy>) -> Result<Config, FileError> {
        let mut config = self.configure()?;
        replace(&mut config.groups.by, by.as_ref());
        Ok(config)
    }
}

impl ServeOptions {
    /// The configuration that file and options give.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn configure(&self) -> Result<Config, FileError> {
        let mut config = self.probe.configure_grouped(self.groups.group_by)?;
        replace(&mut config.groups.max, self.groups.max_groups.as_ref());
        replace(&mut config.groups.retention, self.groups.group_retention.as_ref());
        replace(&mut config.probe.ebpf_log, self.ebpf_log.as_ref());
        replace(&mut config.interval, self.interval.as_ref());
        replace(&mut config.web.listen_addresses, self.listen_addresses.as_ref());
        replace(&mut config.web.telemetry_path, self.telemetry_path.as_ref());
        if let Some(path) = &self.socket {
            config.web.socket = value::some_path(path.clone());
        }
        if let Some(path) = &self.web_config_file {
            config.web.config_file = value::some_path(path.clone());
        }
        replace(&mut config.alerts.alertmanager_urls, self.alertmanager_urls.as_ref());
        Ok(config)
    }
}
