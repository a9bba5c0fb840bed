//! Takes in for how long processes had the CPU while others waited for it: from pairs of thread group ids to processes
//! and groups.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use thread_probe_ebpf::abi::{fold::EndedLeader, taken::Pair};

use super::{Ledger, entries::ProcessKey, groups::GroupId, pairs::LastPair, taken::Taker};
use crate::{
    names::grouping::{GroupNames, Identity, LOST, UNKNOWN as GROUP_UNKNOWN},
    os::memory::shrink,
};

/// Samples that a pair waits for a name: a process that is new has one with the next sample.
const SAMPLES_WITHOUT_A_NAME: u8 = 2;

/// Pairs that rest stay in the kernel until so many of the 32,768 that it has room for are taken.
const PAIRS_KEPT: usize = 16_384;

/// What is known of a thread group id.
struct Known {
    key: ProcessKey,
    group: Option<GroupId>,
    is_kernel_thread: bool,
}

/// Asks the programs for the name of a process that ended before a scan saw it.
type EndedLeaders<'a> = &'a dyn Fn(u32) -> Option<EndedLeader>;

impl Ledger {
    /// Takes in for how long one process had the CPU while another waited for it, since the pair was made.
    pub fn observe_taken(&mut self, pair: Pair, ns: u64) {
        let last = self.pairs.by.entry(pair).or_default();
        last.has_grown = last.read_ns != ns;
        last.read_ns = ns;
    }

    /// Adds what was taken since the last sample to who waited, once all that ended has been taken in.
    pub fn add_taken(&mut self, ended: EndedLeaders<'_>, names: &mut dyn GroupNames) {
        let open = |last: &LastPair| last.read_ns != last.added_ns;
        let mut pairs: Vec<Pair> = self.pairs.by.iter().filter(|(_, last)| open(last)).map(|(pair, _)| *pair).collect();
        for last in self.pairs.by.values_mut() {
            last.grown_ns = 0;
        }
        if !pairs.is_empty() {
            pairs.sort_unstable();
            let known = self.known_by_tgid();
            for pair in pairs {
                self.add_pair(pair, &known, ended, names);
            }
            self.hold_back(&known);
        }
        self.tell_short();
    }

    fn add_pair(
        &mut self,
        pair: Pair,
        known: &FxHashMap<u32, Known>,
        ended: EndedLeaders<'_>,
        names: &mut dyn GroupNames,
    ) {
        let Some(last) = self.pairs.by.get(&pair).copied() else { return };
        let is_last_try = last.nameless >= SAMPLES_WITHOUT_A_NAME;
        let mut group_of = |ledger: &mut Self, tgid: u32| match known.get(&tgid) {
            Some(known) => known.group,
            None => ended(tgid).filter(|of| of.ended_ns >= ledger.scans_ns[1]).map(|EndedLeader { leader, .. }| {
                let named = names.name(0, &Identity::from(&leader), false);
                ledger.groups.get_or_create(&named.name, false, ledger.now_ns)
            }),
        };
        let waiter = group_of(self, pair.waiter);
        let taker = match pair.taker {
            taker if Taker::that_is_no_process(taker).is_some() => Taker::that_is_no_process(taker),
            taker if taker == pair.waiter => Some(Taker::Itself),
            taker if known.get(&taker).is_some_and(|known| known.is_kernel_thread) => Some(Taker::Kernel),
            taker => group_of(self, taker).and_then(|id| self.groups.get(id)).map(|group| match &*group.name {
                GROUP_UNKNOWN | LOST => Taker::Unknown,
                _ => Taker::Group(Arc::clone(&group.name)),
            }),
        };
        if (waiter.is_none() || taker.is_none()) && !is_last_try {
            if let Some(last) = self.pairs.by.get_mut(&pair) {
                last.nameless += 1;
            }
            return;
        }
        let waiter = waiter.unwrap_or_else(|| self.groups.get_or_create(LOST, false, self.now_ns));
        let ns = last.read_ns.wrapping_sub(last.added_ns);
        self.charge(known.get(&pair.waiter).map(|known| known.key), waiter, &taker.unwrap_or(Taker::Unknown), ns);
        if let Some(last) = self.pairs.by.get_mut(&pair) {
            *last = LastPair { added_ns: last.read_ns, grown_ns: ns, nameless: 0, ..*last };
        }
    }

