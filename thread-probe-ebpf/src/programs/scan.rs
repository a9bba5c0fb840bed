//! The scan: a record of each task, cut to what changed since the one before.

use core::ptr;

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use thread_probe_ebpf::{
    abi::{
        record::{Head, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS, ThreadRecord},
        storage::{SEEN, UNSEEN},
    },
    logic::unchanged::{Glance, is_as_sent},
};

use super::{
    fill::{copy_words, fill_process, fill_thread},
    kernel::Task,
    maps::{SCRATCH, TASKS},
    tasks::{Adopter, adopt},
};

/// The task is reaped: of include/linux/sched.h.
const EXIT_DEAD: u32 = 0x10;

/// `struct bpf_iter__task`.
#[repr(C)]
pub struct IterContext {
    meta: *const IterMeta,
    task: *const u8,
}

/// `struct bpf_iter_meta`.
#[repr(C)]
struct IterMeta {
    seq: *mut seq_file,
}

/// Writes the record of one task to the scan's stream, cut to what changed since the last scan.
#[inline(always)]
pub(crate) fn scan(context: *const IterContext) {
    // SAFETY: the kernel passes a valid context, and the verifier checks the loads.
    let (seq, task) = unsafe { ((*(*context).meta).seq, Task((*context).task)) };
    if task.0.is_null() {
        return;
    }
    // This CPU's slot; the program is not migrated and one scan runs at a time.
    let Some(record) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    let leads = task.pid() == task.tgid();
    let parts = PART_THREAD | if leads { PART_PROCESS } else { 0 };
    let Some(storage) = TASKS.get(task).or_else(|| adopt(task, Adopter::Scan)) else {
        // SAFETY: a whole record.
        unsafe { fill_thread(&raw mut (*record).thread, task, None, parts) };
        write_record(seq, record, task, parts);
        return;
    };
    // It has been reaped, and its end may come at any time: what no scan has seen by then is folded. One that is not
    // reaped yet is freed an RCU grace period after that, and this program runs within an RCU read section: so each is
    // either written here or folded, never both.
    if storage.seen == UNSEEN && task.exit_state() & EXIT_DEAD != 0 {
        return;
    }
    if !leads && is_as_sent(glance(task), storage) {
        write(seq, &Head { task: task.0 as u64, parts: PART_STORAGE, tid: task.pid() });
        return;
    }
    // SAFETY: a whole record.
    let waits = unsafe {
        fill_thread(&raw mut (*record).thread, task, Some(storage), parts | PART_STORAGE);
        // By the runs of this very record: the thread may go on meanwhile, and the next record must not miss a wait.
        if storage.seen != SEEN || (*record).thread.counters.runs != storage.sent.runs { PART_WAITS } else { 0 }
    };
    // On a full buffer the kernel drops what this call wrote and calls again for the same task: only what was
    // written whole counts as sent.
    if write_record(seq, record, task, parts | PART_STORAGE | waits) && (waits == 0 || write(seq, &storage.waits)) {
        // SAFETY: both are whole counters; the record was just filled.
        unsafe { copy_words(&raw const (*record).thread.counters, &raw mut storage.sent) };
        storage.sent_comm = task.comm();
        // SAFETY: as above.
        storage.sent_state = unsafe { (*record).thread.state };
        storage.seen = SEEN;
    }
}

/// What changes whenever a thread runs or is renamed.
#[inline(always)]
fn glance(task: Task) -> Glance {
    Glance {
        state: task.state_or_frozen(),
        exit_state: task.exit_state(),
        voluntary_switches: task.nvcsw(),
        involuntary_switches: task.nivcsw(),
        runs: task.pcount(),
        comm: task.comm(),
    }
}

/// Writes the thread's part, which is filled but for what follows it, and the process's if it is to follow.
#[inline(always)]
fn write_record(seq: *mut seq_file, record: *mut ThreadRecord, task: Task, parts: u32) -> bool {
    // SAFETY: the caller passes a whole record.
    unsafe {
        (*record).thread.head.parts = parts;
        if !write(seq, &(*record).thread) {
            return false;
        }
        if parts & PART_PROCESS == 0 {
            return true;
        }
        fill_process(&raw mut (*record).process, task);
        write(seq, &(*record).process)
    }
}

#[inline(always)]
fn write<T>(seq: *mut seq_file, part: &T) -> bool {
    // SAFETY: the part is plain data without padding, of the size said.
    unsafe { bpf_seq_write(seq, ptr::from_ref(part).cast(), size_of::<T>() as u32) == 0 }
}
