//! The colours of cells.

use std::fmt;

use vt100::{Cell, Color};

/// The window's background.
pub(super) const BACKGROUND: Rgb = Rgb(0x12, 0x16, 0x1e);
const FOREGROUND: Rgb = Rgb(0xd3, 0xd9, 0xe4);

/// The first 16 colours, which every terminal has its own of: these are legible on [`BACKGROUND`].
const PALETTE: [Rgb; 16] = [
    Rgb(0x2a, 0x31, 0x3d),
    Rgb(0xe8, 0x6a, 0x71),
    Rgb(0x8c, 0xc5, 0x71),
    Rgb(0xe3, 0xb3, 0x5f),
    Rgb(0x62, 0xa8, 0xee),
    Rgb(0xc5, 0x86, 0xe0),
    Rgb(0x53, 0xbf, 0xc6),
    Rgb(0xb6, 0xbf, 0xcd),
    Rgb(0x6b, 0x76, 0x89),
    Rgb(0xff, 0x85, 0x8b),
    Rgb(0xa9, 0xe0, 0x8b),
    Rgb(0xff, 0xd0, 0x7d),
    Rgb(0x84, 0xc0, 0xff),
    Rgb(0xdd, 0xa2, 0xf6),
    Rgb(0x74, 0xdd, 0xe3),
    Rgb(0xf4, 0xf7, 0xfb),
];

/// Red, green, blue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rgb(pub(super) u8, pub(super) u8, pub(super) u8);

impl Rgb {
    /// The colour a terminal shows; none for the default one.
    fn of(colour: Color) -> Option<Self> {
        match colour {
            Color::Default => None,
            Color::Idx(index @ 0..16) => Some(PALETTE[usize::from(index)]),
            Color::Idx(index @ 16..232) => {
                let level = |digit: u8| if digit == 0 { 0 } else { 55 + 40 * digit };
                let cube = index - 16;
                Some(Self(level(cube / 36), level(cube / 6 % 6), level(cube % 6)))
            }
            Color::Idx(index) => {
                let grey = 8 + 10 * (index - 232);
                Some(Self(grey, grey, grey))
            }
            Color::Rgb(red, green, blue) => Some(Self(red, green, blue)),
        }
    }

    /// Three fifths of this one, the rest the other's.
    fn dimmed(self, other: Self) -> Self {
        let mix = |own: u8, other: u8| ((u16::from(own) * 3 + u16::from(other) * 2) / 5) as u8;
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// How a cell is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Style {
    pub(super) foreground: Rgb,
    /// None where the window's shows.
    pub(super) background: Option<Rgb>,
    pub(super) is_bold: bool,
    pub(super) is_italic: bool,
    pub(super) is_underlined: bool,
}

impl Style {
    pub(super) fn of(cell: &Cell) -> Self {
        let mut foreground = Rgb::of(cell.fgcolor()).unwrap_or(FOREGROUND);
        let mut background = Rgb::of(cell.bgcolor());
        if cell.inverse() {
            let behind = background.unwrap_or(BACKGROUND);
            background = Some(foreground);
            foreground = behind;
        }
        if cell.dim() {
            foreground = foreground.dimmed(background.unwrap_or(BACKGROUND));
        }
        Self { foreground, background, is_bold: cell.bold(), is_italic: cell.italic(), is_underlined: cell.underline() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_256_colours_are_those_of_xterm_beyond_the_first_16() {
        let colour = |index| Rgb::of(Color::Idx(index)).map(|colour| colour.to_string()).unwrap_or_default();
        assert_eq!(colour(16), "#000000");
        assert_eq!(colour(208), "#ff8700");
        assert_eq!(colour(231), "#ffffff");
        assert_eq!(colour(232), "#080808");
        assert_eq!(colour(255), "#eeeeee");
        (0..=255).for_each(|index| assert_eq!(colour(index).len(), 7));
    }
}
