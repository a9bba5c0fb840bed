//! The ledger: thread by thread to process by process to group by group, keeping the dead.
//!
//! A total is the sum of the last record of each live thread and the final record of each dead one. Each record is
//! turned into what it adds to the thread's record before it, and that is added to its process, its group and the
//! host at once: so totals only grow, and what a process did before it changed its name stays where it was counted.

mod groups;
mod state;
mod totals;

use std::{io, sync::Arc, time::Duration};

use rustc_hash::FxHashMap;
use thread_probe_ebpf::{
    names::CloneFailure,
    record::{self, COMM_BYTES, Counters, PART_END_SEEN, PART_STORAGE},
};

use self::{
    groups::Groups,
    totals::{Delta, ThreadWaits, combine},
};
pub use self::{
    groups::{Group, GroupId, LOST, OTHER},
    state::ThreadState,
    totals::{Interval, LIFETIME_BOUNDS_NS, Totals, WaitCounts},
};
use crate::{
    cgroups::Membership,
    grouping::{Grouper, Identity},
    sample::{Observation, ThreadObservation},
};

/// How long a thread that left the scan may be without a final record before it is given up as lost. The record comes
/// after an RCU grace period: milliseconds, or the 21 s at which the kernel reports a stall.
const END_OVERDUE: Duration = Duration::from_secs(30);

/// A process: its thread group id and when its leader started, nanoseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Thread group id.
    pub tgid: u32,
    /// `start_boottime` of the leader; an exec does not change it.
    pub start_ns: u64,
}

/// One thread that is alive, or whose final record is still to come.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its process.
    pub process: ProcessKey,
    /// `start_boottime`, nanoseconds since boot.
    pub start_ns: u64,
    /// What it was doing at the last scan.
    pub state: ThreadState,
    /// Name, ended by a 0.
    pub comm: [u8; COMM_BYTES],
    /// Bytes of kernel stack in use when it was last switched out.
    pub stack_depth_bytes: u32,
    /// Its counters.
    pub counters: Counters,
    waits: ThreadWaits,
    before: Option<Box<(u64, Counters)>>,
    seen_ns: u64,
    /// The first sample after which it had left the scan; 0 while it is in it.
    missing_since_ns: u64,
}

impl Thread {
    /// How often it waited for a CPU how long, since it has a histogram.
    pub fn wait_buckets(&self) -> [u64; thread_probe_ebpf::histogram::BUCKETS] {
        self.waits.buckets()
    }

    /// What its counters grew by in the interval `epoch`.
    pub fn grown(&self, epoch: u64) -> Counters {
        match self.before.as_deref() {
            Some((of, before)) if *of == epoch => combine(self.counters, *before, u64::wrapping_sub),
            _ => Counters::default(),
        }
    }
}

/// Ids of the cgroups that refused a process a clone last; 0 if none did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedBy {
    /// By `pids.max`.
    pub pids: u64,
    /// By its memory limit.
    pub memory: u64,
}

impl RefusedBy {
    /// Takes over what a thread says whose failures have grown.
    fn observe(&mut self, record: &record::Thread, grown: &Counters) {
        if grown.clone_failures[CloneFailure::CgroupPids as usize] > 0 {
            self.pids = record.refused_by_pids;
        }
        if grown.clone_failures[CloneFailure::CgroupMemory as usize] > 0 {
            self.memory = record.refused_by_memory;
        }
    }
}

/// One process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// What names it: comm, executable, uid, cgroup.
    pub identity: Identity,
    /// What its leader reported last.
    pub facts: record::Process,
    /// Its group; `None` until its leader was seen.
    pub group: Option<GroupId>,
    /// All that its threads did, dead ones included.
    pub totals: Totals,
    /// Threads by state at the last scan.
    pub threads: [u32; ThreadState::ALL.len()],
    /// Deepest kernel stack of its threads at the last scan, in bytes.
    pub stack_depth_max_bytes: u32,
    /// Which cgroups refused it a clone last.
    pub refused_by: RefusedBy,
    /// Name of a thread that ended before the leader was seen.
    fallback_comm: [u8; COMM_BYTES],
    interval: Interval,
    /// What was counted before the group was known.
    unassigned: Totals,
    /// Entries in [`Ledger::threads`].
    entries: u32,
    leader_ended: bool,
    touched_ns: u64,
}

