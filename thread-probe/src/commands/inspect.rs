//! `thread-probe inspect`: what is in a process.

use std::io::{self, Write};

use anyhow::{Result, anyhow, bail, ensure};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use thread_probe_ebpf::abi::time::TimeState;

use super::{look, output};
use crate::{
    commands::options::{InspectOptions, Whose},
    inspect::{self, Inspection, Parallelism, Pool, Runtime, pools},
    limits::{
        LimitUse,
        words::{amount, foremost},
    },
    model::{Activity, Bucket, OneProcess, Process, Rates, Times},
    text::human,
};

/// How many of the limits are shown to people: the nearest.
const NEAREST: usize = 3;

/// What is printed; as JSON just so.
#[derive(Serialize)]
struct Printed<'a> {
    /// The process.
    pid: u32,
    /// Name of its main thread.
    comm: &'a str,
    /// Its executable, as it sees it.
    executable: String,
    /// Its group.
    group: &'a str,
    /// The name of its user.
    user: &'a str,
    /// What it is written in; empty where that is not known.
    runtimes: &'a [Runtime],
    /// Its threads, by pool.
    pools: Vec<Pool>,
    /// Threads that it has.
    threads: u64,
    /// CPUs that it may use.
    usable_cpus: f64,
    /// What it did, and what failed.
    totals: &'a Activity,
    /// The same a second, while it was watched.
    rates: Option<Rates>,
    /// How long its threads lived that ended since the probe was started.
    thread_lifetime_histogram: &'a [Bucket],
    /// Every limit that holds for it, the one with room for the fewest threads first.
    limits: &'a [LimitUse],
    /// What could not be read, and why.
    unreadable: &'a [String],
}

/// Looks, and prints what is there.
///
/// # Errors
/// No such process, one that may not be looked at, what the host lacks, or standard output that can't be written to.
pub(super) fn inspect(options: &InspectOptions) -> Result<()> {
    let is_here = look::is_here(options.look.url.as_deref());
    ensure!(is_here, "--url: inspect reads the memory of the process, so it must be on this host: give unix:/PATH");
    // First: a probe of its own gives up the privilege to look at others.
    let inspection = inspect::inspect(options.pid).map_err(|error| unseen(options.pid, &error))?;
    let sample = look::sample(&options.look, Some(options.pid))?;
    let chosen = look::chosen(&sample.model, Whose { pid: Some(options.pid), ..Default::default() })?;
    let (Some(process), Some(one)) = (chosen.first(), &sample.one) else {
        bail!("process {} ended while it was watched", options.pid);
    };
    let printed = printed(process, one, &inspection);
    output::print_as(options.look.format, &printed, |out| write(out, &printed))
}

fn unseen(pid: u32, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => anyhow!("no process {pid}: it does not exist, or has ended"),
        io::ErrorKind::PermissionDenied => {
            anyhow!("process {pid} may not be looked at: that takes its user, or root (CAP_SYS_PTRACE)")
        }
        _ => anyhow!("process {pid} can't be looked at: {error}"),
    }
}

fn printed<'a>(process: &'a Process, one: &'a OneProcess, inspection: &'a Inspection) -> Printed<'a> {
    Printed {
        pid: process.pid,
        comm: &process.comm,
        executable: inspection.executable.to_string_lossy().into_owned(),
        group: &process.group,
        user: &process.user,
        runtimes: &inspection.runtimes,
        pools: pools(process.pid, &one.threads, inspection),
        threads: process.threads.total,
        usable_cpus: process.usable_cpus.cpus,
        totals: &process.totals,
        rates: process.rates,
        thread_lifetime_histogram: &one.thread_lifetime_histogram,
        limits: &one.applicable_limits,
        unreadable: &inspection.unreadable,
    }
}

fn write(out: &mut impl Write, printed: &Printed<'_>) -> io::Result<()> {
    let Printed { pid, comm, executable, group, user, .. } = printed;
    writeln!(
        out,
        "{} {pid}: {}, of group {} and user {}; {} on {:.2} CPUs",
        human::plain(comm),
        human::plain(executable),
        human::plain(group),
        human::plain(user),
        human::counted(printed.threads, "thread"),
        printed.usable_cpus,
    )?;
    if printed.runtimes.is_empty() {
        writeln!(out, "Runtime: unknown")?;
    }
    for runtime in printed.runtimes {
        writeln!(out, "{}", human::plain(&in_words(runtime)))?;
    }
    writeln!(out, "\n{}", of_pools(&printed.pools).trim_fmt())?;
    if let Some(stacks) = stacks(&printed.pools) {
        writeln!(out, "\n{stacks}")?;
    }
    writeln!(out, "\n{}", came_and_went(printed))?;
    for limit in printed.limits.iter().take(NEAREST) {
        writeln!(out, "{}", of_limit(limit))?;
    }
    for unreadable in printed.unreadable {
        writeln!(out, "Not seen: {}", human::plain(unreadable))?;
    }
    Ok(())
}

fn in_words(runtime: &Runtime) -> String {
    let Runtime { kind, version, model, threads, parallelism, evidence } = runtime;
    let version = version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    let at_work = parallelism.as_ref().map_or_else(String::new, |Parallelism { threads, set_by, seen_in }| {
        format!("; {threads} at a time, as {set_by} says: {seen_in}")
    });
    format!("{}{version}, {}: {threads}{at_work} [{}]", kind.label(), model.label(), evidence.join("; "))
}

