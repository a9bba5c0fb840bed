//! What the program is told to do: the command line, on top of a file, on top of the defaults.
//!
//! [`keys`] has all there is in the file; reading, writing and comparing configurations go by that table.

pub mod command;
mod command_line;
pub(crate) mod file;
pub(crate) mod given;
mod keys;
mod reload;
mod rules;
pub(crate) mod value;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    file::{FileError, Mistake, parse, read},
    reload::{Running, reload},
};
use crate::{alerts::config::AlertsConfig, cli::CloneProbe, grouping::GroupBy};

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
}

/// How processes are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsConfig {
    /// What makes processes one group.
    pub by: GroupBy,
    /// How many groups there may be.
    pub max: u32,
    /// How long a group without a live process is kept.
    pub retention: Duration,
    /// Groups for which there is always room, by name.
    pub keep: Vec<String>,
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

/// How the programs are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeConfig {
    /// The user to become once they are attached, by name or number.
    pub user: Option<String>,
    /// How to see clones that fail and how long others take.
    pub clone_probe: CloneProbe,
    /// Whether the programs log what is rare.
    pub ebpf_log: bool,
}

/// How limits are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The time over which the growth of their use is measured.
    pub window: Duration,
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
        }
    }
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self { by: GroupBy::default(), max: 500, retention: Duration::from_secs(600), keep: Vec::new() }
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

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { window: Duration::from_secs(600) }
    }
}

#[cfg(test)]
mod tests;
