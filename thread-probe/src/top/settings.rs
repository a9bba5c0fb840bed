//! What is kept between runs.

use std::time::Duration;

use super::columns::{Column, Direction, process_columns, thread_columns};

/// What a table is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The id of the column.
    pub column: &'static str,
    /// Which way.
    pub direction: Direction,
}

/// How processes are nested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tree {
    /// Not at all.
    #[default]
    None,
    /// Below their cgroups.
    Cgroup,
    /// Below their parents.
    Parent,
}

/// What top keeps between runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The columns of processes that are shown, in order.
    pub process_columns: Vec<&'static str>,
    /// Those of threads.
    pub thread_columns: Vec<&'static str>,
    /// What processes are sorted by.
    pub process_sort: Sort,
    /// What threads are sorted by.
    pub thread_sort: Sort,
    /// How processes are nested.
    pub tree: Tree,
    /// Whether processes that did nothing in the interval are left out.
    pub only_changed: bool,
    /// Time between samples.
    pub interval: Duration,
}

fn defaults<T>(columns: &[Column<T>]) -> Vec<&'static str> {
    columns.iter().filter(|column| column.is_default).map(|column| column.id).collect()
}

impl Default for Settings {
    fn default() -> Self {
        let sort = Sort { column: "switches_per_second", direction: Direction::Descending };
        Self {
            process_columns: defaults(process_columns()),
            thread_columns: defaults(thread_columns()),
            process_sort: sort,
            thread_sort: sort,
            tree: Tree::None,
            only_changed: false,
            interval: Duration::from_secs(1),
        }
    }
}
