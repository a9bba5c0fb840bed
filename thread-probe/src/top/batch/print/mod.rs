//! A sample as text.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, bail};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::Batch;
use crate::{
    export::{json, server::SnapshotOfProcess},
    model::{Model, OneProcess, Process, Thread, ThreadsOfName},
    text::human,
    top::{
        batch::Format,
        columns::{Column, Sort, find, name_columns, process_columns, thread_columns},
        feed::Sample,
    },
};

/// The columns of `ps`: who it is comes first.
pub(crate) const PS_PROCESS_COLUMNS: [&str; 15] = [
    "pid",
    "comm",
    "user",
    "threads",
    "threads_created_per_second",
    "voluntary_switches_per_second",
    "involuntary_switches_per_second",
    "wait_p50_seconds",
    "wait_p99_seconds",
    "wait_max_seconds",
    "wait_ratio",
    "cpu_ratio",
    "kernel_memory_bytes",
    "limit",
    "exhaustion_seconds",
];

/// The columns that come first in CSV: who reads it may count on their order.
const FIRST_PROCESS_COLUMNS: [&str; 17] = [
    "pid",
    "user",
    "threads",
    "threads_created_per_second",
    "voluntary_switches_per_second",
    "involuntary_switches_per_second",
    "same_process_ratio",
    "wait_p50_seconds",
    "wait_p99_seconds",
    "wait_max_seconds",
    "wait_ratio",
    "cpu_ratio",
    "kernel_stack_bytes",
    "kernel_memory_bytes",
    "kernel_stack_depth_max_bytes",
    "group",
    "comm",
];

/// The same of threads.
const FIRST_THREAD_COLUMNS: [&str; 12] = [
    "tid",
    "state",
    "voluntary_switches_per_second",
    "involuntary_switches_per_second",
    "same_process_ratio",
    "wait_p50_seconds",
    "wait_p99_seconds",
    "wait_max_seconds",
    "wait_ratio",
    "cpu_ratio",
    "kernel_stack_depth_bytes",
    "comm",
];

/// Prints sample after sample.
pub(super) struct Printer<'a> {
    batch: &'a Batch,
    process_columns: Vec<&'static Column<Process>>,
    thread_columns: Vec<&'static Column<Thread>>,
    printed: u64,
}

impl<'a> Printer<'a> {
    /// # Errors
    /// Columns, or one to sort by, that only threads have, where there are none.
    pub(super) fn new(batch: &'a Batch) -> Result<Self> {
        let (chosen, by_default) = (batch.columns.as_ref(), &batch.table);
        let of_processes = Columns {
            chosen: chosen.map(|chosen| &*chosen.process),
            by_default: &by_default.process,
            first: &FIRST_PROCESS_COLUMNS,
        };
        let of_threads = Columns {
            chosen: chosen.map(|chosen| &*chosen.thread),
            by_default: &by_default.thread,
            first: &FIRST_THREAD_COLUMNS,
        };
        let process_columns = of_processes.select(process_columns(), batch.format, batch.sort.process);
        let thread_columns = of_threads.select(thread_columns(), batch.format, batch.sort.thread);
        if batch.pid.is_none() && batch.sort.process.is_none() {
            bail!("--sort: only threads have that column: choose a process with --pid");
        }
        match batch.pid {
            None if process_columns.is_empty() => bail!("--columns: processes have none of these"),
            Some(_) if thread_columns.is_empty() => bail!("--columns: threads have none of these"),
            _ => {}
        }
        Ok(Self { batch, process_columns, thread_columns, printed: 0 })
    }

