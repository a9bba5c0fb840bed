//! `thread-probe ps`: two samples, one table.

use std::io::{self, Write};

use anyhow::{Context as _, Result, bail};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::{
    cli::{Format, PsOptions, Sort},
    model::{Model, OneProcess, Process, Rates, Thread},
    sampler::Sampler,
    server::SnapshotOfProcess,
};

/// Takes two samples and prints.
///
/// # Errors
/// What is wrong with the configuration file, what the host lacks, no such process, or standard output that can't be written to.
pub fn ps(options: &PsOptions) -> Result<()> {
    let (mut sampler, _) = Sampler::start_and_drop_privileges(&options.probe.configure()?)?;
    sampler.wait(options.interval)?;
    let mut model = sampler.sample()?;
    warn_of_losses(&model);
    let top = options.top.unwrap_or(usize::MAX);
    let mut one = options.pid.map(|pid| sampler.one_process(pid));
    if let (Some(pid), Some([])) = (options.pid, one.as_ref().map(|one| one.threads.as_slice())) {
        bail!("no process {pid}: it does not exist, ended, or is hidden from eBPF");
    }
    // Detaches the programs before anything is printed: a pager that is slow to read must not keep them.
    drop(sampler);
    sort_descending(&mut model.processes, |process| process_key(process, options.sort));
    model.processes.truncate(if options.pid.is_some() { usize::MAX } else { top });
    if let Some(OneProcess { threads, .. }) = &mut one {
        sort_descending(threads, |thread| thread_key(thread, options.sort));
        threads.truncate(top);
    }
    let mut out = io::stdout().lock();
    match write(&mut out, options.format, &model, one).and_then(|()| out.flush()) {
        // The reader has seen enough, as with `| head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("writing to standard output failed"),
    }
}

/// Says what of the table may be too low. A wait that is missing in a histogram is not worth a line.
fn warn_of_losses(model: &Model) {
    let lacks_counts =
        ["ring_full", "end_missing", "unknown_thread", "counter_backwards", "malformed_record", "program_skipped"];
    for lost in model.probe.lost.iter().filter(|lost| lost.count > 0 && lacks_counts.contains(&&*lost.reason)) {
        tracing::warn!(reason = &*lost.reason, count = lost.count, "lost: some counts are too low");
    }
}

fn sort_descending<T>(rows: &mut [T], key: impl Fn(&T) -> f64) {
    rows.sort_by(|a, b| key(b).total_cmp(&key(a)));
}

fn process_key(process: &Process, sort: Sort) -> f64 {
    let rates = process.rates.unwrap_or_default();
    match sort {
        Sort::Switches => rates.switches_per_second,
        Sort::Latency => rates.wait_ratio,
        Sort::Threads => process.threads.total as f64,
        Sort::Cpu => rates.cpu_ratio,
        Sort::Stack => process.memory.kernel_stack_bytes as f64,
    }
}

/// All threads of a process count as one: there the order stays by tid.
fn thread_key(thread: &Thread, sort: Sort) -> f64 {
    let rates = thread.rates.unwrap_or_default();
    match sort {
        Sort::Switches => rates.switches_per_second,
        Sort::Latency => rates.wait_ratio,
        Sort::Threads => 0.0,
        Sort::Cpu => rates.cpu_ratio,
        Sort::Stack => f64::from(thread.kernel_stack_depth_bytes),
    }
}

fn write(out: &mut impl Write, format: Format, model: &Model, one: Option<OneProcess>) -> io::Result<()> {
    match (format, one) {
        (Format::Json, None) => serde_json::to_writer(&mut *out, model)?,
        (Format::Json, Some(process)) => serde_json::to_writer(&mut *out, &SnapshotOfProcess { model, process })?,
        (Format::Csv, None) => return write_csv(out, PROCESS_COLUMNS, &model.processes),
        (Format::Csv, Some(one)) => return write_csv(out, THREAD_COLUMNS, &one.threads),
        (Format::Table, None) => return write_table(out, PROCESS_COLUMNS, &model.processes),
        (Format::Table, Some(one)) => return write_table(out, THREAD_COLUMNS, &one.threads),
    }
    writeln!(out)
}

/// A column: its title for people, its name in CSV, and its value for both.
struct Column<T> {
    title: &'static str,
    csv: &'static str,
    value: fn(&T) -> Value,
}

/// A value in base units: CSV prints it as it is, a table as people read it.
enum Value {
    Text(String),
    Count(u64),
    PerSecond(f64),
    Seconds(Option<f64>),
    Ratio(f64),
    Bytes(u64),
}

impl Value {
    fn csv(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(number) | Self::Bytes(number) => number.to_string(),
            Self::PerSecond(number) | Self::Ratio(number) => format!("{number:.6}"),
            Self::Seconds(seconds) => seconds.map(|seconds| format!("{seconds:.9}")).unwrap_or_default(),
        }
    }

    fn human(&self) -> String {
        match self {
            Self::Text(text) => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
            Self::Count(number) => number.to_string(),
            Self::PerSecond(number) if *number < 10.0 => format!("{number:.1}"),
            Self::PerSecond(number) => format!("{number:.0}"),
            Self::Seconds(None) => "-".to_owned(),
            Self::Seconds(Some(seconds)) => human_seconds(*seconds),
            Self::Ratio(ratio) => format!("{:.1}", ratio * 100.0),
            Self::Bytes(bytes) => human_bytes(*bytes),
        }
    }

    fn alignment(&self) -> CellAlignment {
        if matches!(self, Self::Text(_)) { CellAlignment::Left } else { CellAlignment::Right }
    }
}

