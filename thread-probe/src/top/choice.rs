//! Parses what the command line may choose: columns, sorting, a daemon.

use super::{
    columns::{Column, Direction, Sort, find_short, process_columns, thread_columns},
    feed::Address,
};
use crate::{
    config::value,
    model::{Process, Thread},
};

/// A column to sort by. Processes and threads have many of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortChoice {
    /// How processes are sorted, if they have that column.
    pub process: Option<Sort>,
    /// How threads are sorted, if they have it.
    pub thread: Option<Sort>,
}

/// The columns of a table, in order. Processes and threads each have those that they know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnsChoice {
    /// Ids of columns of processes.
    pub process: Vec<&'static str>,
    /// Ids of columns of threads.
    pub thread: Vec<&'static str>,
}

impl Default for SortChoice {
    fn default() -> Self {
        Self { process: Some(Sort::default()), thread: Some(Sort::default()) }
    }
}

impl SortChoice {
    /// `COLUMN`, `COLUMN:asc` or `COLUMN:desc`; without direction, as the column is sorted at first.
    ///
    /// # Errors
    /// What is wrong with it and which columns there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, direction) = match text.rsplit_once(':') {
            Some((name, direction)) => {
                (name, Some(value::choice(direction).map_err(|said| format!("after : {said}"))?))
            }
            None => (text, None),
        };
        let process = find_short(process_columns(), name).map(|column| sort_by(column, &Process::default(), direction));
        let thread = find_short(thread_columns(), name).map(|column| sort_by(column, &Thread::default(), direction));
        if process.is_none() && thread.is_none() {
            return Err(unknown(name));
        }
        Ok(Self { process, thread })
    }
}

fn sort_by<T>(column: &Column<T>, row: &T, direction: Option<Direction>) -> Sort {
    Sort { column: column.id, direction: direction.unwrap_or_else(|| column.direction(row)) }
}

impl ColumnsChoice {
    /// Ids or headings, separated by commas.
    ///
    /// # Errors
    /// Which there is not, or twice, and which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut choice = Self { process: Vec::new(), thread: Vec::new() };
        for name in text.split(',') {
            let process = find_short(process_columns(), name).map(|column| column.id);
            let thread = find_short(thread_columns(), name).map(|column| column.id);
            if process.is_none() && thread.is_none() {
                return Err(unknown(name));
            }
            let is_known = |ids: &[&str], id: Option<&str>| id.is_some_and(|id| ids.contains(&id));
            if is_known(&choice.process, process) || is_known(&choice.thread, thread) {
                return Err(format!("{name} is in it twice"));
            }
            choice.process.extend(process);
            choice.thread.extend(thread);
        }
        Ok(choice)
    }
}

fn unknown(name: &str) -> String {
    let ids = process_columns().iter().map(|column| column.id);
    let of_threads =
        thread_columns().iter().map(|column| column.id).filter(|id| !ids.clone().any(|known| known == *id));
    let of_threads = of_threads.collect::<Vec<_>>().join(", ");
    format!("no column {name:?}: expected one of {}; of threads {of_threads}", ids.collect::<Vec<_>>().join(", "))
}

/// The URL of a daemon, or empty.
pub(crate) fn url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    Address::parse(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(text: &str) -> Result<[Option<(&'static str, Direction)>; 2], String> {
        let of = |sort: Option<Sort>| sort.map(|sort| (sort.column, sort.direction));
        SortChoice::parse(text).map(|choice| [of(choice.process), of(choice.thread)])
    }

    #[test]
    fn a_sort_is_a_column_that_processes_or_threads_have_and_a_direction() {
        use Direction::{Ascending, Descending};
        assert_eq!(sort("latency"), Ok([Some(("wait_ratio", Descending)); 2]));
        let stacks = [Some(("kernel_stack_bytes", Descending)), Some(("kernel_stack_depth_bytes", Descending))];
        assert_eq!(sort("stack"), Ok(stacks));
        assert_eq!(sort("COMM"), Ok([Some(("comm", Ascending)); 2]));
        assert_eq!(sort("comm:desc"), Ok([Some(("comm", Descending)); 2]));
        assert_eq!(sort("threads:asc"), Ok([Some(("threads", Ascending)), None]));
        assert_eq!(sort("tid"), Ok([None, Some(("tid", Ascending))]));
        assert!(sort("beauty").is_err_and(|said| said.contains("pid, user,")
            && said.ends_with("of threads tid, state, kernel_stack_depth_bytes, syscall, still_seconds")));
        assert!(sort("cpu:up").is_err_and(|said| said.contains("must be one of ascending, descending")));
    }

    #[test]
    fn columns_are_those_that_the_table_has_each_once() {
        let choice =
            ColumnsChoice { process: vec!["pid", "comm", "cpu_ratio"], thread: vec!["comm", "cpu_ratio", "tid"] };
        assert_eq!(ColumnsChoice::parse("pid,COMM,cpu,tid"), Ok(choice));
        assert!(ColumnsChoice::parse("pid,,comm").is_err_and(|said| said.starts_with("no column \"\"")));
        assert!(ColumnsChoice::parse("cpu,pid,CPU%").is_err_and(|said| said.contains("twice")));
    }
}
