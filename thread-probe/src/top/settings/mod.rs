//! What top keeps between runs.

mod file;

use std::{fmt::Write as _, time::Duration};

use clap::ValueEnum;
use toml::{Value, de::DeTable};

pub use self::file::{StateFile, load};
pub use super::columns::Sort;
use super::columns::{ATTENTION, Column, find, process_columns, thread_columns};
use crate::config::{
    file::Mistake,
    toml_value::{self, Fault, Given, Name, in_order, unknown_key},
    value,
};

/// The version of the file: one of a later program may mean something else by the same keys.
const VERSION: i64 = 1;

/// What is chosen in the view of processes and in that of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Ids of the columns of processes that are shown, in order.
    pub process_columns: Vec<&'static str>,
    /// Ids of the columns of threads that are shown, in order.
    pub thread_columns: Vec<&'static str>,
    /// How processes are sorted.
    pub process_sort: Sort,
    /// How threads are sorted.
    pub thread_sort: Sort,
    /// How processes are drawn below one another.
    pub tree: Tree,
    /// Whether only rows are shown in which something happened.
    pub only_changed: bool,
    /// Whether kernel threads are left out.
    pub hide_kernel_threads: bool,
    /// Time between samples.
    pub interval: Duration,
}

/// How processes are drawn below one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Tree {
    /// Not at all.
    #[default]
    None,
    /// Below their cgroups.
    Cgroup,
    /// Below their parents.
    Parent,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            process_columns: default_ids(process_columns()),
            thread_columns: default_ids(thread_columns()),
            process_sort: Sort { column: ATTENTION, ..Sort::default() },
            thread_sort: Sort::default(),
            tree: Tree::default(),
            only_changed: true,
            hide_kernel_threads: false,
            interval: Duration::from_secs(1),
        }
    }
}

fn default_ids<T>(columns: &[Column<T>]) -> Vec<&'static str> {
    columns.iter().filter(|column| column.is_default).map(|column| column.id).collect()
}

impl Settings {
    /// The settings in the content of a file; what is not in it is as by default.
    ///
    /// # Errors
    /// The first mistake in it, as `LINE:COLUMN: what`.
    pub fn from_toml(content: &str) -> Result<Self, String> {
        let mistake = |at, message: &str| Mistake::new(content.as_bytes(), at, message).to_string();
        let table = DeTable::parse(content)
            .map_err(|error| mistake(error.span().map_or(0, |span| span.start), error.message()))?;
        Self::read(table.get_ref()).map_err(|fault| mistake(fault.span.start, &fault.message))
    }