impl Process {
    /// What was added in the interval `epoch`.
    pub fn interval(&self, epoch: u64) -> Option<&Totals> {
        self.interval.in_epoch(epoch)
    }

    /// Threads at the last scan, zombies included.
    pub fn live_threads(&self) -> u32 {
        self.threads.iter().sum()
    }
}

/// What the ledger itself had to give up, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerLosses {
    /// Threads that left the scan and whose final record never came.
    pub end_missing: u64,
    /// Records that said "as before" of a thread the ledger does not know.
    pub unknown_thread: u64,
    /// Records with a counter below the one before it.
    pub counter_backwards: u64,
}

/// The ledger.
pub struct Ledger {
    threads: FxHashMap<u64, Thread>,
    /// Threads whose `task_struct` was reused before their final record came.
    displaced: Vec<(u64, Thread)>,
    processes: FxHashMap<ProcessKey, Process>,
    /// Groups of processes that ended in this interval and the one before, for threads whose record comes late.
    ended: [FxHashMap<ProcessKey, GroupId>; 2],
    groups: Groups,
    grouper: Grouper,
    host: Totals,
    host_interval: Interval,
    orphans: Counters,
    losses: LedgerLosses,
    epoch: u64,
    now_ns: u64,
    stack_bytes: u64,
    changes: Vec<(u8, u32)>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(grouper: Grouper, max_groups: usize, retention: Duration) -> Self {
        Self {
            threads: FxHashMap::default(),
            displaced: Vec::new(),
            processes: FxHashMap::default(),
            ended: [FxHashMap::default(), FxHashMap::default()],
            groups: Groups::new(max_groups, retention),
            grouper,
            host: Totals::default(),
            host_interval: Interval::default(),
            orphans: Counters::default(),
            losses: LedgerLosses::default(),
            epoch: 0,
            now_ns: 0,
            stack_bytes: 0,
            changes: Vec::new(),
        }
    }

    /// Changes the bounds of the groups. Those beyond a lower one stay until their retention is over.
    pub fn set_group_bounds(&mut self, max_groups: usize, retention: Duration) {
        self.groups.set_bounds(max_groups, retention);
    }

    /// Starts a scan at `now_ns` since boot. What is observed from here on, until [`Self::finish_sample`], is the
    /// sample. What was drained since the last one is part of it too.
    pub fn begin_scan(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        for process in self.processes.values_mut() {
            process.threads = Default::default();
            process.stack_depth_max_bytes = 0;
        }
    }

    /// Takes in one record.
    pub fn observe(&mut self, observation: Observation<'_>) {
        match observation {
            Observation::Unchanged { task } => self.unchanged(task),
            Observation::Alive(thread) => self.alive(thread),
            Observation::Ended(thread) => self.thread_ended(thread),
        }
    }

    fn unchanged(&mut self, task: u64) {
        let Some(thread) = self.threads.get_mut(&task) else {
            self.losses.unknown_thread += 1;
            return;
        };
        thread.seen_ns = self.now_ns;
        thread.missing_since_ns = 0;
        if let Some(process) = self.processes.get_mut(&thread.process) {
            process.threads[thread.state as usize] += 1;
            process.stack_depth_max_bytes = process.stack_depth_max_bytes.max(thread.stack_depth_bytes);
        }
    }

    fn alive(&mut self, observed: ThreadObservation<'_>) {
        let record = observed.thread;
        let task = record.head.task;
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
        let (thread, key) = self.account(observed, previous, None);
        if self.stack_bytes == 0 {
            self.stack_bytes = u64::from(record.stack_bytes);
        }
        if let Some(process) = self.processes.get_mut(&key) {
            process.entries += 1;
            process.threads[thread.state as usize] += 1;
            process.stack_depth_max_bytes = process.stack_depth_max_bytes.max(thread.stack_depth_bytes);
            if let Some(group) = process.group {
                self.groups.saw_depth(group, thread.stack_depth_bytes);
            }
        }
        self.threads.insert(task, thread);
    }

