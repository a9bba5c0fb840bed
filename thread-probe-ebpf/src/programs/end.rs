//! The end of a task: its final record, or what it adds to its process.

use aya_ebpf::helpers::generated::bpf_ringbuf_query;
use thread_probe_ebpf::{
    abi::{
        names::Lost,
        record::{
            PART_END_SEEN, PART_ENDED, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS, ShortRecord, ThreadPart,
            ThreadRecord,
        },
        storage::TaskStorage,
    },
    logic::{burst, short_record},
};

use super::{
    fill::{copy_words, fill_process, fill_thread, zero_words},
    folding::{Ended, fold_known, fold_leader, fold_unknown, orphan},
    kernel::{Task, boot_ns, keeps_time, may_fold_leaders},
    maps::{ENDED, TASKS, lost},
};

/// A task is about to be freed: its counters are final. What no scan has seen is added to its process; of what a scan
/// has seen, and of leaders, the record is sent, filled as the scan fills it.
#[inline(always)]
pub(crate) fn freed(task: Task) {
    let Some(storage) = TASKS.get(task.0) else {
        lost(Lost::RecordWithoutHistogram);
        if !send_whole(task, None, 0) {
            lost(Lost::RecordNotSent);
        }
        return;
    };
    let ended_ns = storage.ended_ns;
    if ended_ns == 0 {
        lost(Lost::EndNotSeen);
    }
    let leads = task.pid() == task.tgid();
    if is_folded(Ended { task, storage, ended_ns }, leads) {
        return;
    }
    let sent = if !leads && short_record::fits(storage) {
        send_short(task, storage, ended_ns)
    } else {
        send_whole(task, Some(storage), ended_ns)
    };
    if !sent {
        fold_what_was_not_sent(Ended { task, storage, ended_ns });
    }
}

/// Adds what needs no record to where it belongs, if there is room.
#[inline(always)]
fn is_folded(ended: Ended<'_>, leads: bool) -> bool {
    if !ended.is_unknown() {
        return false;
    }
    if !leads {
        return fold_unknown(ended);
    }
    may_fold_leaders() && fold_leader(ended)
}

/// The ring buffer is full.
#[inline(always)]
fn fold_what_was_not_sent(ended: Ended<'_>) {
    let folded = match (ended.is_known(), ended.is_unknown()) {
        (true, _) => fold_known(ended),
        (_, true) => fold_unknown(ended),
        // Nobody knows what of it was sent.
        _ => return lost(Lost::RecordNotSent),
    };
    if folded {
        lost(Lost::RingFull);
    } else {
        orphan(ended);
    }
}

#[inline(always)]
fn send_short(task: Task, storage: &mut TaskStorage, ended_ns: u64) -> bool {
    let Some(mut entry) = ENDED.reserve_untyped::<ShortRecord>(0) else {
        return false;
    };
    let record: *mut ShortRecord = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole record, aligned to 8 bytes; every byte of it is written here.
    unsafe {
        fill_ended(&raw mut (*record).thread, task, Some(storage), ended_ns);
        zero_words(&raw mut (*record).indices);
        zero_words(&raw mut (*record).words);
        short_record::pack(storage, record);
    }
    entry.submit(wakeup_flag());
    true
}

#[inline(always)]
fn send_whole(task: Task, storage: Option<&TaskStorage>, ended_ns: u64) -> bool {
    let Some(mut entry) = ENDED.reserve(0) else {
        return false;
    };
    let record: *mut ThreadRecord = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole record, aligned to 8 bytes; every byte of it is written here.
    unsafe {
        fill_ended(&raw mut (*record).thread, task, storage, ended_ns);
        (*record).thread.head.parts |= PART_PROCESS;
        fill_process(&raw mut (*record).process, task);
        match storage {
            Some(storage) => copy_words(&raw const storage.waits, &raw mut (*record).waits),
            None => zero_words(&raw mut (*record).waits),
        }
    }
    entry.submit(wakeup_flag());
    true
}

/// Fills the part of a thread that ended.
///
/// # Safety
/// `thread` points to a whole one.
#[inline(always)]
unsafe fn fill_ended(thread: *mut ThreadPart, task: Task, storage: Option<&TaskStorage>, ended_ns: u64) {
    let mut parts = PART_THREAD | PART_WAITS | PART_ENDED;
    if storage.is_some() {
        parts |= PART_STORAGE;
    }
    if ended_ns != 0 {
        parts |= PART_END_SEEN;
    }
    // SAFETY: the caller's.
    unsafe {
        // Its clock stands still since its last run.
        fill_thread(thread, task, storage, (parts, 0));
        if let Some(storage) = storage.filter(|_| keeps_time()) {
            (*thread).burst_max_ns = burst::longest_ns(&storage.burst, (*thread).counters.cpu_ns);
        }
        (*thread).ended_ns = if ended_ns == 0 { boot_ns() } else { ended_ns };
    }
}

/// Wakes the daemon when the ring is a quarter full, and only then: it drains on its own clock otherwise.
#[inline(always)]
fn wakeup_flag() -> u64 {
    const BPF_RB_NO_WAKEUP: u64 = 1;
    const BPF_RB_FORCE_WAKEUP: u64 = 2;
    const BPF_RB_AVAIL_DATA: u64 = 0;
    const BPF_RB_RING_SIZE: u64 = 1;
    let ring = (&raw const ENDED).cast_mut().cast();
    // SAFETY: the map is a ring buffer.
    let (pending, size) =
        unsafe { (bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA), bpf_ringbuf_query(ring, BPF_RB_RING_SIZE)) };
    if pending > size / 4 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }
}
