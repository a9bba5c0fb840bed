//! The end of a task: its final record.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_ringbuf_query};
use aya_log_ebpf::warn;
use thread_probe_ebpf::{
    names::Lost,
    record::{
        COUNTERS, PART_END_SEEN, PART_ENDED, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS, SHORT_WORDS,
        ShortRecord, Thread, ThreadRecord, Waits,
    },
    storage::TaskStorage,
};

use crate::{
    fill::{copy_words, fill_process, fill_thread, zero_words},
    kernel::Task,
    maps::{ENDED, SCRATCH, TASKS, lost, orphan},
    tasks::boot_ns,
};

/// A task is about to be freed: its counters are final. Sends its record, filled as the scan fills it.
#[inline(always)]
pub(crate) fn freed<C: EbpfContext>(context: &C, task: Task) {
    let mut storage = TASKS.get(task);
    let leads = task.pid() == task.tgid();
    let short = match &mut storage {
        Some(storage) if !leads => has_few_waits(storage),
        _ => false,
    };
    let sent = match &mut storage {
        Some(storage) if short => send_short(task, storage),
        _ => send_whole(task, storage.as_deref()),
    };
    let storage = storage.as_deref();
    if storage.is_none() {
        lost(Lost::RecordWithoutHistogram);
    }
    if !sent {
        lost(Lost::RingFull);
        give_up(task, storage);
        warn!(context, "ring buffer full: the end of thread {} was not sent", task.pid());
    }
}

/// Two buckets of a task's histogram.
#[inline(always)]
fn word_of_waits(storage: &TaskStorage, word: usize) -> u64 {
    // SAFETY: callers pass less than the histogram has.
    unsafe { (&raw const storage.waits).cast::<u64>().add(word).read_volatile() }
}

const WORDS_OF_WAITS: usize = size_of::<Waits>() / 8;

/// Whether the histogram fits a short record. Leaves in the storage how many words of it are not 0.
#[inline(always)]
fn has_few_waits(storage: &mut TaskStorage) -> bool {
    let occupied = &raw mut storage.occupied_words;
    // SAFETY: the task's own storage, which nobody else writes any more.
    unsafe {
        occupied.write_volatile(0);
        for word in 0..WORDS_OF_WAITS {
            if word_of_waits(storage, word) != 0 {
                occupied.write_volatile(occupied.read_volatile() + 1);
            }
        }
        occupied.read_volatile() <= SHORT_WORDS as u64
    }
}

#[inline(always)]
fn send_short(task: Task, storage: &mut TaskStorage) -> bool {
    let Some(mut entry) = ENDED.reserve_untyped::<ShortRecord>(0) else {
        return false;
    };
    let record: *mut ShortRecord = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole record, aligned to 8 bytes; every byte of it is written here.
    unsafe {
        fill_ended(&raw mut (*record).thread, task, Some(storage));
        zero_words(&raw mut (*record).indices);
        zero_words(&raw mut (*record).words);
        let (indices, words) = ((&raw mut (*record).indices).cast::<u8>(), (&raw mut (*record).words).cast::<u64>());
        let left = &raw mut storage.occupied_words;
        for word in 0..WORDS_OF_WAITS {
            let value = word_of_waits(storage, word);
            if value != 0 {
                let slot = left.read_volatile().wrapping_sub(1);
                left.write_volatile(slot);
                indices.add(slot as usize % SHORT_WORDS).write_volatile(word as u8);
                words.add(slot as usize % SHORT_WORDS).write_volatile(value);
            }
        }
    }
    entry.submit(wakeup_flag());
    true
}

#[inline(always)]
fn send_whole(task: Task, storage: Option<&TaskStorage>) -> bool {
    let Some(mut entry) = ENDED.reserve(0) else {
        return false;
    };
    let record: *mut ThreadRecord = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole record, aligned to 8 bytes; every byte of it is written here.
    unsafe {
        fill_ended(&raw mut (*record).thread, task, storage);
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
unsafe fn fill_ended(thread: *mut Thread, task: Task, storage: Option<&TaskStorage>) {
    let mut parts = PART_THREAD | PART_WAITS | PART_ENDED;
    let mut ended_ns = 0;
    if let Some(storage) = storage {
        ended_ns = storage.ended_ns;
        parts |= PART_STORAGE;
        if ended_ns == 0 {
            lost(Lost::EndNotSeen);
        } else {
            parts |= PART_END_SEEN;
        }
    }
    // SAFETY: the caller's.
    unsafe {
        fill_thread(thread, task, storage, parts);
        (*thread).ended_ns = if ended_ns == 0 { boot_ns() } else { ended_ns };
    }
}

/// Adds what the scan has not sent yet to the orphans. Without storage nobody knows what that is.
#[inline(always)]
fn give_up(task: Task, storage: Option<&TaskStorage>) {
    let Some(storage) = storage else {
        return;
    };
    let Some(record) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's slot. It may interrupt the scan between its fill and its write only where the free runs in
    // softirq, so it uses the slot's second record.
    let counters = unsafe {
        let record = &raw mut (*record)[1].thread;
        fill_thread(record, task, Some(storage), 0);
        (&raw const (*record).counters).cast::<u64>()
    };
    for index in 0..COUNTERS {
        // SAFETY: within the counters, which are nothing but u64.
        let (last, sent) = unsafe {
            let sent = (&raw const storage.sent).cast::<u64>().add(index).read_volatile();
            (counters.add(index).read_volatile(), sent)
        };
        orphan(index, last.wrapping_sub(sent));
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
