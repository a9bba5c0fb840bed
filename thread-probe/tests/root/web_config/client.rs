//! A client, with and without TLS.

use std::{io, sync::Arc};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{PrivateKeyDer, ServerName},
};

use crate::{
    root::web_config::files::{Authority, Identity},
    support::daemon::Daemon,
};

/// Who asks.
pub(super) struct Client<'a> {
    pub trusts: &'a Authority,
    pub identity: Option<&'a Identity>,
    pub versions: &'a [&'static SupportedProtocolVersion],
}

pub(super) struct Answer {
    pub text: String,
    /// Of the server.
    pub certificate: Vec<u8>,
}

impl<'a> Client<'a> {
    pub(super) fn new(trusts: &'a Authority) -> Self {
        Self { trusts, identity: None, versions: ALL_VERSIONS }
    }

    pub(super) fn config(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.certificate.clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)?
            .with_root_certificates(roots);
        let Some(identity) = self.identity else { return Ok(builder.with_no_client_auth()) };
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).map_err(|error| anyhow::anyhow!(error))?;
        Ok(builder.with_client_auth_cert(vec![identity.certificate.clone()], key)?)
    }

    pub(super) fn get(&self, daemon: &Daemon, path: &str, user: Option<&str>) -> Result<Answer> {
        let connection = ClientConnection::new(Arc::new(self.config()?), ServerName::try_from("localhost")?)?;
        let mut stream = StreamOwned::new(connection, daemon.connect()?);
        let text = ask(&mut stream, path, user)?;
        let certificate = stream.conn.peer_certificates().and_then(<[_]>::first).context("a certificate")?;
        Ok(Answer { text, certificate: certificate.to_vec() })
    }

    /// Whether it is answered with 200.
    pub(super) fn is_let_in(&self, daemon: &Daemon) -> bool {
        self.get(daemon, "/metrics", None).is_ok_and(|answer| answer.text.starts_with("HTTP/1.1 200"))
    }
}

/// The whole answer. `user` is with the password, as in `alice:secret`.
pub(super) fn ask(stream: &mut (impl io::Read + io::Write), path: &str, user: Option<&str>) -> Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")?;
    if let Some(user) = user {
        write!(stream, "Authorization: Basic {}\r\n", BASE64_STANDARD.encode(user))?;
    }
    write!(stream, "\r\n")?;
    stream.flush()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(super) fn ask_plainly(daemon: &Daemon, path: &str, user: Option<&str>) -> Result<String> {
    ask(&mut daemon.connect()?, path, user)
}
