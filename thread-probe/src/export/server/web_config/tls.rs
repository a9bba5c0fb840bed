//! From `tls_server_config` to what rustls serves with.

use std::sync::Arc;

use serde_saphyr::Spanned;
use tokio_rustls::rustls::{
    NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        ring::{self, default_provider},
    },
    version::{TLS12, TLS13},
};

use super::{
    client_certificates::{self, Asked},
    file::{Text, TlsSection, given, mistake},
    pem::{Pem, Place},
};
use crate::config::Mistake;

/// How connections are encrypted.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// Whether who connects must have a certificate.
    pub(super) requires_certificate: bool,
}

/// What a section asks for; nothing if it is empty.
pub(super) fn tls(section: &Spanned<TlsSection>, place: &Place<'_>) -> Result<Option<Tls>, Mistake> {
    let given = &section.value;
    if given.is_empty() {
        return Ok(None);
    }
    let missing = |what: &str| mistake(section, "tls_server_config", format!("{what} is missing"));
    let certificate = Pem::read("cert", (given.cert_file.as_ref(), given.cert.as_ref()), place)?
        .ok_or_else(|| missing("cert_file"))?;
    let key =
        Pem::read("key", (given.key_file.as_ref(), given.key.as_ref()), place)?.ok_or_else(|| missing("key_file"))?;
    let provider = Arc::new(provider(given)?);
    let versions = versions(given)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| mistake(section, "tls_server_config", error.to_string()))?;
    let (asked, verifier) = client_certificates::verifier(given, place, &provider)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificate.certificates()?, key.key()?)
        .map_err(|error| key.mistake(&format!("it can't be used with the certificate: {error}")))?;
    config.ignore_client_order = given.prefer_server_cipher_suites.as_ref().is_none_or(|prefer| prefer.value);
    // HTTP/2 is not spoken: who could do both is to choose this one.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Tls { config: Arc::new(config), requires_certificate: asked == Asked::Required }))
}

/// The versions from the least to the greatest.
fn versions(section: &TlsSection) -> Result<Vec<&'static SupportedProtocolVersion>, Mistake> {
    const ALL: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    let place = |text: Option<&Text>, field: &str, default: usize| {
        let Some(text) = given(text) else { return Ok(default) };
        match text.value.as_str() {
            "TLS12" => Ok(0),
            "TLS13" => Ok(1),
            "TLS10" | "TLS11" => {
                Err(mistake(text, field, "TLS 1.0 and 1.1 are broken and not supported: must be TLS12 or TLS13"))
            }
            _ => Err(mistake(text, field, "must be TLS12 or TLS13")),
        }
    };
    let least = place(section.min_version.as_ref(), "tls_server_config.min_version", 0)?;
    let greatest = place(section.max_version.as_ref(), "tls_server_config.max_version", 1)?;
    match (&section.max_version, ALL.get(least..=greatest)) {
        (_, Some(versions)) if !versions.is_empty() => Ok(versions.to_vec()),
        (Some(max), _) => Err(mistake(max, "tls_server_config.max_version", "must not be less than min_version")),
        // Without a maximum there is none that is too small.
        (None, _) => Ok(ALL.to_vec()),
    }
}

/// The cipher suites and groups that are listed, in that order; all where none is.
fn provider(section: &TlsSection) -> Result<CryptoProvider, Mistake> {
    let mut provider = default_provider();
    if let Some(listed) = section.cipher_suites.as_deref().filter(|listed| !listed.is_empty()) {
        provider.cipher_suites = suites(listed)?;
    }
    if let Some(listed) = section.curve_preferences.as_deref().filter(|listed| !listed.is_empty()) {
        provider.kx_groups = listed.iter().map(group).collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

/// As in Go, the list is of those of TLS 1.2, and all of TLS 1.3 are there; but where it names some of those, the
/// others are not.
fn suites(listed: &[Text]) -> Result<Vec<SupportedCipherSuite>, Mistake> {
    let mut suites = listed.iter().map(suite).collect::<Result<Vec<_>, _>>()?;
    if suites.iter().all(|suite| suite.tls13().is_none()) {
        suites.extend(ring::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some()));
    }
    Ok(suites)
}

/// The name that Go and the registry of TLS have for it.
fn name_of(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn suite(text: &Text) -> Result<SupportedCipherSuite, Mistake> {
    let found = ring::ALL_CIPHER_SUITES.iter().find(|suite| name_of(suite) == text.value);
    found.copied().ok_or_else(|| {
        let all = ring::ALL_CIPHER_SUITES.iter().map(name_of).collect::<Vec<_>>().join(", ");
        let said = format!("{:?} is unknown or not supported: there are {all}", text.value);
        mistake(text, "tls_server_config.cipher_suites", said)
    })
}

fn group(text: &Text) -> Result<&'static dyn SupportedKxGroup, Mistake> {
    let wanted = match text.value.as_str() {
        "X25519" => Some(NamedGroup::X25519),
        "CurveP256" => Some(NamedGroup::secp256r1),
        "CurveP384" => Some(NamedGroup::secp384r1),
        _ => None,
    };
    let found = ring::ALL_KX_GROUPS.iter().find(|group| Some(group.name()) == wanted);
    found.copied().ok_or_else(|| {
        let said = format!("{:?} is unknown or not supported: there are X25519, CurveP256 and CurveP384", text.value);
        mistake(text, "tls_server_config.curve_preferences", said)
    })
}
