//! Choosing columns: which, in what order, and by which one sorts.

use crate::top::columns::{Column, process_columns, thread_columns};

/// The choice of columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMenu {
    /// Whether it is of the table of threads.
    pub of_threads: bool,
    /// The columns by id: those that are shown first, as they stand.
    pub entries: Vec<ColumnEntry>,
    /// The one the cursor is on.
    pub cursor: usize,
}

/// A column in the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnEntry {
    /// Its id.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it is shown.
    pub is_shown: bool,
}

fn entries<T>(columns: &[Column<T>], shown: &[&'static str]) -> Vec<ColumnEntry> {
    let entry =
        |column: &Column<T>, is_shown| ColumnEntry { id: column.id, title: column.title, help: column.help, is_shown };
    let first = shown.iter().filter_map(|id| columns.iter().find(|column| column.id == *id));
    let rest = columns.iter().filter(|column| !shown.contains(&column.id));
    first.map(|column| entry(column, true)).chain(rest.map(|column| entry(column, false))).collect()
}

impl ColumnMenu {
    /// Of a table with these columns shown; the cursor is on `current`.
    pub fn new(of_threads: bool, shown: &[&'static str], current: &str) -> Self {
        let entries = if of_threads { entries(thread_columns(), shown) } else { entries(process_columns(), shown) };
        let cursor = entries.iter().position(|entry| entry.id == current).unwrap_or(0);
        Self { of_threads, entries, cursor }
    }

    /// Goes so many entries down, or up.
    pub fn go(&mut self, entries: isize) {
        self.cursor = self.cursor.saturating_add_signed(entries).min(self.entries.len().saturating_sub(1));
    }

    /// Shows or hides the column under the cursor; one always stays.
    pub fn toggle(&mut self) {
        let shown = self.entries.iter().filter(|entry| entry.is_shown).count();
        if let Some(entry) = self.entries.get_mut(self.cursor)
            && (shown > 1 || !entry.is_shown)
        {
            entry.is_shown = !entry.is_shown;
        }
    }

    /// Moves the column under the cursor by one place.
    pub fn shift(&mut self, places: isize) {
        let to = self.cursor.saturating_add_signed(places);
        if to < self.entries.len() {
            self.entries.swap(self.cursor, to);
            self.cursor = to;
        }
    }

    /// The columns that are shown, in order.
    pub fn shown(&self) -> Vec<&'static str> {
        self.entries.iter().filter(|entry| entry.is_shown).map(|entry| entry.id).collect()
    }
}