fn of_pools(pools: &[Pool]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table.set_header([
        "POOL",
        "THREADS",
        "IDLE",
        "CPU%",
        "RUN%",
        "WAIT%",
        "MOSTLY",
        "SWITCH/s",
        "KSTACK",
        "STACK",
        "TOUCHED",
        "DEEPEST",
        "ENOUGH",
        "BEGAN WITH",
    ]);
    for pool in pools {
        table.add_row(row(pool));
    }
    for column in 1..13 {
        let is_text = column == 6;
        if let Some(column) = table.column_mut(column).filter(|_| !is_text) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(pool: &Pool) -> Vec<Cell> {
    let share = |time: f64| match pool.time_ratio.total() {
        0.0 => "-".to_owned(),
        total => format!("{:.0}", time / total * 100.0),
    };
    let of = |state| pool.time_ratio.get(state);
    let waits = of(TimeState::WaitWakeup) + of(TimeState::WaitPreempted) + of(TimeState::Throttled);
    let of_stacks = |bytes: &dyn Fn(&inspect::PoolStacks) -> u64| {
        pool.stacks.as_ref().map_or_else(|| "-".to_owned(), |stacks| human::short_bytes(bytes(stacks)))
    };
    let began = match (pool.role, &pool.began_with) {
        (Some(role), Some(began)) => format!("{role}: {began}"),
        (Some(role), None) => role.to_owned(),
        (None, began) => began.clone().unwrap_or_default(),
    };
    vec![
        Cell::new(human::plain(&pool.name)),
        Cell::new(human::count(pool.threads.total)),
        Cell::new(human::count(pool.idle_threads)),
        Cell::new(format!("{:.1}", pool.cpu_ratio * 100.0)),
        Cell::new(share(of(TimeState::Running))),
        Cell::new(share(waits)),
        Cell::new(mostly(&pool.time_ratio).map_or("-", TimeState::label)),
        Cell::new(human::per_second(pool.switches_per_second)),
        Cell::new(human::short_bytes(pool.kernel_stack_depth_max_bytes.into())),
        Cell::new(of_stacks(&|stacks| stacks.reserved_bytes)),
        Cell::new(of_stacks(&|stacks| stacks.touched_bytes)),
        Cell::new(of_stacks(&|stacks| stacks.deepest_bytes)),
        Cell::new(of_stacks(&|stacks| stacks.enough_bytes)),
        Cell::new(human::plain(&began)),
    ]
}

/// What its threads do for most of their time.
fn mostly(times: &Times) -> Option<TimeState> {
    let most = times.iter().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, time)| *time > 0.0)?;
    Some(most.0)
}

/// What all stacks but the main thread's take, and what smaller ones would save.
fn stacks(pools: &[Pool]) -> Option<String> {
    let all = || pools.iter().filter_map(|pool| pool.stacks.as_ref());
    let sum = |of: fn(&inspect::PoolStacks) -> u64| all().map(of).sum::<u64>();
    let count = sum(|stacks| stacks.stacks);
    if count == 0 {
        return None;
    }
    let huge = sum(|stacks| stacks.huge_bytes.unwrap_or(0));
    let huge = if huge > 0 { format!(", {} of it in huge pages", human::bytes(huge)) } else { String::new() };
    Some(format!(
        "{} in user space: {} touched{huge}. Of ENOUGH (twice the deepest) they would take {} less of address space.",
        human::counted(count, "stack"),
        human::bytes(sum(|stacks| stacks.touched_bytes)),
        human::bytes(sum(|stacks| stacks.saved_bytes)),
    ))
}

fn came_and_went(printed: &Printed<'_>) -> String {
    let totals = printed.totals;
    let a_second = printed.rates.map_or_else(String::new, |rates| {
        format!(" ({} a second now)", human::per_second(rates.threads_created_per_second))
    });
    let lived = printed.thread_lifetime_histogram.iter().filter(|bucket| bucket.count > 0).map(|bucket| {
        let bound =
            bucket.le_seconds.map_or_else(|| "longer".to_owned(), |bound| format!("<= {}", human::seconds(bound)));
        format!("{} {bound}", human::count(bucket.count))
    });
    let lived = lived.collect::<Vec<_>>().join(", ");
    let lived = if lived.is_empty() { String::new() } else { format!(", which lived: {lived}") };
    let refused: Vec<_> = totals.clone_failures_by_limit.iter().filter(|(_, count)| *count > 0).collect();
    let refused = match refused.as_slice() {
        [] => String::new(),
        refused => {
            let by: Vec<_> = refused.iter().map(|(limit, count)| format!("{count} by {}", limit.label())).collect();
            format!("; refused: {}", by.join(", "))
        }
    };
    format!(
        "Since the probe was started: {} created{a_second}, {} ended{lived}{refused}.",
        human::counted(totals.threads_created, "thread"),
        human::count(totals.threads_exited),
    )
}

fn of_limit(limit: &LimitUse) -> String {
    format!(
        "Limit {}: {} of {}, room for {}; set by {}{}",
        limit.limit.label(),
        amount(limit.unit, limit.used),
        amount(limit.unit, limit.max),
        human::counted(limit.headroom_threads, "thread"),
        human::plain(&limit.set_by),
        foremost(limit).map_or_else(String::new, |foremost| format!("; foremost {}", human::plain(&foremost))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_do_mostly_is_said_of_those_that_were_watched() {
        let times = Times::of([(TimeState::Running, 0.2), (TimeState::Poll, 0.7)]);
        assert_eq!(mostly(&times), Some(TimeState::Poll));
        assert_eq!(mostly(&Times::default()), None);
    }
}
