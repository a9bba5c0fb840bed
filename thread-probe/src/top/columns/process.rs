//! The columns of processes.

use std::sync::LazyLock;

use super::{Column, Rated, Value, per_second, rate_columns, ratio, time::time_columns};
use crate::{
    limits::{LimitUse, Scope, words::Level},
    model::{Process, Rates},
    names::owner::Owner,
};

/// The column of who needs attention.
pub const ATTENTION: &str = "attention";

/// How much a process needs it: 2 where somebody must act now, 1 where somebody should look. By its own limits and
/// refusals: the host's limits are the header's, and would be everybody's.
pub fn attention(process: &Process) -> u64 {
    let is_refused = process.rates.is_some_and(|rates| rates.clone_failures_per_second > 0.0);
    let of_limit = |limit: &LimitUse| {
        if limit.scope == Scope::Host {
            return Level::Normal;
        }
        Level::of_use(limit.used_ratio).max(Level::of_time_left(limit))
    };
    let headroom = process.headroom.as_ref();
    let limits = headroom.map(|headroom| [Some(&headroom.binding), headroom.first_exhausted.as_ref()]);
    let level = limits.into_iter().flatten().flatten().map(of_limit).max().unwrap_or_default();
    match if is_refused { Level::Critical } else { level } {
        Level::Normal => 0,
        Level::Warning => 1,
        Level::Critical => 2,
    }
}

type ProcessColumn = Column<Process>;

impl Rated for Process {
    fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }
}

/// The columns of processes, in the order they have at first.
pub fn process_columns() -> &'static [Column<Process>] {
    static COLUMNS: LazyLock<Vec<Column<Process>>> =
        LazyLock::new(|| [&identity()[..], &rate_columns(), &costs(), &owners(), &more(), &time_columns()].concat());
    &COLUMNS
}

const fn identity() -> [Column<Process>; 6] {
    [
        ProcessColumn::new(("pid", "PID", 7), 0, |p| Value::Id(p.pid), "Process id (the kernel's tgid)"),
        ProcessColumn::new(("user", "USER", 9), 5, |p| Value::Text((&*p.user).into()), "Real user"),
        ProcessColumn::new(
            ("group", "GROUP", 15),
            9,
            |p| Value::Text((&*p.group).into()),
            "Its group in metrics and alerts",
        )
        .hidden(),
        ProcessColumn::new(("comm", "COMM", 15), 0, |p| Value::Text((&*p.comm).into()), "Name of the main thread"),
        ProcessColumn::new(("threads", "THR", 6), 0, |p| Value::Count(p.threads.total), "Threads"),
        ProcessColumn::new(
            ("threads_created_per_second", "+THR/s", 6),
            2,
            |p| per_second(p, |rates| rates.threads_created_per_second),
            "Threads created, main threads of new processes not included",
        ),
    ]
}

fn binding(process: &Process) -> Option<&LimitUse> {
    process.headroom.as_ref().map(|headroom| &headroom.binding)
}

/// The limit of which a row tells: the one that is reached first, if one is in sight, unless the binding one is full.
fn nearest(process: &Process) -> Option<&LimitUse> {
    let headroom = process.headroom.as_ref()?;
    match &headroom.first_exhausted {
        Some(first) if headroom.binding.headroom_threads > 0 => Some(first),
        _ => Some(&headroom.binding),
    }
}

fn exhausted_in(process: &Process) -> Option<f64> {
    let limit = nearest(process)?;
    if limit.headroom_threads == 0 { Some(0.0) } else { limit.exhaustion_seconds }
}

const fn costs() -> [Column<Process>; 5] {
    [
        ProcessColumn::new(
            ("kernel_stack_bytes", "KSTACK", 7),
            7,
            |p| Value::Bytes(p.memory.kernel_stack_bytes),
            "Kernel stacks of its threads, which can't be swapped",
        ),
        ProcessColumn::new(
            ("kernel_memory_bytes", "KMEM", 7),
            8,
            |p| Value::Bytes(p.memory.kernel_memory_bytes),
            "Kernel stacks and task structures",
        ),
        ProcessColumn::new(
            ("kernel_stack_depth_max_bytes", "DEPTH", 6),
            8,
            |p| Value::Bytes(p.memory.kernel_stack_depth_max_bytes),
            "Deepest kernel stack seen while switched out",
        ),
        ProcessColumn::new(
            ("limit", "LIMIT", 18),
            3,
            |p| Value::Limit(nearest(p)),
            "The limit that is reached first, else the one with room for the fewest threads, and how much of it is used",
        ),
        ProcessColumn::new(
            ("exhaustion_seconds", "FULL IN", 9),
            4,
            |p| Value::Until(exhausted_in(p)),
            "Time until that limit is reached if its use goes on to grow; - where that is not to be foreseen",
        ),
    ]
}

/// Whose its cgroup is.
const fn owners() -> [Column<Process>; 3] {
    fn owner(process: &Process) -> Option<&Owner> {
        process.owner.as_deref()
    }
    [
        ProcessColumn::new(
            ("unit", "UNIT", 24),
            9,
            |p| Value::Text(owner(p).and_then(|owner| owner.unit.as_deref()).unwrap_or_default().into()),
            "Its systemd unit",
        )
        .hidden(),
        ProcessColumn::new(
            ("container", "CONTAINER", 12),
            9,
            |p| Value::Text(owner(p).and_then(Owner::short_container).unwrap_or_default().into()),
            "Its container: the first 12 digits of the id, or the name",
        )
        .hidden(),
        ProcessColumn::new(
            ("pod", "POD", 36),
            9,
            |p| Value::Text(owner(p).and_then(Owner::short_pod).unwrap_or_default().into()),
            "Its pod's uid",
        )
        .hidden(),
    ]
}