    fn read(table: &DeTable<'_>) -> Result<Self, Fault> {
        let entries = in_order(table);
        // First: what else is wrong in a later one is wrong because of that.
        if let Some((_, version)) = entries.iter().find(|(name, _)| name.get_ref() == "version") {
            toml_value::integer(version, check_version).map_err(|fault| fault.of("version"))?;
        }
        let mut settings = Self::default();
        for (name, given) in entries {
            settings.set(name, given)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &Name<'_>, given: &Given<'_>) -> Result<(), Fault> {
        let key = name.get_ref().as_ref();
        let set = match key {
            // Checked before.
            "version" => Ok(()),
            "interval" => put(&mut self.interval, toml_value::duration(given, value::interval)),
            "only_changed" => put(&mut self.only_changed, toml_value::boolean(given)),
            "hide_kernel_threads" => put(&mut self.hide_kernel_threads, toml_value::boolean(given)),
            "tree" => put(&mut self.tree, toml_value::text(given, "a string", value::choice)),
            "processes" => {
                let view = View { columns: &mut self.process_columns, sort: &mut self.process_sort };
                return view.read(process_columns(), key, given);
            }
            "threads" => {
                let view = View { columns: &mut self.thread_columns, sort: &mut self.thread_sort };
                return view.read(thread_columns(), key, given);
            }
            _ => return Err(unknown_key(name, "", KEYS.into_iter())),
        };
        set.map_err(|fault| fault.of(key))
    }

    /// What is to be kept after a run that began with `start` and ended with these: of each setting what its user
    /// changed meanwhile, else what was `kept` before. What only the command line chose is for once.
    pub fn changed_since(&self, start: &Self, kept: Self) -> Self {
        fn pick<T: PartialEq + Clone>(end: &T, start: &T, kept: T) -> T {
            if end == start { kept } else { end.clone() }
        }
        Self {
            process_columns: pick(&self.process_columns, &start.process_columns, kept.process_columns),
            thread_columns: pick(&self.thread_columns, &start.thread_columns, kept.thread_columns),
            process_sort: pick(&self.process_sort, &start.process_sort, kept.process_sort),
            thread_sort: pick(&self.thread_sort, &start.thread_sort, kept.thread_sort),
            tree: pick(&self.tree, &start.tree, kept.tree),
            only_changed: pick(&self.only_changed, &start.only_changed, kept.only_changed),
            hide_kernel_threads: pick(&self.hide_kernel_threads, &start.hide_kernel_threads, kept.hide_kernel_threads),
            interval: pick(&self.interval, &start.interval, kept.interval),
        }
    }

    /// The settings as the content of a file.
    pub fn to_toml(&self) -> String {
        let mut text = String::from("# What thread-probe top keeps between runs: it writes this file.\n");
        // Writing to a String never fails.
        let _ = writeln!(text, "version = {VERSION}");
        let _ = writeln!(text, "interval = \"{}\"", value::duration_text(self.interval));
        let _ = writeln!(text, "tree = \"{}\"", value::choice_text(&self.tree));
        let _ = writeln!(text, "only_changed = {}", self.only_changed);
        let _ = writeln!(text, "hide_kernel_threads = {}", self.hide_kernel_threads);
        write_view(&mut text, "processes", &self.process_columns, self.process_sort);
        write_view(&mut text, "threads", &self.thread_columns, self.thread_sort);
        text
    }
}

fn write_view(text: &mut String, section: &str, columns: &[&str], sort: Sort) {
    let direction = value::choice_text(&sort.direction);
    let _ = writeln!(text, "\n[{section}]\ncolumns = {}", Value::from(columns.to_vec()));
    let _ = writeln!(text, "sort = \"{}\"\ndirection = \"{direction}\"", sort.column);
}

/// The keys of the file, and those of its sections.
const KEYS: [&str; 7] = ["version", "interval", "tree", "only_changed", "hide_kernel_threads", "processes", "threads"];
const VIEW_KEYS: [&str; 3] = ["columns", "sort", "direction"];

/// The settings of one table of rows.
struct View<'a> {
    columns: &'a mut Vec<&'static str>,
    sort: &'a mut Sort,
}

impl View<'_> {
    fn read<T>(self, all: &[Column<T>], section: &str, given: &Given<'_>) -> Result<(), Fault> {
        let table = toml_value::table(given, "a table of keys").map_err(|fault| fault.of(section))?;
        let id = |text: &str| id_of(all, text);
        for (name, given) in in_order(table) {
            let key = name.get_ref().as_ref();
            match key {
                "columns" => put(self.columns, toml_value::list(given, id).and_then(|ids| each_once(ids, given))),
                "sort" => put(&mut self.sort.column, toml_value::text(given, "a string", id)),
                "direction" => put(&mut self.sort.direction, toml_value::text(given, "a string", value::choice)),
                _ => return Err(unknown_key(name, section, VIEW_KEYS.into_iter())),
            }
            .map_err(|fault| fault.of(&format!("{section}.{key}")))?;
        }
        Ok(())
    }
}

fn put<T>(place: &mut T, read: Result<T, Fault>) -> Result<(), Fault> {
    *place = read?;
    Ok(())
}

fn check_version(version: i64) -> Result<(), String> {
    if version == VERSION {
        return Ok(());
    }
    Err(format!("is {version}, of another version of thread-probe; this one reads {VERSION}"))
}

fn id_of<T>(columns: &[Column<T>], name: &str) -> Result<&'static str, String> {
    let known = || columns.iter().map(|column| column.id).collect::<Vec<_>>().join(", ");
    find(columns, name)
        .map(|column| column.id)
        .ok_or_else(|| format!("no column {name:?}: expected one of {}", known()))
}

fn each_once(ids: Vec<&'static str>, given: &Given<'_>) -> Result<Vec<&'static str>, Fault> {
    let twice = ids.iter().enumerate().find(|(index, id)| ids[..*index].contains(id));
    match twice {
        Some((_, id)) => Err(Fault::new(format!("{id} is in it twice"), given.span())),
        None if ids.is_empty() => Err(Fault::new("must have at least one column", given.span())),
        None => Ok(ids),
    }
}

#[cfg(test)]
mod tests;
