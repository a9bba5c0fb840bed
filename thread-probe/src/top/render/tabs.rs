//! The line of views, with what shapes the one that is shown at its right.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::text::{Canvas, cut, name};
use crate::{
    text::human,
    top::{
        app::{App, Target, View},
        columns::{ATTENTION, Column, Direction, find, process_columns, thread_columns},
        settings::{Sort, Tree},
    },
};

/// Draws the line.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let mut spans = Vec::new();
    for (index, view) in View::TABS.into_iter().enumerate() {
        let is_shown = app.view() == view;
        let style = if is_shown { canvas.theme.heading().patch(canvas.theme.cursor()) } else { Default::default() };
        let count = count(app, view);
        let left = area.x + spans.iter().map(Span::width).sum::<usize>() as u16;
        let tab = Span::styled(format!(" {} {} {count} ", index + 1, view.title()), style);
        app.targets().add(area.y, left..left + tab.width() as u16, Target::Tab(view));
        spans.push(tab);
        if view == View::Processes && app.view() == View::Process {
            spans.push(Span::styled(process(app), canvas.theme.heading().patch(canvas.theme.cursor())));
        }
    }
    canvas.sides(area, 0, &Line::from(spans), &Line::from(shape(canvas, app, area.width / 2)));
}

fn count(app: &App, view: View) -> String {
    let count = |rows: usize| human::count(rows as u64);
    match view {
        View::Processes | View::Process => {
            let all = count(app.model().map_or(0, |model| model.processes.len()));
            let shown = app.matches();
            if app.model().is_none_or(|model| model.processes.len() == shown) {
                return all;
            }
            format!("{} of {all}", count(app.matches()))
        }
        View::Limits => count(app.limits().len()),
        View::Alerts => match app.model().map_or(0, |model| model.alerts_suppressed) {
            0 => count(app.alerts().len()),
            more => format!("{} and {} more", count(app.alerts().len()), human::count(more)),
        },
    }
}

fn process(app: &App) -> String {
    let comm = app.process().map(|process| human::plain(&process.comm)).unwrap_or_default();
    format!(" {} {} ", app.pid().unwrap_or(0), cut(&comm, 16))
}

/// The filter, the order and the like.
fn shape(canvas: &Canvas<'_>, app: &App, room: u16) -> Vec<Span<'static>> {
    let settings = app.settings();
    let mut spans = Vec::new();
    if app.view() == View::Processes {
        if !app.filter_text().is_empty() {
            let filter = cut(&name(app.filter_text()).content, room.saturating_sub(20).max(8)).into_owned();
            spans.push(Span::styled(format!("filter {filter}  "), canvas.theme.heading()));
        }
        if let Some(within) = app.within() {
            let label = cut(&name(&within.label).content, room.saturating_sub(20).max(8)).into_owned();
            spans.push(Span::styled(format!("{label}  "), canvas.theme.heading()));
        } else if settings.hide_kernel_threads {
            spans.push(Span::raw("no kernel threads  "));
        }
        match settings.tree {
            Tree::None => {}
            Tree::Cgroup => spans.push(Span::raw("by cgroup  ")),
            Tree::Parent => spans.push(Span::raw("by parent  ")),
        }
        spans.push(sort(app.process_sort(), process_columns()));
    } else if app.view() == View::Process {
        if !app.thread_filter_text().is_empty() {
            let filter = cut(&name(app.thread_filter_text()).content, room.saturating_sub(20).max(8)).into_owned();
            spans.push(Span::styled(format!("filter {filter}  "), canvas.theme.heading()));
        }
        spans.push(sort(settings.thread_sort, thread_columns()));
    }
    spans
}

fn sort<T>(sort: Sort, columns: &[Column<T>]) -> Span<'static> {
    let title = match sort.column {
        ATTENTION => "attention",
        id => find(columns, id).map_or("", |column| column.title),
    };
    Span::raw(format!("{title} {}", if sort.direction == Direction::Ascending { '▲' } else { '▼' }))
}
