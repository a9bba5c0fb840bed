//! The life of a task: created, woken, exiting.

use core::ptr;

use thread_probe_ebpf::abi::{
    names::Lost,
    storage::{ADOPTED, NEVER_SWITCHED, Period, TaskStorage},
};

use super::{
    clone, folding,
    kernel::{Task, boot_ns, can_create_storage_under_lock, current},
    maps::{self, TASKS, lost},
};

/// A task was created and can't run yet: gives it its storage, in process context. `task_newtask` comes first and,
/// unlike `sched_process_fork`, also for what the kernel creates without `kernel_clone`: io_uring workers
/// (`create_io_thread`) and vhost tasks.
#[inline(always)]
pub(crate) fn created(child: Task) {
    // fork_idle, at CPU hotplug.
    if child.pid() == 0 {
        return;
    }
    match TASKS.get_or_create(child.0, ptr::null_mut()) {
        Some(storage) => {
            storage.process_start_ns = child.process_start_ns();
            if storage.period.since_ns == 0 {
                storage.period.voluntary_switches = NEVER_SWITCHED;
            }
        }
        None => lost(Lost::StorageNotCreated),
    }
}

/// The current task has created another, and wakes it: counted here, where interrupts are off, so that it can't be
/// missed. With the run queue locked nothing may be allocated as a rule: only on kernels with a reserve for it, and
/// only for a task that has nothing yet.
#[inline(always)]
pub(crate) fn woken(child: Task) {
    if can_create_storage_under_lock() && TASKS.get(child.0).is_none() {
        created(child);
    }
    let creator = current();
    folding::created(creator, child.tgid() == creator.tgid());
    if let Some(storage) = TASKS.get(creator.0) {
        clone::succeeded(storage);
    }
}

/// Who gives storage to a task that has none; the value is the index into [`maps::ADOPTED`].
#[derive(Clone, Copy)]
pub(crate) enum Adopter {
    Scan = 0,
    Switch = 1,
}

/// Storage for a task that was there before the probe, whose storage could not be allocated when it was created, or
/// whose storage a kernel has emptied (docs/kernels.md). `now_ns` is by the run queues' clocks: from then on its time is
/// accounted for.
#[inline(always)]
pub(crate) fn adopt(task: Task, adopter: Adopter, now_ns: u64) -> Option<&'static mut TaskStorage> {
    // Put in whole: from the moment it is there the context switch counts in it.
    let slots = maps::ADOPTED.get_ptr_mut(0)?;
    let run_delay = task.run_delay();
    // One that sleeps left the CPU voluntarily, which its next arrival is to see.
    let is_asleep = matches!(adopter, Adopter::Scan) && task.state() != 0;
    let cfs_rq = task.cfs_rq();
    let period = Period {
        since_ns: now_ns,
        cpu_ns: task.sum_exec_runtime(),
        voluntary_switches: task.nvcsw().wrapping_sub(u64::from(is_asleep)),
        cfs_rq: cfs_rq.address(),
        throttled_ns: cfs_rq.throttled_ns(),
    };
    // SAFETY: this CPU's slots, of which each is one program's; that is not migrated, and one scan runs at a time.
    let initial = unsafe {
        let initial = &raw mut (*slots)[adopter as usize];
        (*initial).accounted_ns = run_delay;
        (*initial).run_delay_base_ns = run_delay;
        (*initial).process_start_ns = task.process_start_ns();
        (*initial).seen = ADOPTED;
        (*initial).period = period;
        (*initial).burst.since_cpu_ns = period.cpu_ns;
        (*initial).closed_ns = now_ns;
        (*initial).is_stopped = u64::from(task.is_stopped());
        initial
    };
    TASKS.get_or_create(task.0, initial)
}

/// A task is switched away from and does not come back, or not before somebody lets it go on.
#[inline(always)]
pub(crate) fn left_for_long(task: Task) {
    if task.is_dead() {
        exiting(task);
    } else if let Some(storage) = TASKS.get(task.0) {
        storage.is_stopped = 1;
    }
}

/// A task has begun to exit. It is freed only after its parent has waited for it and an RCU grace period, so this is
/// the only place that knows how long it lived.
#[inline(always)]
pub(crate) fn exiting(task: Task) {
    if let Some(storage) = TASKS.get(task.0)
        && storage.ended_ns == 0
    {
        storage.ended_ns = boot_ns();
    }
}