    fn thread_ended(&mut self, observed: ThreadObservation<'_>) {
        let record = observed.thread;
        let previous = self.take_ended(record);
        let knows_lifetime = record.head.parts & PART_END_SEEN != 0;
        let lifetime = knows_lifetime.then(|| record.ended_ns.saturating_sub(record.start_boottime_ns));
        let (_, key) = self.account(observed, previous, Some(lifetime));
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
    fn take_ended(&mut self, record: &record::Thread) -> Option<Thread> {
        let task = record.head.task;
        let is_same = |thread: &Thread| {
            let started = record.start_boottime_ns..record.ended_ns;
            thread.process.tgid == record.tgid && started.contains(&thread.start_ns)
        };
        if self.threads.get(&task).is_some_and(is_same) {
            return self.threads.remove(&task);
        }
        let index = self.displaced.iter().position(|(of, thread)| *of == task && is_same(thread))?;
        Some(self.displaced.swap_remove(index).1)
    }

    /// Adds what a record adds to the one before it. Returns the thread's new entry and its process, whose count of
    /// entries no longer includes it.
    fn account(
        &mut self,
        observed: ThreadObservation<'_>,
        previous: Option<Thread>,
        ended: Option<Option<u64>>,
    ) -> (Thread, ProcessKey) {
        let record = observed.thread;
        let key = self.key_of(record, previous.as_ref());
        let counters = self.counters_of(record, previous.as_ref());
        let before = previous.as_ref().map(|thread| thread.counters);
        let (grown, waited_ns) = match before {
            Some(before) => {
                let grown = combine(counters, before, u64::saturating_sub);
                (grown, grown.run_delay_ns)
            }
            None => (counters, counters.run_delay_ns.wrapping_sub(record.run_delay_base_ns)),
        };
        let entry_in = previous.as_ref().map(|thread| thread.process);
        let (mut waits, old_before) = previous.map_or_else(Default::default, |thread| (thread.waits, thread.before));
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        if let Some(reported) = observed.waits
            && record.head.parts & PART_STORAGE != 0
        {
            waits.replace(reported, &mut changes);
        }
        if let Some(process) = entry_in.and_then(|key| self.processes.get_mut(&key)) {
            process.entries = process.entries.saturating_sub(1);
        }
        self.update_process(key, observed, ended.is_none());
        if let Some(process) = self.processes.get_mut(&key) {
            process.refused_by.observe(record, &grown);
        }
        self.add(key, &Delta { counters: grown, waited_ns, waits: &changes, ended });
        self.changes = changes;
        let thread = Thread {
            tid: record.head.tid,
            process: key,
            start_ns: record.start_boottime_ns,
            state: ThreadState::from_bits(record.state, record.exit_state),
            comm: record.comm,
            stack_depth_bytes: record.stack_depth_bytes,
            counters,
            waits,
            before: remember(old_before, self.epoch, before.unwrap_or_default()),
            seen_ns: self.now_ns,
            missing_since_ns: 0,
        };
        (thread, key)
    }

    /// The process of a record. Without storage the record does not know its leader's start: then it is that of the
    /// thread's own entry, or the process of that tgid that started last before the thread.
    fn key_of(&self, record: &record::Thread, previous: Option<&Thread>) -> ProcessKey {
        let tgid = record.tgid;
        if record.process_start_ns != 0 {
            return ProcessKey { tgid, start_ns: record.process_start_ns };
        }
        if record.head.tid == tgid {
            return ProcessKey { tgid, start_ns: record.start_boottime_ns };
        }
        let known = || {
            let candidates = self.processes.keys().filter(|key| key.tgid == tgid);
            candidates.filter(|key| key.start_ns <= record.start_boottime_ns).max_by_key(|key| key.start_ns).copied()
        };
        previous
            .map(|thread| thread.process)
            .or_else(known)
            .unwrap_or(ProcessKey { tgid, start_ns: record.start_boottime_ns })
    }

    /// The counters of a record; those that live in the storage stay as they were where the record was made without.
    fn counters_of(&mut self, record: &record::Thread, previous: Option<&Thread>) -> Counters {
        let mut counters = record.counters;
        let Some(before) = previous.map(|thread| thread.counters) else {
            return counters;
        };
        if record.head.parts & PART_STORAGE == 0 {
            counters.same_process_switches = before.same_process_switches;
            counters.threads_created = before.threads_created;
            counters.processes_created = before.processes_created;
            counters.clone_failures = before.clone_failures;
        }
        if counters.to_array().iter().zip(before.to_array()).any(|(now, before)| *now < before) {
            // Whatever it means, totals must not shrink.
            self.losses.counter_backwards += 1;
            counters = combine(counters, before, u64::max);
        }
        counters
    }

    /// Makes the process known, and takes over what its leader says of it.
    fn update_process(&mut self, key: ProcessKey, observed: ThreadObservation<'_>, is_alive: bool) {
        let process = self.processes.entry(key).or_default();
        process.touched_ns = self.now_ns;
        let Some(facts) = observed.process else {
            process.fallback_comm = observed.thread.comm;
            return;
        };
        process.facts = *facts;
        let identity = Identity::of(observed.thread, facts, &process.identity);
        if process.group.is_some() && identity == process.identity {
            return;
        }
        let named = self.grouper.name(key.tgid, &identity, is_alive);
        let group = self.groups.get_or_create(&named.name, self.now_ns);
        if let Some(owner) = &named.owner {
            self.groups.saw_owner(group, owner);
        }
        process.identity = identity;
        process.group = Some(group);
        let unassigned = std::mem::take(&mut process.unassigned);
        self.groups.merge(group, self.epoch, &unassigned);
    }

    fn add(&mut self, key: ProcessKey, delta: &Delta<'_>) {
        self.host.add(delta);
        self.host_interval.of(self.epoch).add(delta);
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.totals.add(delta);
        process.interval.of(self.epoch).add(delta);
        let late = || self.ended.iter().find_map(|ended| ended.get(&key)).copied();
        match process.group.or_else(late) {
            Some(group) => self.groups.add(group, self.epoch, delta),
            None => process.unassigned.add(delta),
        }
    }

    /// Forgets a process whose leader and last thread have ended, but for its group: see [`Self::ended`].
    fn forget_if_over(&mut self, key: ProcessKey) {
        let is_late = self.ended.iter().any(|ended| ended.contains_key(&key));
        let over = |process: &Process| process.entries == 0 && (process.leader_ended || is_late);
        if self.processes.get(&key).is_some_and(over)
            && let Some(process) = self.processes.remove(&key)
            && let Some(group) = process.group
        {
            self.ended[0].insert(key, group);
        }
    }

    /// Takes in the host's orphans: see `ORPHANS` of the programs. They are cumulative.
    pub fn observe_orphans(&mut self, orphans: Counters) {
        let counters = combine(orphans, self.orphans, u64::wrapping_sub);
        self.orphans = orphans;
        if counters == Counters::default() {
            return;
        }
        let lost = self.groups.get_or_create(LOST, self.now_ns);
        let delta = Delta { counters, waited_ns: counters.run_delay_ns, waits: &[], ended: None };
        self.groups.add(lost, self.epoch, &delta);
        self.host.add(&delta);
        self.host_interval.of(self.epoch).add(&delta);
    }

    /// Ends the sample: gives up what is overdue and drops groups past their retention.
    pub fn finish_sample(&mut self) {
        let overdue_ns = self.now_ns.saturating_sub(END_OVERDUE.as_nanos() as u64);
        self.give_up_threads(overdue_ns);
        self.give_up_processes(overdue_ns);
        for process in self.processes.values() {
            if let Some(group) = process.group {
                self.groups.saw_alive(group, self.now_ns);
            }
        }
        self.groups.drop_expired(self.now_ns);
        self.ended.swap(0, 1);
        self.ended[0].clear();
    }

    /// Starts the next interval: rates are of what comes after.
    pub fn next_interval(&mut self) {
        self.grouper.finish_sample();
        self.epoch += 1;
    }

    fn give_up_threads(&mut self, overdue_ns: u64) {
        let now_ns = self.now_ns;
        let is_overdue = |thread: &mut Thread, is_missing: bool| {
            if is_missing && thread.missing_since_ns == 0 {
                thread.missing_since_ns = now_ns;
            }
            is_missing && thread.missing_since_ns < overdue_ns
        };
        let gone = self.threads.extract_if(|_, thread| {
            let is_missing = thread.seen_ns != now_ns;
            is_overdue(thread, is_missing)
        });
        let mut gone: Vec<Thread> = gone.map(|(_, gone)| gone).collect();
        gone.extend(self.displaced.extract_if(.., |(_, thread)| is_overdue(thread, true)).map(|(_, gone)| gone));
        for thread in gone {
            self.losses.end_missing += 1;
            let delta = Delta { counters: Counters::default(), waited_ns: 0, waits: &[], ended: Some(None) };
            self.add(thread.process, &delta);
            if let Some(process) = self.processes.get_mut(&thread.process) {
                process.entries = process.entries.saturating_sub(1);
                process.leader_ended |= thread.tid == thread.process.tgid;
            }
            self.forget_if_over(thread.process);
        }
    }

    /// Processes of which only threads that ended were ever seen: they go where the thread's own name says.
    fn give_up_processes(&mut self, overdue_ns: u64) {
        let orphaned: Vec<_> =
            self.processes.extract_if(|_, process| process.entries == 0 && process.touched_ns < overdue_ns).collect();
        for (key, process) in orphaned {
            if process.group.is_none() {
                let name = self.grouper.name_without_leader(key.tgid, &process.fallback_comm);
                let group = self.groups.get_or_create(&name, self.now_ns);
                self.groups.merge(group, self.epoch, &process.unassigned);
            }
        }
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
    pub fn processes(&self) -> impl Iterator<Item = (ProcessKey, &Process)> {
        self.processes.iter().filter(|(_, process)| process.live_threads() > 0).map(|(key, process)| (*key, process))
    }

    /// The threads of a process at the last scan.
    pub fn threads_of(&self, tgid: u32) -> impl Iterator<Item = &Thread> {
        self.threads.values().filter(move |thread| thread.process.tgid == tgid && thread.seen_ns == self.now_ns)
    }

    /// The user of a process, by name where there is one.
    pub fn user_name(&mut self, uid: u32) -> Arc<str> {
        self.grouper.user_name(uid)
    }

    /// The cgroups of a live process; `None` if it ended before they could be read.
    ///
    /// # Errors
    /// It is there and they may not be read.
    pub fn membership(&mut self, key: ProcessKey) -> io::Result<Option<Arc<Membership>>> {
        let Some(process) = self.processes.get(&key) else { return Ok(None) };
        self.grouper.membership(key.tgid, &process.identity, true)
    }

    /// All that all threads did.
    pub fn host(&self) -> &Totals {
        &self.host
    }

    /// What was added in the current interval.
    pub fn host_interval(&self) -> Option<&Totals> {
        self.host_interval.in_epoch(self.epoch)
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

/// Keeps the counters from before the interval `epoch`, once.
fn remember(old: Option<Box<(u64, Counters)>>, epoch: u64, before: Counters) -> Option<Box<(u64, Counters)>> {
    match old {
        Some(old) if old.0 == epoch => Some(old),
        Some(mut old) => {
            *old = (epoch, before);
            Some(old)
        }
        None => Some(Box::new((epoch, before))),
    }
}

#[cfg(test)]
mod tests;
