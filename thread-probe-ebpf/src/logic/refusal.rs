//! Which limit refused a clone, decided at that very moment: later, threads may have ended, and no limit is exhausted
//! any more. Only failures come here.
//!
//! What is asked of the kernel is a trait each, so that the choice can be tested without one.

use crate::abi::{
    names::{CloneErrno, CloneFailure},
    record::{HostLimits, RESERVED_IDS},
};

/// MAX_PID_NS_LEVEL of include/linux/pid_namespace.h.
const MAX_PID_NAMESPACES: u32 = 32;
/// How many cgroups are looked at, from a task's own upwards. Nobody nests deeper.
const MAX_CGROUPS: u32 = 32;
/// MEMCG_CHARGE_BATCH of include/linux/memcontrol.h: pages that a CPU charges ahead.
const CHARGE_BATCH: u64 = 64;
/// How many user namespaces are looked at, from a task's own upwards. They nest up to 32 deep; nobody does.
pub const MAX_USER_NAMESPACES: u32 = 4;

/// A task that asked for another.
pub trait Creator: Copy {
    /// What its user is charged.
    type Charge: Charge;
    /// Its pid namespace.
    type Namespace: Namespace;
    /// A cgroup of its.
    type Cgroup: Cgroup;
    /// Whether RLIMIT_NPROC does not hold for it.
    fn is_exempt(self) -> bool;
    /// What its real user is charged for its threads, against its own RLIMIT_NPROC.
    fn charge(self) -> Self::Charge;
    /// The pid namespace of the threads it creates.
    fn namespace(self) -> Self::Namespace;
    /// Its cgroup for the pids controller.
    fn pids(self) -> Self::Cgroup;
    /// Its cgroup for the memory controller.
    fn memory(self) -> Self::Cgroup;
}

/// What a user is charged in a user namespace.
pub trait Charge: Copy {
    /// Whether there is none: above the first namespace.
    fn is_null(self) -> bool;
    /// Threads.
    fn used(self) -> u64;
    /// What they may be at most.
    fn max(self) -> u64;
    /// What the namespace is charged in the one above.
    fn above(self) -> Self;
}

/// A pid namespace.
pub trait Namespace: Copy {
    /// Whether there is none.
    fn is_null(self) -> bool;
    /// Whether its init has ended.
    fn is_dying(self) -> bool;
    /// Ids in use.
    fn used(self) -> u32;
    /// Its own `pid_max`; 0 where the kernel has one for all.
    fn own_max(self) -> u32;
    /// How deep it is nested; 0 for the first.
    fn level(self) -> u32;
    /// The one it is nested in.
    fn parent(self) -> Self;
}

/// A cgroup, for one controller.
pub trait Cgroup: Copy {
    /// Whether there is none.
    fn is_null(self) -> bool;
    /// Its id: its inode in cgroupfs.
    fn id(self) -> u64;
    /// The one above.
    fn parent(self) -> Self;
    /// Of the pids controller: threads in it, and how many there may be.
    fn threads(self) -> Option<(u64, u64)>;
    /// Of the memory controller: pages charged to it, and how many may be.
    fn pages(self) -> Option<(u64, u64)>;
}

/// Why a clone failed, and the id of the cgroup that refused it, else 0.
#[inline(always)]
pub fn failure_of<T: Creator>(task: T, errno: CloneErrno, host: &HostLimits) -> (CloneFailure, u64) {
    match errno {
        CloneErrno::Eagain => refused_a_task(task, host),
        CloneErrno::Enomem => refused_memory(task),
        CloneErrno::Eperm => (CloneFailure::Eperm, 0),
        CloneErrno::Einval => (CloneFailure::Einval, 0),
        CloneErrno::Enospc => (CloneFailure::Enospc, 0),
        CloneErrno::Other => (CloneFailure::Other, 0),
    }
}

/// First what is full to the last thread; if nothing is, what is but for as many threads as may have ended on other
/// CPUs since the refusal.
#[inline(always)]
fn refused_a_task<T: Creator>(task: T, host: &HostLimits) -> (CloneFailure, u64) {
    for ended in [0, host.cpus] {
        let (failure, cgroup) = full_limit(task, host, ended);
        if failure as u32 != CloneFailure::EagainUnknown as u32 {
            return (failure, cgroup);
        }
    }
    (CloneFailure::EagainUnknown, 0)
}

