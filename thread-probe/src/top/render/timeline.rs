//! A recording in one line: the most switches of each part, in the color of the gravest alert, with where one is.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::text::Canvas;
use crate::{
    limits::words::Level,
    model::alert::Severity,
    text::{dates, human, terminal::is_utf8},
    top::app::{App, TimelineColumn},
};

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_BARS: [char; 8] = ['.', '.', ':', ':', '|', '|', '#', '#'];

/// Draws it.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App, time_unix_seconds: f64) {
    let timeline = app.timeline();
    let (number, count) = (timeline.number(time_unix_seconds) + 1, timeline.len());
    let date = dates::rfc3339(time_unix_seconds);
    let date = date.get(..19).unwrap_or(&date).replace('T', " ");
    let words = format!("{date} UTC, {} of {} ", human::count(number as u64), human::count(count as u64));
    let room = usize::from(area.width).saturating_sub(words.len() + 1);
    let columns = timeline.columns(room, time_unix_seconds);
    let most = columns.iter().map(|column| column.switches_per_second).fold(0.0, f64::max);
    let mut spans = vec![Span::styled(words, canvas.theme.heading())];
    spans.extend(columns.iter().map(|column| bar(canvas, column, most)));
    canvas.line(area, 0, &Line::from(spans));
}

fn bar(canvas: &Canvas<'_>, column: &TimelineColumn, most: f64) -> Span<'static> {
    let bars = if is_utf8() { BARS } else { ASCII_BARS };
    let height = if most > 0.0 { column.switches_per_second / most * (bars.len() - 1) as f64 } else { 0.0 };
    let theme = canvas.theme;
    // What was lost must be seen where there are no colors, too.
    let shape = if column.is_lossy { '!' } else { bars[(height.round() as usize).min(bars.len() - 1)] };
    let style = match column.alert {
        Some(Severity::Critical) => theme.level(Level::Critical),
        Some(Severity::Warning) => theme.level(Level::Warning),
        None => Style::default(),
    };
    Span::styled(shape.to_string(), if column.is_here { style.patch(theme.cursor()) } else { style })
}
