//! The hot path. Every instruction here is paid for at every context switch of the host.

use thread_probe_ebpf::{
    abi::{names::Lost, taken::LONG_WAIT_NS},
    logic::{
        taken::LongWait,
        time::{self, Arrival},
        wait,
    },
};

use super::{
    kernel::{Task, can_create_storage_under_lock, keeps_time, keeps_who},
    maps::{TASKS, lost},
    taken,
    tasks::{self, Adopter},
};

/// Puts the wait of `next` into its histogram, and closes its period off the CPU, by the kernel's own definition and
/// clock (`sched_info_arrive` in kernel/sched/stats.h, which runs right after this): `run_delay` is about to grow by
/// `clock - last_queued`.
///
/// No atomics: a task is switched in on one CPU at a time.
#[inline(always)]
pub(crate) fn switched(prev: Task, next: Task) {
    // Here nothing can be missed, as it can in sched_process_exit: see there.
    if prev.is_dead_or_stopped() {
        tasks::left_for_long(prev);
    }
    if next.pid() != 0 {
        arrived(prev, next);
    }
    if keeps_who() && prev.tgid() != next.tgid() {
        taken::occupied(next.tgid(), next.cfs_rq().clock());
    }
}

/// Accounts for what `next` did since it left a CPU.
#[inline(always)]
fn arrived(prev: Task, next: Task) {
    let Some(storage) = TASKS.get(next.0) else {
        lost(Lost::StorageMissing);
        if can_create_storage_under_lock() {
            let _ = tasks::adopt(next, Adopter::Switch, next.cfs_rq().clock());
        }
        return;
    };
    let last_queued = next.last_queued();
    let cfs_rq = next.cfs_rq();
    let now_ns = cfs_rq.clock();
    let mut wait_ns = 0;
    // 0: it was not waiting, so the kernel counts no run (pcount) either.
    if last_queued != 0 {
        match wait::account(storage, wait::waited_ns(next.run_delay(), now_ns, last_queued)) {
            Some(waited_ns) => wait_ns = waited_ns,
            None => lost(Lost::ImpossibleWait),
        }
    }
    let mut throttled_ns = 0;
    if keeps_time() {
        let arrival = Arrival {
            now_ns,
            cpu_ns: next.sum_exec_runtime(),
            wait_ns,
            voluntary_switches: next.nvcsw(),
            cfs_rq: cfs_rq.address(),
            throttled_ns: cfs_rq.throttled_ns(),
            elsewhere_ns: cfs_rq.throttled_elsewhere_ns(storage.period.cfs_rq, storage.period.throttled_ns, wait_ns),
        };
        throttled_ns = time::arrive(storage, arrival, || next.asleep_in());
    }
    if keeps_who() && wait_ns >= LONG_WAIT_NS {
        taken::charge(next.tgid(), &LongWait { queued_ns: last_queued, now_ns, wait_ns, throttled_ns });
    }
    if prev.tgid() == next.tgid() {
        storage.same_process_switches += 1;
    }
}
