//! Clones: how long those that succeed take, and which fail.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::info;
use thread_probe_ebpf::{
    histogram::{BUCKETS, bucket_of},
    names::{CloneErrno, CloneFailure, Lost},
    record::Counters,
    storage::TaskStorage,
};

use crate::{
    limits::failure_of,
    maps::{CLONE_DURATION, TASKS, lost, orphan},
    tasks::{boot_ns, current},
};

/// Index of the first of `clone_failures` in [`Counters`].
const CLONE_FAILURES: usize = core::mem::offset_of!(Counters, clone_failures) / 8;

/// The current task asks for a new one.
#[inline(always)]
pub(crate) fn entered() {
    if let Some(storage) = TASKS.get(current()) {
        storage.clone_started_ns = boot_ns();
    }
}

/// The new task is woken. Measured here, not at the return: a vfork returns only when its child has executed another
/// program.
#[inline(always)]
pub(crate) fn succeeded(creator: &mut TaskStorage) {
    if creator.clone_started_ns == 0 {
        return;
    }
    let duration = boot_ns().saturating_sub(creator.clone_started_ns);
    creator.clone_started_ns = 0;
    if let Some(histogram) = CLONE_DURATION.get_ptr_mut(0) {
        // SAFETY: this CPU's slot, and both indices are within the array.
        unsafe {
            (*histogram)[bucket_of(duration)] += 1;
            (*histogram)[BUCKETS] += duration;
        }
    }
}

/// The call returned, to the creator or (the system calls only) to the new task.
#[inline(always)]
pub(crate) fn returned<C: EbpfContext>(context: &C, value: i64) {
    let Some(errno) = CloneErrno::from_return(value) else {
        return;
    };
    let task = current();
    let (failure, cgroup) = failure_of(task, errno);
    match TASKS.get(task) {
        Some(storage) => {
            storage.clone_started_ns = 0;
            storage.clone_failures[failure as usize] += 1;
            match failure {
                CloneFailure::CgroupPids => storage.refused_by_pids = cgroup,
                CloneFailure::CgroupMemory => storage.refused_by_memory = cgroup,
                _ => {}
            }
            // A clone that fails early leaves a task whose bpf_storage is still its creator's, and an RCU grace period
            // later free_task() empties that. Fixed in 2026 ("bpf,fork: wipe ->bpf_storage before bailouts that access
            // it"); on any kernel, what it would empty is left to it.
            TASKS.renew(task, storage);
        }
        None => {
            lost(Lost::FailureWithoutStorage);
            orphan(CLONE_FAILURES + failure as usize, 1);
        }
    }
    info!(context, "clone failed in thread {} of process {}: errno {}", task.pid(), task.tgid(), -value);
}
