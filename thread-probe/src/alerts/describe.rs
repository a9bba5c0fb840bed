//! The words of an alert: a summary (what, where, how much) and advice (what to do).

use crate::{
    advice::words,
    bench::SwitchCost,
    limits::{self, Limit, LimitUse, Scope, Unit},
    model::{BlockedThread, CpuTaken, CpuWork, Process, Rates, UsableCpus},
    names::owner::own_unit,
    text::human::{bytes, count, duration, pace, percent, plain, seconds},
};

/// Of the rule `limit_use`.
pub(super) fn limit_use(limit: &LimitUse) -> (String, String) {
    let advice = match limit.limit {
        // Unlike with the others, threads are not the first to be refused.
        Limit::Memory => format!("{}: the kernel reclaims, then its OOM killer ends processes", words::raise(limit)),
        _ => words::raise(limit),
    };
    (usage(limit, &owner(limit)), advice)
}

/// Of the rule `exhaustion`.
pub(super) fn exhaustion(limit: &LimitUse) -> (String, String) {
    let what = match limit.unit {
        Unit::Threads => "creates threads",
        Unit::Mappings => "maps memory or creates threads",
        Unit::Bytes => "takes the memory",
    };
    (usage(limit, &owner(limit)), format!("find out what {what}; {}", words::raise(limit)))
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
    let growing = limit.exhaustion_seconds.filter(|_| limit.used < limit.max);
    let full = growing.map(|seconds| format!(", full in {}", duration(seconds)));
    let (share, full, by) = (percent(limit.used_ratio), full.unwrap_or_default(), by(limit).unwrap_or_default());
    format!("{used} of {max} {what} of {owner} used ({share}){full}{by}")
}

/// Who uses it, to look at first.
fn by(limit: &LimitUse) -> Option<String> {
    let of = limit.foremost.as_ref()?;
    let process = format!("process {} ({})", of.pid, plain(&of.comm));
    Some(match of.threads_grown_per_second {
        Some(growth) => format!("; {process} has {}, {}", count(of.threads), pace(growth)),
        None => format!("; {process} has {}", count(of.threads)),
    })
}

fn owner(limit: &LimitUse) -> String {
    let name = plain(&limit.name);
    match limit.scope {
        Scope::Host => "the host".to_owned(),
        Scope::PidNamespace => format!("pid namespace {name}"),
        Scope::Cgroup => own_unit(&name).unwrap_or(&name).to_owned(),
        Scope::User => format!("user {name}"),
        Scope::Process => format!("process {name}"),
    }
}

/// Of the rule `clone_failures`. `refused_by` is the cgroup whose limit it was, if one is known.
pub(super) fn clone_failures(group: &str, refused: Refused<'_>, seconds: f64) -> (String, String) {
    let Refused { limit, failed, by_cgroup } = refused;
    let clones = if failed == 1 { "clone" } else { "clones" };
    let what = format!("{} {clones} of {}", count(failed), plain(group));
    let when = format!("in {}", duration(seconds));
    let cgroup =
        || by_cgroup.map_or_else(|| "its cgroup".to_owned(), |path| limits::cgroup_setting(limit, &plain(path)));
    let set_by = match limit {
        Limit::Nproc => "RLIMIT_NPROC of its user".to_owned(),
        Limit::ThreadsMax => "kernel.threads-max".to_owned(),
        Limit::PidMax => "kernel.pid_max of its pid namespace".to_owned(),
        Limit::CgroupPids | Limit::CgroupMemory => cgroup(),
        Limit::Memory => {
            let advice = "use less memory or fewer threads, or add memory".to_owned();
            return (
                format!(
                    "{what} failed {when}: the host had no memory for them, or allows no more (vm.overcommit_memory)"
                ),
                advice,
            );
        }
        Limit::MaxMapCount | Limit::AddressSpace | Limit::Unknown => {
            let advice = "look for a pid namespace whose init has ended and for deadline tasks, which may not fork; \
                          strace -f -e trace=clone,clone3,fork,vfork shows what it asks for";
            let advice = advice.to_owned();
            return (format!("{what} failed {when}, and no limit was exhausted"), advice);
        }
    };
    (format!("{what} refused {when} by {set_by}"), format!("raise {set_by}, or find out what creates threads"))
}

/// Clones of a group that failed.
#[derive(Clone, Copy)]
pub(super) struct Refused<'a> {
    /// The limit that was exhausted at that moment.
    pub(super) limit: Limit,
    /// How many.
    pub(super) failed: u64,
    /// The cgroup whose limit it was.
    pub(super) by_cgroup: Option<&'a str>,
}

