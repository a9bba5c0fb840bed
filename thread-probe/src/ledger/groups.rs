//! The groups: a bounded number of names with totals that outlive their processes.

use std::{sync::Arc, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};
use thread_probe_ebpf::abi::{fold::Folded, record::Counters};

use super::{
    recent::RecentMax,
    refused::RefusedBy,
    taken::Taken,
    totals::{Delta, Interval, Totals, combine, of_storage},
};
use crate::names::{
    grouping::{LOST, OTHER},
    owner::Owner,
};

/// How long a group has had no live process before it gives way to one that has, where there is no room: its last
/// figures were scraped by then.
const GIVES_WAY_AFTER_NS: u64 = 120_000_000_000;

/// How many groups there may be, and for how long.
#[derive(Clone, Debug)]
pub struct GroupBounds {
    /// How many, those that are kept aside.
    pub max: usize,
    /// How long one without a live process stays.
    pub retention: Duration,
    /// Names for which there is always room.
    pub keep: Vec<String>,
}

/// Names a group as long as it exists; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(u32);

/// One group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name: the label `group`.
    pub name: Arc<str>,
    /// All that its processes did while they belonged to it.
    pub totals: Totals,
    /// Deepest kernel stack of its threads seen while switched out, in bytes.
    pub stack_depth_max_bytes: u32,
    /// Whose the cgroups of its processes are: what is the same of all that there ever were, so that it does not change
    /// to and fro. `None` where no cgroup names the group.
    pub owner: Option<Owner>,
    /// Which cgroups refused its processes a clone last.
    pub refused_by: RefusedBy,
    /// Who took the CPU from its threads.
    pub taken: Taken,
    pub(super) interval: Interval,
    bursts: RecentMax,
    /// What its threads had counted when the probe was started.
    before_start: Counters,
    last_alive_ns: u64,
}

impl Group {
    /// Its totals without what its threads had counted when the probe was started: a counter of them goes back to 0
    /// with a restart, not to what happens to be alive, which would count as growth.
    pub fn since_start(&self) -> Totals {
        let counters = combine(self.totals.counters, self.before_start, u64::wrapping_sub);
        Totals { counters, ..self.totals.clone() }
    }

    /// What was added in the interval `epoch`.
    pub fn interval(&self, epoch: u64) -> Option<&Totals> {
        self.interval.in_epoch(epoch)
    }

    /// The longest burst of any of its threads in the last 30 to 60 s, in nanoseconds.
    pub fn recent_burst_ns(&self) -> u64 {
        self.bursts.get()
    }
}

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    by_id: FxHashMap<GroupId, Group>,
    by_name: FxHashMap<Arc<str>, GroupId>,
    next: u32,
    bounds: GroupBounds,
    /// Those that count against the bound.
    counted: usize,
    refused: u64,
}

impl Groups {
    pub(super) fn new(bounds: GroupBounds) -> Self {
        Self { by_id: FxHashMap::default(), by_name: FxHashMap::default(), next: 0, bounds, counted: 0, refused: 0 }
    }

    pub(super) fn set_bounds(&mut self, bounds: GroupBounds) {
        self.bounds = bounds;
        self.counted = self.by_name.keys().filter(|name| self.is_counted(name)).count();
    }