    /// The text of a sample.
    ///
    /// # Errors
    /// The process of which the threads are wanted is not there.
    pub(super) fn print(&mut self, Sample { mut model, one, .. }: Sample) -> Result<Vec<u8>> {
        let batch = self.batch;
        model.processes.retain(|process| batch.filter.matches(process));
        sort(&mut model.processes, process_columns(), batch.sort.process);
        let mut text = Vec::new();
        match batch.pid {
            None => {
                model.processes.truncate(batch.top);
                self.write_processes(&mut text, &model)?;
            }
            Some(pid) => {
                let mut one = one.ok_or_else(|| self.gone(pid))?;
                if batch.by_name && batch.format != Format::Json {
                    sort(&mut one.threads_by_name, name_columns(), batch.sort_of_names());
                    one.threads_by_name.truncate(batch.top);
                    self.write_names(&mut text, &model, &one.threads_by_name)?;
                    self.printed += 1;
                    return Ok(text);
                }
                sort(&mut one.threads, thread_columns(), batch.sort.thread);
                one.threads.truncate(batch.top);
                self.write_threads(&mut text, &model, one)?;
            }
        }
        self.printed += 1;
        Ok(text)
    }

    fn gone(&self, pid: u32) -> anyhow::Error {
        if self.printed == 0 {
            return anyhow!("no process {pid}: it does not exist, ended, or is hidden from eBPF");
        }
        anyhow!("process {pid} has ended")
    }

    fn write_processes(&self, out: &mut Vec<u8>, model: &Model) -> Result<()> {
        match self.batch.format {
            Format::Json => write_json(out, model),
            Format::Csv => self.write_csv(out, model, &self.process_columns, &model.processes),
            Format::Table => {
                let sort = self.batch.sort.process;
                self.write_table(out, model, (&self.process_columns, sort), &model.processes)
            }
        }
    }

    fn write_threads(&self, out: &mut Vec<u8>, model: &Model, process: OneProcess) -> Result<()> {
        match self.batch.format {
            Format::Json => write_json(out, &SnapshotOfProcess { model, process }),
            Format::Csv => self.write_csv(out, model, &self.thread_columns, &process.threads),
            Format::Table => {
                let sort = self.batch.sort.thread;
                self.write_table(out, model, (&self.thread_columns, sort), &process.threads)
            }
        }
    }

    fn write_names(&self, out: &mut Vec<u8>, model: &Model, names: &[ThreadsOfName]) -> Result<()> {
        let columns: Vec<_> = name_columns().iter().collect();
        match self.batch.format {
            Format::Csv => self.write_csv(out, model, &columns, names),
            Format::Table | Format::Json => self.write_table(out, model, (&columns, self.batch.sort_of_names()), names),
        }
    }

    fn write_csv<T>(&self, out: &mut Vec<u8>, model: &Model, columns: &[&Column<T>], rows: &[T]) -> Result<()> {
        let time = self.batch.is_timed.then(|| format!("{:.3}", model.time_unix_seconds));
        let mut csv = csv::Writer::from_writer(out);
        if self.printed == 0 {
            let time = time.iter().map(|_| "time_unix_seconds");
            csv.write_record(time.chain(columns.iter().map(|column| column.id)))?;
        }
        for row in rows {
            let cells = columns.iter().map(|column| (column.value)(row).csv());
            csv.write_record(time.iter().cloned().chain(cells))?;
        }
        csv.flush().context("writing CSV failed")
    }

    fn write_table<T>(
        &self,
        out: &mut Vec<u8>,
        model: &Model,
        (columns, sort): (&[&Column<T>], Option<Sort>),
        rows: &[T],
    ) -> Result<()> {
        if self.printed > 0 {
            writeln!(out)?;
        }
        if self.batch.is_timed {
            writeln!(out, "{}", headline(model, self.batch.pid))?;
        }
        let columns = match self.batch.width {
            Some(width) if self.batch.columns.is_none() => fitting(columns.to_vec(), sort, rows, width),
            _ => columns.to_vec(),
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|column| column.title));
        for row in rows {
            table.add_row(columns.iter().map(|column| cell(column, row)));
        }
        Ok(writeln!(out, "{}", table.trim_fmt())?)
    }
}

/// Ids of columns.
struct Columns<'a> {
    chosen: Option<&'a [&'static str]>,
    /// Those of a table if none are chosen.
    by_default: &'a [&'static str],
    /// Those that come first in CSV.
    first: &'a [&'static str],
}

