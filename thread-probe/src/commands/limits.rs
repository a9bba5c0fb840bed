//! `thread-probe limits`: every limit with its use, the most endangered first.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::output;
use crate::{
    commands::options::LimitsOptions,
    config::Config,
    limits::{
        LimitUse, Limits, LimitsReport, Scope, Unreadable,
        words::{Bars, Level, amount, foremost, full_in},
    },
    model::Model,
    probe::{self, LoadError},
    sample::ThreadCost,
    sampler::Sampler,
    text::{
        human,
        terminal::{has_colors, is_utf8},
    },
    top::feed::{Feed, Recording, Request, Update},
};

/// How many limits are printed without `--all`, besides those of the host.
const TOP: usize = 20;
/// Characters of a bar.
const BAR_CHARS: u16 = 20;
/// How often the use is looked at while its growth is measured.
const SAMPLES: u32 = 10;
/// What is printed; as JSON just so.
#[derive(Serialize)]
struct Printed {
    /// Each limit with its use.
    limits: Vec<LimitUse>,
    /// Files that could not be read.
    unreadable: Vec<Unreadable>,
    /// Why the limits of cgroups, users and processes are missing, if they are.
    incomplete: Option<String>,
}

/// Prints the limits.
///
/// # Errors
/// What is wrong with the configuration file, no such process, what the host lacks, or standard output that can't be
/// written to.
pub fn limits(options: &LimitsOptions) -> Result<()> {
    let mut printed = match options.replay.recording() {
        Some(recording) => of_recording(&recording, options.pid)?,
        None => of_now(options)?,
    };
    if let Some(reason) = &printed.incomplete {
        tracing::warn!("only the host's limits: {reason}");
    }
    if !options.all && options.pid.is_none() {
        let of_host = printed.limits.iter().filter(|limit| limit.scope == Scope::Host).count();
        printed.limits.truncate(of_host + TOP);
    }
    output::print_as(options.format, &printed, |out| writeln!(out, "{}", table(&printed.limits).trim_fmt()))
}

/// As they are, after their growth was watched for the window.
fn of_now(options: &LimitsOptions) -> Result<Printed> {
    let mut config = options.configuration.read()?;
    config.limits.window = options.window;
    match Sampler::start_and_drop_privileges(&config.sampler()) {
        Ok((sampler, _)) => of_all(sampler, options),
        // The host's are anyone's to read.
        Err(error) if options.pid.is_none() && error.is::<LoadError>() => Ok(of_host(&config, error.to_string())),
        Err(error) => Err(error),
    }
}

/// As they were. Of a process without its threads only the nearest are kept.
fn of_recording(recording: &Recording, pid: Option<u32>) -> Result<Printed> {
    let mut feed = Feed::replay(recording, false)?;
    feed.request(Request { pid, interval: Duration::ZERO });
    let sample = match feed.turn() {
        Some(Update::Sample(sample)) => sample,
        Some(Update::Lost(reason)) => bail!(reason),
        Some(Update::Over) | None => bail!("there is no sample"),
    };
    let limits = match (pid, &sample.one) {
        (None, _) => sample.model.all_limits(),
        (Some(_), Some(one)) => one.applicable_limits.clone(),
        (Some(pid), None) => {
            let process = sample.model.processes.iter().find(|process| process.pid == pid);
            let process = process.with_context(|| format!("no process {pid} in that sample"))?;
            let headroom = process.headroom.iter();
            headroom
                .flat_map(|headroom| [Some(&headroom.binding), headroom.first_exhausted.as_ref()])
                .flatten()
                .cloned()
                .collect()
        }
    };
    Ok(Printed { limits, unreadable: sample.model.limits.unreadable, incomplete: None })
}

/// All limits, after their growth was watched for the window. Detaches the programs.
fn of_all(mut sampler: Sampler, options: &LimitsOptions) -> Result<Printed> {
    let mut model = None;
    for _ in 0..SAMPLES {
        sampler.wait(options.window / SAMPLES)?;
        model = Some(sampler.sample()?);
    }
    let model = model.context("no sample was taken")?;
    let limits = match options.pid {
        Some(pid) => sampler.limits_of(pid),
        None => of_host_and_all_else(&model, &sampler),
    };
    if let (Some(pid), []) = (options.pid, limits.as_slice()) {
        bail!("no limits of process {pid}: it does not exist, ended, is a kernel thread, or is hidden from eBPF");
    }
    Ok(Printed { limits, unreadable: model.limits.unreadable, incomplete: None })
}

/// Those that processes share, those of the host first, and those of each process alone.
fn of_host_and_all_else(model: &Model, sampler: &Sampler) -> Vec<LimitUse> {
    let mut limits = model.limits.shared.clone();
    limits.extend(sampler.own_limits().cloned());
    LimitsReport::sort(&mut limits);
    limits
}

/// The limits of the host, whose growth needs no probe.
fn of_host(config: &Config, reason: String) -> Printed {
    let mut limits = Limits::new(config.limits.window);
    let mut report = LimitsReport::default();
    let cost = probe::thread_cost(probe::kernel_types().map_or(0, |types| types.task_struct_bytes), 0);
    for _ in 0..SAMPLES {
        std::thread::sleep(config.limits.window / SAMPLES);
        let host = limits.read_host();
        report = limits.evaluate_host(&host, &ThreadCost { stack_bytes: host.stack_bytes(), ..cost });
    }
    Printed { limits: report.shared, unreadable: report.unreadable, incomplete: Some(reason) }
}

fn table(limits: &[LimitUse]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !has_colors() {
        table.force_no_tty();
    }
    table.set_header(["LIMIT", "OF", "USED", "MAX", "USE%", "", "ROOM FOR", "FULL IN", "FOREMOST", "SET BY"]);
    let bars = if is_utf8() { Bars::Blocks } else { Bars::Ascii };
    for limit in limits {
        table.add_row(row(limit, bars));
    }
    table
}

fn row(limit: &LimitUse, bars: Bars) -> [Cell; 10] {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let color = color(Level::of_use(limit.used_ratio));
    let bar = format!("{:<1$}", bars.bar(limit.used_ratio, BAR_CHARS), usize::from(BAR_CHARS));
    [
        Cell::new(limit.limit.label()),
        Cell::new(human::plain(&limit.name)),
        right(amount(limit.unit, limit.used)),
        right(amount(limit.unit, limit.max)),
        right(format!("{:.1}", limit.used_ratio * 100.0)).fg(color),
        Cell::new(bar).fg(color),
        right(human::count(limit.headroom_threads)),
        right(full_in(limit).unwrap_or_else(|| "-".to_owned())),
        Cell::new(foremost(limit).unwrap_or_else(|| "-".to_owned())),
        Cell::new(human::plain(&limit.set_by)),
    ]
}

fn color(level: Level) -> Color {
    match level {
        Level::Critical => Color::Red,
        Level::Warning => Color::Yellow,
        Level::Normal => Color::Green,
    }
}
