//! Adds what a record adds to the one before it, to its process, its group and the host.

use thread_probe_ebpf::abi::record::{self, Counters, PART_ENDED, PART_STORAGE};

use super::{
    Ledger,
    entries::{ProcessEntry, ProcessKey, Standing, StorageOrigin, ThreadEntry},
    groups::GroupId,
    state::ThreadState,
    totals::{Delta, Ends, ThreadWaits, Totals, combine, of_storage},
};
use crate::{
    names::grouping::{GroupNames, Identity, Named},
    sample::ThreadObservation,
};

impl Ledger {
    /// Adds what a record adds to the one before it. Returns the thread's new entry and its process, whose count of
    /// entries no longer includes it.
    pub(super) fn account(
        &mut self,
        observed: ThreadObservation<'_>,
        previous: Option<ThreadEntry>,
        ends: Ends,
        names: Option<&mut dyn GroupNames>,
    ) -> (ThreadEntry, ProcessKey) {
        let record = observed.thread;
        let has_storage = record.head.parts & PART_STORAGE != 0;
        let key = self.key_of(record, previous.as_ref());
        let entry_in = previous.as_ref().filter(|thread| !thread.is_given_up).map(|thread| thread.process);
        let before = previous.as_ref().map(|thread| thread.counters);
        let switches = |counters: &Counters| (counters.voluntary_switches, counters.involuntary_switches);
        let is_still = |thread: &&ThreadEntry| switches(&thread.counters) == switches(&record.counters);
        let since_when = || self.now_ns.saturating_sub(asleep_ns(record));
        let still_since_ns = previous.as_ref().filter(is_still).map_or_else(since_when, |thread| thread.still_since_ns);
        let (mut waits, old_before, mut origin) =
            previous.map_or_else(Default::default, |thread| (thread.waits, thread.before, thread.storage_origin));
        let lacks_waits = || observed.waits.is_some_and(|reported| waits.exceed(reported));
        if has_storage && (origin.is_other(record, before.unwrap_or_default()) || lacks_waits()) {
            self.losses.storage_emptied += 1;
            origin.begin_anew(before.unwrap_or_default());
            waits = ThreadWaits::default();
        }
        if has_storage {
            origin.base_ns = Some(record.run_delay_base_ns);
        }
        let counters = self.counters_of(record, before.unwrap_or_default(), &origin);
        let (grown, waited_ns) = match before {
            Some(before) => {
                let grown = combine(counters, before, u64::saturating_sub);
                (grown, grown.run_delay_ns)
            }
            None => (counters, counters.run_delay_ns.wrapping_sub(record.run_delay_base_ns)),
        };
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        if let Some(reported) = observed.waits
            && has_storage
        {
            waits.replace(reported, &mut changes);
        }
        if let Some(process) = entry_in.and_then(|key| self.processes.get_mut(&key)) {
            process.entries = process.entries.saturating_sub(1);
        }
        self.update_process(key, observed, names);
        let burst_max_ns = record.burst_max_ns;
        self.add(key, &Delta { counters: grown, waited_ns, waits: &changes, ends, burst_max_ns, ..Delta::default() });
        self.changes = changes;
        let thread = ThreadEntry {
            tid: record.head.tid,
            process: key,
            start_ns: record.start_boottime_ns,
            state: ThreadState::from_bits(record.state, record.exit_state),
            comm: record.comm,
            stack_depth_bytes: record.stack_depth_bytes,
            syscall: record.syscall,
            counters,
            standing: Standing::of(record),
            burst: (self.epoch, burst_max_ns),
            waits,
            storage_origin: origin,
            before: remember(old_before, self.epoch, before.unwrap_or_default()),
            still_since_ns,
            seen_ns: self.now_ns,
            missing_since_ns: 0,
            is_given_up: false,
        };
        (thread, key)
    }

