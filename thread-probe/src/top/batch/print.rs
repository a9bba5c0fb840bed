//! A sample as text.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, bail};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::Batch;
use crate::{
    cli::Format,
    human, json,
    model::{Model, OneProcess, Process, Thread},
    server::SnapshotOfProcess,
    top::{
        columns::{Column, Sort, find, process_columns, thread_columns},
        feed::Sample,
    },
};

/// The columns of `ps`, and those that come first in CSV: who reads it may count on their order.
pub(crate) const FIRST_PROCESS_COLUMNS: [&str; 17] = [
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
pub(crate) const FIRST_THREAD_COLUMNS: [&str; 12] = [
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
        let chosen = batch.columns.as_ref();
        let of_processes = chosen.map(|chosen| &*chosen.process);
        let of_threads = chosen.map(|chosen| &*chosen.thread);
        let process_columns = select(process_columns(), of_processes, &FIRST_PROCESS_COLUMNS, batch.format);
        let thread_columns = select(thread_columns(), of_threads, &FIRST_THREAD_COLUMNS, batch.format);
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
            Format::Table => self.write_table(out, model, &self.process_columns, &model.processes),
        }
    }

    fn write_threads(&self, out: &mut Vec<u8>, model: &Model, process: OneProcess) -> Result<()> {
        match self.batch.format {
            Format::Json => write_json(out, &SnapshotOfProcess { model, process }),
            Format::Csv => self.write_csv(out, model, &self.thread_columns, &process.threads),
            Format::Table => self.write_table(out, model, &self.thread_columns, &process.threads),
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

    fn write_table<T>(&self, out: &mut Vec<u8>, model: &Model, columns: &[&Column<T>], rows: &[T]) -> Result<()> {
        if self.printed > 0 {
            writeln!(out)?;
        }
        if self.batch.is_timed {
            writeln!(out, "{}", headline(model, self.batch.pid))?;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|column| column.title));
        for row in rows {
            table.add_row(columns.iter().map(|column| cell(column, row)));
        }
        Ok(writeln!(out, "{}", table.trim_fmt())?)
    }
}

/// The columns that are chosen; else of CSV all, the first ones first, and of a table those that are shown by default.
fn select<T>(
    all: &'static [Column<T>],
    chosen: Option<&[&str]>,
    first: &[&str],
    format: Format,
) -> Vec<&'static Column<T>> {
    let by_id = |ids: &[&str]| ids.iter().filter_map(|id| find(all, id)).collect::<Vec<_>>();
    match (chosen, format) {
        (Some(ids), _) => by_id(ids),
        (None, Format::Csv) => {
            let further = all.iter().filter(|column| !first.contains(&column.id));
            by_id(first).into_iter().chain(further).collect()
        }
        (None, Format::Table | Format::Json) => all.iter().filter(|column| column.is_default).collect(),
    }
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
