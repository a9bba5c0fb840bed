//! A TOML value, read as the type that its key wants.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeInteger, DeString, DeTable, DeValue},
};

use super::value;

/// A key of the file, with its place.
pub(crate) type Name<'a> = Spanned<DeString<'a>>;
/// Its value, with its place.
pub(crate) type Given<'a> = Spanned<DeValue<'a>>;

/// What is wrong, and where: bytes of the file.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) span: Range<usize>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { message: message.into(), span }
    }

    /// The fault of the value of a key.
    pub(crate) fn of(self, path: &str) -> Self {
        Self { message: format!("{path}: {}", self.message), span: self.span }
    }
}

/// What a value is.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wrong_type(given: &Given<'_>, wanted: &str) -> Fault {
    Fault::new(format!("must be {wanted}, not {}", kind(given.get_ref())), given.span())
}

/// A string, read by `parse`; `wanted` says what it is when it is no string.
pub(crate) fn text<T>(given: &Given<'_>, wanted: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Fault> {
    let text = given.get_ref().as_str().ok_or_else(|| wrong_type(given, wanted))?;
    parse(text).map_err(|message| Fault::new(message, given.span()))
}

/// A duration.
pub(crate) fn duration<T>(given: &Given<'_>, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Fault> {
    text(given, "a duration in quotes, as in \"500ms\", \"5s\" or \"10m\"", parse)
}

/// A list of strings, each read by `parse`.
pub(crate) fn list<T>(given: &Given<'_>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Fault> {
    let items = given.get_ref().as_array().ok_or_else(|| wrong_type(given, "a list of strings, as in [\"...\"]"))?;
    items.iter().map(|item| text(item, "a string", &parse)).collect()
}

/// True or false.
pub(crate) fn boolean(given: &Given<'_>) -> Result<bool, Fault> {
    given.get_ref().as_bool().ok_or_else(|| wrong_type(given, "true or false"))
}

/// A whole number, read by `parse`.
pub(crate) fn integer<T>(given: &Given<'_>, parse: impl Fn(i64) -> Result<T, String>) -> Result<T, Fault> {
    let DeValue::Integer(integer) = given.get_ref() else {
        return Err(wrong_type(given, "a whole number"));
    };
    // One that does not fit is out of any range.
    parse(to_i64(integer).unwrap_or(i64::MAX)).map_err(|message| Fault::new(message, given.span()))
}

fn to_i64(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A number from 0 to `max`; `wanted` says so.
pub(crate) fn number(given: &Given<'_>, max: f64, wanted: &str) -> Result<f64, Fault> {
    let number = match given.get_ref() {
        DeValue::Integer(integer) => to_i64(integer).map(|integer| integer as f64),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => return Err(wrong_type(given, wanted)),
    };
    let within = number.filter(|number| (0.0..=max).contains(number));
    // Adding 0 makes -0.0, which is in the range, a 0.0: its sign would otherwise be shown.
    within.map(|number| number + 0.0).ok_or_else(|| Fault::new(format!("must be {wanted}"), given.span()))
}

/// A table; `wanted` says of what.
pub(crate) fn table<'a, 'i>(given: &'a Given<'i>, wanted: &str) -> Result<&'a DeTable<'i>, Fault> {
    given.get_ref().as_table().ok_or_else(|| wrong_type(given, wanted))
}

/// The labels of alerts.
pub(crate) fn labels(given: &Given<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let mut labels = BTreeMap::new();
    for (name, label) in in_order(table(given, "a table of labels, as in { datacenter = \"a\" }")?) {
        let wrong = |message| Fault::new(format!("{message}: {:?}", name.get_ref()), name.span());
        let name = value::label_name(name.get_ref()).map_err(wrong)?;
        labels.insert(name, text(label, "a string", |text| Ok(text.to_owned()))?);
    }
    Ok(labels)
}

/// The keys of a table in the order of the file, so that the first mistake is reported first.
pub(crate) fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Name<'i>, &'a Given<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// The fault of a key that there is not.
pub(crate) fn unknown_key(name: &Name<'_>, section: &str, known: impl Iterator<Item = &'static str>) -> Fault {
    let place = if section.is_empty() { String::new() } else { format!(" in [{section}]") };
    let known = known.collect::<Vec<_>>().join(", ");
    Fault::new(format!("unknown key {:?}{place}: expected one of {known}", name.get_ref()), name.span())
}
