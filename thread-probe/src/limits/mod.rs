//! Which limit on threads binds, who it applies to, and when it is reached.
//!
//! The records of the probe carry what a process has; /proc/sys, /proc/meminfo and cgroupfs, which anyone may read,
//! what it may.

mod evaluate;
mod files;
mod foremost;
mod growth;
mod host;
mod quota;
mod shared;
mod thread_memory;
mod tree;
pub(crate) mod words;

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::names::CloneFailure;

use self::growth::Growth;
pub use self::{
    evaluate::{Evaluation, Limits, ProcessLimits, Refusers, of_groups},
    foremost::Foremost,
    growth::MIN_SAMPLES,
    host::HostReading,
    quota::Quota,
};
use crate::{names::owner::own_unit, text::named::named};

named! {
    /// A limit that keeps threads from being created.
    pub enum Limit {
        /// `kernel.threads-max`, against all threads of the host.
        ThreadsMax = "threads_max",
        /// `kernel.pid_max`, against the ids of a pid namespace.
        PidMax = "pid_max",
        /// `pids.max` of a cgroup, against the threads in it and below.
        CgroupPids = "cgroup_pids",
        /// RLIMIT_NPROC, against the threads of a real user.
        Nproc = "nproc",
        /// `vm.max_map_count`, against the mappings of a process.
        MaxMapCount = "max_map_count",
        /// RLIMIT_AS, against the address space of a process.
        AddressSpace = "address_space",
        /// The host's memory.
        Memory = "memory",
        /// `memory.max` of a cgroup.
        CgroupMemory = "cgroup_memory",
        /// None of these explains a failure.
        Unknown = "unknown",
    }
}

impl Limit {
    /// The limit that refused a clone, if one may have.
    pub const fn of(failure: CloneFailure) -> Option<Self> {
        match failure {
            CloneFailure::Nproc => Some(Self::Nproc),
            CloneFailure::ThreadsMax => Some(Self::ThreadsMax),
            CloneFailure::PidMax => Some(Self::PidMax),
            CloneFailure::CgroupPids => Some(Self::CgroupPids),
            CloneFailure::CgroupMemory => Some(Self::CgroupMemory),
            CloneFailure::Memory => Some(Self::Memory),
            CloneFailure::EagainUnknown | CloneFailure::EnomemUnknown => Some(Self::Unknown),
            CloneFailure::Eperm | CloneFailure::Einval | CloneFailure::Enospc | CloneFailure::Other => None,
        }
    }

    /// Whether the kernel asks for it when a thread is created; the others show as memory that is missing before.
    pub const fn refuses_clones(self) -> bool {
        !matches!(self, Self::MaxMapCount | Self::AddressSpace)
    }

    /// What its use and its maximum are counted in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::MaxMapCount => Unit::Mappings,
            Self::AddressSpace | Self::Memory | Self::CgroupMemory => Unit::Bytes,
            _ => Unit::Threads,
        }
    }
}

named! {
    /// What the use of a limit is counted in.
    pub enum Unit {
        /// Threads, or their ids.
        Threads = "threads",
        /// Memory mappings.
        Mappings = "mappings",
        /// Bytes.
        Bytes = "bytes",
    }
}

named! {
    /// Who a limit applies to.
    pub enum Scope {
        /// All processes.
        Host = "host",
        /// Those of a pid namespace that is not the first one.
        PidNamespace = "pid_namespace",
        /// Those in a cgroup and below it.
        Cgroup = "cgroup",
        /// Those of a real user.
        User = "user",
        /// One process.
        Process = "process",
    }
}

