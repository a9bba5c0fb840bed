//! The hot path. Every instruction here is paid for at every context switch of the host.

use thread_probe_ebpf::{histogram::bucket_of, names::Lost};

use crate::{
    kernel::{Task, can_create_storage_under_lock},
    maps::{TASKS, lost},
    tasks::{self, Adopter},
};

/// Puts the wait of `next` into its histogram, by the kernel's own definition and clock (`sched_info_arrive` in
/// kernel/sched/stats.h, which runs right after this): `run_delay` is about to grow by `clock - last_queued`.
///
/// What is put is the growth of `run_delay` since the last switch, so a wait in parts (the task was moved to another
/// run queue while it waited) stays whole, an event that was missed is folded into the next, and the histogram's sum
/// is `run_delay` by construction. No atomics: a task is switched in on one CPU at a time.
#[inline(always)]
pub(crate) fn switched(prev: Task, next: Task) {
    // Here nothing can be missed, as it can in sched_process_exit: see there.
    if prev.is_dead() {
        tasks::exiting(prev);
    }
    if next.pid() == 0 {
        return;
    }
    let Some(storage) = TASKS.get(next) else {
        lost(Lost::StorageMissing);
        if can_create_storage_under_lock() {
            let _ = tasks::adopt(next, Adopter::Switch);
        }
        return;
    };
    let last_queued = next.last_queued();
    // 0: it was not waiting, so the kernel counts no run (pcount) either.
    if last_queued != 0 {
        let waited = next.run_delay().wrapping_add(next.run_queue_clock()).wrapping_sub(last_queued);
        let wait = waited.wrapping_sub(storage.accounted_ns);
        storage.accounted_ns = waited;
        if wait as i64 >= 0 {
            storage.waits.buckets[bucket_of(wait)] += 1;
        } else {
            lost(Lost::ImpossibleWait);
        }
    }
    if prev.tgid() == next.tgid() {
        storage.same_process_switches += 1;
    }
}
