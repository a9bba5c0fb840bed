//! Keys from the bytes that a terminal sends. A sequence may come in parts, and one that is not known says nothing.

use vte::{Params, Parser, Perform};

use super::app::Key;

/// Reads keys from bytes, as they come.
#[derive(Default)]
pub(super) struct KeyReader {
    parser: Parser,
    sink: Sink,
}

impl KeyReader {
    /// Whether only what comes next tells which key these bytes end with: an escape is a key, and begins others. Any
    /// other sequence is kept until the rest of it comes.
    pub(super) fn may_go_on(bytes: &[u8]) -> bool {
        bytes.last() == Some(&ESCAPE)
    }

    /// The keys that these bytes complete. `is_all` says that no more are on their way: then an escape at the end is
    /// the key.
    pub(super) fn keys(&mut self, bytes: &[u8], is_all: bool) -> Vec<Key> {
        let (bytes, is_escape) = match bytes {
            [bytes @ .., ESCAPE] if is_all => (bytes, true),
            bytes => (bytes, false),
        };
        // To the parser, which is one of terminals, a delete is nothing.
        for part in bytes.split_inclusive(|byte| *byte == DELETE) {
            let (part, is_delete) = part.strip_suffix(&[DELETE]).map_or((part, false), |part| (part, true));
            self.parser.advance(&mut self.sink, part);
            if is_delete {
                self.sink.keys.push(Key::Backspace);
            }
        }
        if is_escape {
            self.parser = Parser::new();
            self.sink.keys.push(Key::Esc);
        }
        std::mem::take(&mut self.sink.keys)
    }
}

const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

#[derive(Default)]
struct Sink {
    keys: Vec<Key>,
    /// The next character is part of a key: after `ESC O` (SS3) and, of the console of Linux, `ESC [ [`.
    pending: Option<fn(char) -> Option<Key>>,
}

impl Perform for Sink {
    fn print(&mut self, c: char) {
        match self.pending.take() {
            Some(key) => self.keys.extend(key(c)),
            None => self.keys.push(Key::Char(c)),
        }
    }

    fn execute(&mut self, byte: u8) {
        self.keys.extend(match byte {
            b'\r' | b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x08 => Some(Key::Backspace),
            1..=26 => Some(Key::Ctrl(char::from(byte - 1 + b'a'))),
            _ => None,
        });
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        if intermediates == b"<" {
            return self.keys.extend(mouse(params, action));
        }
        let number = params.iter().next().and_then(|param| param.first().copied()).unwrap_or(0);
        match action {
            '~' => self.keys.extend(numbered(number)),
            '[' => self.pending = Some(of_console),
            action => self.keys.extend(lettered(action)),
        }
    }

    fn esc_dispatch(&mut self, _intermediates: &[u8], _ignore: bool, byte: u8) {
        self.pending = (byte == b'O').then_some(lettered as fn(char) -> Option<Key>);
    }
}

/// `ESC [ < 0 ; 12 ; 5 M`: button, column and row, both from 1; `m` in its place where a button is let go. The form
/// that xterm calls SGR.
fn mouse(params: &Params, action: char) -> Option<Key> {
    let mut numbers = params.iter().filter_map(|param| param.first().copied());
    let (button, column, row) = (numbers.next()?, numbers.next()?, numbers.next()?);
    match (button, action) {
        (0, 'M') => Some(Key::Click(column.checked_sub(1)?, row.checked_sub(1)?)),
        (64, 'M') => Some(Key::WheelUp),
        (65, 'M') => Some(Key::WheelDown),
        _ => None,
    }
}

/// `ESC [ A` and `ESC O A`.
fn lettered(letter: char) -> Option<Key> {
    Some(match letter {
        'A' => Key::Up,
        'B' => Key::Down,
        'C' => Key::Right,
        'D' => Key::Left,
        'H' => Key::Home,
        'F' => Key::End,
        'Z' => Key::BackTab,
        'M' => Key::Enter,
        'P' => Key::F(1),
        'Q' => Key::F(2),
        'R' => Key::F(3),
        'S' => Key::F(4),
        _ => return None,
    })
}

/// `ESC [ 5 ~`.
fn numbered(number: u16) -> Option<Key> {
    Some(match number {
        1 | 7 => Key::Home,
        4 | 8 => Key::End,
        5 => Key::PageUp,
        6 => Key::PageDown,
        11..=15 => Key::F(number as u8 - 10),
        17..=21 => Key::F(number as u8 - 11),
        23 | 24 => Key::F(number as u8 - 12),
        _ => return None,
    })
}

