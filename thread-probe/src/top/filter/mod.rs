//! Which processes are shown: terms separated by blanks, all of which must hold.
//!
//! `word`, `COLUMN:word`, `re:PATTERN`, `COLUMN:~PATTERN`, `COLUMN>100` and the like; `!` before a term negates it.

mod number;

use regex_lite::{Regex, RegexBuilder};

use self::number::{Comparison, sample_of};
use super::columns::{Column, Value, find_short, process_columns};
use crate::model::Process;

/// Bytes that a regular expression may take once compiled.
const PATTERN_BYTES: usize = 1 << 18;

/// A filter; that by default lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    is_negated: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// In one of the names, or the pid.
    Word(String),
    /// In the text of a column.
    Contains(&'static Column<Process>, String),
    /// Matches the text of a column.
    Pattern(&'static Column<Process>, Regex),
    /// A number of a column against another.
    Number(&'static Column<Process>, Comparison),
}

impl Filter {
    /// The filter that a text describes.
    ///
    /// # Errors
    /// What is wrong with it and what is allowed, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms = text.split_whitespace().map(Term::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), terms })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it lets a process through.
    pub fn matches(&self, process: &Process) -> bool {
        self.terms.iter().all(|term| term.test.holds(process) != term.is_negated)
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, String> {
        let positive = text.strip_prefix('!');
        Ok(Self { is_negated: positive.is_some(), test: Test::parse(positive.unwrap_or(text))? })
    }
}

impl Test {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a ! without what it negates: as in !user:root".to_owned());
        }
        let Some(at) = text.find([':', '<', '>', '=']) else { return Ok(Self::Word(text.to_lowercase())) };
        let (name, rest) = text.split_at(at);
        if let Some(wanted) = rest.strip_prefix(':') {
            // As `kworker/0:1`: no column has such a name.
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            return if is_name { Self::of_text(name, wanted) } else { Ok(Self::Word(text.to_lowercase())) };
        }
        let column = find_short(process_columns(), name).ok_or_else(|| no_column(name))?;
        Ok(Self::Number(column, Comparison::parse(column, name, rest)?))
    }

    fn of_text(name: &str, wanted: &str) -> Result<Self, String> {
        let pattern = if name == "re" { Some(wanted) } else { wanted.strip_prefix('~') };
        let column = text_column(if name == "re" { "comm" } else { name })?;
        match pattern {
            Some("") => Err(format!("no pattern after {name}: as in comm:~^pool-[0-9]+$")),
            None if wanted.is_empty() => Err(format!("no word after {name}: as in user:root")),
            Some(pattern) => Ok(Self::Pattern(column, compile(pattern)?)),
            None => Ok(Self::Contains(column, wanted.to_lowercase())),
        }
    }

    fn holds(&self, process: &Process) -> bool {
        match self {
            Self::Word(word) => {
                let names = [&*process.comm, &*process.exe, &*process.group, &*process.user];
                names.into_iter().any(|name| contains(name, word)) || word.parse() == Ok(process.pid)
            }
            Self::Contains(column, word) => text_of(column, process, |text| contains(text, word)),
            Self::Pattern(column, pattern) => text_of(column, process, |text| pattern.is_match(text)),
            Self::Number(column, comparison) => comparison.holds((column.value)(process).number()),
        }
    }
}

fn no_column(name: &str) -> String {
    if name.is_empty() {
        return "no column before the comparison: as in threads>100".to_owned();
    }
    format!("no column {name:?}: as in threads, cpu, wait, sw, p99, kmem, limit, user, comm; any id or heading will do")
}

fn text_column(name: &str) -> Result<&'static Column<Process>, String> {
    let column = find_short(process_columns(), name).ok_or_else(|| no_column(name))?;
    match sample_of(column) {
        Value::Text(_) | Value::Limit(_) | Value::Most(_) => Ok(column),
        _ => Err(format!("{name} is a number: compare it, as in {name}>1")),
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .case_insensitive(true)
        .size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| format!("{pattern:?} is no regular expression: {error}"))
}

/// Applies a test to the text in a column: of a limit or of a share, to its name.
fn text_of(column: &Column<Process>, process: &Process, test: impl Fn(&str) -> bool) -> bool {
    match (column.value)(process) {
        Value::Text(text) => test(&text),
        Value::Limit(Some(limit)) => test(limit.limit.label()),
        Value::Most(Some((who, _))) => test(who),
        _ => false,
    }
}

/// Whether a lower-case word is in a text of any case.
fn contains(text: &str, word: &str) -> bool {
    if text.is_ascii() {
        // Most are: no copy for those.
        return text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    }
    text.to_lowercase().contains(word)
}

#[cfg(test)]
mod tests;
