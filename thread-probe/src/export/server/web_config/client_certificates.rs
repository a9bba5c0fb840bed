//! Which client certificates are accepted.

use std::{net::IpAddr, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use webpki::EndEntityCert;

use super::{
    file::{Text, TlsSection, given, mistake},
    pem::{Pem, Place},
};
use crate::config::Mistake;

const AUTH_TYPE: &str = "tls_server_config.client_auth_type";
const SANS: &str = "tls_server_config.client_allowed_sans";

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// A certificate is verified, but may be missing.
    IfGiven,
    Required,
}

impl Asked {
    fn of(text: &Text) -> Result<Self, Mistake> {
        match text.value.as_str() {
            "NoClientCert" => Ok(Self::Nothing),
            "VerifyClientCertIfGiven" => Ok(Self::IfGiven),
            "RequireAndVerifyClientCert" => Ok(Self::Required),
            "RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert" => {
                let said =
                    format!("{} accepts any certificate, which proves nothing, and is not supported", text.value);
                Err(mistake(text, AUTH_TYPE, format!("{said}: RequireAndVerifyClientCert verifies it")))
            }
            _ => Err(mistake(
                text,
                AUTH_TYPE,
                "must be NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
            )),
        }
    }
}

/// Who verifies the certificates of clients, if anybody does; and what is asked.
pub(super) fn verifier(
    section: &TlsSection,
    place: &Place<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<(Asked, Option<Arc<dyn ClientCertVerifier>>), Mistake> {
    let auth_type = given(section.client_auth_type.as_ref());
    let asked = auth_type.map_or(Ok(Asked::Nothing), Asked::of)?;
    let sans = allowed_sans(section, asked)?;
    let authorities = Pem::read("client_ca", (section.client_ca_file.as_ref(), section.client_ca.as_ref()), place)?;
    let authorities = match (auth_type.filter(|_| asked != Asked::Nothing), authorities) {
        (None, None) => return Ok((asked, None)),
        (None, Some(pem)) => return Err(pem.mistake("no client is asked for a certificate: set client_auth_type, too")),
        (Some(at), None) => {
            return Err(mistake(
                at,
                AUTH_TYPE,
                "needs client_ca_file: the authorities whose certificates are accepted",
            ));
        }
        (Some(_), Some(pem)) => pem,
    };
    let mut roots = RootCertStore::empty();
    for certificate in authorities.certificates()? {
        roots.add(certificate).map_err(|error| authorities.mistake(&format!("not an authority's: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if asked == Asked::IfGiven { builder.allow_unauthenticated() } else { builder };
    let inner = builder.build().map_err(|error| authorities.mistake(&error.to_string()))?;
    Ok((asked, Some(if sans.is_empty() { inner } else { Arc::new(AllowedSans { inner, sans }) })))
}

/// The names of which a certificate must have one; none if it need not.
fn allowed_sans(section: &TlsSection, asked: Asked) -> Result<Vec<San>, Mistake> {
    let listed = section.client_allowed_sans.as_deref().unwrap_or_default();
    if let Some(first) = listed.first()
        && asked != Asked::Required
    {
        return Err(mistake(first, SANS, "needs client_auth_type: RequireAndVerifyClientCert"));
    }
    listed.iter().map(San::of).collect()
}

/// A name that a certificate may have.
#[derive(Debug)]
enum San {
    /// A DNS name or a URI.
    Name(String),
    Address(IpAddr),
}

impl San {
    fn of(text: &Text) -> Result<Self, Mistake> {
        if text.value.contains('@') && !text.value.contains("://") {
            return Err(mistake(
                text,
                SANS,
                "e-mail addresses can't be compared: only DNS names, URIs and IP addresses",
            ));
        }
        Ok(text.value.parse().map_or_else(|_| Self::Name(text.value.clone()), Self::Address))
    }

    /// Whether the certificate has it, to the letter.
    fn is_in(&self, certificate: &EndEntityCert<'_>) -> bool {
        match self {
            Self::Name(name) => {
                certificate.valid_dns_names().any(|found| found == name)
                    || certificate.valid_uri_names().any(|found| found == name)
            }
            Self::Address(address) => certificate.verify_is_valid_for_subject_name(&ServerName::from(*address)).is_ok(),
        }
    }
}

/// Of the certificates that are valid, those with one of these names.
#[derive(Debug)]
struct AllowedSans {
    inner: Arc<dyn ClientCertVerifier>,
    sans: Vec<San>,
}

impl ClientCertVerifier for AllowedSans {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let certificate = EndEntityCert::try_from(end_entity).map_err(|_| refused.clone())?;
        if self.sans.iter().any(|san| san.is_in(&certificate)) { Ok(verified) } else { Err(refused) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
