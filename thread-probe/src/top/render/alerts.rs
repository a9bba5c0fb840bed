//! The alerts, and what to do about the one under the cursor.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Widget as _, Wrap},
};

use super::text::{Canvas, Pen, below, cut_front, top};
use crate::{
    limits::words::Level,
    model::alert::{AlertView, Severity, State},
    text::human,
    top::app::{App, Target},
};

const SEVERITY: u16 = 8;
const STATE: u16 = 8;
const ALERT: u16 = 25;
const SINCE: u16 = 8;
/// Rows for what to do.
const ADVICE: u16 = 5;
/// From this width on the summary has a column; below, it stands with the advice.
const WIDE: u16 = 120;

/// Draws the table and the advice.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let (alerts, cursor) = (app.alerts(), app.alerts_cursor());
    let Some(model) = app.model() else { return };
    if alerts.is_empty() {
        return canvas.line(area, 0, &Line::styled("No alert is pending or fires.", canvas.theme.dim()));
    }
    let advice = if area.height > 2 * ADVICE { ADVICE } else { 0 };
    draw_headings(canvas, area);
    let table = top(below(area, 1), area.height.saturating_sub(advice + 1));
    for (y, index) in cursor.window(alerts.len(), usize::from(table.height)).enumerate() {
        let y = y as u16;
        app.targets().add(table.y + y, table.x..table.right(), Target::Row(index));
        draw_alert(canvas, table, y, (&alerts[index], model.time_unix_seconds));
        if index == cursor.index() {
            canvas.row_style(table, y, canvas.theme.cursor());
        }
    }
    if let Some(alert) = alerts.get(cursor.index()) {
        draw_advice(canvas, below(area, area.height - advice), alert);
    }
}

fn group_width(width: u16) -> u16 {
    let left = width.saturating_sub(SEVERITY + STATE + ALERT + SINCE + 4);
    if width >= WIDE { left / 3 } else { left }
}

fn draw_headings(canvas: &mut Canvas<'_>, area: Rect) {
    let style = canvas.theme.heading();
    let mut pen = Pen::new(canvas, area, 0);
    pen.left(SEVERITY, "SEVERITY", style);
    pen.left(STATE, "STATE", style);
    pen.right(SINCE, "SINCE", style);
    pen.left(ALERT, "ALERT", style);
    pen.left(group_width(area.width), "GROUP", style);
    if area.width >= WIDE {
        pen.left(area.width, "SUMMARY", style);
    }
}

fn draw_alert(canvas: &mut Canvas<'_>, area: Rect, row: u16, (alert, now): (&AlertView, f64)) {
    let theme = canvas.theme;
    let level = match (alert.state, alert.severity) {
        (State::Resolved, _) => Level::Normal,
        (_, Severity::Critical) => Level::Critical,
        (_, Severity::Warning) => Level::Warning,
    };
    let severity = if alert.state == State::Resolved { theme.dim() } else { theme.level(level) };
    let state = if alert.state == State::Firing { theme.heading() } else { theme.dim() };
    let mut pen = Pen::new(canvas, area, row);
    pen.left(SEVERITY, alert.severity.label(), severity);
    pen.left(STATE, alert.state.label(), state);
    let elapsed = now - alert.since;
    let since = if elapsed < 1.0 { "now".to_owned() } else { human::duration(elapsed) };
    pen.right(SINCE, &since, Style::new());
    pen.left(ALERT, alert.alert.label(), Style::new());
    let group = group_width(area.width);
    pen.left(group, &cut_front(&human::plain(&alert.group), group), Style::new());
    if area.width >= WIDE {
        pen.left(area.width, &human::plain(&alert.summary), Style::new());
    }
}

fn draw_advice(canvas: &mut Canvas<'_>, area: Rect, alert: &AlertView) {
    if area.height < 2 {
        return;
    }
    let text = vec![
        Line::styled(human::plain(&alert.summary), canvas.theme.heading()),
        Line::from(Span::raw(human::plain(&alert.advice))),
    ];
    Paragraph::new(text).wrap(Wrap { trim: true }).render(below(area, 1), canvas.buffer);
}
