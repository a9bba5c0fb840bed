//! How much of the limits is used: the nearest one in full, then those of the host.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{
    text::{Canvas, cut_front, width},
    theme::Theme,
};
use crate::{
    limits::{
        LimitUse, Scope,
        words::{Bars, Level, amount, foremost, until_full},
    },
    text::human,
    top::app::App,
};

/// Columns from which on a gauge says how much there is.
const WIDE: u16 = 56;
/// Columns of a bar: a name goes on at its cost only as long as there are so many.
const MIN_BAR: u16 = 10;
const MAX_BAR: u16 = 40;

/// One row with the nearest limit, and one with those of the host. The rows it takes.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) -> u16 {
    let mut gauges = app.gauges();
    let Some(nearest) = gauges.next() else { return 0 };
    canvas.line(area, 0, &in_full(nearest, area.width, canvas.theme));
    let others: Vec<_> = gauges.take(4).collect();
    if others.is_empty() || area.height < 2 {
        return 1;
    }
    let columns = area.width / others.len() as u16;
    for (index, limit) in others.iter().enumerate() {
        let place = Rect { x: area.x + columns * index as u16, width: columns.saturating_sub(2), ..area };
        let line = if columns < WIDE {
            short(limit, columns - 2, canvas.theme)
        } else {
            in_full(limit, columns - 2, canvas.theme)
        };
        canvas.line(place, 1, &line);
    }
    2
}

/// `cgroup_pids /a.service  ████──  91 %  4,812 of 5,000, full in 22 min`
fn in_full(limit: &LimitUse, columns: u16, theme: &Theme) -> Line<'static> {
    let level = Level::of_use(limit.used_ratio);
    let mut figures = format!("  {} of {}", amount(limit.unit, limit.used), amount(limit.unit, limit.max));
    let mut until = Span::raw("");
    if let Some(words) = until_full(limit) {
        figures.push_str(", ");
        until = Span::styled(words, theme.level(Level::of_time_left(limit)));
    }
    let percent = format!(" {:>5}{}", human::percent(limit.used_ratio), theme.mark(level));
    let label = limit.limit.label();
    let by = if level == Level::Normal { None } else { foremost(limit) };
    let by = by.map(|by| format!(", {by}")).unwrap_or_default();
    let fixed = |by: &str| width(label) + width(&percent) + width(&figures) + width(&until.content) + width(by) + 3;
    // Who uses it says more than a bar, and its own name more than that.
    let by = if columns < fixed(&by) + 3 * MIN_BAR { String::new() } else { by };
    let fixed = fixed(&by);
    let room = columns.saturating_sub(fixed);
    let name = if limit.scope == Scope::Host { String::new() } else { human::plain(&limit.name).into_owned() };
    let name = cut_front(&name, room.saturating_sub(MIN_BAR)).into_owned();
    let bar = bar(limit.used_ratio, room.saturating_sub(width(&name)).clamp(4, MAX_BAR), theme);
    let mut spans = vec![Span::styled(label, theme.heading()), Span::raw(" ")];
    if !name.is_empty() {
        spans.extend([Span::raw(name), Span::raw(" ")]);
    }
    spans.extend(bar);
    spans.extend([Span::styled(percent, theme.level(level)), Span::raw(figures), until, Span::raw(by)]);
    Line::from(spans)
}

/// `threads_max ███──── 12 %`
fn short(limit: &LimitUse, columns: u16, theme: &Theme) -> Line<'static> {
    let level = Level::of_use(limit.used_ratio);
    let percent = format!(" {}{}", human::percent(limit.used_ratio), theme.mark(level));
    let label = limit.limit.label();
    let room = columns.saturating_sub(width(label) + width(&percent) + 1);
    let mut spans = vec![Span::raw(label), Span::raw(" ")];
    spans.extend(bar(limit.used_ratio, room, theme));
    spans.push(Span::styled(percent, theme.level(level)));
    Line::from(spans)
}

/// A bar with what is left of it.
pub(super) fn bar(ratio: f64, columns: u16, theme: &Theme) -> [Span<'static>; 2] {
    let filled = Bars::Blocks.bar(ratio, columns);
    let rest = columns.saturating_sub(width(&filled));
    [Span::styled(filled, theme.bar(Level::of_use(ratio))), Span::styled("─".repeat(usize::from(rest)), theme.dim())]
}
