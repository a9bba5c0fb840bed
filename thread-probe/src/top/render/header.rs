//! The top of the screen: which host, how it is, what the probe costs, and which views there are.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{
    figures, gauges, tabs,
    text::{Canvas, below, cut, name, top},
    timeline,
};
use crate::{
    limits::words::Level,
    model::alert::State,
    text::human,
    top::app::{App, View},
};

/// Rows of a screen from which on the header is whole, and from which on it has what matters most.
const HIGH: u16 = 20;
const MIDDLE: u16 = 14;
/// Rows from which on each course has a row of its own.
const VERY_HIGH: u16 = 40;

/// Draws it; the rows it takes.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) -> u16 {
    draw_title(canvas, area, app);
    let Some(model) = app.model() else { return 2 };
    // The threads of a process need the room more.
    let is_short = area.height < HIGH || (app.view() == View::Process && area.height < VERY_HIGH - 10);
    let is_stacked = !is_short && area.height >= VERY_HIGH;
    let mut rows = 1;
    if area.height >= MIDDLE {
        rows += gauges::draw(canvas, top(below(area, rows), if is_short { 1 } else { 2 }), app);
        let place = below(area, rows);
        if is_stacked {
            figures::draw_stacked(canvas, top(place, figures::STACKED_ROWS), app, model);
            rows += figures::STACKED_ROWS;
        } else {
            let courses = u16::from(!is_short);
            figures::draw(canvas, top(place, 1 + courses), app, model);
            rows += 1 + courses;
        }
    }
    if !is_short {
        let span = if area.height < MIDDLE || is_stacked { String::new() } else { figures::span(app) };
        let span = Line::styled(span, canvas.theme.dim());
        let load = figures::load(model, area.width);
        let has_room = load.width() + span.width() + 2 <= usize::from(area.width);
        canvas.sides(below(area, rows), 0, &load, &if has_room { span } else { Line::default() });
        rows += 1;
        if app.timeline().is_empty() {
            canvas.line(below(area, rows), 0, &figures::own_cost(canvas.theme, model, area.width));
        } else {
            timeline::draw(canvas, top(below(area, rows), 1), app, model.time_unix_seconds);
        }
        rows += 1;
        // Also where there is none: what is below must not jump.
        canvas.line(below(area, rows), 0, &advice(canvas, app, area.width));
        rows += 1;
    }
    tabs::draw(canvas, below(area, rows), app);
    rows + 1
}

/// The worst that advice has to say, and how to see the rest.
fn advice(canvas: &Canvas<'_>, app: &App, width: u16) -> Line<'static> {
    let dim = canvas.theme.dim();
    let Some((worst, others)) = app.findings().split_first() else { return Line::styled("No advice", dim) };
    let more = match others.len() {
        0 => "  a: what to do".to_owned(),
        others => format!("  a: what to do, and {others} more"),
    };
    let what = format!("{} {}: {}", human::plain(&worst.comm), worst.pid, worst.figures);
    let what = cut(&what, width.saturating_sub(super::text::width(&more))).into_owned();
    Line::from(vec![Span::raw(what), Span::styled(more, dim)])
}

/// Columns of the first line that are left to it, whatever happens.
const MIN_NAME: u16 = 12;

/// A part of the first line; those of the highest rank go first.
struct Part {
    rank: u8,
    text: String,
}

fn draw_title(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let state = Line::from(states(canvas, app, area.width));
    let room = area.width.saturating_sub(state.width() as u16 + 2);
    let mut parts = parts(app);
    let taken = |parts: &[Part]| parts.iter().map(|part| super::text::width(&part.text) + 3).sum::<u16>();
    while taken(&parts) > room + 3 {
        let Some((index, _)) = parts.iter().enumerate().max_by_key(|(_, part)| part.rank) else { break };
        if parts[index].rank == 0 {
            break;
        }
        parts.remove(index);
    }
    let mut spans = Vec::new();
    for part in parts {
        if !spans.is_empty() {
            spans.push(Span::styled(" · ", canvas.theme.dim()));
        }
        let style = if part.rank == 0 { canvas.theme.heading() } else { Default::default() };
        spans.push(Span::styled(part.text, style));
    }
    canvas.sides(area, 0, &Line::from(spans), &state);
}

fn parts(app: &App) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |rank, text| parts.push(Part { rank, text });
    let every = format!("every {}", interval(app));
    let source = human::plain(app.source()).into_owned();
    let Some(model) = app.model() else {
        add(1, format!("thread-probe {}", env!("CARGO_PKG_VERSION")));
        add(2, every);
        return parts;
    };
    add(3, format!("thread-probe {}", human::plain(&model.version)));
    add(0, cut(&human::plain(&model.host.system.name), 24).into_owned());
    // The rest is the distribution's, as in 6.12.107+deb13-cloud-amd64, and longer than a header has room for.
    let release = model.host.system.kernel_release.split(['-', '+']).next().unwrap_or_default();
    add(4, format!("Linux {}", human::plain(release)));
    add(
        2,
        match model.host.cpus {
            1 => "1 CPU".to_owned(),
            cpus => format!("{cpus} CPUs"),
        },
    );
    add(1, format!("{} UTC", human::time_of_day(model.time_unix_seconds)));
    add(2, every);
    add(5, source);
    parts
}

/// As it was chosen; a daemon's own where that is longer.
fn interval(app: &App) -> String {
    let chosen = app.settings().interval;
    match app.model().and_then(|model| model.interval_seconds) {
        Some(seconds) if seconds > 1.5 * chosen.as_secs_f64() => human::duration(seconds).replace(' ', ""),
        _ => human::interval(chosen),
    }
}

/// What must not be overlooked.
fn states(canvas: &Canvas<'_>, app: &App, width: u16) -> Vec<Span<'static>> {
    let theme = canvas.theme;
    let mut spans = Vec::new();
    let firing = app.alerts().iter().filter(|alert| alert.state == State::Firing).count();
    if firing > 0 {
        let words = if firing == 1 { "1 alert fires".to_owned() } else { format!("{firing} alerts fire") };
        spans.push(Span::styled(format!("{}{words}", theme.mark(Level::Critical)), theme.level(Level::Critical)));
    }
    if !app.timeline().is_empty() {
        spans.push(Span::styled(" RECORDING ", theme.heading().patch(theme.cursor())));
    }
    if let Some(seconds) = app.paused_seconds() {
        let words =
            if seconds < 0.5 { " PAUSED ".to_owned() } else { format!(" PAUSED, {} ago ", human::duration(seconds)) };
        spans.push(Span::styled(words, theme.heading().patch(theme.cursor())));
    }
    if let Some(reason) = app.lost() {
        // The host's name has its place beside all that.
        let others = spans.iter().map(|span| span.width() as u16 + 1).sum::<u16>();
        let room = width.saturating_sub(others + MIN_NAME);
        let text = cut(&format!(" LOST: {} ", name(reason).content), room).into_owned();
        spans.push(Span::styled(text, theme.level(Level::Critical).patch(theme.cursor())));
    }
    let mut separated = Vec::new();
    for span in spans {
        if !separated.is_empty() {
            separated.push(Span::raw(" "));
        }
        separated.push(span);
    }
    separated
}
