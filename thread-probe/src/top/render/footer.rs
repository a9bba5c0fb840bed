//! The last line: keys, what was to be said, or what is being typed.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::text::{Canvas, name};
use crate::{
    limits::words::Level,
    top::app::{App, LineEdit, MomentEdit, Overlay, View},
};

type Keys = &'static [(&'static str, &'static str)];

const PROCESSES: Keys = &[
    ("F1", "Help"),
    ("/", "Filter"),
    ("< >", "Sort"),
    ("t", "Tree"),
    ("Enter", "Threads"),
    ("Space", "Pause"),
    ("q", "Quit"),
    ("c", "Columns"),
    ("Tab", "Views"),
    ("i", "Idle"),
    ("K", "Kernel"),
    ("o O", "Fold"),
    ("+ -", "Interval"),
    ("a", "Advice"),
    ("e", "Export"),
];
const PROCESS: Keys = &[
    ("F1", "Help"),
    ("Esc", "Back"),
    ("Enter", "Open"),
    ("/", "Filter"),
    ("< >", "Sort"),
    ("c", "Columns"),
    ("↑ ↓", "Its waits"),
    ("Space", "Pause"),
    ("q", "Quit"),
    ("a", "Advice"),
    ("e", "Export"),
];
const LISTS: Keys = &[
    ("F1", "Help"),
    ("Esc", "Back"),
    ("Enter", "Processes"),
    ("Tab", "Views"),
    ("↑ ↓", "Move"),
    ("Space", "Pause"),
    ("q", "Quit"),
    ("a", "Advice"),
    ("e", "Export"),
];
const PAUSED: Keys =
    &[("Space", "Go on"), ("← →", "Step"), ("[ ]", "A minute"), ("F1", "Help"), ("e", "Export"), ("q", "Quit")];
const WAITING: Keys = &[("F1", "Help"), ("q", "Quit")];
const REPLAY: Keys = &[
    ("← →", "Step"),
    ("{ }", "Ten"),
    ("[ ]", "Minute"),
    (":", "To a time"),
    ("n N", "Alert"),
    ("x X", "Loss"),
    ("Enter", "Open"),
    ("Tab", "Views"),
    ("?", "Help"),
    ("q", "Quit"),
];
const HELP: Keys = &[("↑ ↓ PgUp PgDn", "Scroll"), ("Esc", "Back")];
const COLUMNS: Keys =
    &[("Space", "Show or hide"), ("← →", "Move it"), ("↑ ↓", "Choose"), ("Enter", "Sort by it"), ("Esc", "Done")];

/// Draws it.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    if let Overlay::Filter(line) = app.overlay() {
        return draw_filter(canvas, area, line);
    }
    if let Overlay::Moment(edit) = app.overlay() {
        return draw_moment(canvas, area, edit);
    }
    if let Some(message) = app.message() {
        return canvas.line(area, 0, &Line::from(name(message)).style(canvas.theme.heading()));
    }
    let keys = match (app.overlay(), app.view()) {
        (Overlay::Help { .. } | Overlay::Advice { .. }, _) => HELP,
        (Overlay::Columns(_), _) => COLUMNS,
        _ if app.model().is_none() => WAITING,
        _ if app.paused_seconds().is_some() => PAUSED,
        _ if !app.timeline().is_empty() => REPLAY,
        (_, View::Processes) => PROCESSES,
        (_, View::Process) => PROCESS,
        (_, View::Limits | View::Alerts) => LISTS,
    };
    draw_keys(canvas, area, keys);
}

/// As many as there is room for.
fn draw_keys(canvas: &mut Canvas<'_>, area: Rect, keys: Keys) {
    let mut spans = Vec::new();
    let mut taken = 0;
    for (key, what) in keys {
        let pair = [Span::styled(*key, canvas.theme.heading()), Span::raw(format!(" {what}  "))];
        taken += pair.iter().map(Span::width).sum::<usize>();
        if taken > usize::from(area.width) + 2 {
            break;
        }
        spans.extend(pair);
    }
    canvas.line(area, 0, &Line::from(spans));
}

fn draw_moment(canvas: &mut Canvas<'_>, area: Rect, edit: &MomentEdit) {
    let theme = canvas.theme;
    let hint = match &edit.error {
        Some(error) => Line::styled(format!("{}{error}", theme.mark(Level::Critical)), theme.level(Level::Critical)),
        None => {
            Line::styled("2026-11-20 03:00 (UTC), or -2h before the end; Enter goes there, Esc closes", theme.dim())
        }
    };
    let label = Span::styled("Time: ", theme.heading());
    let spans = vec![label, Span::raw(name(&edit.text).content.into_owned()), Span::styled(" ", theme.cursor())];
    canvas.sides(area, 0, &Line::from(spans), &hint);
}

fn draw_filter(canvas: &mut Canvas<'_>, area: Rect, line: &LineEdit) {
    let theme = canvas.theme;
    let error = line.error.as_deref().map(|error| {
        let text = format!("{}{}", theme.mark(Level::Critical), name(error).content);
        Line::styled(super::text::cut(&text, area.width * 2 / 3).into_owned(), theme.level(Level::Critical))
    });
    let error = error.unwrap_or_else(|| Line::styled("Enter keep, Esc close, Ctrl-U clear", theme.dim()));
    let label = "Filter: ";
    let room = (area.width as usize).saturating_sub(error.width() + label.len() + 2);
    // What is being typed is at its end.
    let typed = super::text::cut_front(&name(&line.text).content, room as u16).into_owned();
    let spans = vec![Span::styled(label, theme.heading()), Span::raw(typed), Span::styled(" ", theme.cursor())];
    canvas.sides(area, 0, &Line::from(spans), &error);
}
