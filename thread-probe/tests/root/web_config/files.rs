//! Certificates made here, and folders with a web configuration and what it names.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, string::Ia5String};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::support::daemon::Daemon;

/// An authority.
pub(super) struct Authority {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(super) struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: KeyPair,
    pub pem: String,
}

impl Authority {
    pub(super) fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Ok(Self { certificate, pem, issuer: Issuer::new(params, key) })
    }

    pub(super) fn issue(&self, names: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::new(Vec::new())?;
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => rcgen::SanType::IpAddress(address),
                Err(_) if name.contains("://") => rcgen::SanType::URI(Ia5String::try_from(*name)?),
                Err(_) => rcgen::SanType::DnsName(Ia5String::try_from(*name)?),
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key })
    }
}

/// A folder with a web configuration and what it names.
pub(super) struct Files(pub tempfile::TempDir);

impl Files {
    /// Of a server with a certificate of the authority.
    pub(super) fn new(authority: &Authority) -> Result<Self> {
        let files = Self(tempfile::tempdir()?);
        files.put(&authority.issue(&["localhost"])?)?;
        files.write("ca.pem", &authority.pem, 0o644)?;
        Ok(files)
    }

    pub(super) fn put(&self, server: &Identity) -> Result<()> {
        // As those who renew certificates do it: the file is another one.
        self.write("new.key", server.key.serialize_pem(), 0o640)?;
        self.write("new.pem", &server.pem, 0o644)?;
        fs::rename(self.path("new.key"), self.path("server.key"))?;
        Ok(fs::rename(self.path("new.pem"), self.path("server.pem"))?)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    }

    /// Writes the web configuration; returns its path.
    pub(super) fn web(&self, content: &str) -> Result<String> {
        self.write("web.yml", content, 0o640)?;
        Ok(self.path("web.yml").display().to_string())
    }

    pub(super) fn daemon(&self, content: &str, args: &[&str]) -> Result<Daemon> {
        let path = self.web(content)?;
        Daemon::start(&[&["--web.config.file", path.as_str()], args].concat())
    }
}

pub(super) const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

/// Of "secret", and as cheap as there are.
pub(super) const HASH: &str = "$2y$04$eC4Iu6wOWpSttUX.7Io0w.PzqLKLMc0NAVp2KhkJVChuEgoZvFoFO";
