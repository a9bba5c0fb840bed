//! Of one process: its limits, the clones that failed, how long its threads lived.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    gauges::bar,
    histogram,
    text::{Canvas, Pen, below, cut_front},
    time,
};
use crate::{
    limits::{
        Limit, LimitUse,
        words::{Level, amount, full_in},
    },
    model::{OneProcess, Process},
    text::human,
};

/// Limits that are shown where there is little room.
const FEW: usize = 3;
const LABEL: u16 = 13;
const USE: u16 = 7;
const UNTIL: u16 = 8;
const PID: u16 = 7;

/// Draws what there is room for.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, process: &Process, one: &OneProcess) {
    let most = if area.height > 20 { usize::MAX } else { FEW };
    let limits = &one.applicable_limits[..one.applicable_limits.len().min(most)];
    canvas.line(area, 0, &Line::styled("Limits, the nearest first", canvas.theme.heading()));
    for (row, limit) in limits.iter().enumerate() {
        draw_limit(canvas, area, row as u16 + 1, limit);
    }
    // A line between the parts, where there is room.
    let gap = u16::from(area.height > 20);
    let area = below(area, limits.len() as u16 + 1 + gap);
    let rows = if gap == 0 { 0 } else { time::draw_states(canvas, area, process) };
    let area = below(area, if rows == 0 { 0 } else { rows + gap });
    let rows = draw_takers(canvas, area, one);
    let area = below(area, if rows == 0 { 0 } else { rows + gap });
    let rows = draw_failures(canvas, area, process);
    let area = below(area, rows + gap);
    if area.height >= 2 && !one.thread_lifetime_histogram.is_empty() {
        histogram::draw_lifetimes(canvas, area, "Lifetimes of ended threads", &one.thread_lifetime_histogram);
    }
}

fn draw_limit(canvas: &mut Canvas<'_>, area: Rect, row: u16, limit: &LimitUse) {
    let theme = canvas.theme;
    let level = Level::of_use(limit.used_ratio);
    let figures = format!("{} of {}", amount(limit.unit, limit.used), amount(limit.unit, limit.max));
    let columns = area.width.saturating_sub(LABEL + USE + UNTIL + 3);
    let mut pen = Pen::new(canvas, area, row);
    pen.left(LABEL, limit.limit.label(), Style::new());
    pen.right(USE, &format!("{}{}", theme.mark(level), human::percent(limit.used_ratio)), theme.level(level));
    pen.right(UNTIL, full_in(limit).as_deref().unwrap_or(""), theme.level(Level::of_time_left(limit)));
    if columns >= super::text::width(&figures) {
        pen.left(columns, &figures, Style::new());
    } else {
        pen.spans(columns, &bar(limit.used_ratio, columns, theme));
    }
}

/// Who had the CPU while its threads waited for one, of who had it for a hundredth of the largest part at least. The
/// rows it takes.
fn draw_takers(canvas: &mut Canvas<'_>, area: Rect, one: &OneProcess) -> u16 {
    let Some(most) = one.cpu_takers.first() else { return 0 };
    let few = if area.height > 20 { 2 * FEW } else { FEW };
    let takers: Vec<_> = one.cpu_takers.iter().filter(|taker| taker.ratio * 100.0 >= most.ratio).take(few).collect();
    canvas.line(area, 0, &Line::styled("Who had the CPU while it waited", canvas.theme.heading()));
    for (row, taker) in takers.iter().enumerate() {
        let mut pen = Pen::new(canvas, area, row as u16 + 1);
        pen.right(USE, &human::percent(taker.ratio), Style::new());
        pen.right(PID, &taker.pid.map_or_else(String::new, |pid| pid.to_string()), Style::new());
        let comm = if taker.comm.is_empty() { "(ended)" } else { &taker.comm };
        pen.left(area.width.saturating_sub(USE + PID + 2), &human::plain(comm), Style::new());
    }
    takers.len() as u16 + 1
}

/// By errno, then by what refused them. The rows it takes.
fn draw_failures(canvas: &mut Canvas<'_>, area: Rect, process: &Process) -> u16 {
    let theme = canvas.theme;
    let failures = &process.totals.clone_failures;
    if failures.total() == 0 {
        canvas.line(area, 0, &Line::styled("No clone failed", theme.dim()));
        return 1;
    }
    let title = format!("{}Failed clones: ", theme.mark(Level::Critical));
    let title = vec![
        Span::styled(title, theme.level(Level::Critical)),
        Span::raw(counts(failures.iter().map(|(errno, count)| (errno.label(), count)))),
    ];
    canvas.line(area, 0, &Line::from(title));
    let mut rows = 1;
    for (limit, count) in process.totals.clone_failures_by_limit.iter() {
        if count > 0 {
            let by = if limit == Limit::Unknown { "no known limit" } else { limit.label() };
            let line = format!("{} by {by}", human::count(count));
            let room = area.width.saturating_sub(super::text::width(&line) + 4);
            let of = refuser(process, limit)
                .map_or_else(String::new, |path| format!(" of {}", cut_front(&human::plain(path), room)));
            canvas.line(area, rows, &Line::raw(line + &of));
            rows += 1;
        }
    }
    rows
}

fn counts<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    let some = counts.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(name, count)| format!("{name} {}", human::count(count))).collect::<Vec<_>>().join(", ")
}

fn refuser(process: &Process, limit: Limit) -> Option<&str> {
    match limit {
        Limit::CgroupPids => process.clone_refused_by.cgroup_pids.as_deref(),
        Limit::CgroupMemory => process.clone_refused_by.cgroup_memory.as_deref(),
        _ => None,
    }
}
