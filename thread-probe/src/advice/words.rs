//! What to change, in words: the same in advice and in alerts.

use crate::{
    limits::{Limit, LimitUse, words::amount},
    model::{CpuWork, Rates, UsableCpus},
    text::human::plain,
};

/// Twice what is used, or was at its peak, is room for a burst.
pub fn raise(limit: &LimitUse) -> String {
    let set_by = plain(&limit.set_by);
    let wanted = limit.peak.unwrap_or(0).max(limit.used).saturating_mul(2);
    match limit.limit {
        Limit::Memory => "use less memory or fewer threads, or add memory".to_owned(),
        Limit::Unknown => "look at the limits of its processes".to_owned(),
        Limit::CgroupMemory => format!("raise {set_by}, or use fewer threads"),
        _ => format!("set {set_by} to {}, or create fewer threads", amount(limit.unit, wanted)),
    }
}

/// As many threads as there are CPUs, or as many CPUs as threads had work.
pub fn quota(work: CpuWork, usable: &UsableCpus) -> String {
    let threads = usable.cpus.ceil().max(1.0);
    let raise = match &usable.quota_set_by {
        Some(set_by) => format!("raise {} to {:.1} CPUs", plain(set_by), work.wanted),
        None => format!("give it {:.0} CPUs", work.wanted.ceil()),
    };
    format!("{raise}, or let {threads:.0} of its threads run at a time (the size of its pools, GOMAXPROCS)")
}

/// In place of threads that end as soon as they begin.
pub fn short_lived(rates: &Rates) -> String {
    const SHORT_SECONDS: f64 = 1e-3;
    // Who ended and was created by no clone of a thread is the main thread of a process.
    if rates.threads_created_per_second < rates.threads_exited_per_second / 2.0 {
        return "let who starts them start fewer processes: one for many items, or what a shell has built in"
            .to_owned();
    }
    // Little's law, of tasks that take a millisecond at most.
    let busy = (rates.threads_exited_per_second * SHORT_SECONDS).ceil();
    format!("let it keep its threads: a pool of {busy:.0} and a few to spare in place of a thread for each task")
}

/// For fewer switches.
pub fn fewer_switches(rates: &Rates) -> &'static str {
    if rates.voluntary_switches_per_second > rates.involuntary_switches_per_second {
        "larger batches, fewer locks, or an event loop: most of them are to wait for something"
    } else {
        "fewer threads: most of them are since another one was to run"
    }
}

/// About a thread that does not sleep.
pub fn never_sleeps(pid: u32) -> String {
    format!("perf top -p {pid} or gdb -p {pid} show what it does; give long work a thread of its own")
}

/// About kernel stacks.
pub fn deep_stack(pid: u32) -> String {
    format!("see /proc/{pid}/task/*/stack for the drivers and file systems in it")
}
