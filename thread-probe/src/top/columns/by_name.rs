//! The columns of the threads of a name, added up.

use std::sync::LazyLock;

use super::{Column, Rated, Value, rate_columns, time::time_columns};
use crate::model::{Rates, ThreadsOfName};

impl Rated for ThreadsOfName {
    fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }
}

/// The columns of the threads of a name, in their order.
pub fn name_columns() -> &'static [Column<ThreadsOfName>] {
    static COLUMNS: LazyLock<Vec<Column<ThreadsOfName>>> =
        LazyLock::new(|| [&identity()[..], &rate_columns(), &[depth()], &time_columns()].concat());
    &COLUMNS
}

const fn identity() -> [Column<ThreadsOfName>; 4] {
    [
        Column::new(("comm", "COMM", 15), 0, |of| Value::Text((&*of.name).into()), "Their name, each number in it a #"),
        Column::new(("threads", "THR", 6), 0, |of| Value::Count(of.threads.total), "How many"),
        Column::new(
            ("running", "RUN", 6),
            2,
            |of| Value::Count(of.threads.running),
            "Of these on a CPU or waiting for one",
        ),
        Column::new(
            ("blocked", "BLOCK", 6),
            2,
            |of| Value::Count(of.threads.blocked),
            "Of these waiting uninterruptibly",
        ),
    ]
}

const fn depth() -> Column<ThreadsOfName> {
    Column::new(
        ("kernel_stack_depth_max_bytes", "DEPTH", 6),
        4,
        |of| Value::Bytes(u64::from(of.kernel_stack_depth_max_bytes)),
        "Deepest kernel stack of any of them when it was last switched out",
    )
}
