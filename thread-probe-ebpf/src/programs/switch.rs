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
    let now_ns = next.cfs_rq().clock();
    let (left, arrives) = (prev.tgid(), next.tgid());
    if next.pid() != 0 {
        arrived(next, now_ns, left == arrives);
    }
    if keeps_who() && left != arrives {
        taken::occupied(arrives, now_ns);
    }
}

/// Accounts for what `next` did since it left a CPU.
#[inline(always)]
fn arrived(next: Task, now_ns: u64, is_same_process: bool) {
    let Some(storage) = TASKS.get(next.0) else {
        lost(Lost::StorageMissing);
        if can_create_storage_under_lock() {
            let _ = tasks::adopt(next, Adopter::Switch, now_ns);
        }
        return;
    };
    let last_queued = next.last_queued();
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
        let cfs_rq = next.cfs_rq();
        // First, as its calls would have what is loaded before them put aside.
        let elsewhere_ns = cfs_rq.throttled_elsewhere_ns(storage.period.cfs_rq, storage.period.throttled_ns, wait_ns);
        let arrival = Arrival {
            now_ns,
            cpu_ns: next.sum_exec_runtime(),
            wait_ns,
            voluntary_switches: next.nvcsw(),
            cfs_rq: cfs_rq.address(),
            throttled_ns: cfs_rq.throttled_ns(),
            elsewhere_ns,
        };
        throttled_ns = time::arrive(storage, arrival, || next.asleep_in());
    }
    if keeps_who() && wait_ns >= LONG_WAIT_NS {
        taken::charge(next.tgid(), &LongWait { queued_ns: next.last_queued(), now_ns, wait_ns, throttled_ns });
    }
    if is_same_process {
        storage.same_process_switches += 1;
    }
}
