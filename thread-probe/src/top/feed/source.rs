//! Where samples come from.

use std::path::PathBuf;

use crate::{config::value, http_client::without_userinfo};

/// Where the samples come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// The probe of this process.
    Own,
    /// A daemon.
    Daemon(Address),
    /// What was recorded: its name.
    Recording(String),
}

/// Where a daemon listens.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// Its base URL, which may have user and password: show [`Address::label`] instead.
    Url(String),
    /// Its Unix socket.
    Socket(PathBuf),
}

impl Source {
    /// Its name, for people.
    pub fn label(&self) -> String {
        match self {
            Self::Own => "own probe".to_owned(),
            Self::Daemon(address) => address.label(),
            Self::Recording(label) => label.clone(),
        }
    }
}

impl Address {
    /// The daemon at `http://`, `https://` or `unix:/PATH`.
    ///
    /// # Errors
    /// What a URL may be.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(path) = url.strip_prefix("unix:") else {
            let base =
                value::base_url(url, "http://127.0.0.1:10420").map_err(|said| format!("{said}; or unix:/PATH"))?;
            return Ok(Self::Url(base));
        };
        let path = value::socket(path).map_err(|said| format!("the path of a socket {said}"))?;
        if path.as_os_str().is_empty() {
            Err("unix: must have a path, as in unix:/PATH".to_owned())
        } else {
            Ok(Self::Socket(path))
        }
    }

    /// Its name, for people.
    pub fn label(&self) -> String {
        match self {
            Self::Url(url) => without_userinfo(url),
            Self::Socket(path) => path.display().to_string(),
        }
    }
}
