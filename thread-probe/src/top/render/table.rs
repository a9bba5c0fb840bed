//! Tables by the columns of [`crate::top::columns`]: only rows that are on the screen are made.

use std::borrow::Cow;

use ratatui::{layout::Rect, style::Style};

use super::text::{Canvas, cut};
use crate::{
    limits::words::Level,
    top::{
        app::{Target, Targets},
        columns::{Column, Direction, Value, find},
        settings::Sort,
    },
};

/// The column of names, which may be nested.
const NAME: &str = "comm";
/// As long as the name of a task can be: cut, workers look all the same; beyond, nothing is to be seen.
const MIN_NAME: u16 = 15;
const MIN_TREE_NAME: u16 = 24;
const MAX_TREE_NAME: u16 = 48;

/// Which columns a table has, and where.
pub(super) struct Layout<'a, T> {
    columns: Vec<Placed<'a, T>>,
    sort: Sort,
}

/// A column in its place.
struct Placed<'a, T> {
    column: &'a Column<T>,
    /// Columns from the left edge of the table.
    left: u16,
    width: u16,
}

/// What a layout is made from.
pub(super) struct Wanted<'a> {
    /// The columns that are to be shown.
    pub(super) ids: &'a [&'static str],
    /// Those of them that always are.
    pub(super) fixed: &'a [&'static str],
    /// How many others are scrolled out.
    pub(super) scroll: usize,
    pub(super) sort: Sort,
    /// Whether names are nested, and take what room is left.
    pub(super) is_tree: bool,
}

impl<'a, T: Default> Layout<'a, T> {
    /// In a table of this width: where there is no room for all columns, those that say least go.
    pub(super) fn new(table: &'a [Column<T>], wanted: &Wanted<'_>, width: u16) -> Self {
        let is_fixed = |column: &Column<T>| wanted.fixed.contains(&column.id);
        let mut columns: Vec<&Column<T>> = wanted.ids.iter().filter_map(|id| find(table, id)).collect();
        let others = columns.iter().filter(|column| !is_fixed(column)).count();
        let mut skipped = wanted.scroll.min(others.saturating_sub(1));
        columns.retain(|column| {
            let is_skipped = !is_fixed(column) && skipped > 0;
            skipped -= usize::from(is_skipped);
            !is_skipped
        });
        let name = if wanted.is_tree { MIN_TREE_NAME } else { MIN_NAME };
        let least = |column: &Column<T>| if column.id == NAME { name } else { column.width };
        let taken = |columns: &[&Column<T>]| columns.iter().map(|column| least(column) + 1).sum::<u16>();
        // What it is sorted by is what one looks at. Who scrolls wants to see what comes next, whatever it says.
        let rank = |column: &Column<T>| match column {
            column if is_fixed(column) || column.id == wanted.sort.column => 0,
            _ if wanted.scroll > 0 => 1,
            column => column.rank.max(1),
        };
        while taken(&columns) > width + 1 {
            let Some((index, _)) = columns.iter().enumerate().max_by_key(|(_, column)| rank(column)) else { break };
            if rank(columns[index]) == 0 {
                break;
            }
            columns.remove(index);
        }
        let room = (width + 1).saturating_sub(taken(&columns)).min(MAX_TREE_NAME - MIN_TREE_NAME);
        let room = if wanted.is_tree { room } else { 0 };
        Self { columns: place(&columns, |column| least(column), room), sort: wanted.sort }
    }

    /// The headings.
    pub(super) fn draw_headings(&self, canvas: &mut Canvas<'_>, area: Rect, targets: &Targets) {
        let style = canvas.theme.heading();
        for Placed { column, left, width } in &self.columns {
            targets.add(area.y, area.x + left..area.x + left + width, Target::Heading(column.id));
            let is_right = (column.value)(&T::default()).is_right_aligned();
            let is_sorted = column.id == self.sort.column;
            let style = if is_sorted { style.patch(canvas.theme.cursor()) } else { style };
            let title = match (is_sorted, is_right) {
                (false, _) => Cow::Borrowed(column.title),
                (true, true) => Cow::Owned(format!("{}{}", mark(self.sort), column.title)),
                (true, false) => Cow::Owned(format!("{}{}", column.title, mark(self.sort))),
            };
            put(
                canvas,
                area,
                (*left, *width),
                &Cell { text: &title, is_right, style, may_overlap: is_right && is_sorted },
            );
        }
    }

