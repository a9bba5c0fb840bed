//! JSON that a terminal may show: names that somebody chose are in it, and what would command a terminal or turn its
//! text around is escaped, as JSON may escape any character.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::text::human::is_unprintable;

/// Writes a value without white space.
///
/// # Errors
/// What writing said.
pub(crate) fn write(out: &mut impl Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escaping(CompactFormatter)))
}

/// The same, into memory.
///
/// # Errors
/// The value has a map whose keys are no strings.
pub(crate) fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    write(&mut out, value)?;
    Ok(out)
}

struct Escaping(CompactFormatter);

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unprintable) {
            let (before, from) = rest.split_at(at);
            self.0.write_string_fragment(writer, before)?;
            let mut chars = from.chars();
            // All of them are in the first plane, so that one escape does.
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        self.0.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_escaped_and_read_back() -> serde_json::Result<()> {
        let name = "a\u{7f}\u{9b}31m\u{202e}\u{200f}\u{1b}\"ä\\";
        let json = String::from_utf8(to_vec(&name)?).unwrap_or_default();
        assert_eq!(json, r#""a\u007f\u009b31m\u202e\u200f\u001b\"ä\\""#);
        assert_eq!(serde_json::from_str::<String>(&json)?, name);
        Ok(())
    }
}