/// `ESC [ [ A`.
fn of_console(letter: char) -> Option<Key> {
    let number = ('A'..='E').position(|known| known == letter)?;
    Some(Key::F(number as u8 + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        KeyReader::default().keys(bytes, true)
    }

    #[test]
    fn keys_are_read_as_terminals_send_them() {
        assert_eq!(keys(b"aG\r\t\x03\x7f\x08 "), {
            use Key::{Backspace, Char, Ctrl, Enter, Tab};
            [Char('a'), Char('G'), Enter, Tab, Ctrl('c'), Backspace, Backspace, Char(' ')]
        });
        let arrows = [Key::Up, Key::Down, Key::Right, Key::Left];
        assert_eq!(keys(b"\x1b[A\x1b[B\x1b[C\x1b[D"), arrows);
        assert_eq!(keys(b"\x1bOA\x1bOB\x1bOC\x1bOD"), arrows);
        assert_eq!(keys(b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~\x1b[H\x1b[F\x1b[Z"), {
            [Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Home, Key::End, Key::BackTab]
        });
        assert_eq!(keys(b"\x1bOP\x1b[11~\x1b[[A\x1b[21~"), [Key::F(1), Key::F(1), Key::F(1), Key::F(10)]);
        assert_eq!(keys("ü→".as_bytes()), [Key::Char('ü'), Key::Char('→')]);
        // With Shift or Ctrl held.
        assert_eq!(keys(b"\x1b[1;5A"), [Key::Up]);
    }

    #[test]
    fn a_mouse_clicks_and_turns_its_wheel_and_all_else_of_it_is_nothing() {
        let (click, released, right) = (b"\x1b[<0;12;5M", b"\x1b[<0;12;5m", b"\x1b[<2;12;5M");
        assert_eq!(keys(&[&click[..], released, right].concat()), [Key::Click(11, 4)]);
        assert_eq!(keys(b"\x1b[<64;1;1M\x1b[<65;1;1M"), [Key::WheelUp, Key::WheelDown]);
        assert_eq!(keys(b"\x1b[<0;0;5M\x1b[<0M\x1b[<Mq"), [Key::Char('q')]);
    }

    #[test]
    fn an_escape_is_the_key_only_if_nothing_follows_it() {
        assert_eq!(keys(b"\x1b"), [Key::Esc]);
        assert_eq!(keys(b"j\x1b"), [Key::Char('j'), Key::Esc]);
        let mut reader = KeyReader::default();
        assert_eq!(reader.keys(b"\x1b", false), []);
        assert_eq!(reader.keys(b"[", true), []);
        assert_eq!(reader.keys(b"Aq", true), [Key::Up, Key::Char('q')]);
    }

    #[test]
    fn no_key_but_an_escape_waits_for_what_may_follow() {
        for bytes in [&b"j"[..], b"\r", b"\x1b[A", b"\x1b[5~", b"\x1bOP", b"\x7f", "ü".as_bytes(), b""] {
            assert!(!KeyReader::may_go_on(bytes), "{bytes:?}");
        }
        assert!(KeyReader::may_go_on(b"\x1b") && KeyReader::may_go_on(b"j\x1b"));
        // A sequence in parts is the same key, though nothing waits for its end.
        let mut reader = KeyReader::default();
        assert_eq!(reader.keys(b"\x1b[", true), []);
        assert_eq!(reader.keys(b"5", true), []);
        assert_eq!(reader.keys(b"~", true), [Key::PageUp]);
    }

    #[test]
    fn what_is_not_known_says_nothing_and_hides_no_key_after_it() {
        assert_eq!(keys(b"\x1b[99zq"), [Key::Char('q')]);
        assert_eq!(keys(b"\x1b[200~\x1bxq"), [Key::Char('q')]);
        assert_eq!(keys(b"\x1b[?1;2cq"), [Key::Char('q')]);
        assert_eq!(keys(b"\xff\xfeq").last(), Some(&Key::Char('q')));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(parts: Vec<(Vec<u8>, bool)>) {
            let mut reader = KeyReader::default();
            for (bytes, is_all) in parts {
                reader.keys(&bytes, is_all);
            }
        }
    }
}