/// One limit where it is set, with its use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitUse {
    /// Which limit.
    pub limit: Limit,
    /// Who it applies to.
    pub scope: Scope,
    /// The name of that: `host`, the inode of the pid namespace, the cgroup's path, the user, the pid
    /// with the comm.
    pub name: Arc<str>,
    /// What sets it, as an administrator would call it: `kernel.threads-max`, `TasksMax of a.service`.
    pub set_by: Arc<str>,
    /// What `used` and `max` are counted in.
    pub unit: Unit,
    /// Its use.
    pub used: u64,
    /// What is refused beyond.
    pub max: u64,
    /// `used / max`; may be above 1 where the limit was lowered.
    pub used_ratio: f64,
    /// How many more threads it has room for.
    pub headroom_threads: u64,
    /// What its use grows by, in its unit per second; null where it does not clearly grow.
    pub growth_per_second: Option<f64>,
    /// Seconds until it is reached if that goes on; null where it does not clearly grow, or what was seen of it does
    /// not carry a forecast yet: see [`LimitUse::forecasts`].
    pub exhaustion_seconds: Option<f64>,
    /// Most there ever was in use, where the kernel keeps it (`pids.peak`).
    pub peak: Option<u64>,
    /// Clones it refused (`max` in `pids.events.local`); before Linux 6.11 and in version 1, clones refused to its
    /// threads by it or one above (`pids.events`).
    pub refused: Option<u64>,
    /// Whose threads grow fastest, or who has the most of them; null of limits that are not on threads.
    pub foremost: Option<Foremost>,
}

/// The limits that hold for a process or group, boiled down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    /// The limit with room for the fewest threads.
    pub binding: LimitUse,
    /// The limit that is reached first if its use goes on to grow; null where none grows. It may be another one.
    pub first_exhausted: Option<LimitUse>,
}

/// All limits that more than one process shares, and what could not be read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LimitsReport {
    /// The limits: those of the host first, then the most endangered (largest `used_ratio`).
    pub shared: Vec<LimitUse>,
    /// Files that are there and could not be read, by name.
    pub unreadable: Vec<Unreadable>,
    /// How long it took to evaluate all limits of all processes.
    pub duration_seconds: f64,
}

impl LimitsReport {
    /// Puts those of the host first, in the order they are in, and then the most endangered.
    pub(crate) fn sort(limits: &mut [LimitUse]) {
        let danger = |limit: &LimitUse| if limit.scope == Scope::Host { f64::INFINITY } else { limit.used_ratio };
        limits.sort_by(|a, b| danger(b).total_cmp(&danger(a)));
    }
}

/// Files of one name that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The name, as in `pids.max`.
    pub file: Cow<'static, str>,
    /// How often, since start.
    pub count: u64,
}

impl LimitUse {
    /// A limit, before its use is known.
    fn new(limit: Limit, scope: Scope, name: Arc<str>, set_by: Arc<str>) -> Self {
        Self {
            limit,
            scope,
            name,
            set_by,
            unit: limit.unit(),
            used: 0,
            max: 0,
            used_ratio: 0.0,
            headroom_threads: 0,
            growth_per_second: None,
            exhaustion_seconds: None,
            peak: None,
            refused: None,
            foremost: None,
        }
    }

    fn with(self, used: u64, max: u64, per_thread: u64) -> Self {
        let headroom_threads = headroom_threads(used, max, per_thread);
        // A limit of 0 is full, whatever its use.
        let used_ratio = if max == 0 { 1.0 } else { used as f64 / max as f64 };
        Self { used, max, used_ratio, headroom_threads, ..self }
    }

    /// Tells its use in threads.
    fn of_threads(self, used: u64, max: u64) -> Self {
        self.with(used, max, 1)
    }

    /// Tells its use in mappings: a thread takes one for its stack and one for the guard below it.
    fn of_mappings(self, used: u64, max: u64) -> Self {
        self.with(used, max, 2)
    }

    /// Tells its use in bytes, of which a thread takes so many.
    fn of_bytes(self, used: u64, max: u64, thread_bytes: u64) -> Self {
        self.with(used, max, thread_bytes)
    }

    /// How many threads it has room for that take so many bytes.
    fn room_for(&self, thread_bytes: u64) -> u64 {
        match self.unit {
            Unit::Bytes => headroom_threads(self.used, self.max, thread_bytes),
            Unit::Threads | Unit::Mappings => self.headroom_threads,
        }
    }