#[expect(clippy::too_many_lines, reason = "a declaration each")]
const fn more() -> [Column<Process>; 21] {
    [
        ProcessColumn::new(
            ("oversubscription", "OVER", 6),
            9,
            |p| Value::Ratio(p.oversubscription),
            "Threads that had work for each CPU that it may use, by its quota and affinity: 100 is one, beyond that some wait",
        )
        .hidden(),
        ProcessColumn::new(
            ("taken_by", "TAKEN BY", 20),
            2,
            |p| Value::Most(p.cpu_taken.most()),
            "Who took the CPU while its threads waited for one, for most of that time: a group, ~self (its own threads), ~kernel, \
             ~throttled, ~idle, ~short (waits under 1 ms), ~elsewhere (on another CPU's run queue first) or ~unknown",
        )
        .hidden(),
        ProcessColumn::new(
            (ATTENTION, "!", 1),
            9,
            |p| Value::Count(attention(p)),
            "Who needs attention first: 2 is refused clones, or 90 % of a limit or an hour from it; 1 is 80 % or 4 hours. \
             The host's limits, which are everybody's, aside",
        )
        .hidden(),
        ProcessColumn::new(
            ("threads_grown_per_second", "NET/s", 7),
            9,
            |p| per_second(p, |rates| rates.threads_created_per_second - rates.threads_exited_per_second),
            "Threads created less those that ended",
        )
        .hidden(),
        ProcessColumn::new(("parent_pid", "PPID", 7), 9, |p| Value::Id(p.parent_pid), "The parent's process id")
            .hidden(),
        ProcessColumn::new(("exe", "EXE", 15), 9, |p| Value::Text((&*p.exe).into()), "File name of the executable")
            .hidden(),
        ProcessColumn::new(
            ("cgroup", "CGROUP", 24),
            9,
            |p| Value::Text(p.cgroup.as_deref().unwrap_or_default().into()),
            "Path of its cgroup",
        )
        .hidden(),
        ProcessColumn::new(
            ("running", "RUN", 6),
            9,
            |p| Value::Count(p.threads.running),
            "Threads on a CPU or waiting for one",
        )
        .hidden(),
        ProcessColumn::new(
            ("blocked", "BLOCK", 6),
            9,
            |p| Value::Count(p.threads.blocked),
            "Threads waiting uninterruptibly",
        )
        .hidden(),
        ProcessColumn::new(
            ("zombie", "ZOMB", 6),
            9,
            |p| Value::Count(p.threads.zombie),
            "Threads that ended and were not waited for",
        )
        .hidden(),
        ProcessColumn::new(
            ("threads_exited_per_second", "-THR/s", 7),
            9,
            |p| per_second(p, |rates| rates.threads_exited_per_second),
            "Threads that ended",
        )
        .hidden(),
        ProcessColumn::new(
            ("short_lived_ratio", "SHORT%", 6),
            9,
            |p| ratio(p, |rates| rates.short_lived_ratio),
            "Of the threads that ended, the share that had lived for a millisecond at most",
        )
        .hidden(),
        ProcessColumn::new(
            ("processes_created_per_second", "+PROC/s", 7),
            9,
            |p| per_second(p, |rates| rates.processes_created_per_second),
            "Processes created",
        )
        .hidden(),
        ProcessColumn::new(
            ("children_cpu_ratio", "CHILD%", 6),
            9,
            |p| Value::Ratio(p.children_cpu_ratio),
            "CPU time of its children that ended and were waited for, and of theirs: 100 is one CPU all the time",
        )
        .hidden(),
        ProcessColumn::new(
            ("nice", "NICE", 4),
            9,
            |p| Value::Signed(p.scheduling.nice),
            "Nice value of the main thread: from -20, which gets most, to 19",
        )
        .hidden(),
        ProcessColumn::new(
            ("policy", "POLICY", 8),
            9,
            |p| Value::Text((&*p.scheduling.policy).into()),
            "Scheduling policy of the main thread: other, fifo, rr, batch, idle, deadline or ext",
        )
        .hidden(),
        ProcessColumn::new(
            ("allowed_cpus", "CPUS", 5),
            9,
            |p| Value::Count(u64::from(p.scheduling.allowed_cpus)),
            "CPUs that the main thread may run on",
        )
        .hidden(),
        ProcessColumn::new(
            ("clone_failures_per_second", "FAIL/s", 7),
            9,
            |p| per_second(p, |rates| rates.clone_failures_per_second),
            "Clones that failed",
        )
        .hidden(),
        ProcessColumn::new(
            ("clone_failures", "FAIL", 7),
            9,
            |p| Value::Count(p.totals.clone_failures.total()),
            "Clones that failed since the probe was started",
        )
        .hidden(),
        ProcessColumn::new(
            ("limit_used_ratio", "USED%", 6),
            9,
            |p| Value::Ratio(nearest(p).map(|limit| limit.used_ratio)),
            "How much of the limit in LIMIT is used",
        )
        .hidden(),
        ProcessColumn::new(
            ("headroom_threads", "ROOM", 8),
            9,
            |p| Value::Headroom(binding(p).map(|limit| limit.headroom_threads)),
            "How many more threads its limits have room for",
        )
        .hidden(),
    ]
}