fn human_seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1}us", s * 1e6),
        s if s < 1.0 => format!("{:.1}ms", s * 1e3),
        s => format!("{s:.1}s"),
    }
}

fn human_bytes(bytes: u64) -> String {
    match bytes {
        b if b < 10 << 10 => format!("{b}"),
        b if b < 10 << 20 => format!("{}K", b >> 10),
        b if b < 10 << 30 => format!("{}M", b >> 20),
        b => format!("{}G", b >> 30),
    }
}

macro_rules! columns {
    ($name:ident: $type:ty, $($title:literal $csv:literal $value:expr;)+) => {
        const $name: &[Column<$type>] = &[$(Column { title: $title, csv: $csv, value: $value }),+];
    };
}

fn rates(of: Option<Rates>) -> Rates {
    of.unwrap_or_default()
}

columns! { PROCESS_COLUMNS: Process,
    "PID" "pid" |p| Value::Count(u64::from(p.pid));
    "USER" "user" |p| Value::Text(p.user.to_string());
    "THR" "threads" |p| Value::Count(p.threads.total);
    "+THR/s" "threads_created_per_second" |p| Value::PerSecond(rates(p.rates).threads_created_per_second);
    "VOL/s" "voluntary_switches_per_second" |p| Value::PerSecond(rates(p.rates).voluntary_switches_per_second);
    "INVOL/s" "involuntary_switches_per_second" |p| Value::PerSecond(rates(p.rates).involuntary_switches_per_second);
    "SAME%" "same_process_ratio" |p| Value::Ratio(rates(p.rates).same_process_ratio);
    "WAITp50" "wait_p50_seconds" |p| Value::Seconds(rates(p.rates).wait_p50_seconds);
    "p99" "wait_p99_seconds" |p| Value::Seconds(rates(p.rates).wait_p99_seconds);
    "max" "wait_max_seconds" |p| Value::Seconds(rates(p.rates).wait_max_seconds);
    "WAIT%" "wait_ratio" |p| Value::Ratio(rates(p.rates).wait_ratio);
    "CPU%" "cpu_ratio" |p| Value::Ratio(rates(p.rates).cpu_ratio);
    "KSTACK" "kernel_stack_bytes" |p| Value::Bytes(p.memory.kernel_stack_bytes);
    "KMEM" "kernel_memory_bytes" |p| Value::Bytes(p.memory.kernel_memory_bytes);
    "DEPTH" "kernel_stack_depth_max_bytes" |p| Value::Bytes(p.memory.kernel_stack_depth_max_bytes);
    "GROUP" "group" |p| Value::Text(p.group.to_string());
    "COMM" "comm" |p| Value::Text(p.comm.clone());
}

columns! { THREAD_COLUMNS: Thread,
    "TID" "tid" |t| Value::Count(u64::from(t.tid));
    "STATE" "state" |t| Value::Text(t.state.label().to_owned());
    "VOL/s" "voluntary_switches_per_second" |t| Value::PerSecond(rates(t.rates).voluntary_switches_per_second);
    "INVOL/s" "involuntary_switches_per_second" |t| Value::PerSecond(rates(t.rates).involuntary_switches_per_second);
    "SAME%" "same_process_ratio" |t| Value::Ratio(rates(t.rates).same_process_ratio);
    "WAITp50" "wait_p50_seconds" |t| Value::Seconds(rates(t.rates).wait_p50_seconds);
    "p99" "wait_p99_seconds" |t| Value::Seconds(rates(t.rates).wait_p99_seconds);
    "max" "wait_max_seconds" |t| Value::Seconds(rates(t.rates).wait_max_seconds);
    "WAIT%" "wait_ratio" |t| Value::Ratio(rates(t.rates).wait_ratio);
    "CPU%" "cpu_ratio" |t| Value::Ratio(rates(t.rates).cpu_ratio);
    "DEPTH" "kernel_stack_depth_bytes" |t| Value::Bytes(u64::from(t.kernel_stack_depth_bytes));
    "COMM" "comm" |t| Value::Text(t.comm.clone());
}

fn write_csv<T>(out: &mut impl Write, columns: &[Column<T>], rows: &[T]) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(columns.iter().map(|column| column.csv))?;
    for row in rows {
        csv.write_record(columns.iter().map(|column| (column.value)(row).csv()))?;
    }
    csv.flush()
}

fn write_table<T>(out: &mut impl Write, columns: &[Column<T>], rows: &[T]) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.title));
    for row in rows {
        let cells = columns.iter().map(|column| {
            let value = (column.value)(row);
            comfy_table::Cell::new(value.human()).set_alignment(value.alignment())
        });
        table.add_row(cells);
    }
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_a_name_do_not_reach_the_terminal() {
        assert_eq!(Value::Text("a\u{1b}[31m\nb".into()).human(), "a?[31m?b");
    }

    #[test]
    fn durations_and_sizes_are_short_in_a_table_and_exact_in_csv() {
        let wait = Value::Seconds(Some(0.0000425));
        assert_eq!((wait.human().as_str(), wait.csv().as_str()), ("42.5us", "0.000042500"));
        let stack = Value::Bytes(40 << 20);
        assert_eq!((stack.human().as_str(), stack.csv().as_str()), ("40M", "41943040"));
        assert_eq!(Value::Seconds(None).human(), "-");
    }
}
