//! The value in a cell: in base units for programs, short for people, and in an order.

use std::{borrow::Cow, cmp::Ordering};

use clap::ValueEnum;

use crate::{limits::LimitUse, text::human};

/// A value in base units: CSV has it as it is, a table as people read it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A name.
    Text(Cow<'a, str>),
    /// An id: a number that is not added up.
    Id(u32),
    /// How many.
    Count(u64),
    /// A number that may be negative.
    Signed(i32),
    /// Per second; `None` in the first sample.
    PerSecond(Option<f64>),
    /// A duration in seconds; `None` where there is none.
    Seconds(Option<f64>),
    /// A time that may be far away, in seconds; `None` where it never comes.
    Until(Option<f64>),
    /// A share, or CPUs: 1 is all of it; `None` in the first sample.
    Ratio(Option<f64>),
    /// Bytes.
    Bytes(u64),
    /// Threads that there is room for; `None` where no limit holds.
    Headroom(Option<u64>),
    /// A limit and how much of it is used; `None` where none holds.
    Limit(Option<&'a LimitUse>),
    /// Who has the largest share of something, and how large it is; `None` where nobody has one.
    Most(Option<(&'a str, f64)>),
}

impl Value<'_> {
    /// As programs read it: plain numbers in base units, and nothing for what has no value.
    pub fn csv(&self) -> String {
        match self {
            // A terminal may show it.
            Self::Text(text) => human::escaped(text).into_owned(),
            Self::Id(number) => number.to_string(),
            Self::Count(number) | Self::Bytes(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::PerSecond(number) | Self::Ratio(number) => number.map(|n| format!("{n:.6}")).unwrap_or_default(),
            Self::Seconds(seconds) | Self::Until(seconds) => seconds.map(|s| format!("{s:.9}")).unwrap_or_default(),
            Self::Headroom(threads) => threads.map(|threads| threads.to_string()).unwrap_or_default(),
            Self::Limit(limit) => limit.map(|limit| limit.limit.label().to_owned()).unwrap_or_default(),
            Self::Most(most) => most.map(|(who, _)| human::escaped(who).into_owned()).unwrap_or_default(),
        }
    }

    /// As people read it; a name without what would command the terminal.
    pub fn human(&self) -> Cow<'_, str> {
        let none = Cow::Borrowed("-");
        match self {
            Self::Text(text) => human::plain(text),
            Self::Id(number) => number.to_string().into(),
            Self::Count(number) => human::count(*number).into(),
            Self::Signed(number) => number.to_string().into(),
            Self::PerSecond(number) => number.map_or(none, |number| human::per_second(number).into()),
            Self::Seconds(seconds) => seconds.map_or(none, |seconds| human::seconds(seconds).into()),
            Self::Until(Some(0.0)) => "full".into(),
            Self::Until(seconds) => seconds.map_or(none, |seconds| human::duration(seconds).into()),
            Self::Ratio(ratio) => ratio.map_or(none, |ratio| percent(ratio * 100.0).into()),
            Self::Bytes(bytes) => human::short_bytes(*bytes).into(),
            Self::Headroom(threads) => threads.map_or(none, |threads| human::count(threads).into()),
            Self::Most(most) => {
                most.map_or(none, |(who, share)| format!("{} {}", human::percent(share), human::plain(who)).into())
            }
            Self::Limit(limit) => {
                limit.map_or(none, |of| format!("{} {}", human::percent(of.used_ratio), of.limit.label()).into())
            }
        }
    }

    /// Whether it stands at the right of its column, digit below digit.
    pub fn is_right_aligned(&self) -> bool {
        !matches!(self, Self::Text(_) | Self::Limit(_) | Self::Most(_))
    }

    /// As a number in base units; `None` for a name and for what has no value.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Id(number) => Some(f64::from(*number)),
            Self::Signed(number) => Some(f64::from(*number)),
            Self::Count(number) | Self::Bytes(number) => Some(*number as f64),
            Self::PerSecond(number) | Self::Ratio(number) => *number,
            Self::Seconds(seconds) | Self::Until(seconds) => *seconds,
            Self::Headroom(threads) => threads.map(|threads| threads as f64),
            Self::Limit(limit) => limit.map(|limit| limit.used_ratio),
            Self::Most(most) => most.map(|(_, share)| share),
        }
    }

    /// The key it sorts by.
    pub fn sort_key(&self) -> SortKey {
        match self {
            Self::Text(text) => SortKey::Text(text.to_lowercase()),
            number => number.number().map_or(SortKey::None, SortKey::Number),
        }
    }
}

/// In six characters at most, as long as it is no astronomical figure: one that is cut is another.
fn percent(percent: f64) -> String {
    match percent {
        percent if percent < 9999.95 => format!("{percent:.1}"),
        percent if percent < 999_999.5 => format!("{percent:.0}"),
        percent => format!("{:.1}M", percent / 1e6),
    }
}

/// What a column sorts by.
#[derive(Clone, Debug, PartialEq)]
pub enum SortKey {
    /// No value: after all others, whichever way they are sorted.
    None,
    /// A number.
    Number(f64),
    /// A name.
    Text(String),
}

/// Which way a column is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// The smallest, or the first of the alphabet, on top.
    #[value(alias = "asc")]
    Ascending,
    /// The largest on top.
    #[value(alias = "desc")]
    Descending,
}

impl Direction {
    /// The other one.
    pub fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

impl SortKey {
    /// The order of two rows.
    pub fn compare(&self, other: &Self, direction: Direction) -> Ordering {
        let order = match (self, other) {
            (Self::None, Self::None) => return Ordering::Equal,
            (Self::None, _) => return Ordering::Greater,
            (_, Self::None) => return Ordering::Less,
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        };
        if direction == Direction::Descending { order.reverse() } else { order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_a_name_do_not_reach_the_terminal() {
        assert_eq!(Value::Text("a\u{1b}[31m\nb".into()).human(), "a?[31m?b");
    }

    #[test]
    fn durations_and_sizes_are_short_in_a_table_and_exact_in_csv() {
        let wait = Value::Seconds(Some(42.5e-6));
        assert_eq!((&*wait.human(), wait.csv().as_str()), ("42.5us", "0.000042500"));
        let stack = Value::Bytes(40 << 20);
        assert_eq!((&*stack.human(), stack.csv().as_str()), ("40M", "41943040"));
        assert_eq!((&*Value::Seconds(None).human(), Value::Seconds(None).csv().as_str()), ("-", ""));
        assert_eq!(Value::PerSecond(Some(12_345_678.0)).human(), "12.35M");
        let shares = [0.0123, 99.9994, 123.456, 12_345.6].map(|ratio| Value::Ratio(Some(ratio)).human().into_owned());
        assert_eq!(shares, ["1.2", "9999.9", "12346", "1.2M"]);
    }

    #[test]
    fn what_has_no_value_sorts_last_whichever_way() {
        let keys = [Value::Seconds(None), Value::Seconds(Some(1.0)), Value::Seconds(Some(2.0))].map(|v| v.sort_key());
        let sorted = |direction| {
            let mut sorted = keys.clone();
            sorted.sort_by(|a, b| a.compare(b, direction));
            sorted.map(|key| if let SortKey::Number(number) = key { number } else { -1.0 })
        };
        assert_eq!(sorted(Direction::Ascending), [1.0, 2.0, -1.0]);
        assert_eq!(sorted(Direction::Descending), [2.0, 1.0, -1.0]);
    }
}
