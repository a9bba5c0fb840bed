//! Clones: how long those that succeed take, and which fail.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::info;
use thread_probe_ebpf::abi::{
    histogram::{BUCKETS, bucket_of},
    names::CloneErrno,
    storage::TaskStorage,
};

use super::{
    folding::clone_failed,
    kernel::{boot_ns, current},
    maps::{CLONE_DURATION, TASKS},
    refusal::failure_of,
};

/// The current task asks for a new one.
#[inline(always)]
pub(crate) fn entered() {
    if let Some(storage) = TASKS.get(current().0) {
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

/// The system call returned, to the creator or to the new task. One that seccomp refused was never entered: its
/// tracepoint comes after.
#[inline(always)]
pub(crate) fn returned_from_syscall<C: EbpfContext>(context: &C, value: i64) {
    let was_entered = TASKS.get(current().0).is_none_or(|storage| storage.clone_started_ns != 0);
    if was_entered {
        returned(context, value);
    }
}

/// The call returned. What failed counts for the process, not in the thread's storage: until summer 2026 a clone that
/// fails early leaves a task whose `bpf_storage` is still its creator's, and when that task is freed the kernel empties
/// it ("bpf,fork: wipe ->bpf_storage before bailouts that access it").
#[inline(always)]
pub(crate) fn returned<C: EbpfContext>(context: &C, value: i64) {
    let Some(errno) = CloneErrno::from_return(value) else {
        return;
    };
    let task = current();
    if let Some(storage) = TASKS.get(task.0) {
        storage.clone_started_ns = 0;
    }
    let (failure, cgroup) = failure_of(task, errno);
    clone_failed(task, failure, cgroup);
    info!(context, "clone failed in thread {} of process {}: errno {}", task.pid(), task.tgid(), -value);
}
