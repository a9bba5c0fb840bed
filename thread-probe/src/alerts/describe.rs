//! The words of an alert: a summary (what, where, how much) and advice (what to do).

use std::time::Duration;

use super::text::{bytes, count, duration, percent, plain};
use crate::{
    limits::{Limit, LimitUse, Scope, Unit},
    model::{Group, Process, Rates},
};

/// From where on a limit is what made a clone fail.
const EXHAUSTED_RATIO: f64 = 0.99;

/// Of the rule `limit_use`.
pub(super) fn limit_use(limit: &LimitUse) -> (String, String) {
    (usage(limit, &owner(limit, None)), raise(limit))
}

/// Of the rule `exhaustion`; `group` is that of the process whose limit it is.
pub(super) fn exhaustion(limit: &LimitUse, group: Option<&str>) -> (String, String) {
    let what = match limit.unit {
        Unit::Threads => "creates threads",
        Unit::Mappings => "maps memory or creates threads",
        Unit::Bytes => "takes the memory",
    };
    (usage(limit, &owner(limit, group)), format!("find out what {what}; {}", raise(limit)))
}

/// `4,812 of 4,915 threads of postgresql.service used (98 %), full in 22 min`.
fn usage(limit: &LimitUse, owner: &str) -> String {
    let number = |number| if limit.unit == Unit::Bytes { bytes(number) } else { count(number) };
    let what = match limit.limit {
        Limit::PidMax => "thread ids",
        Limit::MaxMapCount => "mappings",
        Limit::AddressSpace => "of address space",
        Limit::Memory | Limit::CgroupMemory => "of memory",
        Limit::ThreadsMax | Limit::CgroupPids | Limit::Nproc | Limit::Unknown => "threads",
    };
    let (used, max) = (number(limit.used), number(limit.max));
    let full = limit.exhaustion_seconds.map(|seconds| format!(", full in {}", duration(seconds)));
    format!("{used} of {max} {what} of {owner} used ({}){}", percent(limit.used_ratio), full.unwrap_or_default())
}

fn owner(limit: &LimitUse, group: Option<&str>) -> String {
    let name = plain(&limit.name);
    match limit.scope {
        Scope::Host => "the host".to_owned(),
        Scope::PidNamespace => format!("pid namespace {name}"),
        Scope::Cgroup => unit_name(&name).to_owned(),
        Scope::User => format!("user {name}"),
        Scope::Process => {
            group.map_or_else(|| format!("process {name}"), |group| format!("process {name} ({})", plain(group)))
        }
    }
}

/// systemd's name of a cgroup; its path where it has none.
fn unit_name(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or(path);
    let is_unit = [".service", ".scope", ".slice"].iter().any(|suffix| last.ends_with(suffix));
    if is_unit { last } else { path }
}

fn raise(limit: &LimitUse) -> String {
    let set_by = plain(&limit.set_by);
    match limit.limit {
        Limit::Memory => "use less memory or fewer threads, or add memory".to_owned(),
        Limit::Unknown => "look at the limits of its processes".to_owned(),
        _ => format!("raise {set_by}"),
    }
}

/// Of the rule `clone_failures`.
pub(super) fn clone_failures(group: &Group, seconds: f64) -> (String, String) {
    let failures = &group.interval_clone_failures;
    let by_errno = [("EAGAIN", failures.eagain), ("ENOMEM", failures.enomem)];
    let errnos: Vec<String> = by_errno
        .iter()
        .filter(|(_, failed)| *failed > 0)
        .map(|(errno, failed)| format!("{} with {errno}", count(*failed)))
        .collect();
    let what = format!("clones of {} failed in {}: {}", plain(&group.group), duration(seconds), errnos.join(", "));
    let see_others = "look at the peak and refusals of its limits, and for bursts of threads".to_owned();
    match group.headroom.as_ref().map(|headroom| &headroom.binding) {
        Some(limit) if limit.used_ratio >= EXHAUSTED_RATIO => {
            (format!("{what}; {}", usage(limit, &owner(limit, None))), raise(limit))
        }
        Some(_) => (format!("{what}; no limit of it is exhausted any more"), see_others),
        None => (format!("{what}; none of its processes is left to tell its limits"), see_others),
    }
}

/// Of the rule `runqueue_latency`.
pub(super) fn runqueue_latency(group: &str, p99_seconds: f64) -> (String, String) {
    (
        format!("1 % of the waits for a CPU of threads of {} last {} or longer", plain(group), duration(p99_seconds)),
        "look at the quota of its cgroup (cpu.max), its priority, and what else runs".to_owned(),
    )
}

/// Of the rule `kernel_stack_depth`.
pub(super) fn kernel_stack_depth(process: &Process, stack_bytes: u64) -> (String, String) {
    let depth = process.memory.kernel_stack_depth_max_bytes;
    (
        format!(
            "{} of {} of a kernel stack used ({}) by process {} ({})",
            bytes(depth),
            bytes(stack_bytes),
            percent(depth as f64 / stack_bytes as f64),
            process.pid,
            plain(&process.comm)
        ),
        format!(
            "an overflow ends the host: see /proc/{}/task/*/stack for the drivers and file systems in it",
            process.pid
        ),
    )
}

/// Of the rule `short_lived_threads`.
pub(super) fn short_lived_threads(group: &str, rates: &Rates) -> (String, String) {
    (
        format!(
            "{} of the {} threads of {} that end in a second lived for a millisecond at most",
            percent(rates.short_lived_ratio),
            count(rates.threads_exited_per_second as u64),
            plain(group)
        ),
        "let it keep its threads: a thread pool".to_owned(),
    )
}

/// Of the rule `switch_overhead`.
pub(super) fn switch_overhead(group: &str, per_second: f64, cpus: f64, cost: Duration) -> (String, String) {
    (
        format!(
            "{} switches a second of {} cost {cpus:.2} CPUs, at {} each",
            count(per_second as u64),
            plain(group),
            duration(cost.as_secs_f64())
        ),
        "let it use fewer threads, larger batches or fewer locks".to_owned(),
    )
}
