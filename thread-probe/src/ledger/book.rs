//! The ledger itself: what it keeps, and what it is asked.

use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::record::{self, PART_END_SEEN};

use super::{
    entries::{ProcessEntry, ProcessKey, ThreadEntry},
    folds::Folds,
    groups::{Group, GroupBounds, GroupId, Groups},
    pairs::Pairs,
    totals::{Ends, Interval, Totals},
};
use crate::{
    names::grouping::GroupNames,
    os::memory::shrink,
    sample::{Observation, ThreadObservation},
};

/// What the ledger itself had to give up, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerLosses {
    /// Threads that left the scan and whose final record never came.
    pub end_missing: u64,
    /// Records that said "as before" of a thread the ledger does not know.
    pub unknown_thread: u64,
    /// Threads whose storage the kernel emptied: what it had counted since the sample before is gone.
    pub storage_emptied: u64,
    /// Records with a counter below the one before it.
    pub counter_backwards: u64,
}

/// The ledger.
pub struct Ledger {
    pub(super) threads: FxHashMap<u64, ThreadEntry>,
    /// Threads whose `task_struct` was reused before their final record came.
    pub(super) displaced: Vec<(u64, ThreadEntry)>,
    pub(super) processes: FxHashMap<ProcessKey, ProcessEntry>,
    /// Groups of processes that ended in this interval and the one before, for threads whose record comes late.
    pub(super) ended: [FxHashMap<ProcessKey, GroupId>; 2],
    pub(super) groups: Groups,
    pub(super) host: Totals,
    pub(super) host_interval: Interval,
    pub(super) folds: Folds,
    pub(super) pairs: Pairs,
    pub(super) losses: LedgerLosses,
    pub(super) has_started: bool,
    pub(super) epoch: u64,
    pub(super) now_ns: u64,
    /// When the two scans before the last began.
    pub(super) scans_ns: [u64; 2],
    /// The same by the clock of the run queues, as far as this scan has come.
    pub(super) clock_ns: u64,
    pub(super) stack_bytes: u64,
    pub(super) changes: Vec<(u8, u32)>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(bounds: GroupBounds) -> Self {
        Self {
            threads: FxHashMap::default(),
            displaced: Vec::new(),
            processes: FxHashMap::default(),
            ended: [FxHashMap::default(), FxHashMap::default()],
            groups: Groups::new(bounds),
            host: Totals::default(),
            host_interval: Interval::default(),
            folds: Folds::default(),
            pairs: Pairs::default(),
            losses: LedgerLosses::default(),
            has_started: false,
            epoch: 0,
            now_ns: 0,
            scans_ns: [0; 2],
            clock_ns: 0,
            stack_bytes: 0,
            changes: Vec::new(),
        }
    }

    /// Changes the bounds of the groups. Those beyond a lower one stay until their retention is over.
    pub fn set_group_bounds(&mut self, bounds: GroupBounds) {
        self.groups.set_bounds(bounds);
    }

    /// Starts a scan at `now_ns` since boot. What is observed from here on, until [`Self::finish_sample`], is the
    /// sample. What was drained since the last one is part of it too.
    pub fn begin_scan(&mut self, now_ns: u64) {
        self.scans_ns = [self.now_ns, self.scans_ns[0]];
        self.now_ns = now_ns;
        for process in self.processes.values_mut() {
            process.threads = Default::default();
            process.stack_depth_max_bytes = 0;
            process.stood_ns = Default::default();
            process.longest_blocked = None;
        }
    }

    /// Takes in one record.
    pub fn observe(&mut self, observation: Observation<'_>, names: &mut dyn GroupNames) {
        match observation {
            Observation::Unchanged { task } => self.unchanged(task),
            Observation::Alive(thread) => self.alive(thread, Some(names)),
            Observation::Ended(thread) => self.thread_ended(thread, names),
        }
    }

    /// Takes in the record of a thread of the first scan, when nobody can be asked for names yet: see
    /// [`Self::name_all`].
    pub fn observe_unnamed(&mut self, observation: Observation<'_>) {
        match observation {
            Observation::Alive(thread) => self.alive(thread, None),
            Observation::Unchanged { .. } | Observation::Ended(_) => self.losses.unknown_thread += 1,
        }
    }

    fn unchanged(&mut self, task: u64) {
        let Some(thread) = self.threads.get_mut(&task) else {
            self.losses.unknown_thread += 1;
            return;
        };
        thread.seen_ns = self.now_ns;
        thread.missing_since_ns = 0;
        let stood = thread.standing.go_on(self.clock_ns, self.epoch);
        if let Some((state, ns)) = stood {
            thread.counters.time_ns[state as usize] += ns;
        }
        if let Some(process) = self.processes.get_mut(&thread.process) {
            if let Some((state, ns)) = stood {
                process.stood_ns[state as usize] += ns;
            }
            process.saw_thread(thread, self.now_ns);
        }
    }

