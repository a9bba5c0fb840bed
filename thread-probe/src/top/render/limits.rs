//! All limits with their use.

use ratatui::{layout::Rect, style::Style, text::Line};

use super::{
    gauges::bar,
    text::{Canvas, Pen, below, cut_front},
};
use crate::{
    limits::{
        LimitUse,
        words::{Level, amount, foremost, full_in},
    },
    text::human,
    top::app::{App, Target},
};

/// The widths of the columns, but of OF and SET BY, which share what is left.
const LIMIT: u16 = 13;
const AMOUNT: u16 = 10;
const USE: u16 = 7;
const ROOM: u16 = 9;
const UNTIL: u16 = 9;
const BAR: u16 = 20;
const FOREMOST: u16 = 24;
/// The least width of OF.
const MIN_OF: u16 = 10;
/// More than that of OF keeps names from their figures.
const MAX_OF: u16 = 50;

/// What there is room for; 0 for what there is none for.
#[derive(Clone, Copy)]
struct Widths {
    of: u16,
    max: u16,
    foremost: u16,
    bar: u16,
    room: u16,
    set_by: u16,
}

impl Widths {
    /// How much there may be tells more than whose it is, that more than a bar, and a bar more than what sets the
    /// limit.
    fn new(width: u16) -> Self {
        let fixed = LIMIT + AMOUNT + USE + UNTIL + 4;
        let mut left = width.saturating_sub(fixed);
        // Each with what names need before it is shown.
        let mut take = |wanted: u16, names: u16| {
            let fits = left > wanted + names;
            left -= if fits { wanted + 1 } else { 0 };
            if fits { wanted } else { 0 }
        };
        let (max, foremost) = (take(AMOUNT, MIN_OF), take(FOREMOST, MIN_OF));
        let (room, bar) = (take(ROOM, MIN_OF), take(BAR, 2 * MIN_OF));
        let of = if left > 4 * MIN_OF { (left * 3 / 5).min(MAX_OF) } else { left };
        let set_by = (left - of).saturating_sub(1);
        Self { of, max, foremost, bar, room, set_by }
    }
}

/// Draws the table.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let widths = Widths::new(area.width);
    draw_headings(canvas, area, widths);
    let area = below(area, 1);
    let (limits, cursor) = (app.limits(), app.limits_cursor());
    for (y, index) in cursor.window(limits.len(), usize::from(area.height)).enumerate() {
        let y = y as u16;
        app.targets().add(area.y + y, area.x..area.right(), Target::Row(index));
        draw_limit(canvas, area, y, (widths, &limits[index]));
        if index == cursor.index() {
            canvas.row_style(area, y, canvas.theme.cursor());
        }
    }
    if limits.is_empty() {
        canvas.line(area, 0, &Line::styled("No limit is known yet.", canvas.theme.dim()));
    }
}

fn draw_headings(canvas: &mut Canvas<'_>, area: Rect, widths: Widths) {
    let style = canvas.theme.heading();
    let mut pen = Pen::new(canvas, area, 0);
    pen.left(LIMIT, "LIMIT", style);
    pen.left(widths.of, "OF", style);
    pen.right(AMOUNT, "USED", style);
    pen.right(widths.max, "MAX", style);
    pen.right(USE, "USE%", style);
    pen.left(widths.bar, "", style);
    pen.right(widths.room, "ROOM FOR", style);
    pen.right(UNTIL, "FULL IN", style);
    pen.left(widths.foremost, "FOREMOST", style);
    pen.left(widths.set_by, "SET BY", style);
}

fn draw_limit(canvas: &mut Canvas<'_>, area: Rect, row: u16, (widths, limit): (Widths, &LimitUse)) {
    let theme = canvas.theme;
    let level = Level::of_use(limit.used_ratio);
    let until = full_in(limit);
    let soon = Level::of_time_left(limit);
    let mut pen = Pen::new(canvas, area, row);
    let plain = Style::new();
    pen.left(LIMIT, limit.limit.label(), plain);
    pen.left(widths.of, &cut_front(&human::plain(&limit.name), widths.of), plain);
    pen.right(AMOUNT, &amount(limit.unit, limit.used), plain);
    pen.right(widths.max, &amount(limit.unit, limit.max), plain);
    pen.right(USE, &format!("{}{:.1}", theme.mark(level), limit.used_ratio * 100.0), theme.level(level));
    pen.spans(widths.bar, &bar(limit.used_ratio, widths.bar, theme));
    pen.right(widths.room, &human::count(limit.headroom_threads), plain);
    match until {
        Some(until) => pen.right(UNTIL, &format!("{}{until}", theme.mark(soon)), theme.level(soon)),
        None => pen.right(UNTIL, "-", theme.dim()),
    }
    pen.left(widths.foremost, &foremost(limit).unwrap_or_default(), plain);
    pen.left(widths.set_by, &human::plain(&limit.set_by), plain);
}
