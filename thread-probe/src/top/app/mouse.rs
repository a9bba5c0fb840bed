//! What is where on the screen, and what a click there does.

use std::{cell::RefCell, ops::Range};

use super::{Action, App, View};

/// What can be clicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The row of that index in the list of the view.
    Row(usize),
    /// The heading of a column.
    Heading(&'static str),
    /// The name of a view.
    Tab(View),
}

/// Where everything that can be clicked is: known to who draws.
#[derive(Debug, Default)]
pub struct Targets(RefCell<Vec<(u16, Range<u16>, Target)>>);

impl Targets {
    /// The screen is drawn anew.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Something is in that row of the screen, in those columns.
    pub fn add(&self, row: u16, columns: Range<u16>, target: Target) {
        self.0.borrow_mut().push((row, columns, target));
    }

    /// What is there.
    fn at(&self, (column, row): (u16, u16)) -> Option<Target> {
        let targets = self.0.borrow();
        targets.iter().find(|(y, columns, _)| *y == row && columns.contains(&column)).map(|(_, _, target)| *target)
    }
}

impl App {
    /// A row is chosen by one click and opened by the next.
    pub(super) fn click(&mut self, place: (u16, u16)) -> Action {
        match self.targets.at(place) {
            Some(Target::Row(index)) if index == self.cursor_index() => return self.enter(),
            Some(Target::Row(index)) => self.go_to(index),
            Some(Target::Heading(id)) => self.sort_by(id),
            Some(Target::Tab(view)) if view != self.view => return self.show(view),
            Some(Target::Tab(_)) | None => {}
        }
        Action::None
    }

    fn cursor_index(&self) -> usize {
        match self.view {
            View::Processes => self.processes_cursor.index(),
            View::Process => self.threads_cursor.index(),
            View::Limits => self.limits_cursor.index(),
            View::Alerts => self.alerts_cursor.index(),
        }
    }

    fn go_to(&mut self, index: usize) {
        let rows = index.cast_signed() - self.cursor_index().cast_signed();
        self.go(rows);
    }
}