    fn alive(&mut self, observed: ThreadObservation<'_>, names: Option<&mut dyn GroupNames>) {
        let record = observed.thread;
        let task = record.head.task;
        self.clock_ns = self.clock_ns.max(record.as_of_ns);
        let previous = match self.threads.remove(&task) {
            Some(thread) if thread.process.tgid == record.tgid && record.start_boottime_ns <= thread.start_ns => {
                Some(thread)
            }
            Some(other) => {
                self.displaced.push((task, other));
                None
            }
            None => None,
        };
        let (thread, key) = self.account(observed, previous, Ends::default(), names);
        if self.stack_bytes == 0 {
            self.stack_bytes = u64::from(record.stack_bytes);
        }
        if let Some(process) = self.processes.get_mut(&key) {
            process.entries += 1;
            process.saw_thread(&thread, self.now_ns);
            if let Some(group) = process.group {
                self.groups.saw_depth(group, thread.stack_depth_bytes);
            }
        }
        self.threads.insert(task, thread);
    }

    fn thread_ended(&mut self, observed: ThreadObservation<'_>, names: &mut dyn GroupNames) {
        let record = observed.thread;
        let previous = self.take_ended(record);
        let knows_lifetime = record.head.parts & PART_END_SEEN != 0;
        let lifetime = knows_lifetime.then(|| record.ended_ns.saturating_sub(record.start_boottime_ns));
        let mut ends = Ends::one(lifetime);
        if previous.as_ref().is_some_and(|thread| thread.is_given_up) {
            // It was counted then, without a lifetime.
            ends.threads = 0;
        }
        let (_, key) = self.account(observed, previous, ends, Some(names));
        if observed.process.is_some()
            && let Some(process) = self.processes.get_mut(&key)
        {
            process.leader_ended = true;
        }
        self.forget_if_over(key);
    }

    /// Takes out the entry of the thread that a final record is of. The same task may have become another thread id
    /// and start time by an exec since the last scan, so it is the same if it started before this end; a task that
    /// started later reuses the memory.
    fn take_ended(&mut self, record: &record::ThreadPart) -> Option<ThreadEntry> {
        let task = record.head.task;
        let is_same = |thread: &ThreadEntry| {
            let started = record.start_boottime_ns..record.ended_ns;
            thread.process.tgid == record.tgid && started.contains(&thread.start_ns)
        };
        if self.threads.get(&task).is_some_and(is_same) {
            return self.threads.remove(&task);
        }
        let index = self.displaced.iter().position(|(of, thread)| *of == task && is_same(thread))?;
        Some(self.displaced.swap_remove(index).1)
    }

    /// Forgets a process whose leader and last thread have ended, but for its group: see [`Self::ended`].
    pub(super) fn forget_if_over(&mut self, key: ProcessKey) {
        let is_late = self.ended.iter().any(|ended| ended.contains_key(&key));
        let over = |process: &ProcessEntry| process.entries == 0 && (process.leader_ended || is_late);
        if self.processes.get(&key).is_some_and(over)
            && let Some(process) = self.processes.remove(&key)
            && let Some(group) = process.group
        {
            self.ended[0].insert(key, group);
        }
    }

    /// Ends the sample: gives up what is overdue and drops groups past their retention.
    pub fn finish_sample(&mut self, names: &mut dyn GroupNames) {
        self.add_what_stood();
        self.give_up_overdue(names);
        if !std::mem::replace(&mut self.has_started, true) {
            self.groups.start();
        }
        for process in self.processes.values() {
            if let Some(group) = process.group {
                self.groups.saw_alive(group, self.now_ns);
            }
        }
        self.groups.saw_bursts(self.epoch, self.now_ns);
        self.groups.drop_expired(self.now_ns);
        self.move_out_of_other(names);
        shrink(&mut self.threads);
        shrink(&mut self.processes);
        self.ended.swap(0, 1);
        self.ended[0].clear();
    }

    /// Starts the next interval: rates are of what comes after.
    pub fn next_interval(&mut self) {
        self.epoch += 1;
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter()
    }

    /// One group.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// Processes with at least one thread at the last scan.
    pub fn processes(&self) -> impl Iterator<Item = (ProcessKey, &ProcessEntry)> {
        self.processes.iter().filter(|(_, process)| process.live_threads() > 0).map(|(key, process)| (*key, process))
    }

    /// One of them.
    pub fn process(&self, key: ProcessKey) -> Option<&ProcessEntry> {
        self.processes.get(&key)
    }

    /// The threads of a process at the last scan.
    pub fn threads_of(&self, tgid: u32) -> impl Iterator<Item = &ThreadEntry> {
        self.threads.values().filter(move |thread| thread.process.tgid == tgid && thread.seen_ns == self.now_ns)
    }

    /// All that all threads did.
    pub fn host(&self) -> &Totals {
        &self.host
    }

    /// What was added in the current interval.
    pub fn host_interval(&self) -> Option<&Totals> {
        self.host_interval.in_epoch(self.epoch)
    }

    /// When the last scan began, in nanoseconds since boot.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The current interval.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What had to be given up.
    pub fn losses(&self) -> LedgerLosses {
        self.losses
    }

    /// Processes that went to `~other` because there was no room for their group.
    pub fn groups_refused(&self) -> u64 {
        self.groups.refused()
    }

    /// How many groups there may be.
    pub fn max_groups(&self) -> usize {
        self.groups.max()
    }

    /// THREAD_SIZE in bytes; 0 before the first record with a stack.
    pub fn stack_bytes(&self) -> u64 {
        self.stack_bytes
    }
}
