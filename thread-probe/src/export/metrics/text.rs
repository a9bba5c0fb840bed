//! Prometheus's text format, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! Written straight from what is known: a library's families own every name, label and value of 10,000 series, and
//! making and dropping those took most of a scrape.

use std::{fmt::Write as _, mem};

use super::table::{Kind, Metric};

/// The value of a series. Counts are written to the last digit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// A text that grows by families.
#[derive(Debug)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes) }
    }

    /// Begins the family of a metric. Without a series it leaves no trace.
    pub(super) fn family(&mut self, metric: Metric) -> Family<'_> {
        Family { metric, text: &mut self.text, has_head: false }
    }

    /// The family of a metric without labels.
    pub(super) fn single(&mut self, metric: Metric, number: impl Into<Number>) {
        self.family(metric).value(&[], number);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// The series of one metric.
#[derive(Debug)]
pub(super) struct Family<'a> {
    metric: Metric,
    text: &'a mut String,
    has_head: bool,
}

impl Family<'_> {
    /// A series with the values of the metric's labels.
    pub(super) fn value(&mut self, labels: &[&str], number: impl Into<Number>) {
        debug_assert_ne!(self.metric.kind, Kind::Histogram, "{}", self.metric.name);
        self.series("", labels, None, number.into());
    }

    /// The series of a histogram: at each `le` how many there are up to it, then all of them, and their sum.
    pub(super) fn histogram<'a>(
        &mut self,
        labels: &[&str],
        cumulative: impl Iterator<Item = (&'a str, u64)>,
        count: u64,
        sum: f64,
    ) {
        debug_assert_eq!(self.metric.kind, Kind::Histogram, "{}", self.metric.name);
        for (le, below) in cumulative.chain([("+Inf", count)]) {
            self.series("_bucket", labels, Some(le), below.into());
        }
        self.series("_sum", labels, None, sum.into());
        self.series("_count", labels, None, count.into());
    }

    fn series(&mut self, suffix: &str, labels: &[&str], le: Option<&str>, number: Number) {
        debug_assert_eq!(self.metric.labels.len(), labels.len(), "{}", self.metric.name);
        if !mem::replace(&mut self.has_head, true) {
            self.head();
        }
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let of_metric = self.metric.labels.iter().copied().zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in of_metric.chain(le.map(|le| ("le", le))) {
            self.text.push(separator);
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(self.text, value);
            self.text.push('"');
            separator = ',';
        }
        self.text.push_str(if separator == ',' { "} " } else { " " });
        // Writing to a String never fails.
        let _ = match number {
            Number::Whole(number) => writeln!(self.text, "{number}"),
            Number::Real(number) => writeln!(self.text, "{number}"),
        };
    }

    /// A test of the table says that no help needs to be escaped.
    fn head(&mut self) {
        let Metric { name, help, kind, .. } = self.metric;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.label());
    }
}

/// A label's value: a line feed, a backslash and a quote would end it.
fn push_escaped(text: &mut String, value: &str) {
    let mut from = 0;
    for (at, special) in value.match_indices(['\\', '\n', '"']) {
        text.push_str(&value[from..at]);
        text.push('\\');
        text.push_str(if special == "\n" { "n" } else { special });
        from = at + special.len();
    }
    text.push_str(&value[from..]);
}
