//! The configuration: the command line, on top of a file, on top of the defaults.
//!
//! [`keys`] has all there is in the file; reading, writing and comparing configurations go by that table.

pub(crate) mod file;
pub(crate) mod keys;
pub(crate) mod read;
mod reload;
mod rules;
pub(crate) mod toml_value;
pub(crate) mod value;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    file::{FileError, Mistake, parse, read},
    keys::write,
    reload::{Running, reload},
};
pub use crate::sampler::{GroupsConfig, LimitsConfig, ProbeConfig};
use crate::{alerts::config::AlertsConfig, sampler::SamplerConfig};

/// The configuration: valid, and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Time between the samples of the daemon.
    pub interval: Duration,
    /// How processes are grouped.
    pub groups: GroupsConfig,
    /// Where the daemon answers.
    pub web: WebConfig,
    /// The programs.
    pub probe: ProbeConfig,
    /// The limits.
    pub limits: LimitsConfig,
    /// The alerts.
    pub alerts: AlertsConfig,
    /// What is kept of the samples.
    pub record: RecordConfig,
}

/// What the daemon keeps of its samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordConfig {
    /// In which folder; `None` is nothing.
    pub dir: Option<PathBuf>,
    /// Bytes that recordings may take together.
    pub budget_bytes: u64,
    /// Time between samples that are kept.
    pub interval: Duration,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { dir: None, budget_bytes: 512 << 20, interval: Duration::from_secs(5) }
    }
}

/// Where the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// What it listens on.
    pub listen_addresses: Vec<SocketAddr>,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// The Unix socket that it listens on besides.
    pub socket: Option<PathBuf>,
    /// Where TLS, users and headers are configured, in the format of Prometheus's exporter toolkit.
    pub config_file: Option<PathBuf>,
}

/// Where a daemon's Unix socket is unless something else is configured, and where others look for it.
pub const DEFAULT_SOCKET: &str = "/run/thread-probe/thread-probe.sock";

impl WebConfig {
    /// Whether the socket is where nobody asked for it: it may be done without.
    pub fn has_default_socket(&self) -> bool {
        self.socket.as_deref() == Some(Path::new(DEFAULT_SOCKET))
    }
}

impl Config {
    /// What the sampler takes of it.
    pub fn sampler(&self) -> SamplerConfig {
        SamplerConfig { groups: self.groups.clone(), probe: self.probe.clone(), limits: self.limits.clone() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            groups: GroupsConfig::default(),
            web: WebConfig::default(),
            probe: ProbeConfig::default(),
            limits: LimitsConfig::default(),
            alerts: AlertsConfig::default(),
            record: RecordConfig::default(),
        }
    }
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            listen_addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 10420))],
            telemetry_path: "/metrics".to_owned(),
            socket: Some(DEFAULT_SOCKET.into()),
            config_file: None,
        }
    }
}

#[cfg(test)]
mod tests;
