//! What is in front of the view: the help, the advice, and the choice of columns.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Clear, Paragraph, Widget as _, Wrap},
};

use super::text::{Canvas, Pen, below, top};
use crate::{
    advice::{Finding, Rule},
    text::human,
    top::{
        app::{App, ColumnMenu, HELP, View},
        columns::{Column, find, process_columns, thread_columns},
    },
};

/// Columns of the left side of the help.
const KEYS: u16 = 23;
/// Columns of a heading in the choice of columns.
const TITLE: u16 = 13;

/// The keys, then what the columns that are shown mean.
pub(super) fn draw_help(canvas: &mut Canvas<'_>, area: Rect, app: &App, scroll: u16) {
    Clear.render(area, canvas.buffer);
    canvas.line(area, 0, &Line::styled("Keys", canvas.theme.heading()));
    let area = below(area, 1);
    let entries = entries(canvas, app);
    let room = area.width.saturating_sub(KEYS + 1);
    let heights: Vec<u16> = entries.iter().map(|(_, what)| height(what, room)).collect();
    let total: u16 = heights.iter().sum();
    app.set_scroll_end(total.saturating_sub(area.height));
    let mut skipped = scroll.min(total.saturating_sub(area.height));
    let mut y = 0;
    for ((keys, what), height) in entries.iter().zip(heights) {
        if skipped >= height {
            skipped -= height;
            continue;
        }
        let place = top(below(area, y), height - skipped);
        if skipped == 0 {
            Pen::new(canvas, place, 0).spans(KEYS, std::slice::from_ref(keys));
        }
        let right = Rect { x: place.x + KEYS + 1, width: room, ..place };
        Paragraph::new(*what).wrap(Wrap { trim: true }).scroll((skipped, 0)).render(right, canvas.buffer);
        y += height - skipped;
        skipped = 0;
    }
}

/// What to change, the worst first: what was measured, why it matters, what to do.
pub(super) fn draw_advice(canvas: &mut Canvas<'_>, area: Rect, app: &App, scroll: u16) {
    Clear.render(area, canvas.buffer);
    let of = app.process().filter(|_| app.view() == View::Process);
    let of =
        of.map_or_else(|| "this host".to_owned(), |process| format!("{} {}", human::plain(&process.comm), process.pid));
    canvas.line(area, 0, &Line::styled(format!("Advice for {of}"), canvas.theme.heading()));
    let area = below(area, 1);
    let lines = advice(canvas, app);
    let total: u16 = lines.iter().map(|line| height(&line.to_string(), area.width)).sum();
    let end = total.saturating_sub(area.height);
    app.set_scroll_end(end);
    Paragraph::new(lines).wrap(Wrap { trim: true }).scroll((scroll.min(end), 0)).render(area, canvas.buffer);
}

fn advice(canvas: &Canvas<'_>, app: &App) -> Vec<Line<'static>> {
    let theme = canvas.theme;
    let of_finding = |finding: &Finding| {
        let Finding { pid, comm, figures, reason, change, .. } = finding;
        let who = format!("{} {pid}: ", human::plain(comm));
        [
            Line::from(vec![Span::styled(who, theme.heading()), Span::raw(figures.clone())]),
            Line::styled(*reason, theme.dim()),
            Line::raw(format!("-> {change}")),
            Line::default(),
        ]
    };
    let mut lines: Vec<_> = app.findings().iter().flat_map(of_finding).collect();
    if lines.is_empty() {
        lines.push(Line::raw("Nothing to change was found."));
    }
    let checked =
        Rule::ALL.into_iter().filter(|rule| !rule.needs_a_look_inside()).map(|rule| rule.label().replace('_', " "));
    let checked = format!("Checked: {}. More: thread-probe advise PID.", checked.collect::<Vec<_>>().join(", "));
    lines.push(Line::styled(checked, theme.dim()));
    lines
}

type Entry = (Span<'static>, &'static str);

fn entries(canvas: &Canvas<'_>, app: &App) -> Vec<Entry> {
    fn of<T>(table: &'static [Column<T>], ids: &[&'static str], style: Style) -> Vec<Entry> {
        let columns = ids.iter().filter_map(|id| find(table, id));
        columns.map(|column| (Span::styled(column.title, style), column.help)).collect()
    }
    let style = canvas.theme.heading();
    let mut entries: Vec<Entry> = HELP.iter().map(|line| (Span::styled(line.keys, style), line.what)).collect();
    entries.extend([(Span::raw(""), ""), (Span::styled("Columns", style), "")]);
    let settings = app.settings();
    entries.extend(match app.view() {
        View::Process => of(thread_columns(), &settings.thread_columns, style),
        _ => of(process_columns(), &settings.process_columns, style),
    });
    entries
}

/// Rows that a text takes, word by word as the paragraph breaks it.
fn height(text: &str, width: u16) -> u16 {
    let (mut rows, mut taken) = (1, 0);
    for word in text.split(' ') {
        let columns = super::text::width(word);
        let wanted = if taken == 0 { columns } else { taken + 1 + columns };
        if wanted > width && taken > 0 {
            rows += 1;
            taken = columns;
        } else {
            taken = wanted;
        }
    }
    rows
}

/// The choice of columns.
pub(super) fn draw_menu(canvas: &mut Canvas<'_>, area: Rect, menu: &ColumnMenu) {
    Clear.render(area, canvas.buffer);
    let of = if menu.of_threads { "Columns of threads" } else { "Columns of processes" };
    canvas.line(area, 0, &Line::styled(of, canvas.theme.heading()));
    let area = below(area, 1);
    let height = usize::from(area.height);
    let first = (menu.cursor + 1).saturating_sub(height);
    for (y, (index, entry)) in menu.entries.iter().enumerate().skip(first).take(height).enumerate() {
        let y = y as u16;
        let style = if entry.is_shown { Style::new() } else { canvas.theme.dim() };
        let mut pen = Pen::new(canvas, area, y);
        pen.left(3, if entry.is_shown { "[x]" } else { "[ ]" }, style);
        pen.left(TITLE, entry.title, style);
        pen.left(area.width, entry.help, style);
        if index == menu.cursor {
            canvas.row_style(area, y, canvas.theme.cursor());
        }
    }
}