/// In the order in which `copy_process` asks, but for the ids: how many of those below 300 are free is not known, so
/// that what is known exactly comes first.
#[inline(always)]
fn full_limit<T: Creator>(task: T, host: &HostLimits, ended: u64) -> (CloneFailure, u64) {
    let is_full = |(used, max): (u64, u64)| used.saturating_add(ended.min(max / 8)) >= max;
    if !task.is_exempt() && is_nproc_full(task.charge(), is_full) {
        return (CloneFailure::Nproc, 0);
    }
    let (host_used, lacks_ids) = pid_namespaces(task.namespace(), host);
    if host.threads_max != 0 && is_full((host_used, host.threads_max)) {
        return (CloneFailure::ThreadsMax, 0);
    }
    match full_cgroup(task.pids(), |cgroup| cgroup.threads().is_some_and(is_full)) {
        0 if lacks_ids => (CloneFailure::PidMax, 0),
        0 => (CloneFailure::EagainUnknown, 0),
        cgroup => (CloneFailure::CgroupPids, cgroup),
    }
}

/// Whether the user, or the one its user namespace is charged to, has all the threads that RLIMIT_NPROC allows.
#[inline(always)]
fn is_nproc_full<C: Charge>(mut charge: C, is_full: impl Fn((u64, u64)) -> bool) -> bool {
    for _ in 0..MAX_USER_NAMESPACES {
        if charge.is_null() {
            return false;
        }
        if is_full((charge.used(), charge.max())) {
            return true;
        }
        charge = charge.above();
    }
    false
}

/// What is no cgroup's refusal is the host's: allocation and overcommit are what is left in `copy_process`, once the
/// pid namespace has an init.
#[inline(always)]
fn refused_memory<T: Creator>(task: T) -> (CloneFailure, u64) {
    if task.namespace().is_dying() {
        return (CloneFailure::EnomemUnknown, 0);
    }
    // What was charged for the task that failed is held by this CPU for the next.
    let is_full = |(used, max): (u64, u64)| used.saturating_add(2 * CHARGE_BATCH) >= max;
    match full_cgroup(task.memory(), |cgroup| cgroup.pages().is_some_and(is_full)) {
        0 => (CloneFailure::Memory, 0),
        cgroup => (CloneFailure::CgroupMemory, cgroup),
    }
}

