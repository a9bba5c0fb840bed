//! The columns of threads.

use std::sync::LazyLock;

use super::{Column, Rated, Value, rate_columns, time::time_columns};
use crate::model::{Rates, Thread};

impl Rated for Thread {
    fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }
}

/// The columns of threads, in the order they have at first.
pub fn thread_columns() -> &'static [Column<Thread>] {
    static COLUMNS: LazyLock<Vec<Column<Thread>>> =
        LazyLock::new(|| [&identity()[..], &rate_columns(), &[depth()], &sleep(), &time_columns()].concat());
    &COLUMNS
}

const fn identity() -> [Column<Thread>; 3] {
    [
        Column::new(("tid", "TID", 7), 0, |t| Value::Id(t.tid), "Thread id"),
        Column::new(("comm", "COMM", 15), 0, |t| Value::Text((&*t.comm).into()), "Its name"),
        Column::new(
            ("state", "STATE", 8),
            3,
            |t| Value::Text(t.state.label().into()),
            "running, sleeping, blocked, stopped or zombie",
        ),
    ]
}

const fn sleep() -> [Column<Thread>; 2] {
    [
        Column::new(
            ("syscall", "SYSCALL", 15),
            9,
            |t: &Thread| Value::Text(t.syscall.as_deref().unwrap_or_default().into()),
            "The system call that it sleeps in",
        ),
        Column::new(
            ("still_seconds", "STILL", 8),
            9,
            |t: &Thread| Value::Until(Some(t.still_seconds)),
            "For how long it does what it does: of one that sleeps, since it was put on a CPU last",
        ),
    ]
}

const fn depth() -> Column<Thread> {
    Column::new(
        ("kernel_stack_depth_bytes", "DEPTH", 6),
        4,
        |t| Value::Bytes(u64::from(t.kernel_stack_depth_bytes)),
        "Bytes of kernel stack in use when it was last switched out",
    )
}
