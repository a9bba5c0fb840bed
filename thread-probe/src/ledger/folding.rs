//! Takes in what the programs added up: threads and processes that ended between two scans, and clones that failed.

use thread_probe_ebpf::abi::{
    fold::{Folded, FoldedLeader, FoldedProcess, PF_KTHREAD},
    record::{Counters, Waits},
    time::TIME_STATES,
};

use super::{Ledger, ProcessKey, folds::LEADERS_KEPT, totals::Delta};
use crate::{
    names::grouping::{GroupNames, Identity, LOST},
    os::memory::shrink,
    sample::FoldOf,
};

impl Ledger {
    /// Takes in sums. They are those since the entry was made.
    pub fn observe_fold(&mut self, of: FoldOf, sums: &Folded, names: &mut dyn GroupNames) {
        let Some(added) = self.folds.added(of, sums) else { return };
        match of {
            FoldOf::Process(process) => self.process_folded(key_of(process), (sums, &added), names),
            FoldOf::Known(process) => self.known_folded(key_of(process), &added),
            FoldOf::Leader(leader) => self.leaders_folded(&leader, (sums, &added), names),
        }
    }

    fn process_folded(&mut self, key: ProcessKey, (sums, added): (&Folded, &Folded), names: &mut dyn GroupNames) {
        let process = self.processes.entry(key).or_default();
        process.touched_ns = self.now_ns;
        process.refused_by.observe(sums, added);
        if added.ends > 0 {
            process.fallback_comm = sums.leader.comm;
        }
        let leader_ended = sums.leader_ended != 0;
        process.leader_ended |= leader_ended;
        if leader_ended && process.group.is_none() && self.late_group(key).is_none() {
            let identity = Identity::from(&sums.leader);
            self.assign(key, identity, &names.name(key.tgid, &identity, false), false);
        }
        let group = self.processes.get(&key).and_then(|process| process.group).or_else(|| self.late_group(key));
        if let Some(group) = group {
            self.groups.saw_refusals(group, sums, added);
        }
        self.add_sums(added, |ledger, delta| ledger.add(key, delta));
        self.forget_if_over(key);
    }

    /// The ledger has entries of these threads: see [`super::entries::Unresolved`].
    fn known_folded(&mut self, key: ProcessKey, added: &Folded) {
        let process = self.processes.entry(key).or_default();
        process.touched_ns = self.now_ns;
        let unresolved = process.unresolved.get_or_insert_default();
        unresolved.threads += added.ends;
        unresolved.waited_ns = unresolved.waited_ns.wrapping_add(added.waited_ns);
        for (to, more) in unresolved.waits.buckets.iter_mut().zip(added.waits.buckets) {
            *to = to.wrapping_add(more);
        }
        for (to, more) in unresolved.time_ns.iter_mut().zip(added.counters.time_ns) {
            *to = to.wrapping_add(more);
        }
        let counters = Counters { time_ns: [0; TIME_STATES], ..added.counters };
        let without_what_is_whole = Folded { counters, waits: Waits::default(), waited_ns: 0, ..*added };
        self.add_sums(&without_what_is_whole, |ledger, delta| ledger.add(key, delta));
    }

    fn leaders_folded(&mut self, leader: &FoldedLeader, (sums, added): (&Folded, &Folded), names: &mut dyn GroupNames) {
        let named = names.name(0, &Identity::from(leader), false);
        let group = self.groups.get_or_create(&named.name, false, self.now_ns);
        if let Some(owner) = &named.owner {
            self.groups.saw_owner(group, owner);
        }
        self.groups.saw_refusals(group, sums, added);
        self.add_sums(added, |ledger, delta| ledger.add_to_group(group, delta));
    }

    /// Takes in what could be added to nobody. It is cumulative.
    pub fn observe_orphans(&mut self, orphans: &Folded) {
        let added = orphans.since(&self.folds.orphans);
        self.folds.orphans = *orphans;
        if added == Folded::default() {
            return;
        }
        let lost = self.groups.get_or_create(LOST, false, self.now_ns);
        self.add_sums(&added, |ledger, delta| ledger.add_to_group(lost, delta));
    }

    fn add_sums(&mut self, added: &Folded, add: impl FnOnce(&mut Self, &Delta<'_>)) {
        let mut changes = std::mem::take(&mut self.changes);
        add(self, &Delta::of_sums(added, &mut changes));
        self.changes = changes;
    }

    /// Those of which nothing more is to come, once: the ledger has forgotten them. Of a process that is over, a
    /// thread's end may be late by a grace period, so its sums have to rest for a sample.
    pub fn take_folds_that_are_over(&mut self) -> Vec<FoldOf> {
        let processes = &self.processes;
        let has_many_leaders = self.folds.by.len() > LEADERS_KEPT;
        let is_over = |of: &FoldOf| match of {
            FoldOf::Process(process) | FoldOf::Known(process) => !processes.contains_key(&key_of(*process)),
            FoldOf::Leader(_) => has_many_leaders,
        };
        let over = self.folds.by.extract_if(|of, last| !last.has_grown && is_over(of)).map(|(of, _)| of).collect();
        shrink(&mut self.folds.by);
        over
    }
}

fn key_of(process: FoldedProcess) -> ProcessKey {
    ProcessKey { tgid: process.tgid, start_ns: process.start_ns }
}

impl From<&FoldedLeader> for Identity {
    fn from(leader: &FoldedLeader) -> Self {
        Self {
            comm: leader.comm,
            exe: leader.exe,
            uid: leader.uid,
            is_kernel_thread: leader.flags & PF_KTHREAD != 0,
            css_set: leader.css_set,
            cgroup_id: leader.cgroup_id,
        }
    }
}