    /// The group of that name, made if there is room; else `~other`. Who has ended already gets none of the last half.
    pub(super) fn get_or_create(&mut self, name: &str, is_alive: bool, now_ns: u64) -> GroupId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let most = if is_alive { self.bounds.max } else { self.bounds.max.div_ceil(2) };
        let is_counted = self.is_counted(name);
        if is_counted && self.counted >= most {
            self.refused += 1;
            return self.get_or_create(OTHER, is_alive, now_ns);
        }
        self.counted += usize::from(is_counted);
        let id = GroupId(self.next);
        self.next += 1;
        let name: Arc<str> = Arc::from(name);
        let group = Group {
            name: Arc::clone(&name),
            totals: Totals::default(),
            stack_depth_max_bytes: 0,
            owner: None,
            refused_by: RefusedBy::default(),
            taken: Taken::default(),
            interval: Interval::default(),
            bursts: RecentMax::default(),
            before_start: Counters::default(),
            last_alive_ns: now_ns,
        };
        self.by_id.insert(id, group);
        self.by_name.insert(name, id);
        id
    }

    /// The first sample is over: what there is was before the probe.
    pub(super) fn start(&mut self) {
        for group in self.by_id.values_mut() {
            // What lives in the storage counts from then on anyway.
            let counters = group.totals.counters;
            group.before_start = combine(counters, of_storage(counters), u64::wrapping_sub);
        }
    }

    /// Whether a group of that name counts against the bound.
    fn is_counted(&self, name: &str) -> bool {
        name != OTHER && name != LOST && !self.bounds.keep.iter().any(|kept| kept == name)
    }

    /// Whether a group of that name is there, or can be.
    pub(super) fn has_room_for(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || !self.is_counted(name) || self.counted < self.bounds.max
    }

    /// Drops groups that are dead for long, the longest first, if need be for so many.
    pub(super) fn make_room(&mut self, wanted: usize, now_ns: u64) {
        let free = self.bounds.max.saturating_sub(self.counted);
        let dead_ns = |group: &Group| now_ns.saturating_sub(group.last_alive_ns);
        let is_dead = |group: &&Group| self.is_counted(&group.name) && dead_ns(group) > GIVES_WAY_AFTER_NS;
        let mut dead: Vec<(u64, GroupId)> =
            self.iter().filter(|(_, group)| is_dead(group)).map(|(id, group)| (group.last_alive_ns, id)).collect();
        dead.sort_unstable();
        dead.truncate(wanted.saturating_sub(free));
        let goes: FxHashSet<GroupId> = dead.into_iter().map(|(_, id)| id).collect();
        self.retain(|id, _| !goes.contains(&id));
    }

    fn retain(&mut self, stays: impl Fn(GroupId, &Group) -> bool) {
        self.by_id.retain(|id, group| stays(*id, group));
        let by_id = &self.by_id;
        self.by_name.retain(|_, id| by_id.contains_key(id));
        self.counted = self.by_name.keys().filter(|name| self.is_counted(name)).count();
    }

    /// Where those are for which there was no room, if there are any.
    pub(super) fn other(&self) -> Option<GroupId> {
        self.by_name.get(OTHER).copied()
    }

    pub(super) fn add(&mut self, id: GroupId, epoch: u64, delta: &Delta<'_>) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.totals.add(delta);
            group.interval.of(epoch).add(delta);
        }
    }

    pub(super) fn merge(&mut self, id: GroupId, epoch: u64, totals: &Totals) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.totals.merge(totals);
            group.interval.of(epoch).merge(totals);
        }
    }

    pub(super) fn saw_depth(&mut self, id: GroupId, depth_bytes: u32) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.stack_depth_max_bytes = group.stack_depth_max_bytes.max(depth_bytes);
        }
    }

    /// One of its processes is in a cgroup of that owner. `~other` has everybody's.
    pub(super) fn saw_owner(&mut self, id: GroupId, owner: &Owner) {
        match self.by_id.get_mut(&id) {
            Some(group) if *group.name != *OTHER => match &mut group.owner {
                Some(common) => common.keep_common(owner),
                none => *none = Some(owner.clone()),
            },
            _ => {}
        }
    }

    pub(super) fn saw_refusals(&mut self, id: GroupId, sums: &Folded, added: &Folded) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.refused_by.observe(sums, added);
        }
    }

    /// Takes in the longest bursts of an interval.
    pub(super) fn saw_bursts(&mut self, epoch: u64, now_ns: u64) {
        for group in self.by_id.values_mut() {
            let burst_ns = group.interval.in_epoch(epoch).map_or(0, |added| added.burst_max_ns);
            group.bursts.add(now_ns, burst_ns);
        }
    }

    pub(super) fn saw_alive(&mut self, id: GroupId, now_ns: u64) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.last_alive_ns = now_ns;
        }
    }

    /// Drops each group that had no live process for the retention time. `~other` and `~lost` stay.
    pub(super) fn drop_expired(&mut self, now_ns: u64) {
        let retention_ns = whole_ns(self.bounds.retention);
        self.retain(|_, group| {
            let is_ours = *group.name == *OTHER || *group.name == *LOST;
            is_ours || now_ns.saturating_sub(group.last_alive_ns) <= retention_ns
        });
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.by_id.values_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.by_id.iter().map(|(id, group)| (*id, group))
    }

    /// How many there may be.
    pub(super) fn max(&self) -> usize {
        self.bounds.max
    }

    /// Processes that went to `~other` because there was no room for their group.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

fn whole_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
