//! The host's figures with their courses over the last minutes: side by side or, on a high screen, one above the other
//! over its whole width, with the time below; and what the probe costs.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
    widgets::{RenderDirection, Sparkline, Widget as _},
};

use super::{
    text::{Canvas, below, top},
    theme::Theme,
};
use crate::{
    limits::words::Level,
    model::{Host, Model, Rates},
    text::human,
    top::app::{App, Point},
};

/// A figure of the host.
struct Figure {
    /// Its share of the width.
    share: u16,
    /// Whether it gives way to the others where there is little room.
    is_left_out_first: bool,
    /// In ever fewer characters: a figure that is cut looks like another one.
    words: fn(&Model) -> Vec<String>,
    point: fn(&Point) -> f64,
    /// The largest of its course, in words.
    scale: fn(f64) -> String,
    level: fn(&Rates) -> Level,
}

const FIGURES: [Figure; 5] = [
    Figure {
        share: 16,
        is_left_out_first: false,
        words: |model| under(&["switches/s", "sw/s"], &rate(model, |rates| rates.switches_per_second)),
        point: |point| point.switches_per_second,
        scale: human::per_second,
        level: |_| Level::Normal,
    },
    Figure {
        share: 26,
        is_left_out_first: false,
        words: waits,
        point: |point| point.wait_p99_seconds,
        scale: human::seconds,
        level: |rates| rates.wait_p99_seconds.map_or(Level::Normal, Level::of_wait),
    },
    Figure {
        share: 14,
        is_left_out_first: false,
        words: |model| under(&["threads", "thr"], &human::count(model.host.threads.total)),
        point: |point| point.threads,
        scale: |threads| human::count(threads as u64),
        level: |_| Level::Normal,
    },
    Figure {
        share: 13,
        is_left_out_first: true,
        words: |model| {
            let created = rate(model, |rates| rates.threads_created_per_second + rates.processes_created_per_second);
            under(&["clones/s", "cl/s"], &created)
        },
        point: |point| point.clones_per_second,
        scale: human::per_second,
        level: |_| Level::Normal,
    },
    Figure {
        share: 11,
        is_left_out_first: false,
        words: |model| {
            under(&["failed clones/s", "fail/s", "fail"], &rate(model, |rates| rates.clone_failures_per_second))
        },
        point: |point| point.clone_failures_per_second,
        scale: human::per_second,
        level: |rates| if rates.clone_failures_per_second > 0.0 { Level::Critical } else { Level::Normal },
    },
];

/// Below this width there is no room for all.
const NARROW: u16 = 72;

/// Rows that the figures take one above the other: each with its course, and the time.
pub(super) const STACKED_ROWS: u16 = FIGURES.len() as u16 + 1;
/// What is left to a figure's words beside a course over the whole width.
const WORDS: u16 = 56;

/// One row for each figure, and one for the time.
pub(super) fn draw_stacked(canvas: &mut Canvas<'_>, area: Rect, app: &App, model: &Model) {
    let words = WORDS.min(area.width / 2);
    let course = Rect { x: area.x + words + 1, width: area.width.saturating_sub(words + 1), ..area };
    for (row, figure) in FIGURES.iter().enumerate() {
        let row = row as u16;
        let place = top(below(area, row), 1);
        let shown = Shown::new(figure, app, model, course.width);
        shown.draw_words(canvas, Rect { width: words, ..place }, true);
        shown.draw_course(canvas, top(below(course, row), 1));
    }
    draw_time(canvas, below(course, FIGURES.len() as u16), app);
}

