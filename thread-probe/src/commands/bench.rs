//! `thread-probe bench`: what threads cost on this host.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use indicatif::ProgressBar;
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use super::output;
use crate::{
    bench::{self, Change, Changed, Figure, Observer, Part, Report},
    commands::options::BenchOptions,
    text::{human, terminal::has_colors},
};

/// Measures, and prints what it found.
///
/// # Errors
/// A file that can't be read or written, signals that can't be read, or standard output that can't be written to.
pub(super) fn bench(options: &BenchOptions) -> Result<()> {
    let before = options.compare.as_deref().map(|path| {
        bench::read(path).with_context(|| format!("{} can't be read as what --save wrote", path.display()))
    });
    let before = before.transpose()?;
    let parts = if options.parts.is_empty() { &Part::ALL[..] } else { &options.parts };
    let mut watch = Watch::new()?;
    let report = bench::run(parts, &mut watch).context("measuring failed")?;
    watch.spinner.finish_and_clear();
    if let Some(path) = &options.save {
        bench::save(&report, path).with_context(|| format!("writing {} failed", path.display()))?;
    }
    let kept = bench::keep(&report).unwrap_or_else(|error| {
        tracing::warn!("the figures could not be kept for alerts: {error}");
        None
    });
    let changes = before.map(|before| (bench::compare(&before, &report), before.host != report.host));
    output::print_as(options.format, &report, |out| {
        write(out, &report, changes)?;
        match &kept {
            Some(path) => writeln!(out, "\nKept in {}: from now on alerts count with it.", path.display()),
            None => Ok(()),
        }
    })
}

/// Says on a terminal what is being measured, and ends it at Ctrl-C.
struct Watch {
    spinner: ProgressBar,
    signals: SignalFd,
    was_ended: bool,
}

impl Watch {
    /// From here on SIGINT and SIGTERM end the measuring only.
    fn new() -> Result<Self> {
        let ends: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        ends.thread_block()?;
        let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { spinner: ProgressBar::new_spinner(), signals, was_ended: false })
    }
}

impl Observer for Watch {
    fn begins(&mut self, part: Part, what: &str) {
        self.spinner.set_message(format!("{}: {what} (Ctrl-C ends it and keeps what there is)", part.label()));
        self.spinner.tick();
    }

    fn has(&mut self, _: &Figure) {
        self.spinner.tick();
    }

    fn goes_on(&mut self) -> bool {
        self.was_ended |= matches!(self.signals.read_signal(), Ok(Some(_)));
        !self.was_ended
    }
}

fn write(out: &mut impl Write, report: &Report, changes: Option<(Vec<Changed>, bool)>) -> io::Result<()> {
    let host = &report.host;
    let cpus = human::counted(host.cpus as u64, "CPU");
    writeln!(out, "Linux {}, {cpus}, {}", human::plain(&host.kernel), human::plain(&host.cpu_model))?;
    let changes = changes.map(|(changes, is_elsewhere)| {
        if is_elsewhere {
            writeln!(out, "The other report is of another kernel or machine.")?;
        }
        io::Result::Ok(changes)
    });
    let changes = changes.transpose()?;
    for part in Part::ALL {
        let figures: Vec<_> = report.figures.iter().filter(|figure| figure.part == part).collect();
        if !figures.is_empty() {
            writeln!(out, "\n{}", table(part, &figures, changes.as_deref()).trim_fmt())?;
            writeln!(out, "{}", explanation(part))?;
        }
    }
    Ok(())
}

/// What the figures of a part are, and what is commonly said.
fn explanation(part: Part) -> &'static str {
    match part {
        Part::Memory => {
            "Of each of 1,000 threads, from /proc. Kernel stacks can't be swapped; what else the kernel keeps of a thread\n\
             is in threadprobe_thread_kernel_bytes. Textbooks say 20 to 100 kB in all."
        }
        Part::Create => "Medians of events, and their 99th percentiles.",
        Part::Scale => {
            "Work of a second, as a multiple of what one thread does alone; ideal is one for each CPU, and of threads that\n\
             sleep one for each thread, until the CPUs are busy."
        }
        Part::Switch => {
            "For each switch that the kernel counted, less the system calls and the memory alone. On two CPUs: until the\n\
             other one runs, which was asleep. Textbooks say 1 to 5us."
        }
    }
}

fn table(part: Part, figures: &[&Figure], changes: Option<&[Changed]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !has_colors() {
        table.force_no_tty();
    }
    let heading = match part {
        Part::Memory => "MEMORY",
        Part::Create => "CREATE",
        Part::Switch => "SWITCH",
        Part::Scale => "SCALE",
    };
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    table.set_header([
        Cell::new(heading),
        right("MEDIAN".into()),
        right(if part == Part::Scale { "SWITCHES/s" } else { "P99" }.into()),
        right("SPREAD".into()),
        right(if changes.is_some() { "CHANGE" } else { "" }.into()),
        Cell::new(""),
    ]);
    for figure in figures {
        let value = |value: Option<f64>| right(value.map_or_else(|| "-".into(), amount));
        let change = changes.into_iter().flatten().find(|changed| changed.part == part && changed.what == figure.what);
        table.add_row([
            Cell::new(&figure.what),
            match (figure.bytes, figure.work_ratio) {
                (Some(bytes), _) => right(human::bytes(bytes.max(0.0) as u64)),
                (None, Some(ratio)) => right(format!("{ratio:.2}x")),
                (None, None) => value(figure.seconds),
            },
            match figure.switches_per_second {
                Some(switches) => right(human::per_second(switches)),
                None => value(figure.p99_seconds),
            },
            right(figure.spread_ratio.map_or_else(|| "-".into(), |ratio| format!("{:.1} %", ratio * 100.0))),
            right(change.map_or_else(String::new, in_words)),
            Cell::new(figure.problem.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

fn in_words(changed: &Changed) -> String {
    match changed.change {
        Change::Same => "same".to_owned(),
        Change::Different => format!("{:+.0} %", changed.ratio * 100.0),
    }
}

/// Three digits or more: what a switch costs differs by less than two would show.
fn amount(seconds: f64) -> String {
    const SHORT: f64 = 1e-5;
    if seconds.abs() < SHORT { format!("{:.0}ns", seconds * 1e9) } else { human::seconds(seconds) }
}
