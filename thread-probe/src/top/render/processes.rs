//! All processes: one dense table, or a tree of it.

use std::{borrow::Cow, ops::Range};

use ratatui::{layout::Rect, style::Style, text::Line};

use super::{
    table::{Instead, Layout, Wanted},
    text::{Canvas, below, split, top},
    time,
};
use crate::{
    model::Process,
    text::human,
    top::{
        app::{App, Row, Subject, Target},
        columns::{ATTENTION, process_columns},
        settings::Tree,
    },
};

/// Draws the table.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let settings = app.settings();
    let is_tree = settings.tree != Tree::None;
    let mut ids = if app.shows_time() { WITH_TIME.to_vec() } else { settings.process_columns.clone() };
    if is_tree && !ids.contains(&"comm") {
        ids.insert(0, "comm");
    }
    if !app.shows_time() {
        add_what_is_not_nothing(&mut ids, app);
    }
    let wanted =
        Wanted { ids: &ids, fixed: &["pid", "comm"], scroll: app.column_scroll(), sort: app.process_sort(), is_tree };
    let width = if app.shows_time() { area.width / 2 } else { area.width };
    let layout = Layout::new(process_columns(), &wanted, width);
    layout.draw_headings(canvas, top(area, 1), app.targets());
    if app.shows_time() {
        time::draw_heading(canvas, beside(area, &layout));
    }
    draw_rows(canvas, below(area, 1), app, &layout);
}

/// The columns beside where the time goes.
const WITH_TIME: [&str; 5] = ["pid", "comm", "threads", "cpu_ratio", "taken_by"];

/// What the columns leave of an area.
fn beside(area: Rect, layout: &Layout<'_, Process>) -> Rect {
    split(area, layout.width(), 2).1
}

/// The column sorted by, and those that are shown only while they have something to say.
fn add_what_is_not_nothing(ids: &mut Vec<&'static str>, app: &App) {
    let processes = app.model().map_or(&[][..], |model| &model.processes);
    let is_forked = |process: &Process| process.rates.is_some_and(|rates| rates.processes_created_per_second > 0.0);
    let wanted = [
        (app.process_sort().column, app.process_sort().column != ATTENTION),
        ("processes_created_per_second", processes.iter().any(is_forked)),
        ("blocked", processes.iter().any(|process| process.threads.blocked > 0)),
        (
            "children_cpu_ratio",
            processes.iter().any(|process| process.children_cpu_ratio.is_some_and(|cpus| cpus >= 0.001)),
        ),
    ];
    for (id, is_wanted) in wanted {
        if is_wanted && !ids.contains(&id) {
            let after = ids.iter().position(|id| *id == "threads").map_or(ids.len(), |at| at + 1);
            ids.insert(after, id);
        }
    }
}

/// How many rows there would be besides; what is left of the area.
fn draw_idle(canvas: &mut Canvas<'_>, area: Rect, app: &App) -> Rect {
    let idle = app.idle() as u64;
    if idle == 0 || area.height < 2 {
        return area;
    }
    let what = if idle == 1 { "process that did nothing is" } else { "processes that did nothing are" };
    let text = format!("{} {what} hidden: i shows them", human::count(idle));
    canvas.line(area, area.height - 1, &Line::styled(text, canvas.theme.dim()));
    top(area, area.height - 1)
}