/// When it was that a course is at, counted back from now, which is at the right.
fn draw_time(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    /// A mark, and words that are not to touch the next one.
    const LABEL: u16 = 12;
    const STEPS_SECONDS: [f64; 7] = [5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
    let (seconds, columns) = app.trend().extent(usize::from(area.width));
    let columns_back = |ago: f64| (ago / seconds * (columns.saturating_sub(1)) as f64).round() as u16;
    canvas.sides(area, 0, &Line::default(), &Line::styled("now", canvas.theme.dim()));
    let Some(step) = STEPS_SECONDS.into_iter().find(|step| seconds > 0.0 && columns_back(*step) >= LABEL) else {
        return;
    };
    let ticks = (1..).map(|tick| f64::from(tick) * step).take_while(|ago| *ago <= seconds);
    for ago in ticks {
        let x = area.right().saturating_sub(1 + columns_back(ago));
        let text = format!("│{} ago", human::duration(ago));
        canvas.text((x, area.y), LABEL - 1, &text, canvas.theme.dim());
    }
}

/// One row of figures and, if there is room, their courses.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App, model: &Model) {
    let mut x = 0;
    let shown: Vec<&Figure> =
        FIGURES.iter().filter(|figure| area.width >= NARROW || !figure.is_left_out_first).collect();
    let shares: u32 = shown.iter().map(|figure| u32::from(figure.share)).sum();
    for figure in shown {
        let width = u32::from(figure.share) * u32::from(area.width) / shares;
        let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width - x);
        let place = Rect { x: area.x + x, width: width.saturating_sub(1), ..area };
        x += width;
        let shown = Shown::new(figure, app, model, place.width);
        shown.draw_words(canvas, place, area.height > 1);
        shown.draw_course(canvas, below(place, 1));
    }
}

/// A figure as it is now, with its course.
struct Shown {
    level: Level,
    words: Vec<String>,
    values: Vec<f64>,
    largest: f64,
    /// The largest in words.
    scale: String,
}

impl Shown {
    fn new(figure: &Figure, app: &App, model: &Model, columns: u16) -> Self {
        let values = app.trend().course(usize::from(columns), figure.point);
        let largest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
        Self {
            level: model.host.rates.as_ref().map_or(Level::Normal, figure.level),
            words: (figure.words)(model),
            scale: (figure.scale)(largest),
            values,
            largest,
        }
    }

    /// The longest form that there is room for. Without the largest a course is no more than a shape.
    fn draw_words(&self, canvas: &mut Canvas<'_>, area: Rect, has_course: bool) {
        let mut forms = self.words.clone();
        if self.largest > 0.0 && has_course {
            let longest = self.words.first().cloned().unwrap_or_default();
            let with_largest: Vec<_> = self.words.iter().map(|words| format!("{words} ≤{}", self.scale)).collect();
            forms = [vec![format!("{longest} (to {})", self.scale)], with_largest, forms].concat();
        }
        let mut lines = forms.into_iter().map(|words| Line::raw(format!("{}{words}", canvas.theme.mark(self.level))));
        if let Some(line) = lines.find(|line| line.width() <= usize::from(area.width)) {
            canvas.line(area, 0, &line.style(canvas.theme.level(self.level)));
        }
    }

    /// From zero up to the largest, the newest at the right.
    fn draw_course(&self, canvas: &mut Canvas<'_>, area: Rect) {
        const STEPS: f64 = 1000.0;
        let style = if self.level == Level::Normal { canvas.theme.course() } else { canvas.theme.level(self.level) };
        let bar = |value: &f64| match *value / self.largest {
            // What is not zero is seen.
            share if share > 0.0 => (share * STEPS).clamp(STEPS / 8.0, STEPS) as u64,
            _ => 0,
        };
        let data: Vec<u64> = self.values.iter().rev().map(bar).collect();
        let sparkline =
            Sparkline::default().data(data).max(STEPS as u64).direction(RenderDirection::RightToLeft).style(style);
        sparkline.render(area, canvas.buffer);
    }
}

fn rate(model: &Model, of: impl Fn(&Rates) -> f64) -> String {
    model.host.rates.as_ref().map(of).map_or_else(|| "-".to_owned(), human::per_second)
}

fn under(names: &[&str], figure: &str) -> Vec<String> {
    names.iter().map(|name| format!("{name} {figure}")).collect()
}