/// Ids in use in the first pid namespace, and whether one of those that a new thread gets an id in has none left.
#[inline(always)]
fn pid_namespaces<N: Namespace>(mut namespace: N, host: &HostLimits) -> (u64, bool) {
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
fn full_cgroup<C: Cgroup>(mut cgroup: C, is_full: impl Fn(C) -> bool) -> u64 {
    for _ in 0..MAX_CGROUPS {
        if cgroup.is_null() {
            break;
        }
        if is_full(cgroup) {
            return cgroup.id();
        }
        cgroup = cgroup.parent();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level of something that nests, the lowest first.
    type Levels = &'static [(u64, u64)];

    #[derive(Clone, Copy)]
    struct Level {
        levels: Levels,
        at: usize,
    }

    impl Level {
        fn of(levels: Levels) -> Self {
            Self { levels, at: 0 }
        }

        fn numbers(self) -> (u64, u64) {
            self.levels[self.at]
        }

        fn next(self) -> Self {
            Self { at: self.at + 1, ..self }
        }
    }

    impl Charge for Level {
        fn is_null(self) -> bool {
            self.at >= self.levels.len()
        }

        fn used(self) -> u64 {
            self.numbers().0
        }

        fn max(self) -> u64 {
            self.numbers().1
        }

        fn above(self) -> Self {
            self.next()
        }
    }

    impl Namespace for Level {
        fn is_null(self) -> bool {
            self.at >= self.levels.len()
        }

        fn is_dying(self) -> bool {
            self.numbers().0 == 0
        }

        fn used(self) -> u32 {
            self.numbers().0 as u32
        }

        fn own_max(self) -> u32 {
            self.numbers().1 as u32
        }

        fn level(self) -> u32 {
            (self.levels.len() - 1 - self.at) as u32
        }

        fn parent(self) -> Self {
            self.next()
        }
    }

    impl Cgroup for Level {
        fn is_null(self) -> bool {
            self.at >= self.levels.len()
        }

        fn id(self) -> u64 {
            100 + self.at as u64
        }

        fn parent(self) -> Self {
            self.next()
        }

        fn threads(self) -> Option<(u64, u64)> {
            Some(self.numbers())
        }

        fn pages(self) -> Option<(u64, u64)> {
            Some(self.numbers())
        }
    }

    /// A task on a host where there is room for everything.
    #[derive(Clone, Copy)]
    struct Task {
        is_exempt: bool,
        charges: Levels,
        namespaces: Levels,
        cgroups: Levels,
    }

    const ROOMY: Task =
        Task { is_exempt: false, charges: &[(5, 1000)], namespaces: &[(500, 0)], cgroups: &[(5, 1000), (9, 2000)] };
    const HOST: HostLimits = HostLimits { threads_max: 10_000, pid_max: 32_768, cpus: 4 };

    impl Creator for Task {
        type Charge = Level;
        type Namespace = Level;
        type Cgroup = Level;

        fn is_exempt(self) -> bool {
            self.is_exempt
        }

        fn charge(self) -> Level {
            Level::of(self.charges)
        }

        fn namespace(self) -> Level {
            Level::of(self.namespaces)
        }

        fn pids(self) -> Level {
            Level::of(self.cgroups)
        }

        fn memory(self) -> Level {
            Level::of(self.cgroups)
        }
    }

    fn eagain(task: Task) -> (CloneFailure, u64) {
        failure_of(task, CloneErrno::Eagain, &HOST)
    }

    #[test]
    fn each_limit_that_is_full_is_the_one() {
        assert_eq!(eagain(ROOMY), (CloneFailure::EagainUnknown, 0));
        assert_eq!(eagain(Task { charges: &[(1000, 1000)], ..ROOMY }), (CloneFailure::Nproc, 0));
        assert_eq!(eagain(Task { namespaces: &[(10_000, 0)], ..ROOMY }), (CloneFailure::ThreadsMax, 0));
        assert_eq!(eagain(Task { cgroups: &[(1000, 1000), (9, 2000)], ..ROOMY }), (CloneFailure::CgroupPids, 100));
        assert_eq!(eagain(Task { cgroups: &[(5, 1000), (2000, 2000)], ..ROOMY }), (CloneFailure::CgroupPids, 101));
        let full_namespace = Task { namespaces: &[(700, 1000), (800, 0)], ..ROOMY };
        assert_eq!(eagain(full_namespace), (CloneFailure::PidMax, 0), "ids below 300 are handed out once");
    }

    #[test]
    fn of_two_that_are_full_it_is_the_one_that_the_kernel_asks_first() {
        let both = Task { charges: &[(1000, 1000)], cgroups: &[(1000, 1000)], ..ROOMY };
        assert_eq!(eagain(both), (CloneFailure::Nproc, 0));
        assert_eq!(eagain(Task { is_exempt: true, ..both }), (CloneFailure::CgroupPids, 100));
    }

    #[test]
    fn who_is_charged_above_counts_too() {
        assert_eq!(eagain(Task { charges: &[(5, 1000), (80, 80)], ..ROOMY }), (CloneFailure::Nproc, 0));
    }

    #[test]
    fn what_is_full_to_the_last_thread_comes_before_what_lacks_as_many_as_there_are_cpus() {
        let nearly = Task { charges: &[(996, 1000)], ..ROOMY };
        assert_eq!(eagain(nearly), (CloneFailure::Nproc, 0));
        assert_eq!(eagain(Task { cgroups: &[(1000, 1000)], ..nearly }), (CloneFailure::CgroupPids, 100));
        assert_eq!(eagain(Task { charges: &[(995, 1000)], ..ROOMY }), (CloneFailure::EagainUnknown, 0));
        assert_eq!(eagain(Task { charges: &[(6, 8)], ..ROOMY }), (CloneFailure::EagainUnknown, 0), "an eighth at most");
    }

    #[test]
    fn without_memory_it_is_the_lowest_full_cgroup_a_dying_namespace_or_the_host() {
        let enomem = |task| failure_of(task, CloneErrno::Enomem, &HOST);
        assert_eq!(enomem(ROOMY), (CloneFailure::Memory, 0));
        let charged_ahead = Task { cgroups: &[(872, 1000), (9, 2000)], ..ROOMY };
        assert_eq!(enomem(charged_ahead), (CloneFailure::CgroupMemory, 100));
        assert_eq!(enomem(Task { cgroups: &[(871, 1000)], ..ROOMY }), (CloneFailure::Memory, 0));
        assert_eq!(enomem(Task { namespaces: &[(0, 0)], ..charged_ahead }), (CloneFailure::EnomemUnknown, 0));
    }

    #[test]
    fn any_other_errno_names_itself() {
        for (errno, failure) in [
            (CloneErrno::Eperm, CloneFailure::Eperm),
            (CloneErrno::Einval, CloneFailure::Einval),
            (CloneErrno::Enospc, CloneFailure::Enospc),
            (CloneErrno::Other, CloneFailure::Other),
        ] {
            assert_eq!(failure_of(ROOMY, errno, &HOST), (failure, 0));
        }
    }
}
