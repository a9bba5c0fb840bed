//! The columns as docs/top.md shows them.

use std::fmt::Write as _;

use super::{Column, process_columns, thread_columns};

/// Those of processes, then those that only threads have.
pub fn markdown() -> String {
    let known = |column: &&Column<_>| process_columns().iter().any(|of| (of.id, of.help) == (column.id, column.help));
    let of_threads = thread_columns().iter().filter(|column| !known(column));
    let mut text = table(process_columns().iter());
    text += "\nThreads have those of switches, waits and CPU time as well, and:\n\n";
    text += &table(of_threads);
    text
}

fn table<T: 'static>(columns: impl Iterator<Item = &'static Column<T>>) -> String {
    let mut table = String::from("| heading | id | what it means |\n|---|---|---|\n");
    for column in columns {
        let emphasis = if column.is_default { "" } else { "*" };
        // Writing to a String never fails.
        let _ = writeln!(table, "| {emphasis}{}{emphasis} | `{}` | {} |", column.title, column.id, column.help);
    }
    table
}
