//! The scan: a record of each task, cut to what changed since the one before.

use core::ptr;

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use thread_probe_ebpf::{
    abi::{
        record::{Counters, Head, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS, ThreadRecord},
        storage::{SEEN, Sent, UNSEEN},
    },
    logic::{
        burst,
        unchanged::{Glance, is_as_sent},
    },
};

use super::{
    fill::{fill_process, fill_thread},
    kernel::{Task, current, keeps_time, monotonic_ns},
    maps::{SCAN_CLOCK, SCRATCH, TASKS},
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
    session_id: u64,
    seq_num: u64,
}

/// Writes the record of one task to the scan's stream, cut to what changed since the last scan.
#[inline(always)]
pub(crate) fn scan(context: *const IterContext) {
    // SAFETY: the kernel passes a valid context, and the verifier checks the loads.
    let (seq, number, task) = unsafe { ((*(*context).meta).seq, (*(*context).meta).seq_num, Task((*context).task)) };
    if task.0.is_null() {
        return;
    }
    // This CPU's slot; the program is not migrated and one scan runs at a time.
    let Some(record) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    let Some(now_ns) = run_queue_now(number == 0) else {
        return;
    };
    let leads = task.pid() == task.tgid();
    let parts = PART_THREAD | if leads { PART_PROCESS } else { 0 };
    let Some(storage) = TASKS.get(task.0).or_else(|| adopt(task, Adopter::Scan, now_ns)) else {
        // SAFETY: a whole record.
        unsafe { fill_thread(&raw mut (*record).thread, task, None, (parts, now_ns)) };
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
        fill_thread(&raw mut (*record).thread, task, Some(storage), (parts | PART_STORAGE, now_ns));
        if (*record).thread.state != 0 && (*record).thread.exit_state == 0 {
            (*record).thread.syscall = task.syscall();
        }
        if keeps_time() {
            (*record).thread.burst_max_ns = burst::tell(&mut storage.burst, (*record).thread.counters.cpu_ns);
        }
        // By the runs of this very record: the thread may go on meanwhile, and the next record must not miss a wait.
        if storage.seen != SEEN || (*record).thread.counters.runs != storage.sent.runs { PART_WAITS } else { 0 }
    };
    // On a full buffer the kernel drops what this call wrote and calls again for the same task: only what was
    // written whole counts as sent.
    if write_record(seq, record, task, parts | PART_STORAGE | waits) && (waits == 0 || write(seq, &storage.waits)) {
        // SAFETY: the record was just filled.
        storage.sent = unsafe { sent(&(*record).thread.counters) };
        storage.sent_comm = task.comm();
        // SAFETY: as above.
        storage.sent_state = unsafe { (*record).thread.state };
        storage.seen = SEEN;
    } else {
        // SAFETY: as above.
        burst::take_back(&mut storage.burst, unsafe { (*record).thread.burst_max_ns });
    }
}

/// The time by the clock of the run queues, which is that of no helper. At the beginning of a scan its reader has just
/// been switched to, so that its own run queue's clock is that of now.
#[inline(always)]
fn run_queue_now(is_first: bool) -> Option<u64> {
    let offset = SCAN_CLOCK.get_ptr_mut(0)?;
    let monotonic_ns = monotonic_ns();
    if is_first {
        // SAFETY: the array's element; one scan runs at a time.
        unsafe { offset.write_volatile(monotonic_ns.wrapping_sub(current().cfs_rq().clock())) };
    }
    // SAFETY: as above.
    Some(monotonic_ns.wrapping_sub(unsafe { offset.read_volatile() }))
}

/// What of the counters is needed again.
#[inline(always)]
fn sent(counters: &Counters) -> Sent {
    Sent {
        voluntary_switches: counters.voluntary_switches,
        involuntary_switches: counters.involuntary_switches,
        run_delay_ns: counters.run_delay_ns,
        runs: counters.runs,
        cpu_ns: counters.cpu_ns,
        same_process_switches: counters.same_process_switches,
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