    /// A row. What `instead` has for a column stands in its place.
    pub(super) fn draw_row(&self, canvas: &mut Canvas<'_>, area: Rect, row: &T, instead: &[Instead<'_>]) {
        for Placed { column, left, width } in &self.columns {
            let place = (*left, *width);
            if let Some(Instead { text, style, .. }) = instead.iter().find(|instead| instead.id == column.id) {
                put(canvas, area, place, &Cell { text, is_right: false, style: *style, may_overlap: false });
                continue;
            }
            let value = (column.value)(row);
            let level = level(column.id, &value);
            let mut text = value.human();
            let style = if is_nothing(&text) { canvas.theme.dim() } else { canvas.theme.level(level) };
            if matches!(&*text, "0" | "0.0") && !matches!(value, Value::Id(_)) {
                text = Cow::Borrowed(".");
            }
            if level != Level::Normal {
                text = Cow::Owned(format!("{}{text}", canvas.theme.mark(level)));
            }
            let is_right = value.is_right_aligned();
            let may_overlap = is_right && level != Level::Normal;
            put(canvas, area, place, &Cell { text: &text, is_right, style, may_overlap });
        }
    }

    /// The columns of the screen that all take.
    pub(super) fn width(&self) -> u16 {
        self.columns.last().map_or(0, |last| last.left + last.width)
    }

    /// The columns of the screen that a column has; 0 if it is not shown.
    pub(super) fn width_of(&self, id: &str) -> u16 {
        self.columns.iter().find(|placed| placed.column.id == id).map_or(0, |placed| placed.width)
    }
}

/// What stands in a cell instead of its value.
pub(super) struct Instead<'a> {
    pub(super) id: &'static str,
    pub(super) text: Cow<'a, str>,
    pub(super) style: Style,
}

struct Cell<'a> {
    text: &'a str,
    /// Whether a mark at its front may stand in the gap before it.
    may_overlap: bool,
    is_right: bool,
    style: Style,
}

fn place<'a, T>(columns: &[&'a Column<T>], least: impl Fn(&Column<T>) -> u16, room: u16) -> Vec<Placed<'a, T>> {
    let mut left = 0;
    let place = |column: &&'a Column<T>| {
        let least = least(column);
        let width = if column.id == NAME { least + room } else { least };
        let placed = Placed { column, left, width };
        left += width + 1;
        placed
    };
    columns.iter().map(place).collect()
}

fn mark(sort: Sort) -> char {
    if sort.direction == Direction::Ascending { '▲' } else { '▼' }
}

/// Numbers end where their column ends.
fn put(canvas: &mut Canvas<'_>, area: Rect, (left, width): (u16, u16), cell: &Cell<'_>) {
    let columns = if cell.may_overlap && left > 0 { width + 1 } else { width };
    let text = cut(cell.text, columns);
    let start = if cell.is_right { (left + width).saturating_sub(super::text::width(&text)) } else { left };
    let room = area.width.saturating_sub(start);
    canvas.text((area.x.saturating_add(start), area.y), room, &text, cell.style);
}

/// What does nothing stands back, so that what is busy stands out.
fn is_nothing(text: &str) -> bool {
    matches!(text, "-" | "0" | "0.0")
}

fn level(id: &str, value: &Value<'_>) -> Level {
    match value {
        Value::Limit(Some(limit)) => Level::of_use(limit.used_ratio),
        Value::Seconds(Some(seconds)) => Level::of_wait(*seconds),
        Value::Until(Some(seconds)) => Level::of_exhaustion(*seconds),
        Value::PerSecond(Some(rate)) if id == "clone_failures_per_second" && *rate > 0.0 => Level::Critical,
        _ => Level::Normal,
    }
}
