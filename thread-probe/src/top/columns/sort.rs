//! Sorting rows by a column.

use super::{ATTENTION, Column, Direction, SortKey, find};

/// What a table is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Id of the column.
    pub column: &'static str,
    /// Which way.
    pub direction: Direction,
}

impl Default for Sort {
    fn default() -> Self {
        Self { column: "switches_per_second", direction: Direction::Descending }
    }
}

impl Sort {
    /// Sorts what stands for rows, of which `key` tells the [`Column::sort_key`]; what is the same to the column stays
    /// in its order.
    pub fn apply<T, I>(self, columns: &[Column<T>], items: Vec<I>, key: impl Fn(&Column<T>, &I) -> SortKey) -> Vec<I> {
        // Most need none: among those, who switches most.
        let items = if self.column == ATTENTION { Self::default().apply_once(columns, items, &key) } else { items };
        self.apply_once(columns, items, &key)
    }

    fn apply_once<T, I>(self, all: &[Column<T>], items: Vec<I>, key: &impl Fn(&Column<T>, &I) -> SortKey) -> Vec<I> {
        let Some(column) = find(all, self.column) else { return items };
        let mut keyed: Vec<(SortKey, I)> = items.into_iter().map(|item| (key(column, &item), item)).collect();
        keyed.sort_by(|(a, _), (b, _)| a.compare(b, self.direction));
        keyed.into_iter().map(|(_, item)| item).collect()
    }
}