    /// The same with another headroom.
    fn with_room(&self, headroom_threads: u64) -> Self {
        Self { headroom_threads, ..self.clone() }
    }

    /// Takes in how its use grows.
    fn growing(&mut self, growth: Option<Growth>) {
        self.growth_per_second = growth.map(|growth| growth.per_second);
        self.exhaustion_seconds =
            growth.and_then(|growth| self.extrapolated_seconds().filter(|left| self.forecasts(growth, *left)));
    }

    /// Seconds until it is reached if its use goes on to grow, however little was seen of that.
    pub fn extrapolated_seconds(&self) -> Option<f64> {
        self.growth_per_second.map(|growth| self.max.saturating_sub(self.used) as f64 / growth)
    }

    /// Whether growth carries a forecast: it is steady and was seen for a tenth of the time that is left. What starts
    /// up takes memory as fast as a leak, and stops: of bytes half must be used besides. Of all else, once half is
    /// used, a day in an hour is enough.
    fn forecasts(&self, growth: Growth, seconds_left: f64) -> bool {
        let is_half_used = self.used_ratio >= 0.5;
        let furthest = match self.unit {
            Unit::Bytes if !is_half_used => return false,
            Unit::Threads | Unit::Mappings if is_half_used => 24.0,
            _ => 10.0,
        };
        growth.is_steady && seconds_left <= growth.seen_seconds * furthest
    }

    /// Whether this one binds before the other: it has room for fewer threads or, of as many, is fuller.
    fn binds_before(&self, other: &Self) -> bool {
        (self.headroom_threads, -self.used_ratio) < (other.headroom_threads, -other.used_ratio)
    }

    /// Whether this one is reached before the other, which may never be.
    fn is_reached_before(&self, other: Option<&Self>) -> bool {
        let never = f64::INFINITY;
        self.exhaustion_seconds.unwrap_or(never) < other.and_then(|other| other.exhaustion_seconds).unwrap_or(never)
    }
}

/// What sets a cgroup's limit, as an administrator would call it.
pub(crate) fn cgroup_setting(limit: Limit, path: &str) -> String {
    let (directive, file) =
        if limit == Limit::CgroupMemory { ("MemoryMax", "memory.max") } else { ("TasksMax", "pids.max") };
    match own_unit(path) {
        Some(unit) => format!("{directive} of {unit}"),
        None => format!("{file} of {path}"),
    }
}

/// How many more threads a limit has room for, of which each takes `per_thread` of it.
fn headroom_threads(used: u64, max: u64, per_thread: u64) -> u64 {
    max.saturating_sub(used) / per_thread.max(1)
}

impl Headroom {
    /// Boils down limits, each with its headroom; `None` if there are none. Only the two that count are copied.
    fn of<'a>(limits: impl Iterator<Item = (&'a LimitUse, u64)>) -> Option<Self> {
        let mut binding: Option<(&LimitUse, u64)> = None;
        let mut first: Option<(&LimitUse, u64)> = None;
        for (limit, room) in limits {
            let is_nearer =
                |(other, other_room): (&LimitUse, u64)| (room, -limit.used_ratio) < (other_room, -other.used_ratio);
            if binding.is_none_or(is_nearer) {
                binding = Some((limit, room));
            }
            if limit.is_reached_before(first.map(|(first, _)| first)) {
                first = Some((limit, room));
            }
        }
        let copy = |(limit, room): (&LimitUse, u64)| limit.with_room(room);
        Some(Self { binding: copy(binding?), first_exhausted: first.map(copy) })
    }

    /// Takes in the limits of another process.
    pub(crate) fn include(&mut self, other: &Self) {
        if other.binding.binds_before(&self.binding) {
            self.binding = other.binding.clone();
        }
        if let Some(first) = &other.first_exhausted
            && first.is_reached_before(self.first_exhausted.as_ref())
        {
            self.first_exhausted = Some(first.clone());
        }
    }
}

#[cfg(test)]
mod tests;
