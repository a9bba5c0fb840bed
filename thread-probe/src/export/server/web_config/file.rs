//! What a web configuration file may have: the format of Prometheus's exporter toolkit, as it stands in the file.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use crate::config::Mistake;

/// A string, with its place.
pub(super) type Text = Spanned<String>;

/// All of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) tls_server_config: Option<Spanned<TlsSection>>,
    pub(super) http_server_config: Option<HttpSection>,
    pub(super) basic_auth_users: Option<BTreeMap<String, Text>>,
    /// Of the format, but not to be had here.
    pub(super) rate_limit: Option<Spanned<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsSection {
    pub(super) cert: Option<Text>,
    pub(super) cert_file: Option<Text>,
    pub(super) key: Option<Text>,
    pub(super) key_file: Option<Text>,
    pub(super) client_ca: Option<Text>,
    pub(super) client_ca_file: Option<Text>,
    pub(super) client_auth_type: Option<Text>,
    pub(super) client_allowed_sans: Option<Vec<Text>>,
    pub(super) min_version: Option<Text>,
    pub(super) max_version: Option<Text>,
    pub(super) cipher_suites: Option<Vec<Text>>,
    pub(super) curve_preferences: Option<Vec<Text>>,
    pub(super) prefer_server_cipher_suites: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpSection {
    pub(super) http2: Option<Spanned<bool>>,
    pub(super) headers: Option<BTreeMap<String, Text>>,
}

impl TlsSection {
    /// Whether it says nothing: then there is no TLS.
    pub(super) fn is_empty(&self) -> bool {
        let texts = [&self.cert, &self.cert_file, &self.key, &self.key_file, &self.client_ca, &self.client_ca_file];
        let more = [&self.client_auth_type, &self.min_version, &self.max_version];
        let lists = [&self.client_allowed_sans, &self.cipher_suites, &self.curve_preferences];
        texts.into_iter().chain(more).all(|text| given(text.as_ref()).is_none())
            && lists.into_iter().all(Option::is_none)
            && self.prefer_server_cipher_suites.is_none()
    }
}

/// What is given and not empty, which means the same as not given.
pub(super) fn given(text: Option<&Text>) -> Option<&Text> {
    text.filter(|text| !text.value.is_empty())
}

/// What is wrong with the value of a key.
pub(super) fn mistake<T>(at: &Spanned<T>, field: &str, message: impl AsRef<str>) -> Mistake {
    located(Some(at.referenced), &format!("{field}: {}", message.as_ref()))
}

fn located(at: Option<Location>, message: &str) -> Mistake {
    let place = |number: u64| usize::try_from(number).unwrap_or_default().max(1);
    let (line, column) = at.map_or((1, 1), |at| (place(at.line()), place(at.column())));
    Mistake { line, column, message: message.replace(char::is_control, " ") }
}

/// Reads it, without looking at what the values mean.
///
/// # Errors
/// The first mistake in it.
pub(super) fn parse(content: &[u8]) -> Result<File, Mistake> {
    let text = str::from_utf8(content)
        .map_err(|error| Mistake::new(content, error.valid_up_to(), "not text: the file must be UTF-8"))?;
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.strict_booleans = true;
    options.with_snippet = false;
    // Nothing but comments is a file that asks for nothing.
    let file: Option<File> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let said = error.without_snippet().to_string();
        // The place comes first, as everywhere.
        let said = said.find(" at line ").map_or(said.as_str(), |end| &said[..end]);
        located(error.location(), said)
    })?;
    Ok(file.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> String {
        parse(text.as_bytes()).map_or_else(|mistake| mistake.to_string(), |file| format!("{file:?}"))
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_wherever_it_stands() {
        for (text, place) in [
            ("basic_auth_user: {}\n", "1:1: "),
            ("tls_server_config:\n  cert_file: a\n  keyfile: b\n", "3:3: "),
            ("http_server_config:\n  http3: true\n", "2:3: "),
        ] {
            let said = refusal(text);
            assert!(said.starts_with(place) && said.contains("unknown field"), "{text}: {said}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_place() {
        for (text, place) in [
            ("tls_server_config: yes\n", "1:20: "),
            ("tls_server_config:\n  prefer_server_cipher_suites: maybe\n", "2:32: "),
            ("basic_auth_users: [a]\n", "1:19: "),
            ("- a\n", "1:1: "),
        ] {
            assert!(refusal(text).starts_with(place), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn what_is_twice_or_no_yaml_or_no_text_is_refused() {
        assert!(refusal("basic_auth_users:\n  a: b\n  a: c\n").starts_with("3:3: "), "{}", refusal("a: 1\na: 2\n"));
        assert!(refusal("tls_server_config: {\n").contains(": "), "{}", refusal("tls_server_config: {\n"));
        assert!(parse(b"basic_auth_users: \xff\n").is_err_and(|mistake| mistake.to_string().contains("UTF-8")));
    }

    #[test]
    fn nothing_asks_for_nothing() {
        for text in ["", "# nothing\n", "---\n", "tls_server_config:\nbasic_auth_users:\n"] {
            let file = parse(text.as_bytes()).unwrap_or_default();
            assert!(file.basic_auth_users.is_none() && file.tls_server_config.is_none(), "{text:?}: {file:?}");
        }
    }

    const WORDS: [&str; 20] = [
        "tls_server_config",
        "cert_file",
        "basic_auth_users",
        "headers",
        ":",
        " ",
        "\n",
        "\n  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "&a",
        "*a",
        "!!binary",
        "'",
        "\"",
        "|",
        "true",
    ];

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&content);
        }

        #[test]
        fn nothing_that_looks_like_yaml_makes_it_panic(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
            let _ = parse(words.concat().as_bytes());
        }
    }
}
