//! Which limit refused a clone, told at the moment it did: a moment later threads may have ended, and none is exhausted
//! any more. Only failures come here.

use thread_probe_ebpf::{
    names::{CloneErrno, CloneFailure},
    record::{HostLimits, RESERVED_IDS},
};

use crate::{
    kernel::{Css, MAX_USER_NAMESPACES, RLIMIT_NPROC, Task},
    maps::HOST_LIMITS,
};

/// MAX_PID_NS_LEVEL of include/linux/pid_namespace.h.
const MAX_PID_NAMESPACES: u32 = 32;
/// How many cgroups are looked at, from a task's own upwards. Nobody nests deeper.
const MAX_CGROUPS: u32 = 32;
/// MEMCG_CHARGE_BATCH of include/linux/memcontrol.h: pages that a CPU charges ahead.
const CHARGE_BATCH: u64 = 64;

/// Why a clone of the current task failed, and the id of the cgroup that refused it, else 0.
#[inline(always)]
pub(crate) fn failure_of(task: Task, errno: CloneErrno) -> (CloneFailure, u64) {
    match errno {
        CloneErrno::Eagain => refused_a_task(task),
        CloneErrno::Enomem => refused_memory(task),
        CloneErrno::Eperm => (CloneFailure::Eperm, 0),
        CloneErrno::Einval => (CloneFailure::Einval, 0),
        CloneErrno::Enospc => (CloneFailure::Enospc, 0),
        CloneErrno::Other => (CloneFailure::Other, 0),
    }
}

/// First what is full to the last thread; if nothing is, what is but for as many threads as may have ended on other CPUs
/// since the refusal.
#[inline(always)]
fn refused_a_task(task: Task) -> (CloneFailure, u64) {
    let host = HOST_LIMITS.get(0).copied().unwrap_or_default();
    for ended in [0, host.cpus] {
        let (failure, cgroup) = full_limit(task, &host, ended);
        if failure as u32 != CloneFailure::EagainUnknown as u32 {
            return (failure, cgroup);
        }
    }
    (CloneFailure::EagainUnknown, 0)
}

/// In the order in which `copy_process` asks, but for the ids: how many of those below 300 are free is not known, so
/// that what is known exactly comes first.
#[inline(always)]
fn full_limit(task: Task, host: &HostLimits, ended: u64) -> (CloneFailure, u64) {
    let is_full = |used: u64, max: u64| used.saturating_add(ended.min(max / 8)) >= max;
    if !task.is_exempt_from_nproc() && is_nproc_full(task, is_full) {
        return (CloneFailure::Nproc, 0);
    }
    let (host_used, lacks_ids) = pid_namespaces(task, host);
    if host.threads_max != 0 && is_full(host_used, host.threads_max) {
        return (CloneFailure::ThreadsMax, 0);
    }
    match full_cgroup(task.pids_cgroup(), |css| css.pids(), is_full) {
        0 if lacks_ids => (CloneFailure::PidMax, 0),
        0 => (CloneFailure::EagainUnknown, 0),
        cgroup => (CloneFailure::CgroupPids, cgroup),
    }
}

/// Whether the user, or whom its user namespace is charged to, has all the threads that RLIMIT_NPROC allows.
#[inline(always)]
fn is_nproc_full(task: Task, is_full: impl Fn(u64, u64) -> bool) -> bool {
    let mut charge = task.nproc_charge(task.signal().rlimit(RLIMIT_NPROC));
    for _ in 0..MAX_USER_NAMESPACES {
        if charge.is_null() {
            return false;
        }
        if is_full(charge.used(), charge.max()) {
            return true;
        }
        charge = charge.above();
    }
    false
}

/// What is no cgroup's refusal is the host's: allocation and overcommit are what is left in `copy_process`, once the pid
/// namespace has an init.
#[inline(always)]
fn refused_memory(task: Task) -> (CloneFailure, u64) {
    if task.pid_ns().is_dying() {
        return (CloneFailure::EnomemUnknown, 0);
    }
    // What was charged for the task that failed is held by this CPU for the next.
    let is_full = |used: u64, max: u64| used.saturating_add(2 * CHARGE_BATCH) >= max;
    match full_cgroup(task.memory_cgroup(), |css| css.pages(), is_full) {
        0 => (CloneFailure::Memory, 0),
        cgroup => (CloneFailure::CgroupMemory, cgroup),
    }
}

/// Ids in use in the first pid namespace, and whether one of those that a new thread gets an id in has none left.
#[inline(always)]
fn pid_namespaces(task: Task, host: &HostLimits) -> (u64, bool) {
    let mut namespace = task.pid_ns();
    let mut lacks_ids = false;
    for _ in 0..MAX_PID_NAMESPACES {
        if namespace.is_null() {
            break;
        }
        let used = u64::from(namespace.used());
        let own_max = u64::from(namespace.own_max());
        let max = if own_max == 0 { host.pid_max } else { own_max };
        lacks_ids |= max != 0 && used + RESERVED_IDS >= max;
        if namespace.level() == 0 {
            return (used, lacks_ids);
        }
        namespace = namespace.parent();
    }
    (0, lacks_ids)
}

/// The id of the lowest of a cgroup and those above it that is full; 0 if none is.
#[inline(always)]
fn full_cgroup(mut css: Css, use_of: impl Fn(Css) -> Option<(u64, u64)>, is_full: impl Fn(u64, u64) -> bool) -> u64 {
    for _ in 0..MAX_CGROUPS {
        if css.is_null() {
            break;
        }
        if use_of(css).is_some_and(|(used, max)| is_full(used, max)) {
            return css.cgroup_id();
        }
        css = css.parent();
    }
    0
}
