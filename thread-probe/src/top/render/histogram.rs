//! Histograms as bars: of waits one for each power of two, of lifetimes one for each bucket.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::text::{Canvas, Pen, below, width};
use crate::{
    limits::words::{Bars, Level},
    model::Bucket,
    text::human,
};

const BOUND: u16 = 9;
const COUNT: u16 = 11;
const MARKS: u16 = 7;
/// Of a bar at most: beyond, it says no more.
const MAX_BAR: u16 = 60;

/// A bar: how many were longer than the bound of the one before and not longer than this one's.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bar {
    /// `None`: as long as can be.
    le_seconds: Option<f64>,
    count: u64,
}

/// Waits for a CPU: the title, their quantiles and the bars. The rows it takes.
pub(super) fn draw_waits(canvas: &mut Canvas<'_>, area: Rect, title: Line<'_>, buckets: &[Bucket]) -> u16 {
    canvas.line(area, 0, &title.style(canvas.theme.heading()));
    if buckets.is_empty() {
        canvas.line(area, 1, &Line::styled("none yet", canvas.theme.dim()));
        return area.height.min(2);
    }
    let quantiles = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)].map(|(name, q)| (name, quantile(buckets, q)));
    let words: Vec<_> = quantiles.iter().map(|(name, bound)| format!("{name} {}", bound_text(*bound))).collect();
    canvas.line(area, 1, &Line::raw(words.join("   ")));
    let bars = fit(octaves(buckets), area.height.saturating_sub(2));
    let marks = |index: usize| {
        let (bar, before) = (&bars[index], index.checked_sub(1).and_then(|before| bars[before].le_seconds));
        let is_in = |bound: &Option<f64>| {
            !is_above(*bound, bar.le_seconds) && before.is_none_or(|le| is_above(*bound, Some(le)))
        };
        let names: Vec<_> = quantiles.iter().filter(|(_, bound)| is_in(bound)).map(|(name, _)| *name).collect();
        names.join(" ")
    };
    let level = |bar: &Bar| bar.le_seconds.map_or(Level::Critical, Level::of_wait);
    draw_bars(canvas, below(area, 2), &bars, marks, level);
    (2 + bars.len() as u16).min(area.height)
}

/// Lifetimes: the title and the bars. The rows it takes.
pub(super) fn draw_lifetimes(canvas: &mut Canvas<'_>, area: Rect, title: &str, buckets: &[Bucket]) -> u16 {
    canvas.line(area, 0, &Line::styled(title.to_owned(), canvas.theme.heading()));
    let bars = buckets.iter().map(|bucket| Bar { le_seconds: bucket.le_seconds, count: bucket.count }).collect();
    let bars = fit(bars, area.height.saturating_sub(1));
    draw_bars(canvas, below(area, 1), &bars, |_| String::new(), |_| Level::Normal);
    (1 + bars.len() as u16).min(area.height)
}

fn draw_bars(
    canvas: &mut Canvas<'_>,
    area: Rect,
    bars: &[Bar],
    marks: impl Fn(usize) -> String,
    level: impl Fn(&Bar) -> Level,
) {
    let largest = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1) as f64;
    let columns = area.width.saturating_sub(BOUND + COUNT + MARKS + 3).min(MAX_BAR);
    for (index, bar) in bars.iter().enumerate().take(usize::from(area.height)) {
        let theme = canvas.theme;
        // What is not zero is seen.
        let least = if bar.count > 0 { 1.0 / 8.0 / f64::from(columns.max(1)) } else { 0.0 };
        let filled = Bars::Blocks.bar((bar.count as f64 / largest).max(least), columns);
        let level = level(bar);
        let count = if bar.count == 0 { theme.dim() } else { Style::new() };
        let marks = marks(index);
        let indent = " ".repeat(usize::from(u16::from(width(&filled) > 0)));
        let mut pen = Pen::new(canvas, area, index as u16);
        pen.right(BOUND, &bound_text(bar.le_seconds), Style::new());
        pen.right(COUNT, &human::count(bar.count), count);
        let spans = [Span::styled(filled, theme.bar(level)), Span::raw(indent), Span::styled(marks, theme.heading())];
        pen.spans(columns + MARKS + 1, &spans);
    }
}

