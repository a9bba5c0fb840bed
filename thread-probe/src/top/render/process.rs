//! One process: its threads, how long they wait for a CPU, its limits, and what became of its threads.

use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    details, histogram,
    table::{Instead, Layout, Wanted},
    text::{Canvas, below, name, split, top},
    time,
};
use crate::{
    ledger::ThreadState,
    limits::words::{Level, until_full},
    model::{OneProcess, Process, Thread},
    text::human,
    top::{
        app::{App, Target, ThreadRow, ThreadSubject},
        columns::thread_columns,
    },
};

/// From this width on the details are at the right of the threads.
const WIDE: u16 = 120;
/// Draws the view.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let pid = app.pid().unwrap_or(0);
    let Some(process) = app.process() else {
        let text = format!("There is no process {pid}, or it has ended. Esc leads back to all processes.");
        return canvas.line(area, 0, &Line::raw(text));
    };
    draw_identity(canvas, area, process, app.command_line());
    if let Some(seconds) = app.ended_seconds() {
        let text = format!(
            "{}It has ended: this is how it was {} ago. Esc leads back.",
            canvas.theme.mark(Level::Warning),
            human::duration(seconds)
        );
        canvas.line(
            area,
            1,
            &Line::styled(
                format!("{text:<width$}", width = usize::from(area.width)),
                canvas.theme.level(Level::Warning),
            ),
        );
    }
    let times = process.rates.as_ref().and_then(|rates| time::line(&rates.time_ratio, area.width, canvas.theme));
    if let Some(line) = &times {
        canvas.line(area, 2, line);
    }
    let area = below(area, if times.is_some() { 3 } else { 2 });
    match app.one() {
        Some(one) if area.width >= WIDE => {
            let layout = layout(app, area.width * 3 / 5);
            let width = if app.shows_time() { area.width * 3 / 5 } else { layout.width() };
            let (threads, details) = split(area, width, 3);
            draw_threads(canvas, threads, app, &layout);
            let waits = (details.height / 2).max(8);
            let taken = draw_waits(canvas, top(details, waits), app, one);
            details::draw(canvas, below(details, taken + 1), process, one);
        }
        Some(one) => {
            let rows = area.height.div_ceil(2);
            draw_threads(canvas, top(area, rows), app, &layout(app, area.width));
            let (waits, details) = split(below(area, rows), area.width / 2, 2);
            draw_waits(canvas, waits, app, one);
            details::draw(canvas, details, process, one);
        }
        None if !app.timeline().is_empty() => {
            let kept = "Its threads are not in this sample: those of the busiest processes are recorded.";
            canvas.line(area, 0, &Line::raw(kept));
        }
        None if app.paused_seconds().is_some() => {
            canvas.line(area, 0, &Line::raw("Its threads were not asked for in this sample."));
        }
        None => canvas.line(area, 0, &Line::raw("Waiting for its threads.")),
    }
}

fn draw_identity(canvas: &mut Canvas<'_>, area: Rect, process: &Process, command_line: Option<&str>) {
    let theme = canvas.theme;
    let mut spans =
        vec![Span::styled(format!("{} ", process.pid), theme.heading()), name(&process.comm).style(theme.heading())];
    let facts = [
        ("exe ", if command_line.is_some() { "" } else { &process.exe }),
        ("user ", &process.user),
        ("in ", process.cgroup.as_deref().unwrap_or_default()),
        // Last, as it may be long.
        ("runs ", command_line.unwrap_or_default()),
    ];
    for (what, text) in facts.into_iter().filter(|(_, text)| !text.is_empty()) {
        spans.extend([Span::styled(format!("  {what}"), theme.dim()), name(text)]);
    }
    canvas.line(area, 0, &Line::from(spans));
    canvas.line(area, 1, &summary(canvas, process));
}

