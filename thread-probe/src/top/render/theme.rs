//! Colours and characters: what a terminal can show, and what stands in for what it can't.

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};

use crate::limits::words::Level;

/// Which colours there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMode {
    /// None: marks say what they would.
    None,
    /// The sixteen that every terminal lets its owner choose, so they suit its background.
    #[default]
    Ansi16,
}

/// Which characters there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// Unicode.
    #[default]
    Utf8,
    /// ASCII alone.
    Ascii,
}

/// How things look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// Which colours there are.
    pub color: ColorMode,
    /// Which characters there are.
    pub glyphs: Glyphs,
}

impl Theme {
    /// For a terminal with colours or without, in a locale of UTF-8 or not.
    pub fn new(has_color: bool, is_utf8: bool) -> Self {
        Self {
            color: if has_color { ColorMode::Ansi16 } else { ColorMode::None },
            glyphs: if is_utf8 { Glyphs::Utf8 } else { Glyphs::Ascii },
        }
    }

    pub(super) fn heading(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is there for the sake of completeness. Not the colour that is called dark grey: on some backgrounds it
    /// can't be seen.
    pub(super) fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The row that keys act on, and what is chosen.
    pub(super) fn cursor(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED).remove_modifier(Modifier::DIM)
    }

    /// Lines that show a course.
    pub(super) fn course(&self) -> Style {
        self.colored(Color::Cyan)
    }

    pub(super) fn level(&self, level: Level) -> Style {
        match level {
            Level::Normal => Style::new(),
            Level::Warning => self.colored(Color::Yellow),
            Level::Critical => self.colored(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// A bar, which is green as long as all is well.
    pub(super) fn bar(&self, level: Level) -> Style {
        if level == Level::Normal { self.colored(Color::Green) } else { self.level(level) }
    }

    /// What says without colour that something is bad.
    pub(super) fn mark(&self, level: Level) -> &'static str {
        match (self.color, level) {
            (ColorMode::Ansi16, _) | (_, Level::Normal) => "",
            (ColorMode::None, Level::Warning) => "!",
            (ColorMode::None, Level::Critical) => "!!",
        }
    }

    fn colored(&self, color: Color) -> Style {
        match self.color {
            ColorMode::None => Style::new(),
            ColorMode::Ansi16 => Style::new().fg(color),
        }
    }

    /// Replaces what the terminal can't show. At last and everywhere, so nothing that is drawn needs to care.
    pub(super) fn finish(&self, buffer: &mut Buffer) {
        if self.glyphs == Glyphs::Utf8 {
            return;
        }
        for cell in &mut buffer.content {
            if !cell.symbol().is_ascii() {
                let c = cell.symbol().chars().next().map_or('?', ascii);
                cell.set_char(c);
            }
        }
    }
}

/// The ASCII character that comes nearest to one of those that are drawn here.
fn ascii(c: char) -> char {
    match c {
        '█' | '▉' | '▊' | '▋' | '▌' | '▇' | '▆' => '#',
        '▍' | '▎' | '▏' | '─' | '·' | '▃' => '-',
        '▅' | '▄' => '=',
        '▂' => '.',
        '▁' => '_',
        '│' | '├' => '|',
        '└' => '`',
        '▸' => '+',
        '▾' | '–' => '-',
        '▲' | '↑' => '^',
        '▼' | '↓' => 'v',
        '←' | '≤' => '<',
        '→' | '≥' => '>',
        '…' => '~',
        _ => '?',
    }
}
