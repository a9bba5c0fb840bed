//! The host's figures, each above its course over the last minutes; and what the probe costs.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{RenderDirection, Sparkline, Widget as _},
};

use super::{
    text::{Canvas, below},
    theme::Theme,
};
use crate::{
    human,
    limit_text::Level,
    model::{Model, Rates},
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
        words: |model| under(["switches/s", "sw/s"], &rate(model, |rates| rates.switches_per_second)),
        point: |point| point.switches_per_second,
        scale: short,
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
        words: |model| under(["threads", "thr"], &human::count(model.host.threads.total)),
        point: |point| point.threads,
        scale: |threads| human::count(threads as u64),
        level: |_| Level::Normal,
    },
    Figure {
        share: 13,
        is_left_out_first: true,
        words: |model| {
            let created = rate(model, |rates| rates.threads_created_per_second + rates.processes_created_per_second);
            under(["clones/s", "cl/s"], &created)
        },
        point: |point| point.clones_per_second,
        scale: short,
        level: |_| Level::Normal,
    },
    Figure {
        share: 11,
        is_left_out_first: false,
        words: |model| under(["failed clones/s", "fail/s"], &rate(model, |rates| rates.clone_failures_per_second)),
        point: |point| point.clone_failures_per_second,
        scale: short,
        level: |rates| if rates.clone_failures_per_second > 0.0 { Level::Critical } else { Level::Normal },
    },
];

/// Below this width there is no room for all.
const NARROW: u16 = 72;

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
        let level = model.host.rates.as_ref().map_or(Level::Normal, figure.level);
        let values = app.trend().course(usize::from(place.width), figure.point);
        let largest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let mut forms = (figure.words)(model);
        if largest > 0.0 && area.height > 1 {
            let largest = (figure.scale)(largest);
            let longest = forms.first().cloned().unwrap_or_default();
            // Without the largest a course is no more than a shape.
            let with_largest: Vec<_> = forms.iter().map(|words| format!("{words} ≤{largest}")).collect();
            forms = [vec![format!("{longest} (to {largest})")], with_largest, forms].concat();
        }
        let mut lines = forms.into_iter().map(|words| Line::raw(format!("{}{words}", canvas.theme.mark(level))));
        if let Some(line) = lines.find(|line| line.width() <= usize::from(place.width)) {
            canvas.line(place, 0, &line.style(canvas.theme.level(level)));
        }
        let style = if level == Level::Normal { canvas.theme.course() } else { canvas.theme.level(level) };
        draw_course(canvas, below(place, 1), (&values, largest), style);
    }
}

/// From zero up to the largest, the newest at the right.
fn draw_course(canvas: &mut Canvas<'_>, area: Rect, (values, largest): (&[f64], f64), style: Style) {
    const STEPS: f64 = 1000.0;
    // What is not zero is seen.
    let bar = |value: &f64| if *value > 0.0 { (value / largest * STEPS).clamp(STEPS / 8.0, STEPS) as u64 } else { 0 };
    let data: Vec<u64> = values.iter().rev().map(bar).collect();
    let sparkline =
        Sparkline::default().data(data).max(STEPS as u64).direction(RenderDirection::RightToLeft).style(style);
    sparkline.render(area, canvas.buffer);
}

fn rate(model: &Model, of: impl Fn(&Rates) -> f64) -> String {
    model.host.rates.as_ref().map(of).map_or_else(|| "-".to_owned(), short)
}

fn under(names: [&str; 2], figure: &str) -> Vec<String> {
    names.map(|name| format!("{name} {figure}")).into()
}

/// In five characters at most, as long as it is no astronomical figure.
fn short(number: f64) -> String {
    match number {
        number if number >= 1e6 => format!("{:.2}M", number / 1e6),
        number if number >= 1e5 => format!("{:.0}k", number / 1e3),
        number if number >= 1e4 => format!("{:.1}k", number / 1e3),
        number if number > 0.0 && number < 1.0 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }
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
        format!(
            "runnable {} ({:.1} a CPU)",
            human::count(host.threads.running),
            host.threads.running as f64 / cpus as f64
        ),
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
