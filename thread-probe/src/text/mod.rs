//! Numbers, names and the terminal, in words.

pub(crate) mod dates;
pub(crate) mod human;
pub mod named;
pub(crate) mod terminal;

/// Text that the kernel ended by a 0 and a user chose: what is no UTF-8 becomes U+FFFD.
pub fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_utf8_stays_readable() {
        assert_eq!(until_nul(b"a\xffb\0c"), "a\u{fffd}b");
    }
}
