//! Where one is in a list that changes under one's hands.

use std::{cell::Cell, ops::Range};

/// A place in a list: it stays with its row when the list is sorted anew. At the top it stays at the top.
#[derive(Debug)]
pub struct Cursor<K> {
    key: Option<K>,
    index: usize,
    /// The first row on the screen and how many there are: known to who draws.
    first: Cell<usize>,
    page: Cell<usize>,
}

/// By derive it would ask the same of `K`.
impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self { key: None, index: 0, first: Cell::new(0), page: Cell::new(1) }
    }
}

impl<K: Clone + PartialEq> Cursor<K> {
    /// The row it is on.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Rows of a page, as drawn last.
    pub fn page(&self) -> usize {
        self.page.get()
    }

    /// The list has changed: finds its row again, or stays where it is on the screen.
    pub fn follow(&mut self, keys: &[K]) {
        let found = self.key.as_ref().and_then(|key| keys.iter().position(|other| other == key));
        self.index = found.unwrap_or(self.index).min(keys.len().saturating_sub(1));
        if self.key.is_some() {
            self.key = keys.get(self.index).cloned();
        }
    }

    /// Goes so many rows down, or up.
    pub fn go(&mut self, keys: &[K], rows: isize) {
        self.index = self.index.saturating_add_signed(rows).min(keys.len().saturating_sub(1));
        self.key = keys.get(self.index).filter(|_| self.index > 0).cloned();
    }

    /// The rows that are on a screen of this height: those of last time, moved as little as shows the cursor.
    pub fn window(&self, rows: usize, height: usize) -> Range<usize> {
        let earliest = (self.index + 1).saturating_sub(height);
        let first = self.first.get().clamp(earliest.min(self.index), self.index).min(rows.saturating_sub(height));
        self.first.set(first);
        self.page.set(height.max(1));
        first..(first + height).min(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_with_its_row_and_at_the_top_with_the_top() {
        let mut cursor = Cursor::default();
        cursor.follow(&[1, 2, 3]);
        cursor.follow(&[3, 1, 2]);
        assert_eq!(cursor.index(), 0);
        cursor.go(&[3, 1, 2], 1);
        cursor.follow(&[1, 2, 3]);
        assert_eq!(cursor.index(), 0);
        cursor.follow(&[2, 3, 1]);
        assert_eq!(cursor.index(), 2);
        // Its row is gone: the one in its place takes over.
        cursor.follow(&[2, 3]);
        assert_eq!(cursor.index(), 1);
        cursor.follow(&[3, 2]);
        assert_eq!(cursor.index(), 0);
        cursor.follow(&[]);
        assert_eq!(cursor.index(), 0);
    }

    #[test]
    fn the_window_moves_only_as_far_as_shows_the_cursor() {
        let keys: Vec<u32> = (0..100).collect();
        let mut cursor = Cursor::default();
        assert_eq!(cursor.window(100, 10), 0..10);
        cursor.go(&keys, 9);
        assert_eq!(cursor.window(100, 10), 0..10);
        cursor.go(&keys, 1);
        assert_eq!(cursor.window(100, 10), 1..11);
        cursor.go(&keys, -3);
        assert_eq!(cursor.window(100, 10), 1..11);
        cursor.go(&keys, 1000);
        assert_eq!(cursor.window(100, 10), 90..100);
        assert_eq!(cursor.window(100, 200), 0..100);
        assert_eq!(cursor.window(100, 0).len(), 0);
    }
}