fn draw_rows(canvas: &mut Canvas<'_>, area: Rect, app: &App, layout: &Layout<'_, Process>) {
    let rows = app.rows();
    if rows.is_empty() {
        let why = match app.within() {
            _ if !app.filter_text().is_empty() => "No process matches the filter. Esc drops it.",
            Some(_) => "None of its processes is left. Esc leads back.",
            None if app.idle() > 0 => "No process did anything. i shows all.",
            None => "No processes.",
        };
        return canvas.line(area, 0, &Line::styled(why, canvas.theme.dim()));
    }
    let area = draw_idle(canvas, area, app);
    let processes = app.model().map_or(&[][..], |model| &model.processes);
    let cursor = app.processes_cursor();
    let window = cursor.window(rows.len(), usize::from(area.height));
    let is_tree = app.settings().tree != Tree::None;
    let levels = usize::from(layout.width_of("comm").saturating_sub(16) / 2);
    let lines = if is_tree { lines(rows, &window, levels) } else { Vec::new() };
    for (y, index) in window.enumerate() {
        let row = &rows[index];
        let Some(process) = row.process(processes) else { continue };
        let instead = lines.get(y).map_or_else(Vec::new, |lines| in_tree(canvas, row, process, lines));
        let y = y as u16;
        app.targets().add(area.y + y, area.x..area.right(), Target::Row(index));
        let line = top(below(area, y), 1);
        layout.draw_row(canvas, line, process, &instead);
        if app.shows_time() {
            time::draw(canvas, beside(line, layout), process.rates.as_ref());
        }
        if index == cursor.index() {
            canvas.row_style(area, y, canvas.theme.cursor());
        }
    }
}

/// A cgroup has no pid and its last part as its name.
fn in_tree(canvas: &Canvas<'_>, row: &Row, process: &Process, lines: &str) -> Vec<Instead<'static>> {
    let fold = match (row.has_children, row.is_folded) {
        (false, _) if lines.is_empty() => "",
        (false, _) => " ",
        (true, true) => "▸ ",
        (true, false) => "▾ ",
    };
    let (name, style) = match row.subject {
        Subject::Process(_) => (&*process.comm, Style::new()),
        Subject::Cgroup(_) => (process.comm.rsplit('/').next().unwrap_or_default(), canvas.theme.heading()),
    };
    // The root's path has no parts.
    let name = if name.is_empty() { "/" } else { name };
    let mut instead =
        vec![Instead { id: "comm", text: Cow::Owned(format!("{lines}{fold}{}", human::plain(name))), style }];
    if matches!(row.subject, Subject::Cgroup(_)) {
        instead.push(Instead { id: "pid", text: Cow::Borrowed(""), style });
    }
    instead
}

/// For each row on the screen, the lines that lead to it from those it is nested in.
fn lines(rows: &[Row], window: &Range<usize>, levels: usize) -> Vec<String> {
    // Of each level, whether another one follows below. From the end up, as it is what follows that counts.
    let mut follows: Vec<bool> = Vec::new();
    let mut lines = Vec::new();
    for (index, row) in rows.iter().enumerate().skip(window.start).rev() {
        follows.resize(row.depth + 1, false);
        if window.contains(&index) {
            lines.push(line(&follows, levels));
        }
        follows[row.depth] = true;
    }
    lines.reverse();
    lines
}

/// Of those nested too deep for their column, the innermost levels.
fn line(follows: &[bool], levels: usize) -> String {
    // The outermost ones have none.
    let [_, above @ .., last] = follows else { return String::new() };
    let hidden = above.len().saturating_sub(levels);
    let mut line = String::new();
    if hidden > 0 {
        line.push('…');
    }
    above[hidden..].iter().for_each(|follows| line.push_str(if *follows { "│ " } else { "  " }));
    line.push_str(if *last { "├─" } else { "└─" });
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(depth: usize) -> Row {
        Row { subject: Subject::Process(0), depth, has_children: false, is_folded: false }
    }

    #[test]
    fn lines_lead_from_a_row_to_those_nested_in_it_also_where_they_are_off_the_screen() {
        let rows = [0, 1, 2, 2, 1, 2, 0].map(row);
        assert_eq!(lines(&rows, &(0..7), 9), ["", "├─", "│ ├─", "│ └─", "└─", "  └─", ""]);
        assert_eq!(lines(&rows, &(1..3), 9), ["├─", "│ ├─"]);
        assert_eq!(lines(&[0, 1, 2, 3, 4].map(row), &(4..5), 1), ["…  └─"]);
    }
}
