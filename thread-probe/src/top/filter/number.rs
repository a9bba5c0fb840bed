//! A comparison of a column's number.

use std::sync::LazyLock;

use crate::{
    model::Process,
    top::columns::{Column, Value},
};

/// What a number is compared with, in base units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    operator: Operator,
    limit: f64,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    More,
    AtLeast,
    Less,
    AtMost,
    Equal,
}

/// Longer ones first: `>=` begins with `>`.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::More),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

/// The units of a column: each with how much of the base unit it is.
type Units = &'static [(&'static str, f64)];

const COUNTS: Units = &[("", 1.0), ("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9)];
const BYTES: Units = &[("", 1.0), ("k", 1024.0), ("K", 1024.0), ("M", 1_048_576.0), ("G", 1_073_741_824.0)];
const TIMES: Units = &[("", 1.0), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
const RATIOS: Units = &[("", 0.01), ("%", 0.01)];
const IDS: Units = &[("", 1.0)];

impl Comparison {
    /// Reads the operator and the number after a column's name.
    ///
    /// # Errors
    /// What is wrong with it and what is allowed.
    pub(super) fn parse(column: &Column<Process>, name: &str, text: &str) -> Result<Self, String> {
        let found = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)));
        let (operator, number) = found.ok_or_else(|| format!("{text:?} is no comparison: > >= < <= ="))?;
        let units = units(column).ok_or_else(|| format!("{name} is a name: as in {name}:word or {name}:~pattern"))?;
        Ok(Self { operator, limit: parse_number(number, units).ok_or_else(|| expected(name, number, units))? })
    }

    /// Whether it holds; not for a value that is missing.
    pub(super) fn holds(self, number: Option<f64>) -> bool {
        number.is_some_and(|number| match self.operator {
            Operator::More => number > self.limit,
            Operator::AtLeast => number >= self.limit,
            Operator::Less => number < self.limit,
            Operator::AtMost => number <= self.limit,
            Operator::Equal => number == self.limit,
        })
    }
}

/// The value of a column of a process without any: it tells what the column is.
pub(super) fn sample_of(column: &Column<Process>) -> Value<'static> {
    static NO_PROCESS: LazyLock<Process> = LazyLock::new(Process::default);
    (column.value)(&NO_PROCESS)
}

fn units(column: &Column<Process>) -> Option<Units> {
    match sample_of(column) {
        Value::Text(_) => None,
        Value::Id(_) => Some(IDS),
        Value::Count(_) | Value::Signed(_) | Value::PerSecond(_) | Value::Headroom(_) => Some(COUNTS),
        Value::Seconds(_) | Value::Until(_) => Some(TIMES),
        Value::Ratio(_) | Value::Limit(_) | Value::Most(_) => Some(RATIOS),
        Value::Bytes(_) => Some(BYTES),
    }
}

fn parse_number(text: &str, units: Units) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    digits.parse::<f64>().ok().map(|number| number * factor).filter(|number| number.is_finite())
}

fn expected(name: &str, text: &str, units: Units) -> String {
    let names: Vec<&str> = units.iter().map(|(unit, _)| *unit).filter(|unit| !unit.is_empty()).collect();
    let units = if names.is_empty() { String::new() } else { format!(", with a unit ({}) or none", names.join(" ")) };
    format!("{name} is compared with a number{units}, not {text:?}")
}