/// `91 % cgroup_pids, full in 22 min · 4,484 threads: 12 running, 4,472 sleeping · 92,469,134 switches`
fn summary(canvas: &Canvas<'_>, process: &Process) -> Line<'static> {
    let mut spans = Vec::new();
    if let Some(limit) = process.headroom.as_ref().map(|headroom| &headroom.binding) {
        let level = Level::of_use(limit.used_ratio);
        let until = until_full(limit).map_or_else(String::new, |until| format!(", {until}"));
        let text =
            format!("{}{} {}{until}", canvas.theme.mark(level), human::percent(limit.used_ratio), limit.limit.label());
        spans.extend([Span::styled(text, canvas.theme.level(level)), Span::raw(" · ")]);
    }
    let by_state = ThreadState::ALL.iter().zip(process.threads.by_state()).filter(|(_, count)| *count > 0);
    let states: Vec<_> = by_state.map(|(state, count)| format!("{} {}", human::count(count), state.label())).collect();
    spans.push(Span::raw(format!("{}: {}", human::counted(process.threads.total, "thread"), states.join(", "))));
    let switches = process.totals.voluntary_switches.saturating_add(process.totals.involuntary_switches);
    spans.push(Span::raw(format!(" · {} switches", human::count(switches))));
    Line::from(spans)
}

fn layout(app: &App, width: u16) -> Layout<'static, Thread> {
    const WITH_TIME: [&str; 3] = ["tid", "comm", "state"];
    let settings = app.settings();
    let wanted = Wanted {
        ids: if app.shows_time() { &WITH_TIME } else { &settings.thread_columns },
        fixed: &["tid", "comm"],
        scroll: app.column_scroll(),
        sort: settings.thread_sort,
        is_tree: false,
    };
    Layout::new(thread_columns(), &wanted, width)
}

fn draw_threads(canvas: &mut Canvas<'_>, area: Rect, app: &App, layout: &Layout<'_, Thread>) {
    layout.draw_headings(canvas, top(area, 1), app.targets());
    let beside = |area| split(area, layout.width(), 2).1;
    if app.shows_time() {
        time::draw_heading(canvas, beside(area));
    }
    let area = below(area, 1);
    let (rows, cursor) = (app.thread_rows(), app.threads_cursor());
    if rows.is_empty() {
        let why = "No thread matches the filter. Esc drops it.";
        return canvas.line(area, 0, &Line::styled(why, canvas.theme.dim()));
    }
    let window = cursor.window(rows.len(), usize::from(area.height));
    let first = window.start;
    for (y, row) in rows[window].iter().enumerate() {
        let Some(thread) = app.thread_of(row) else { continue };
        app.targets().add(area.y + y as u16, area.x..area.right(), Target::Row(first + y));
        let line = top(below(area, y as u16), 1);
        layout.draw_row(canvas, line, thread, &in_pool(row));
        if app.shows_time() {
            time::draw(canvas, beside(line), thread.rates.as_ref());
        }
        if first + y == cursor.index() {
            canvas.row_style(area, y as u16, canvas.theme.cursor());
        }
    }
}

/// Those of a name have their number for a tid.
fn in_pool(row: &ThreadRow) -> Vec<Instead<'static>> {
    match &row.subject {
        ThreadSubject::Name { sum, threads, is_open } => {
            let fold = if *is_open { '▾' } else { '▸' };
            let tid = Instead { id: "tid", text: format!("{fold}{:>6}", threads.total).into(), style: Style::new() };
            let comm = human::plain(&sum.comm).into_owned();
            let comm = Instead { id: "comm", text: comm.into(), style: Style::new().add_modifier(Modifier::BOLD) };
            let of_state = threads.by_state().iter().filter(|count| **count > 0).count();
            let state = match of_state {
                0 | 1 => sum.state.label().to_owned(),
                _ => format!("{} run", threads.running),
            };
            vec![tid, comm, Instead { id: "state", text: state.into(), style: Style::new() }]
        }
        ThreadSubject::Thread(_) => Vec::new(),
    }
}

/// Of all its threads or, once the cursor was moved, of the thread it is on.
fn draw_waits(canvas: &mut Canvas<'_>, area: Rect, app: &App, one: &OneProcess) -> u16 {
    let index = app.threads_cursor().index();
    let row = app.thread_rows().get(index).filter(|_| index > 0);
    if let Some(thread) = row.and_then(|row| app.thread_of(row)) {
        let whose =
            if thread.tid == 0 { "Waits of all ".to_owned() } else { format!("Waits of thread {} ", thread.tid) };
        let title = Line::from(vec![Span::raw(whose), name(&thread.comm)]);
        histogram::draw_waits(canvas, area, title, &thread.wait_histogram)
    } else {
        let title = Line::styled("Waits for a CPU, all threads", Style::new());
        histogram::draw_waits(canvas, area, title, &one.process_wait_histogram)
    }
}
