//! An exposition that other hosts could have given, later: the same series, counters that have grown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

/// What Prometheus keeps of a scrape.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// Everything
    All,
    /// No buckets of histograms per group
    NoBuckets,
}

/// A scrape in parts.
#[derive(Clone)]
pub(super) struct Exposition {
    lines: Vec<Line>,
}

#[derive(Clone)]
enum Line {
    /// `# HELP` and `# TYPE`.
    Comment(String),
    Series {
        name: String,
        value: f64,
        grows: bool,
    },
}

/// How many series there are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub all: usize,
    /// Those that no group has.
    pub fixed: usize,
    pub of_groups: usize,
    pub groups: usize,
}

impl Exposition {
    /// Reads the text format.
    ///
    /// # Errors
    /// A line is neither a comment nor a series with a number.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut kinds = BTreeMap::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                kinds.insert(name.to_owned(), kind != "gauge");
            }
            if line.starts_with('#') {
                lines.push(Line::Comment(line.to_owned()));
                continue;
            }
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no series: {line}"))?;
            let value = value.parse().with_context(|| format!("no number: {line}"))?;
            let grows = *kinds.get(family(name, &kinds)).with_context(|| format!("no type of {name}"))?;
            lines.push(Line::Series { name: name.to_owned(), value, grows });
        }
        ensure!(!lines.is_empty(), "the exposition is empty");
        Ok(Self { lines })
    }

    /// What counters, sums and buckets would be had they counted so many times as long: in the same proportions, so
    /// that buckets stay in order. What counted whole things still does.
    pub(super) fn grown(&self, factor: f64) -> String {
        let mut text = String::with_capacity(self.lines.len() * 96);
        for line in &self.lines {
            // Writing to a String never fails.
            let _ = match line {
                Line::Comment(comment) => writeln!(text, "{comment}"),
                Line::Series { name, value, grows: false } => writeln!(text, "{name} {value}"),
                Line::Series { name, value, .. } if value.fract() == 0.0 => {
                    writeln!(text, "{name} {}", (value * factor).floor())
                }
                Line::Series { name, value, .. } => writeln!(text, "{name} {}", value * factor),
            };
        }
        text
    }

    /// Counts the series.
    pub(super) fn count(&self) -> Count {
        let names = self.lines.iter().filter_map(|line| match line {
            Line::Series { name, .. } => Some(name.as_str()),
            Line::Comment(_) => None,
        });
        let group_of = |name: &str| name.split_once("group=\"")?.1.split('"').next().map(str::to_owned);
        let groups: Vec<Option<String>> = names.map(group_of).collect();
        let of_groups = groups.iter().flatten().count();
        let distinct: BTreeSet<_> = groups.iter().flatten().collect();
        Count { all: groups.len(), fixed: groups.len() - of_groups, of_groups, groups: distinct.len() }
    }
}

/// The family of a series: histograms have three kinds of them.
fn family<'a>(series: &'a str, kinds: &BTreeMap<String, bool>) -> &'a str {
    let name = series.split('{').next().unwrap_or(series);
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    of_histogram.filter(|family| kinds.contains_key(*family)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total Help.\n# TYPE a_total counter\na_total{group=\"x\"} 3\na_total{group=\"y z\"} 0\n\
        # TYPE b gauge\nb 5\n# TYPE h histogram\nh_bucket{group=\"x\",le=\"1\"} 1\nh_bucket{group=\"x\",le=\"+Inf\"} 2\n\
        h_sum{group=\"x\"} 0.5\nh_count{group=\"x\"} 2\n";

    #[test]
    fn counters_and_histograms_grow_in_order_and_gauges_stay() -> Result<()> {
        let text = Exposition::parse(TEXT)?.grown(1.5);
        assert!(text.contains("a_total{group=\"x\"} 4\na_total{group=\"y z\"} 0\n"), "{text}");
        assert!(text.contains("b 5\n") && text.contains("h_sum{group=\"x\"} 0.75\nh_count{group=\"x\"} 3\n"), "{text}");
        assert!(text.contains("le=\"1\"} 1\n") && text.contains("le=\"+Inf\"} 3\n"), "{text}");
        assert_eq!(Exposition::parse(TEXT)?.grown(1.0), TEXT);
        Ok(())
    }

    #[test]
    fn series_are_counted_by_whether_a_group_has_them() -> Result<()> {
        assert_eq!(Exposition::parse(TEXT)?.count(), Count { all: 7, fixed: 1, of_groups: 6, groups: 2 });
        assert!(Exposition::parse("a_total nonsense\n").is_err());
        Ok(())
    }
}
