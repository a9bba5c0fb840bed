//! Gives up what is overdue.

use std::time::Duration;

use thread_probe_ebpf::record::Counters;

use super::{Ledger, entries::Thread, totals::Delta};

/// How long a thread that left the scan may be without a final record before it is given up as lost. The record comes
/// after an RCU grace period: milliseconds, or the 21 s at which the kernel reports a stall.
const END_OVERDUE: Duration = Duration::from_secs(30);

impl Ledger {
    /// Threads and processes of which nothing was heard for too long.
    pub(super) fn give_up_overdue(&mut self) {
        let overdue_ns = self.now_ns.saturating_sub(END_OVERDUE.as_nanos() as u64);
        self.give_up_threads(overdue_ns);
        self.give_up_processes(overdue_ns);
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
}
