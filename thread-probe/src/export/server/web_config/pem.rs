//! Certificates and keys, from files beside the web configuration or in it.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject as _},
};

use super::file::{Text, given, mistake};
use crate::config::{Mistake, file::content_and_mode};

/// Whoever is not the owner may not write it, whoever is not in its group may do nothing with it.
const MODE_OF_OTHERS: u32 = 0o027;

/// Where the web configuration is.
pub(super) struct Place<'a> {
    /// The file itself.
    pub(super) file: &'a Path,
    /// Its mode: it may have a key in it.
    pub(super) mode: u32,
}

impl Place<'_> {
    /// Where a file is that the web configuration names: a relative path begins in the folder of that.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.file.parent().unwrap_or_else(|| Path::new("")).join(name)
    }
}

/// PEM, and where it is from.
pub(super) struct Pem<'a> {
    field: String,
    at: &'a Text,
    content: Vec<u8>,
    /// The file that it is in, and its mode.
    held_by: (PathBuf, u32),
}

impl<'a> Pem<'a> {
    /// What is in the file, or given itself under `name`; not both.
    pub(super) fn read(
        name: &str,
        (file, inline): (Option<&'a Text>, Option<&'a Text>),
        place: &Place<'_>,
    ) -> Result<Option<Self>, Mistake> {
        let field = |name: String| format!("tls_server_config.{name}");
        match (given(file), given(inline)) {
            (None, None) => Ok(None),
            (None, Some(at)) => {
                let held_by = (place.file.to_owned(), place.mode);
                Ok(Some(Self { field: field(name.to_owned()), at, content: at.value.clone().into_bytes(), held_by }))
            }
            (Some(at), None) => {
                let (field, path) = (field(format!("{name}_file")), place.path_of(&at.value));
                let (content, mode) =
                    content_and_mode(&path).map_err(|error| mistake(at, &field, error.to_string()))?;
                Ok(Some(Self { field, at, content, held_by: (path, mode) }))
            }
            (Some(_), Some(at)) => {
                Err(mistake(at, &field(name.to_owned()), format!("there is {name}_file, too: have one")))
            }
        }
    }

    /// What is wrong with it.
    pub(super) fn mistake(&self, message: &str) -> Mistake {
        let (path, _) = &self.held_by;
        mistake(self.at, &self.field, format!("{}: {message}", path.display()))
    }

    /// The certificates in it, one at least.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Mistake> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.content).collect();
        let found = found.map_err(|error| self.mistake(&format!("no certificate in PEM: {error}")))?;
        if found.is_empty() {
            return Err(self.mistake("it has no certificate (-----BEGIN CERTIFICATE-----)"));
        }
        Ok(found)
    }

    /// The private key in it, if nobody else can get at it.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Mistake> {
        let (path, mode) = &self.held_by;
        if mode & MODE_OF_OTHERS != 0 {
            return Err(self.mistake(&format!(
                "a private key that others may read, or its group write (mode {mode:04o}): chmod 640 {}",
                path.display()
            )));
        }
        PrivateKeyDer::from_pem_slice(&self.content).map_err(|error| match error {
            Error::NoItemsFound => {
                self.mistake("it has no private key that is not encrypted (-----BEGIN PRIVATE KEY-----)")
            }
            error => self.mistake(&format!("no private key in PEM: {error}")),
        })
    }
}