fn waits(model: &Model) -> Vec<String> {
    let wait = |of: fn(&Rates) -> Option<f64>| {
        let seconds = model.host.rates.as_ref().and_then(of);
        seconds.map_or_else(|| "-".to_owned(), human::seconds)
    };
    let (p50, p99) = (wait(|rates| rates.wait_p50_seconds), wait(|rates| rates.wait_p99_seconds));
    let max = wait(|rates| rates.wait_max_seconds);
    vec![
        format!("run queue p50 {p50}, max {max}, p99 {p99}"),
        format!("runq p50 {p50} p99 {p99}"),
        format!("runq p99 {p99}"),
        format!("p99 {p99}"),
    ]
}

/// What the courses above it span, in words.
pub(super) fn span(app: &App) -> String {
    match app.trend().seconds() {
        seconds if seconds < 1.0 => String::new(),
        seconds => format!("courses: the last {}", human::duration(seconds)),
    }
}

/// How busy the host is; in as many parts as there is room for whole.
pub(super) fn load(model: &Model, width: u16) -> Line<'static> {
    let host = &model.host;
    let cpus = host.cpus.max(1);
    let cpu = host.rates.map_or_else(|| "-".to_owned(), |rates| human::percent(rates.cpu_ratio / cpus as f64));
    let parts = [
        format!("CPU {cpu} of {cpus}"),
        runnable(host, cpus),
        format!("blocked {}", human::count(host.threads.blocked)),
        format!("processes/s {}", rate(model, |rates| rates.processes_created_per_second)),
        format!("load {:.2}", host.load_averages[0]),
        format!("{:.2} {:.2}", host.load_averages[1], host.load_averages[2]),
    ];
    let mut text = String::new();
    for part in parts {
        // The second and third load go with the first.
        let between = if part.starts_with(|c: char| c.is_ascii_digit()) { " " } else { " · " };
        let longer = if text.is_empty() { part } else { format!("{text}{between}{part}") };
        if super::text::width(&longer) > width {
            break;
        }
        text = longer;
    }
    Line::raw(text)
}

/// Threads that have work, on average over the interval; without a ledger of time those of this moment.
fn runnable(host: &Host, cpus: u64) -> String {
    if let Some(wanted) = host.rates.map(|rates| rates.cpu_work().wanted).filter(|wanted| *wanted > 0.0) {
        return format!("runnable {wanted:.1} on average ({:.1} a CPU)", wanted / cpus as f64);
    }
    let running = host.threads.running;
    format!("runnable {} ({:.1} a CPU)", human::count(running), running as f64 / cpus as f64)
}

/// What the probe itself takes, and what it lost.
pub(super) fn own_cost(theme: &Theme, model: &Model, width: u16) -> Line<'static> {
    let probe = &model.probe;
    let cpu = probe.cpu_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0));
    // Without kernel.bpf_stats_enabled nobody knows the other.
    let switch = probe.seconds_per_switch.map(|seconds| format!(", {:.0} ns per switch", seconds * 1e9));
    let text = format!("own cost {cpu} CPU{}", switch.unwrap_or_default());
    let mut spans = vec![Span::styled(text, theme.dim())];
    // It is there on every Linux; its threads are in no figure, and often the busiest of a container.
    if model.processes.first().is_some_and(|first| first.pid != 1) {
        let text = format!("{}process 1 is hidden from eBPF", theme.mark(Level::Warning));
        spans.extend([Span::raw("  "), Span::styled(text, theme.level(Level::Warning))]);
    }
    let lost: u64 = probe.lost.iter().map(|lost| lost.count).sum();
    if lost > 0 {
        let mut text = format!("{}lost {}", theme.mark(Level::Warning), human::count(lost));
        if width >= 120 {
            let reasons = probe.lost.iter().filter(|lost| lost.count > 0);
            let reasons: Vec<_> =
                reasons.map(|lost| format!("{} {}", human::plain(&lost.reason), human::count(lost.count))).collect();
            text = format!("{text}: {}", reasons.join(", "));
        }
        spans.extend([Span::raw("  "), Span::styled(text, theme.level(Level::Warning))]);
    }
    Line::from(spans)
}
