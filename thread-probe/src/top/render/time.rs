//! Where the time goes, in one line: a bar of 100 %, of letters and colours, and the largest shares in words.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use thread_probe_ebpf::abi::time::TimeState;

use super::{
    text::{Canvas, Pen},
    theme::Theme,
};
use crate::{
    limits::words::Level,
    model::{Process, Rates, Times},
    text::human,
};

/// What a state is in a bar, and in words.
fn letter(state: TimeState) -> (char, &'static str) {
    match state {
        TimeState::Running => ('R', "running"),
        TimeState::WaitWakeup => ('w', "waiting for a CPU"),
        TimeState::WaitPreempted => ('p', "preempted"),
        TimeState::Throttled => ('T', "throttled"),
        TimeState::Io => ('I', "disk"),
        TimeState::Uninterruptible => ('D', "uninterruptible"),
        TimeState::Lock => ('L', "lock"),
        TimeState::Poll => ('P', "poll"),
        TimeState::Sleep => ('S', "sleep"),
        TimeState::File => ('F', "file"),
        TimeState::Network => ('N', "network"),
        TimeState::Child => ('C', "child"),
        TimeState::Fault => ('f', "page fault"),
        TimeState::Stopped => ('s', "stopped"),
        TimeState::Other => ('o', "other"),
        TimeState::Unaccounted => ('u', "interrupts or stolen"),
    }
}

/// Green is work, yellow and red are work that waits, all else is sleep: for a device or a lock it stands out.
fn style(state: TimeState, theme: &Theme) -> Style {
    match state {
        TimeState::Running => theme.bar(Level::Normal),
        TimeState::WaitWakeup | TimeState::WaitPreempted => theme.bar(Level::Warning),
        TimeState::Throttled => theme.bar(Level::Critical),
        TimeState::Io | TimeState::Uninterruptible | TimeState::Lock => theme.course(),
        _ => theme.dim(),
    }
}

/// `RRwLLLLLLLLPPPPPPPP poll 52 %, lock 41 %, running 5.1 %`, in so many columns; `None` where nothing is known.
pub(super) fn line(times: &Times, columns: u16, theme: &Theme) -> Option<Line<'static>> {
    let all = times.total();
    if all <= 0.0 {
        return None;
    }
    let mut spans = bar(times, columns / 2, theme);
    spans.push(Span::raw(format!(" {}", in_words(times, all))));
    Some(Line::from(spans))
}

/// A row of a table: the bar, and the words if there is room.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, rates: Option<&Rates>) {
    if let Some(line) = rates.and_then(|rates| line(&rates.time_ratio, area.width, canvas.theme)) {
        canvas.line(area, 0, &line);
    }
}

/// Each state that the time of a process's threads goes to: its share now, and the seconds that it had since the probe
/// knows them. Those without a whole second are left out. The rows it takes.
pub(super) fn draw_states(canvas: &mut Canvas<'_>, area: Rect, process: &Process) -> u16 {
    const SHARE: u16 = 7;
    const SECONDS: u16 = 14;
    let theme = canvas.theme;
    let now = process.rates.as_ref().map(|rates| rates.time_ratio).unwrap_or_default();
    let share = |state| if now.total() > 0.0 { now.get(state) / now.total() } else { 0.0 };
    let mut states: Vec<_> = process.totals.time_seconds.iter().filter(|(_, seconds)| *seconds >= 1.0).collect();
    if states.is_empty() {
        return 0;
    }
    states.sort_by(|(a, _), (b, _)| share(*b).total_cmp(&share(*a)));
    let heading = "Where the time of its threads goes: now, and in all";
    canvas.line(area, 0, &Line::styled(heading, theme.heading()));
    for (row, (state, seconds)) in states.iter().enumerate() {
        let mut pen = Pen::new(canvas, area, row as u16 + 1);
        pen.right(SHARE, &human::percent(share(*state)), Style::new());
        pen.right(SECONDS, &format!("{} s", human::count(*seconds as u64)), Style::new());
        pen.left(area.width.saturating_sub(SHARE + SECONDS + 2), letter(*state).1, style(*state, theme));
    }
    states.len() as u16 + 1
}

/// The heading of such rows.
pub(super) fn draw_heading(canvas: &mut Canvas<'_>, area: Rect) {
    canvas.line(area, 0, &Line::styled("WHERE THE TIME GOES", canvas.theme.heading()));
}

/// A letter for each part of the time, of the state that has most of it there.
fn bar(times: &Times, columns: u16, theme: &Theme) -> Vec<Span<'static>> {
    let all = times.total();
    let mut until = 0.0;
    let mut drawn = 0;
    let mut spans = Vec::new();
    for (state, time) in times.iter() {
        until += time;
        let end = (until / all * f64::from(columns)).round() as usize;
        if end > drawn {
            spans.push(Span::styled(letter(state).0.to_string().repeat(end - drawn), style(state, theme)));
            drawn = end;
        }
    }
    spans
}

/// The largest shares first; those that are under a percent are left out.
fn in_words(times: &Times, all: f64) -> String {
    const LEAST: f64 = 0.01;
    let mut shares: Vec<_> = times.iter().map(|(state, time)| (state, time / all)).collect();
    shares.retain(|(_, share)| *share >= LEAST);
    shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let words: Vec<_> =
        shares.iter().map(|(state, share)| format!("{} {}", letter(*state).1, human::percent(*share))).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::render::theme::{ColorMode, Glyphs};

    fn text(times: &[(TimeState, f64)], columns: u16) -> Option<String> {
        let theme = Theme { color: ColorMode::None, glyphs: Glyphs::Ascii };
        let line = line(&Times::of(times.iter().copied()), columns, &theme)?;
        Some(line.spans.iter().map(|span| &*span.content).collect())
    }

    #[test]
    fn a_bar_is_as_long_as_it_should_be_whatever_the_shares() {
        let thirds = [(TimeState::Running, 1.0), (TimeState::Lock, 1.0), (TimeState::Poll, 1.0)];
        let expected = "RRRLLLLPPP running 33 %, lock 33 %, poll 33 %";
        assert_eq!(text(&thirds, 20).as_deref(), Some(expected));
        let many: Vec<_> = TimeState::ALL.into_iter().map(|state| (state, 0.1)).collect();
        let bar = text(&many, 80).unwrap_or_default();
        assert_eq!(bar.split(' ').next().map(str::len), Some(40));
    }

    #[test]
    fn what_is_under_a_percent_is_not_said_and_without_a_ledger_nothing_is() {
        let times = [(TimeState::Running, 0.004), (TimeState::Sleep, 0.996)];
        assert_eq!(text(&times, 20).as_deref(), Some("SSSSSSSSSS sleep 99 %"));
        assert_eq!(text(&[], 20), None);
    }

    #[test]
    fn no_two_states_have_one_letter() {
        let mut letters = TimeState::ALL.map(|state| letter(state).0);
        letters.sort_unstable();
        assert!(letters.windows(2).all(|pair| pair[0] != pair[1]), "{letters:?}");
    }
}
