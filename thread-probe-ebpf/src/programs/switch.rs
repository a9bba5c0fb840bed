//! The hot path. Every instruction here is paid for at every context switch of the host.

use thread_probe_ebpf::{abi::names::Lost, logic::wait};

use super::{
    kernel::{Task, can_create_storage_under_lock},
    maps::{TASKS, lost},
    tasks::{self, Adopter},
};

/// Puts the wait of `next` into its histogram, by the kernel's own definition and clock (`sched_info_arrive` in
/// kernel/sched/stats.h, which runs right after this): `run_delay` is about to grow by `clock - last_queued`.
///
/// No atomics: a task is switched in on one CPU at a time.
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
        let waited_ns = wait::waited_ns(next.run_delay(), next.run_queue_clock(), last_queued);
        if !wait::account(storage, waited_ns) {
            lost(Lost::ImpossibleWait);
        }
    }
    if prev.tgid() == next.tgid() {
        storage.same_process_switches += 1;
    }
}