    /// The process of a record. Without storage the record does not know its leader's start: then it is that of the
    /// thread's own entry, or the process of that tgid that started last before the thread.
    fn key_of(&self, record: &record::ThreadPart, previous: Option<&ThreadEntry>) -> ProcessKey {
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
    fn counters_of(&mut self, record: &record::ThreadPart, before: Counters, origin: &StorageOrigin) -> Counters {
        let earlier = match record.head.parts & PART_STORAGE {
            0 => of_storage(before),
            _ => origin.earlier(),
        };
        let mut counters = combine(record.counters, earlier, u64::wrapping_add);
        // What was told of a period that was open may be more than it came to: then the next one fills it up.
        for (now, before) in counters.time_ns.iter_mut().zip(before.time_ns) {
            *now = (*now).max(before);
        }
        if counters.to_array().iter().zip(before.to_array()).any(|(now, before)| *now < before) {
            // Whatever it means, totals must not shrink.
            self.losses.counter_backwards += 1;
            return combine(counters, before, u64::max);
        }
        counters
    }

    /// Makes the process known, and takes over what its leader says of it.
    fn update_process(&mut self, key: ProcessKey, observed: ThreadObservation<'_>, names: Option<&mut dyn GroupNames>) {
        let process = self.processes.entry(key).or_default();
        process.touched_ns = self.now_ns;
        let Some(facts) = observed.process else {
            process.fallback_comm = observed.thread.comm;
            return;
        };
        process.take_facts(facts, self.epoch);
        let identity = Identity::of(observed.thread, facts, &process.identity);
        if process.group.is_some() && identity == process.identity {
            return;
        }
        match names {
            Some(names) => {
                let is_alive = observed.thread.head.parts & PART_ENDED == 0;
                self.assign(key, identity, &names.name(key.tgid, &identity, is_alive), is_alive);
            }
            None => process.identity = identity,
        }
    }

    /// Gives a group to each process that [`Ledger::observe_unnamed`] left without, those that are there for longest
    /// first.
    pub fn name_all(&mut self, names: &mut dyn GroupNames) {
        let is_unnamed = |process: &ProcessEntry| process.group.is_none() && process.identity != Identity::default();
        let unnamed = self.processes.iter().filter(|(_, process)| is_unnamed(process));
        let mut unnamed: Vec<_> = unnamed.map(|(key, process)| (*key, process.identity)).collect();
        unnamed.sort_unstable_by_key(|(key, _)| (key.start_ns, key.tgid));
        for (key, identity) in unnamed {
            self.assign(key, identity, &names.name(key.tgid, &identity, true), true);
        }
    }

    /// Puts a process in a group, and counts there what was counted before it had one.
    pub(super) fn assign(&mut self, key: ProcessKey, identity: Identity, named: &Named, is_alive: bool) {
        let group = self.groups.get_or_create(&named.name, is_alive, self.now_ns);
        if let Some(owner) = &named.owner {
            self.groups.saw_owner(group, owner);
        }
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.identity = identity;
        process.group = Some(group);
        let unassigned = std::mem::take(&mut process.unassigned);
        self.merge_into_group(group, &unassigned);
    }

    /// Gives processes for which there was no room a group of their own, once there is: what they do from then on
    /// counts there.
    pub(super) fn move_out_of_other(&mut self, names: &mut dyn GroupNames) {
        let Some(other) = self.groups.other() else { return };
        let is_in_other = |process: &ProcessEntry| process.group == Some(other) && process.live_threads() > 0;
        let in_other = self.processes.iter().filter(|(_, process)| is_in_other(process));
        // Those that are there for longest first.
        let mut waiting: Vec<(u64, ProcessKey)> = in_other.map(|(key, _)| (key.start_ns, *key)).collect();
        if waiting.is_empty() {
            return;
        }
        self.groups.make_room(waiting.len(), self.now_ns);
        waiting.sort_unstable();
        for (_, key) in waiting {
            let Some(process) = self.processes.get(&key) else { continue };
            let (identity, named) = (process.identity, names.name(key.tgid, &process.identity, true));
            if self.groups.has_room_for(&named.name) {
                self.assign(key, identity, &named, true);
            }
        }
    }

    /// Counts what threads did that only went on with what they did.
    pub(super) fn add_what_stood(&mut self) {
        let has_stood = |process: &ProcessEntry| process.stood_ns.iter().any(|ns| *ns != 0);
        let stood: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, process)| has_stood(process))
            .map(|(key, it)| (*key, it.stood_ns))
            .collect();
        for (key, time_ns) in stood {
            self.add(key, &Delta { counters: Counters { time_ns, ..Counters::default() }, ..Delta::default() });
        }
    }

    /// Adds to a process, its group and the host. What has no group yet waits for one: so groups always add up to the
    /// host.
    pub(super) fn add(&mut self, key: ProcessKey, delta: &Delta<'_>) {
        let late = self.late_group(key);
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.totals.add(delta);
        process.interval.of(self.epoch).add(delta);
        match process.group.or(late) {
            Some(group) => self.add_to_group(group, delta),
            None => process.unassigned.add(delta),
        }
    }

    /// The group of a process that has ended, for threads whose end is heard of later.
    pub(super) fn late_group(&self, key: ProcessKey) -> Option<GroupId> {
        self.ended.iter().find_map(|ended| ended.get(&key)).copied()
    }

    /// Adds to a group and the host.
    pub(super) fn add_to_group(&mut self, group: GroupId, delta: &Delta<'_>) {
        self.groups.add(group, self.epoch, delta);
        self.host.add(delta);
        self.host_interval.of(self.epoch).add(delta);
    }

    /// The same of totals.
    pub(super) fn merge_into_group(&mut self, group: GroupId, totals: &Totals) {
        self.groups.merge(group, self.epoch, totals);
        self.host.merge(totals);
        self.host_interval.of(self.epoch).merge(totals);
    }
}

/// For how long it has slept: since it was put on a CPU last. 0 of one that does not sleep; and of one that is blocked,
/// as an alert on that must not count the time that it ran before.
fn asleep_ns(record: &record::ThreadPart) -> u64 {
    match ThreadState::from_bits(record.state, record.exit_state) {
        ThreadState::Sleeping | ThreadState::Stopped => record.since_arrival_ns,
        ThreadState::Running | ThreadState::Blocked | ThreadState::Zombie => 0,
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
