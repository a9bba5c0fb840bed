//! Paths of cgroups as text. A name is any bytes but `/` and a newline, and whoever may make a cgroup chooses it.
//!
//! A byte that is no UTF-8 stands as a character of Unicode's private use, so that the text leads back to the very
//! folder and nothing is hidden by its name; to people it is shown as `\xNN`.

use std::{borrow::Cow, ffi::OsString, fmt::Write as _, os::unix::ffi::OsStringExt as _};

/// U+F700 and the byte.
const FIRST: u32 = 0xf700;

fn char_of(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte_of(c: char) -> Option<u8> {
    u8::try_from(u32::from(c).checked_sub(FIRST)?).ok().filter(|byte| *byte >= 0x80)
}

/// Text that [`bytes`] gives back.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match byte_of(c) {
                // It would be read back as another byte.
                Some(_) => text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(char_of)),
                None => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| char_of(*byte)));
    }
    text
}

/// The bytes that [`text`] was made of.
pub(crate) fn bytes(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(bytes)
}

/// As people are shown it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| byte_of(c).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match byte_of(c) {
            // Writing to a String never fails.
            Some(byte) => _ = write!(shown, "\\x{byte:02x}"),
            None => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_utf8_is_shown_escaped_and_all_else_as_it_is() {
        assert_eq!(shown(&text(b"/a\xff\xc3/b")), "/a\\xff\\xc3/b");
        assert_eq!(shown(&text("/ä\\x2d.slice".as_bytes())), "/ä\\x2d.slice");
    }

    proptest! {
        #[test]
        fn any_name_leads_back_to_its_bytes(name: Vec<u8>) {
            let read = bytes(&text(&name));
            prop_assert_eq!(read.as_bytes(), &name[..]);
        }

        #[test]
        fn so_does_one_that_looks_like_ours(name: String, byte in 0x80u8..) {
            let name = format!("{name}{}", char_of(byte));
            let read = bytes(&text(name.as_bytes()));
            prop_assert_eq!(read.as_bytes(), name.as_bytes());
        }
    }
}