/// Of the rule `runqueue_latency`.
pub(super) fn runqueue_latency(group: &str, p99_seconds: f64, (rates, taken): (&Rates, &CpuTaken)) -> (String, String) {
    let work = rates.cpu_work();
    let waited = work.throttled + work.contended;
    let of_quota = match work.throttled {
        0.0 => String::new(),
        throttled => format!("; {} of what they wait is for a quota", percent(throttled / waited)),
    };
    let (advice, culprit) = if work.throttled > work.contended {
        (RAISE_QUOTA.to_owned(), String::new())
    } else if waited > 0.0 || taken.culprit().is_some() {
        (give_way(taken), culprit(taken, if of_quota.is_empty() { "that time" } else { "the rest" }))
    } else {
        ("look at the quota of its cgroup (cpu.max), its priority, and what else runs".to_owned(), String::new())
    };
    let summary = format!(
        "1 % of the waits for a CPU of threads of {} last {} or longer{of_quota}{culprit}",
        plain(group),
        duration(p99_seconds)
    );
    (summary, advice)
}

/// `; nginx had the CPU for 62 % of that time`: of the waits that no quota made.
fn culprit(taken: &CpuTaken, of_what: &str) -> String {
    let Some((who, share)) = taken.culprit() else { return String::new() };
    let who = match who {
        "~self" => "its own threads".into(),
        "~kernel" => "the kernel's threads".into(),
        group => plain(group),
    };
    format!("; {who} had the CPU for {} of {of_what}", percent(share))
}

fn give_way(taken: &CpuTaken) -> String {
    match taken.culprit() {
        Some(("~self", _)) => "let fewer of its threads run at a time, or give it more CPUs".to_owned(),
        Some((group, _)) if !group.starts_with('~') => format!(
            "give it more weight than {0} (cpu.weight, nice) or CPUs of its own, or let {0} run less",
            plain(group)
        ),
        _ => GIVE_WAY.to_owned(),
    }
}

const RAISE_QUOTA: &str = "raise cpu.max of its cgroup (CPUQuota=), or let fewer threads run at a time";
const GIVE_WAY: &str = "give it more weight (cpu.weight, nice) or CPUs of its own, let others run less, or let fewer of its threads run at a time";

/// Of the rule `cpu_throttled`.
pub(super) fn cpu_throttled(group: &str, work: CpuWork, usable: &UsableCpus) -> (String, String) {
    let share = percent(work.throttled / work.wanted);
    let ran = format!("{:.2} threads had work on average, {:.2} ran", work.wanted, work.running);
    let advice = match &usable.quota_set_by {
        Some(_) => words::quota(work, usable),
        None => RAISE_QUOTA.to_owned(),
    };
    (format!("{share} of the work of {} waited for a quota: {ran}", plain(group)), advice)
}

/// Of the rule `oversubscription`.
pub(super) fn oversubscription(group: &str, for_each: f64, work: CpuWork, usable: &UsableCpus) -> (String, String) {
    let of =
        usable.quota_set_by.as_deref().map_or_else(|| "that it may run on".to_owned(), |by| plain(by).into_owned());
    let summary = format!(
        "{:.1} threads of {} had work on average for {:.2} CPUs ({of}): {for_each:.1} for each",
        work.wanted,
        plain(group),
        usable.cpus
    );
    (summary, words::quota(work, usable))
}

/// Of the rule `thread_blocked`.
pub(super) fn blocked(process: &Process, blocked: &BlockedThread) -> (String, String) {
    let (pid, tid) = (process.pid, blocked.tid);
    (
        format!(
            "thread {tid} ({}) of process {pid} ({}) has been in uninterruptible sleep for {}",
            plain(&blocked.comm),
            plain(&process.comm),
            duration(blocked.seconds)
        ),
        format!(
            "see what it waits for in /proc/{pid}/task/{tid}/stack: a disk, NFS, a lock in the kernel; no signal but SIGKILL, and that not always, ends it"
        ),
    )
}

/// Of the rule `cpu_burst`.
pub(super) fn burst(process: &Process, seconds: f64, usual_seconds: f64) -> (String, String) {
    (
        format!(
            "a thread of process {} ({}) ran for {} without sleeping; before that, its threads slept after {}",
            process.pid,
            plain(&process.comm),
            duration(seconds),
            duration(usual_seconds)
        ),
        format!("who waits for it waits as long: {}", words::never_sleeps(process.pid)),
    )
}

/// Of the rule `cpu_contended`.
pub(super) fn cpu_contended(group: &str, work: CpuWork, taken: &CpuTaken) -> (String, String) {
    let share = percent(work.contended / work.wanted);
    let ran = format!("{:.2} threads had work on average, {:.2} ran", work.wanted, work.running);
    let culprit = culprit(taken, "that time");
    (format!("{share} of the work of {} waited for a CPU: {ran}{culprit}", plain(group)), give_way(taken))
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
        format!("an overflow ends the host: {}", words::deep_stack(process.pid)),
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
        words::short_lived(rates),
    )
}

/// Of the rule `switch_overhead`.
pub(super) fn switch_overhead(group: &str, rates: &Rates, cpus: f64, cost: SwitchCost) -> (String, String) {
    (
        format!(
            "{} switches a second of {} cost {cpus:.2} CPUs, at {} each{}",
            count(rates.switches_per_second as u64),
            plain(group),
            seconds(cost.each().as_secs_f64()),
            cost.origin()
        ),
        words::fewer_switches(rates).to_owned(),
    )
}