    fn charge(&mut self, process: Option<ProcessKey>, group: GroupId, taker: &Taker, ns: u64) {
        let epoch = self.epoch;
        if let Some(process) = process.and_then(|key| self.processes.get_mut(&key)) {
            process.taken.get_or_insert_default().add(taker, ns, epoch);
        }
        if let Some(group) = self.groups.get_mut(group) {
            // Another process of the group, or a thread of the same one.
            let is_own = matches!(taker, Taker::Group(name) if *name == group.name);
            group.taken.add(if is_own { &Taker::Itself } else { taker }, ns, epoch);
        }
    }

    /// What waits for a name is not short.
    fn hold_back(&mut self, known: &FxHashMap<u32, Known>) {
        for (pair, last) in &self.pairs.by {
            let open_ns = last.read_ns.wrapping_sub(last.added_ns);
            let Some(waiter) = known.get(&pair.waiter).filter(|_| open_ns != 0) else { continue };
            if let Some(taken) = self.processes.get_mut(&waiter.key).and_then(|process| process.taken.as_mut()) {
                taken.hold_back(open_ns);
            }
            if let Some(group) = waiter.group.and_then(|id| self.groups.get_mut(id)) {
                group.taken.hold_back(open_ns);
            }
        }
    }

    /// What is left of all waits is short.
    fn tell_short(&mut self) {
        for group in self.groups.iter_mut() {
            group.taken.set_waited(group.totals.waited_ns);
        }
        for process in self.processes.values_mut() {
            if let Some(taken) = &mut process.taken {
                taken.set_waited(process.totals.waited_ns);
            }
        }
    }

    fn known_by_tgid(&self) -> FxHashMap<u32, Known> {
        let ended = self.ended.iter().flatten();
        let ended = ended.map(|(key, group)| Known { key: *key, group: Some(*group), is_kernel_thread: false });
        let there = self.processes.iter().map(|(key, process)| Known {
            key: *key,
            group: process.group.or_else(|| self.late_group(*key)),
            is_kernel_thread: process.identity.is_kernel_thread,
        });
        // Of two of the same id the later one counts: what is there.
        ended.chain(there).map(|known| (known.key.tgid, known)).collect()
    }

    /// Pairs of which nothing more is to come, once: one of the two is gone. Where there are many, those that rest.
    pub fn take_pairs_that_are_over(&mut self) -> Vec<Pair> {
        let tgids: FxHashSet<u32> = self.processes.keys().map(|key| key.tgid).collect();
        let has_many = self.pairs.by.len() > PAIRS_KEPT;
        let is_there = |pair: &Pair| {
            tgids.contains(&pair.waiter)
                && (Taker::that_is_no_process(pair.taker).is_some() || tgids.contains(&pair.taker))
        };
        let is_over = |pair: &Pair, last: &LastPair| {
            !last.has_grown && last.read_ns == last.added_ns && (has_many || !is_there(pair))
        };
        let over = self.pairs.by.extract_if(|pair, last| is_over(pair, last)).map(|(pair, _)| pair).collect();
        shrink(&mut self.pairs.by);
        over
    }

    /// Who took the CPU from a process in the last sample: thread group ids, and for how long each, in nanoseconds,
    /// those who took most first.
    pub fn takers_of(&self, tgid: u32) -> Vec<(u32, u64)> {
        let of_it = self.pairs.by.iter().filter(|(pair, last)| pair.waiter == tgid && last.grown_ns != 0);
        let mut takers: Vec<_> = of_it.map(|(pair, last)| (pair.taker, last.grown_ns)).collect();
        takers.sort_unstable_by_key(|(taker, ns)| (std::cmp::Reverse(*ns), *taker));
        takers
    }
}