fn bound_text(bound: Option<f64>) -> String {
    bound.map_or_else(|| "longer".to_owned(), |seconds| format!("≤ {}", human::seconds(seconds)))
}

/// Whether a bound is above another; none is above all.
fn is_above(bound: Option<f64>, other: Option<f64>) -> bool {
    match (bound, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(bound), Some(other)) => bound > other,
    }
}

/// The bound of the bucket in which a quantile is.
fn quantile(buckets: &[Bucket], q: f64) -> Option<f64> {
    let total = buckets.iter().fold(0u64, |sum, bucket| sum.saturating_add(bucket.count));
    let rank = (total as f64 * q).ceil().max(1.0);
    let mut sum = 0u64;
    let reaches = |bucket: &&Bucket| {
        sum = sum.saturating_add(bucket.count);
        sum as f64 >= rank
    };
    buckets.iter().find(reaches)?.le_seconds
}

/// The buckets merged, a bar for each power of two nanoseconds from the shortest to the longest, empty ones included.
fn octaves(buckets: &[Bucket]) -> Vec<Bar> {
    let exponent = |le_seconds: f64| (le_seconds * 1e9).max(1.0).log2().ceil().min(60.0) as i32;
    let bounded = || buckets.iter().filter_map(|bucket| Some((exponent(bucket.le_seconds?), bucket.count)));
    let (first, last) = bounded().fold((i32::MAX, 0), |(first, last), (at, _)| (first.min(at), last.max(at)));
    let bar = |at: i32| {
        let count =
            bounded().filter(|(exponent, _)| *exponent == at).fold(0, |sum: u64, (_, count)| sum.saturating_add(count));
        Bar { le_seconds: Some(2f64.powi(at) / 1e9), count }
    };
    let mut bars: Vec<Bar> = (first..=last).map(bar).collect();
    let unbounded = buckets.iter().filter(|bucket| bucket.le_seconds.is_none());
    bars.extend(unbounded.map(|bucket| Bar { le_seconds: None, count: bucket.count }));
    bars
}

/// In so many rows: neighbours are merged, from the longest on, so that each bar spans alike.
fn fit(bars: Vec<Bar>, rows: u16) -> Vec<Bar> {
    let together = bars.len().div_ceil(usize::from(rows.max(1))).max(1);
    let merged = |bars: &[Bar]| {
        let count = bars.iter().fold(0, |sum: u64, bar| sum.saturating_add(bar.count));
        bars.last().map(|last| Bar { count, ..*last })
    };
    let mut fitted: Vec<Bar> = bars.rchunks(together).filter_map(merged).collect();
    fitted.reverse();
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(buckets: &[(f64, u64)]) -> Vec<Bucket> {
        buckets.iter().map(|(ns, count)| Bucket { le_seconds: Some(ns / 1e9), count: *count }).collect()
    }

    #[test]
    fn buckets_of_an_octave_are_one_bar_and_what_is_between_bars_is_empty() {
        let bars = octaves(&buckets(&[(160.0, 1), (192.0, 2), (256.0, 3), (320.0, 4), (2048.0, 5)]));
        let bounds: Vec<f64> = bars.iter().filter_map(|bar| bar.le_seconds).map(|le| (le * 1e9).round()).collect();
        assert_eq!(bounds, [256.0, 512.0, 1024.0, 2048.0]);
        assert_eq!(bars.iter().map(|bar| bar.count).collect::<Vec<_>>(), [6, 4, 0, 5]);
    }

    #[test]
    fn where_rows_lack_neighbours_are_one_bar_and_none_is_lost() {
        let all = octaves(&buckets(&[(256.0, 1), (512.0, 2), (1024.0, 3), (2048.0, 4), (4096.0, 5)]));
        let counts = |rows| fit(all.clone(), rows).iter().map(|bar| bar.count).collect::<Vec<_>>();
        assert_eq!(
            [counts(5), counts(4), counts(2), counts(0)],
            [vec![1, 2, 3, 4, 5], vec![1, 5, 9], vec![3, 12], vec![15]]
        );
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let buckets = buckets(&[(256.0, 50), (512.0, 49), (1024.0, 1)]);
        let bounds = [0.5, 0.99, 1.0].map(|q| quantile(&buckets, q).map(|le| (le * 1e9).round()));
        assert_eq!(bounds, [Some(256.0), Some(512.0), Some(1024.0)]);
    }
}
