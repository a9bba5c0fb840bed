//! Gives up what is overdue.

use std::time::Duration;

use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::record::Counters;

use super::{
    Ledger, ProcessKey,
    entries::{ProcessEntry, ThreadEntry},
    totals::{Delta, Ends},
};
use crate::names::grouping::GroupNames;

/// How long a thread that left the scan may be without a final record before its end is counted without one. The record
/// comes after an RCU grace period: milliseconds, or the 21 s at which the kernel reports a stall.
const END_OVERDUE: Duration = Duration::from_secs(30);

/// How long it is remembered then, so that a record that comes all the same does not count the thread again.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

impl Ledger {
    /// Threads and processes of which nothing was heard for too long.
    pub(super) fn give_up_overdue(&mut self, names: &dyn GroupNames) {
        let since = |time: Duration| self.now_ns.saturating_sub(time.as_nanos() as u64);
        let (overdue_ns, forgotten_ns) = (since(END_OVERDUE), since(FORGOTTEN_AFTER));
        self.give_up_threads(overdue_ns);
        self.threads.retain(|_, thread| !thread.is_given_up || thread.missing_since_ns >= forgotten_ns);
        self.displaced.retain(|(_, thread)| !thread.is_given_up || thread.missing_since_ns >= forgotten_ns);
        self.give_up_processes(overdue_ns, names);
    }

    fn give_up_threads(&mut self, overdue_ns: u64) {
        let now_ns = self.now_ns;
        let in_scan = self.threads.values_mut().filter(|thread| thread.seen_ns != now_ns);
        let missing = in_scan.chain(self.displaced.iter_mut().map(|(_, thread)| thread));
        let mut missing: Vec<&mut ThreadEntry> = missing.filter(|thread| !thread.is_given_up).collect();
        let mut by_process: FxHashMap<ProcessKey, u64> = FxHashMap::default();
        for thread in &mut missing {
            if thread.missing_since_ns == 0 {
                thread.missing_since_ns = now_ns;
            }
            *by_process.entry(thread.process).or_default() += 1;
        }
        // As many are missing as ended in the sums: it is those. If more are, a record of some is still to come.
        let is_resolved = |key: &ProcessKey| {
            let unresolved = self.processes.get(key).and_then(|process| process.unresolved.as_deref());
            unresolved.is_some_and(|unresolved| by_process.get(key) == Some(&unresolved.threads))
        };
        let mut over = Vec::new();
        for thread in missing {
            if thread.missing_since_ns < overdue_ns || is_resolved(&thread.process) {
                thread.is_given_up = true;
                over.push(thread.clone());
            }
        }
        for thread in over {
            self.give_up_thread(&thread);
        }
    }

    fn give_up_thread(&mut self, thread: &ThreadEntry) {
        let key = thread.process;
        let is_resolved = self.processes.get_mut(&key).is_some_and(|process| process.resolve(thread));
        if let Some(process) = self.processes.get_mut(&key) {
            process.entries = process.entries.saturating_sub(1);
            process.leader_ended |= thread.tid == key.tgid;
        }
        if is_resolved {
            // Its end and its counters were in the sums.
            self.add_resolved(key);
        } else {
            self.losses.end_missing += 1;
            self.add(key, &Delta { ends: Ends::one(None), ..Delta::default() });
        }
        self.forget_if_over(key);
    }

    /// Once the entries of all threads of the sums have gone, what is left of their histograms is what they added.
    fn add_resolved(&mut self, key: ProcessKey) {
        let unresolved =
            self.processes.get_mut(&key).and_then(|process| process.unresolved.take_if(|it| it.threads == 0));
        if let Some(sums) = unresolved {
            let waits: Vec<_> = (0u8..).zip(sums.waits.buckets).filter(|(_, count)| *count != 0).collect();
            // What is told of a period that is open may be more than it comes to.
            let time_ns = sums.time_ns.map(|ns| if ns.cast_signed() < 0 { 0 } else { ns });
            let counters = Counters { time_ns, ..Counters::default() };
            self.add(key, &Delta { counters, waited_ns: sums.waited_ns, waits: &waits, ..Delta::default() });
        }
    }

    /// Processes of which only threads that ended were ever seen: they go where the thread's own name says.
    fn give_up_processes(&mut self, overdue_ns: u64, names: &dyn GroupNames) {
        let orphaned: Vec<_> =
            self.processes.extract_if(|_, process| process.entries == 0 && process.touched_ns < overdue_ns).collect();
        for (key, process) in orphaned {
            if process.group.is_none() {
                let name = names.name_without_leader(key.tgid, &process.fallback_comm);
                let group = self.groups.get_or_create(&name, false, self.now_ns);
                self.merge_into_group(group, &process.unassigned);
            }
        }
    }
}

impl ProcessEntry {
    /// Whether an entry that is missing is one of those whose ends are in the sums; then it is taken off them.
    fn resolve(&mut self, thread: &ThreadEntry) -> bool {
        let Some(unresolved) = self.unresolved.as_deref_mut().filter(|unresolved| unresolved.threads > 0) else {
            return false;
        };
        unresolved.threads -= 1;
        for (left, seen) in unresolved.waits.buckets.iter_mut().zip(thread.wait_buckets()) {
            // The kernel's counter is the low half of ours.
            *left = left.wrapping_sub(seen as u32);
        }
        for (left, seen) in unresolved.time_ns.iter_mut().zip(thread.counters.time_ns) {
            *left = left.wrapping_sub(seen);
        }
        true
    }
}
