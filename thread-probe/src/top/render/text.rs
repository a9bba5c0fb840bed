//! Text in places of a given width. All that is drawn goes through here, so nothing is drawn outside of the screen.

use std::borrow::Cow;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::theme::Theme;
use crate::text::human;

/// The columns a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// A text in so many columns at most; one that is cut says so.
pub(super) fn cut(text: &str, columns: u16) -> Cow<'_, str> {
    // Most are short ASCII.
    if text.len() <= usize::from(columns) || text.width() <= usize::from(columns) {
        return Cow::Borrowed(text);
    }
    let Some(room) = usize::from(columns).checked_sub(1) else { return Cow::Borrowed("") };
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > room
    });
    Cow::Owned(format!("{}…", &text[..end.map_or(text.len(), |(index, _)| index)]))
}

/// The end of a text in so many columns at most: of a path, the part that tells it from others.
pub(super) fn cut_front(text: &str, columns: u16) -> Cow<'_, str> {
    if text.width() <= usize::from(columns) {
        return Cow::Borrowed(text);
    }
    let Some(room) = usize::from(columns).checked_sub(1) else { return Cow::Borrowed("") };
    let mut taken = 0;
    let start = text.char_indices().rev().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > room
    });
    Cow::Owned(format!("…{}", &text[start.map_or(0, |(index, c)| index + c.len_utf8())..]))
}

/// A name that a stranger chose, as part of a line.
pub(super) fn name(text: &str) -> Span<'static> {
    Span::raw(human::plain(text).into_owned())
}

/// What is drawn on.
pub(super) struct Canvas<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) theme: &'a Theme,
}

impl Canvas<'_> {
    /// Writes at a place, in so many columns at most.
    pub(super) fn text(&mut self, (x, y): (u16, u16), columns: u16, text: &str, style: Style) {
        if y < self.buffer.area.bottom() && x < self.buffer.area.right() {
            self.buffer.set_stringn(x, y, text, usize::from(columns), style);
        }
    }

    /// Writes a line in a row of an area, counted from its top.
    pub(super) fn line(&mut self, area: Rect, row: u16, line: &Line<'_>) {
        let y = area.y.saturating_add(row);
        if row < area.height && y < self.buffer.area.bottom() && area.x < self.buffer.area.right() {
            self.buffer.set_line(area.x, y, line, area.width);
        }
    }

    /// Writes a line at the left and one at the right, which has the right of way.
    pub(super) fn sides(&mut self, area: Rect, row: u16, left: &Line<'_>, right: &Line<'_>) {
        let right_width = u16::try_from(right.width()).unwrap_or(u16::MAX).min(area.width);
        let gap = u16::from(right_width > 0);
        let left_area = Rect { width: area.width.saturating_sub(right_width + gap), ..area };
        self.line(left_area, row, left);
        self.line(Rect { x: area.right() - right_width, width: right_width, ..area }, row, right);
    }

    /// Gives a row of an area a style.
    pub(super) fn row_style(&mut self, area: Rect, row: u16, style: Style) {
        if row < area.height {
            let row = Rect { y: area.y.saturating_add(row), height: 1, ..area };
            self.buffer.set_style(row.intersection(self.buffer.area), style);
        }
    }
}

/// Writes a row cell by cell, with a gap after each.
pub(super) struct Pen<'a, 'b> {
    canvas: &'a mut Canvas<'b>,
    area: Rect,
    taken: u16,
}

impl<'a, 'b> Pen<'a, 'b> {
    /// In that row of an area.
    pub(super) fn new(canvas: &'a mut Canvas<'b>, area: Rect, row: u16) -> Self {
        Self { canvas, area: top(below(area, row), 1), taken: 0 }
    }

    /// A cell of this width with the text at its left.
    pub(super) fn left(&mut self, width: u16, text: &str, style: Style) {
        self.put(width, 0, text, style);
    }

    /// A cell of this width with the text at its right.
    pub(super) fn right(&mut self, width: u16, text: &str, style: Style) {
        self.put(width, width.saturating_sub(self::width(text)), text, style);
    }

    fn put(&mut self, width: u16, indent: u16, text: &str, style: Style) {
        let room = self.area.width.saturating_sub(self.taken).min(width);
        if self.area.height > 0 && room > indent {
            let place = (self.area.x + self.taken + indent, self.area.y);
            self.canvas.text(place, room - indent, &cut(text, room - indent), style);
        }
        // No cell, no gap.
        self.taken = self.taken.saturating_add(if width == 0 { 0 } else { width + 1 });
    }

    /// A cell with spans, at its left.
    pub(super) fn spans(&mut self, width: u16, spans: &[Span<'_>]) {
        let mut indent = 0;
        for span in spans {
            let room = self.area.width.saturating_sub(self.taken + indent).min(width.saturating_sub(indent));
            if self.area.height > 0 {
                self.canvas.text((self.area.x + self.taken + indent, self.area.y), room, &span.content, span.style);
            }
            indent += self::width(&span.content);
        }
        self.taken = self.taken.saturating_add(if width == 0 { 0 } else { width + 1 });
    }
}

/// What is left of an area without its first rows.
pub(super) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// The first rows of an area.
pub(super) fn top(area: Rect, rows: u16) -> Rect {
    Rect { height: rows.min(area.height), ..area }
}

/// The left part of an area and what is right of it, with a gap.
pub(super) fn split(area: Rect, columns: u16, gap: u16) -> (Rect, Rect) {
    let left = columns.min(area.width);
    let right = area.width.saturating_sub(left + gap);
    (Rect { width: left, ..area }, Rect { x: area.right() - right, width: right, ..area })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_its_column_ends_whatever_the_width_of_its_characters() {
        assert_eq!([cut("abc", 3), cut("abcd", 3), cut("abc", 1), cut("abc", 0)], ["abc", "ab…", "…", ""]);
        assert_eq!([cut("日本語", 6), cut("日本語", 5), cut("日本語", 4)], ["日本語", "日本…", "日…"]);
        assert_eq!([cut_front("/a/bcd", 4), cut_front("日本語", 4), cut_front("ab", 2)], ["…bcd", "…語", "ab"]);
    }
}
