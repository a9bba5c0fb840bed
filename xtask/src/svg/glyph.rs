//! Characters that are drawn: blocks, lines and braille.

use std::fmt::Write as _;

use super::{HEIGHT, WIDTH};

/// How a character is drawn.
#[derive(Debug, PartialEq)]
pub(super) enum Glyph {
    Fill { rects: Vec<Part>, percent: u8 },
    Lines(Lines),
    Dots(Dots),
}

impl Glyph {
    /// None for what a font does better.
    pub(super) fn of(c: char) -> Option<Self> {
        let solid = |rects| Some(Self::Fill { rects, percent: 100 });
        let code = u32::from(c);
        let eighths = (code % 8) as u8;
        match c {
            '▀' => solid(vec![Part(0, 0, 8, 4)]),
            '▁'..='▇' => solid(vec![Part(0, 8 - eighths, 8, eighths)]),
            '█' => solid(vec![Part(0, 0, 8, 8)]),
            '▉'..='▏' => solid(vec![Part(0, 0, 8 - eighths, 8)]),
            '▐' => solid(vec![Part(4, 0, 4, 8)]),
            '░'..='▓' => {
                Some(Self::Fill { rects: vec![Part(0, 0, 8, 8)], percent: [25, 50, 75][usize::from(eighths) - 1] })
            }
            '▔' => solid(vec![Part(0, 0, 8, 1)]),
            '▕' => solid(vec![Part(7, 0, 1, 8)]),
            '▖'..='▟' => solid(quadrants(c)),
            '━' => solid(vec![Part(0, 4, 8, 1)]),
            '\u{2800}'..='\u{28ff}' => Some(Self::Dots(Dots((code & 0xff) as u8))),
            c => Lines::of(c).map(Self::Lines),
        }
    }
}

/// A rectangle: left, top, width and height, in eighths of a cell.
#[derive(Debug, PartialEq)]
pub(super) struct Part(u8, u8, u8, u8);

impl Part {
    pub(super) fn path(&self, left: u16, top: u16) -> String {
        let across = |eighths| f64::from(eighths) * f64::from(WIDTH) / 8.0;
        let down = |eighths| f64::from(eighths) * f64::from(HEIGHT) / 8.0;
        let (x, y) = (f64::from(left) + across(self.0), f64::from(top) + down(self.1));
        let (width, height) = (across(self.2), down(self.3));
        format!("M{x} {y}h{width}v{height}h-{width}z")
    }
}

fn quadrants(c: char) -> Vec<Part> {
    const UPPER_LEFT: Part = Part(0, 0, 4, 4);
    const UPPER_RIGHT: Part = Part(4, 0, 4, 4);
    const LOWER_LEFT: Part = Part(0, 4, 4, 4);
    const LOWER_RIGHT: Part = Part(4, 4, 4, 4);
    match c {
        '▖' => vec![LOWER_LEFT],
        '▗' => vec![LOWER_RIGHT],
        '▘' => vec![UPPER_LEFT],
        '▙' => vec![UPPER_LEFT, LOWER_LEFT, LOWER_RIGHT],
        '▚' => vec![UPPER_LEFT, LOWER_RIGHT],
        '▛' => vec![UPPER_LEFT, UPPER_RIGHT, LOWER_LEFT],
        '▜' => vec![UPPER_LEFT, UPPER_RIGHT, LOWER_RIGHT],
        '▝' => vec![UPPER_RIGHT],
        '▞' => vec![UPPER_RIGHT, LOWER_LEFT],
        _ => vec![UPPER_RIGHT, LOWER_LEFT, LOWER_RIGHT],
    }
}

/// Which arms a line has from the middle of its cell, and whether its corner is round.
#[derive(Debug, PartialEq)]
pub(super) struct Lines {
    up: bool,
    right: bool,
    down: bool,
    left: bool,
    is_round: bool,
}

impl Lines {
    fn of(c: char) -> Option<Self> {
        let arms = match c {
            '─' => "rl",
            '│' => "ud",
            '┌' | '╭' => "rd",
            '┐' | '╮' => "dl",
            '└' | '╰' => "ur",
            '┘' | '╯' => "ul",
            '├' => "urd",
            '┤' => "udl",
            '┬' => "rdl",
            '┴' => "url",
            '┼' => "urdl",
            '╴' => "l",
            '╵' => "u",
            '╶' => "r",
            '╷' => "d",
            _ => return None,
        };
        let has = |arm| arms.contains(arm);
        let is_round = matches!(c, '╭'..='╰');
        Some(Self { up: has('u'), right: has('r'), down: has('d'), left: has('l'), is_round })
    }

    pub(super) fn path(&self, left: u16, top: u16) -> String {
        let (x, y) = (f64::from(left), f64::from(top));
        let (right, bottom) = (x + f64::from(WIDTH), y + f64::from(HEIGHT));
        // In the middle of a pixel, so that a line one pixel wide fills it.
        let (middle_x, middle_y) = (x + f64::from(WIDTH / 2) + 0.5, y + f64::from(HEIGHT / 2) + 0.5);
        let (side, end) = (if self.right { right } else { x }, if self.down { bottom } else { y });
        if self.is_round {
            return format!("M{middle_x} {end}Q{middle_x} {middle_y} {side} {middle_y}");
        }
        let mut path = String::new();
        if self.left || self.right {
            let (from, to) =
                (if self.left { x } else { middle_x - 0.5 }, if self.right { right } else { middle_x + 0.5 });
            let _ = write!(path, "M{from} {middle_y}H{to}");
        }
        if self.up || self.down {
            let (from, to) =
                (if self.up { y } else { middle_y - 0.5 }, if self.down { bottom } else { middle_y + 0.5 });
            let _ = write!(path, "M{middle_x} {from}V{to}");
        }
        path
    }
}

/// The dots of a braille character, a bit each.
#[derive(Debug, PartialEq)]
pub(super) struct Dots(u8);

impl Dots {
    pub(super) fn path(&self, left: u16, top: u16) -> String {
        // Column and row of each bit: the lowest row was added to braille later.
        const PLACES: [(u8, u8); 8] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)];
        let mut path = String::new();
        for (bit, (column, row)) in PLACES.into_iter().enumerate() {
            if self.0 & (1 << bit) == 0 {
                continue;
            }
            let x = f64::from(left) + f64::from(WIDTH) * (f64::from(column) + 0.5) / 2.0;
            let y = f64::from(top) + f64::from(HEIGHT) * (f64::from(row) + 0.5) / 4.0;
            // Not of length 0: some renderers leave that out.
            let _ = write!(path, "M{x} {y}h.01");
        }
        path
    }
}
