//! The columns: what each is called, how wide it is, what is in it, how it sorts and what it means. One table for
//! processes and one for threads; every view, `--sort`, filters and CSV go by them.

mod alias;
mod by_name;
mod markdown;
mod process;
mod sort;
mod thread;
mod time;
mod value;

pub use self::{
    alias::find_short,
    by_name::name_columns,
    markdown::markdown,
    process::{ATTENTION, attention, process_columns},
    sort::Sort,
    thread::thread_columns,
    value::{Direction, SortKey, Value},
};
use crate::model::Rates;

/// A column of a table whose rows are of type `T`.
#[derive(Clone, Copy, Debug)]
pub struct Column<T> {
    /// Its name in CSV, `--sort`, filters and the state file, with its unit.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Characters it takes; the flexible one takes what is left besides.
    pub width: u16,
    /// When there is no room for all, those with the highest rank go first.
    pub rank: u8,
    /// Whether it is shown to who has chosen no columns.
    pub is_default: bool,
    /// What is in it.
    pub value: for<'a> fn(&'a T) -> Value<'a>,
    /// What it means, in one line.
    pub help: &'static str,
}

impl<T> Column<T> {
    const fn new(
        (id, title, width): (&'static str, &'static str, u16),
        rank: u8,
        value: for<'a> fn(&'a T) -> Value<'a>,
        help: &'static str,
    ) -> Self {
        Self { id, title, width, rank, is_default: true, value, help }
    }

    /// The same, for who asks for it.
    const fn hidden(self) -> Self {
        Self { is_default: false, ..self }
    }

    /// What a row is sorted by.
    pub fn sort_key(&self, row: &T) -> SortKey {
        (self.value)(row).sort_key()
    }

    /// The way it is sorted at first: names and times until something happens the smallest on top, all else the
    /// largest.
    pub fn direction(&self, row: &T) -> Direction {
        match (self.value)(row) {
            Value::Text(_) | Value::Until(_) | Value::Id(_) | Value::Headroom(_) => Direction::Ascending,
            _ => Direction::Descending,
        }
    }
}

/// The column of that name or heading, whatever the case.
pub fn find<'a, T>(columns: &'a [Column<T>], name: &str) -> Option<&'a Column<T>> {
    columns.iter().find(|column| column.id.eq_ignore_ascii_case(name) || column.title.eq_ignore_ascii_case(name))
}

/// What has rates.
trait Rated {
    fn rates(&self) -> Option<&Rates>;
}

fn per_second<T: Rated>(row: &T, of: fn(&Rates) -> f64) -> Value<'_> {
    Value::PerSecond(row.rates().map(of))
}

fn ratio<T: Rated>(row: &T, of: fn(&Rates) -> f64) -> Value<'_> {
    Value::Ratio(row.rates().map(of))
}

fn wait<T: Rated>(row: &T, of: fn(&Rates) -> Option<f64>) -> Value<'_> {
    Value::Seconds(row.rates().and_then(of))
}

/// The columns of switches, waits and CPU time: processes and threads have them alike.
const fn rate_columns<T: Rated>() -> [Column<T>; 10] {
    [
        Column::new(
            ("switches_per_second", "SW/s", 7),
            0,
            |row| per_second(row, |rates| rates.switches_per_second),
            "Context switches, of both kinds",
        ),
        Column::new(
            ("voluntary_switches_per_second", "VOL/s", 7),
            4,
            |row| per_second(row, |rates| rates.voluntary_switches_per_second),
            "Switches away because the thread blocked",
        ),
        Column::new(
            ("involuntary_switches_per_second", "INVOL/s", 7),
            4,
            |row| per_second(row, |rates| rates.involuntary_switches_per_second),
            "Switches away because something else was to run",
        ),
        Column::new(
            ("same_process_ratio", "SAME%", 5),
            8,
            |row| ratio(row, |rates| rates.same_process_ratio),
            "Of the times its threads were switched to, the share from a thread of the same process",
        ),
        Column::new(
            ("wait_p50_seconds", "WAIT p50", 8),
            6,
            |row| wait(row, |rates| rates.wait_p50_seconds),
            "Median wait for a CPU; a thread's is since the probe started. <0.1us: where a wake-up preempts who runs, the kernel \
             counts none, though it takes some 10 us",
        ),
        Column::new(
            ("wait_p99_seconds", "WAIT p99", 8),
            1,
            |row| wait(row, |rates| rates.wait_p99_seconds),
            "99th percentile of the same",
        ),
        Column::new(
            ("wait_max_seconds", "WAIT max", 8),
            7,
            |row| wait(row, |rates| rates.wait_max_seconds),
            "The longest wait, as the upper bound of its bucket: at most 25 % above it",
        ),
        Column::new(
            ("wait_ratio", "WAIT%", 6),
            1,
            |row| ratio(row, |rates| rates.wait_ratio),
            "Share of a second spent waiting for a CPU, all threads added up: 200 are two threads all the time",
        ),
        Column::new(
            ("cpu_ratio", "CPU%", 6),
            4,
            |row| ratio(row, |rates| rates.cpu_ratio),
            "CPU time, all threads added up: 100 is one CPU all the time",
        ),
        Column::new(
            ("burst_max_seconds", "BURST", 8),
            9,
            |row| wait(row, |rates| rates.burst_max_seconds),
            "The longest CPU time of a thread between two voluntary switches: of an event loop it is the lag",
        )
        .hidden(),
    ]
}