impl Columns<'_> {
    /// The columns that are chosen; else of CSV all, and of a table those by default and what it is sorted by.
    fn select<T>(&self, all: &'static [Column<T>], format: Format, sort: Option<Sort>) -> Vec<&'static Column<T>> {
        let by_id = |ids: &[&str]| ids.iter().filter_map(|id| find(all, id)).collect::<Vec<_>>();
        match (self.chosen, format) {
            (Some(ids), _) => by_id(ids),
            (None, Format::Csv) => {
                let further = all.iter().filter(|column| !self.first.contains(&column.id));
                by_id(self.first).into_iter().chain(further).collect()
            }
            (None, Format::Table | Format::Json) => {
                let sorted = sort.map(|sort| sort.column).filter(|id| !self.by_default.contains(id));
                by_id(self.by_default).into_iter().chain(sorted.and_then(|id| find(all, id))).collect()
            }
        }
    }
}

/// Those of the columns that there is room for in a terminal of this width: where there is none for all, those that say
/// least go, and never who it is and what it is sorted by.
fn fitting<'a, T>(mut columns: Vec<&'a Column<T>>, sort: Option<Sort>, rows: &[T], width: u16) -> Vec<&'a Column<T>> {
    let chars = |text: &str| text.chars().count();
    let needed = |column: &Column<T>| {
        let cells = rows.iter().map(|row| chars(&(column.value)(row).human()));
        // A space on either side.
        cells.max().unwrap_or(0).max(chars(column.title)) + 2
    };
    let mut widths: Vec<usize> = columns.iter().map(|column| needed(column)).collect();
    let is_fixed = |column: &Column<T>| {
        matches!(column.id, "pid" | "tid" | "comm") || sort.is_some_and(|by| by.column == column.id)
    };
    while widths.iter().sum::<usize>() > usize::from(width) + 1 {
        let goes =
            columns.iter().enumerate().filter(|(_, column)| !is_fixed(column)).max_by_key(|(_, column)| column.rank);
        let Some((index, _)) = goes else { break };
        columns.remove(index);
        widths.remove(index);
    }
    columns
}

fn sort<T>(rows: &mut Vec<T>, columns: &[Column<T>], by: Option<Sort>) {
    if let Some(sort) = by {
        *rows = sort.apply(columns, std::mem::take(rows), Column::sort_key);
    }
}

fn cell<T>(column: &Column<T>, row: &T) -> Cell {
    let value = (column.value)(row);
    let alignment = if value.is_right_aligned() { CellAlignment::Right } else { CellAlignment::Left };
    Cell::new(value.human()).set_alignment(alignment)
}

fn write_json(out: &mut Vec<u8>, sample: &impl serde::Serialize) -> Result<()> {
    json::write(out, sample)?;
    Ok(writeln!(out)?)
}

/// When the sample was taken and how the host was, or the process whose threads it is about.
fn headline(model: &Model, pid: Option<u32>) -> String {
    let host = &model.host;
    let process = pid.and_then(|pid| model.processes.iter().find(|process| process.pid == pid));
    let (what, threads, rates) = match process {
        Some(process) => {
            (format!("{} ({})", process.pid, human::plain(&process.comm)), process.threads.total, process.rates)
        }
        None => (human::counted(host.processes, "process"), host.threads.total, host.rates),
    };
    let rates = rates.unwrap_or_default();
    let wait = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), human::seconds);
    format!(
        "thread-probe top - {}Z, {what}, {}, {:.0} switches/s, wait p50 {} p99 {}, \
         {:.0} threads created/s, {:.0} clones failed/s",
        human::time_of_day(model.time_unix_seconds),
        human::counted(threads, "thread"),
        rates.switches_per_second,
        wait(rates.wait_p50_seconds),
        wait(rates.wait_p99_seconds),
        rates.threads_created_per_second,
        rates.clone_failures_per_second,
    )
}

#[cfg(test)]
mod tests;
