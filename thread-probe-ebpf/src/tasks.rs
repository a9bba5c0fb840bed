//! The life of a task: created, scanned, ending, freed.

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::seq_file,
    helpers::generated::{bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_ringbuf_query, bpf_seq_write},
};
use aya_log_ebpf::warn;
use thread_probe_ebpf::{
    names::{CloneFailure, Lost},
    record::{
        COUNTERS, Counters, Head, PART_END_SEEN, PART_ENDED, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS,
        Process, SHORT_WORDS, ShortRecord, Thread, ThreadRecord, Waits,
    },
    storage::TaskStorage,
};

use crate::{
    clone,
    kernel::{Comm, MAX_USER_NAMESPACES, RLIMIT_AS, RLIMIT_NPROC, RLIMIT_STACK, Task},
    maps::{ADOPTED, ENDED, RENEWED, SCRATCH, TASKS, lost, orphan},
};

/// Index of `threads_created` in [`Counters`].
const THREADS_CREATED: usize = core::mem::offset_of!(Counters, threads_created) / 8;
/// Index of `processes_created` in [`Counters`].
const PROCESSES_CREATED: usize = core::mem::offset_of!(Counters, processes_created) / 8;

/// The task that runs the program.
#[inline(always)]
pub(crate) fn current() -> Task {
    // SAFETY: the helper has no preconditions.
    Task(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
}

/// A task was created and can't run yet: gives it its storage. In process context: nothing is ever allocated under a
/// run queue's lock. `task_newtask` comes first and, unlike `sched_process_fork`, also for what the kernel creates
/// without `kernel_clone`: io_uring workers (`create_io_thread`) and vhost tasks.
#[inline(always)]
pub(crate) fn created(child: Task) {
    // fork_idle, at CPU hotplug.
    if child.pid() == 0 {
        return;
    }
    match TASKS.get_or_create(child, ptr::null_mut()) {
        Some(storage) => storage.process_start_ns = child.process_start_ns(),
        None => lost(Lost::StorageNotCreated),
    }
}

/// The current task has created another, and wakes it: counted here, where interrupts are off, so that it can't be
/// missed.
#[inline(always)]
pub(crate) fn woken(child: Task) {
    let creator = current();
    let is_thread = child.tgid() == creator.tgid();
    match TASKS.get(creator) {
        Some(storage) => {
            if is_thread {
                storage.threads_created += 1;
            } else {
                storage.processes_created += 1;
            }
            clone::succeeded(storage);
        }
        None => {
            lost(Lost::CreatorWithoutStorage);
            orphan(if is_thread { THREADS_CREATED } else { PROCESSES_CREATED }, 1);
        }
    }
}

/// A task has begun to exit. It is freed only after its parent has waited for it and an RCU grace period, so this is
/// the only place that knows how long it lived.
#[inline(always)]
pub(crate) fn exiting(task: Task) {
    if let Some(storage) = TASKS.get(task)
        && storage.ended_ns == 0
    {
        storage.ended_ns = boot_ns();
    }
}

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
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's slot; the program is not migrated and one scan runs at a time.
    let record = unsafe { &raw mut (*scratch)[0] };
    let leads = task.pid() == task.tgid();
    let parts = PART_THREAD | if leads { PART_PROCESS } else { 0 };
    let Some(storage) = TASKS.get(task).or_else(|| adopt(task)) else {
        // SAFETY: a whole record.
        unsafe { fill_thread(&raw mut (*record).thread, task, None, parts) };
        write_record(seq, record, task, parts);
        return;
    };
    if !leads && is_as_sent(task, storage) {
        write(seq, &Head { task: task.0 as u64, parts: PART_STORAGE, tid: task.pid() });
        return;
    }
    // SAFETY: a whole record.
    let waits = unsafe {
        fill_thread(&raw mut (*record).thread, task, Some(storage), parts | PART_STORAGE);
        // By the runs of this very record: the thread may go on meanwhile, and the next record must not miss a wait.
        if storage.sent_once == 0 || (*record).thread.counters.runs != storage.sent.runs { PART_WAITS } else { 0 }
    };
    // On a full buffer the kernel drops what this call wrote and calls again for the same task: only what was
    // written whole counts as sent.
    if write_record(seq, record, task, parts | PART_STORAGE | waits) && (waits == 0 || write(seq, &storage.waits)) {
        // SAFETY: both are whole counters; the record was just filled.
        unsafe { copy_words(&raw const (*record).thread.counters, &raw mut storage.sent) };
        storage.sent_comm = task.comm();
        // SAFETY: as above.
        storage.sent_state = unsafe { (*record).thread.state };
        storage.sent_once = 1;
    }
}

/// Whether the last record of a sleeping thread still stands: it has not run since, nor been renamed.
#[inline(always)]
fn is_as_sent(task: Task, storage: &TaskStorage) -> bool {
    let comm = task.comm();
    storage.sent_state != 0
        && task.state() == storage.sent_state
        && task.exit_state() == 0
        && task.nvcsw() == storage.sent.voluntary_switches
        && task.nivcsw() == storage.sent.involuntary_switches
        && task.pcount() == storage.sent.runs
        && comm[0] == storage.sent_comm[0]
        && comm[1] == storage.sent_comm[1]
}

/// Storage for a task that was there before the probe, or whose storage could not be allocated when it was created.
#[inline(always)]
fn adopt(task: Task) -> Option<&'static mut TaskStorage> {
    // Put there before the storage is taken away, and taken away after it is back.
    if RENEWED.get_ptr(task.0 as u64).is_some() {
        return None;
    }
    // Put in whole: from the moment it is there the context switch counts in it.
    let initial = ADOPTED.get_ptr_mut(0)?;
    let run_delay = task.run_delay();
    // SAFETY: this CPU's slot; the program is not migrated and one scan runs at a time.
    unsafe {
        (*initial).accounted_ns = run_delay;
        (*initial).run_delay_base_ns = run_delay;
        (*initial).process_start_ns = task.process_start_ns();
    }
    TASKS.get_or_create(task, initial)
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

/// Fills a thread's part in place: the BPF stack is too small for a copy of it.
///
/// # Safety
/// `thread` points to a whole one.
#[inline(always)]
unsafe fn fill_thread(thread: *mut Thread, task: Task, storage: Option<&TaskStorage>, parts: u32) {
    // SAFETY: the caller's.
    let thread = unsafe { &mut *thread };
    thread.head.task = task.0 as u64;
    thread.head.parts = parts;
    thread.head.tid = task.pid();
    thread.tgid = task.tgid();
    thread.flags = task.flags();
    thread.start_boottime_ns = task.start_boottime();
    thread.state = task.state();
    thread.exit_state = task.exit_state();
    // SAFETY: the caller's.
    unsafe { fill_stack(thread, task) };
    // SAFETY: 16 bytes of plain data at an offset that is a multiple of 8.
    unsafe { thread.comm.as_mut_ptr().cast::<Comm>().write(task.comm()) };
    thread.counters.voluntary_switches = task.nvcsw();
    thread.counters.involuntary_switches = task.nivcsw();
    thread.counters.run_delay_ns = task.run_delay();
    thread.counters.runs = task.pcount();
    thread.counters.cpu_ns = task.sum_exec_runtime();
    match storage {
        Some(storage) => fill_from_storage(thread, storage),
        None => fill_without_storage(thread),
    }
}

/// The size and the used depth of the kernel stack; both 0 once it is gone, and the depth while the task never ran.
///
/// # Safety
/// `thread` points to a whole one.
#[inline(always)]
unsafe fn fill_stack(thread: *mut Thread, task: Task) {
    /// No architecture has smaller pages, and what is saved above the registers is less.
    const SMALLEST_PAGE: u64 = 4096;
    /// Of arm64 with 64 kB pages and KASAN.
    const LARGEST_STACK: u64 = 128 << 10;
    // The verifier refuses arithmetic on a pointer, which since Linux 7 a loaded `void *` is too, but not on what was
    // stored and read back.
    let address = |pointer: *const u8| {
        // SAFETY: the caller's.
        unsafe {
            let slot = (&raw mut (*thread).ended_ns).cast::<*const u8>();
            slot.write_volatile(pointer);
            slot.cast::<u64>().read_volatile()
        }
    };
    let (stack, registers) = (address(task.stack()), address(task.entry_registers()));
    let top = (registers + SMALLEST_PAGE - 1) & !(SMALLEST_PAGE - 1);
    let (size, depth) = (top.wrapping_sub(stack), top.wrapping_sub(task.stack_pointer()));
    // The stack of a task that ends may go between the two loads: then the size is none that a kernel has.
    let is_size = stack != 0 && size <= LARGEST_STACK && size & size.wrapping_sub(1) == 0;
    let (size, depth) = if is_size { (size, if depth > size { 0 } else { depth }) } else { (0, 0) };
    // SAFETY: the caller's.
    unsafe {
        (*thread).stack_bytes = size as u32;
        (*thread).stack_depth_bytes = depth as u32;
        (*thread).ended_ns = 0;
    }
}

#[inline(always)]
fn fill_from_storage(thread: &mut Thread, storage: &TaskStorage) {
    thread.process_start_ns = storage.process_start_ns;
    thread.run_delay_base_ns = storage.run_delay_base_ns;
    thread.refused_by_pids = storage.refused_by_pids;
    thread.refused_by_memory = storage.refused_by_memory;
    thread.counters.same_process_switches = storage.same_process_switches;
    thread.counters.threads_created = storage.threads_created;
    thread.counters.processes_created = storage.processes_created;
    for failure in 0..CloneFailure::ALL.len() {
        thread.counters.clone_failures[failure] = storage.clone_failures[failure];
    }
}

#[inline(always)]
fn fill_without_storage(thread: &mut Thread) {
    thread.process_start_ns = 0;
    thread.run_delay_base_ns = 0;
    thread.refused_by_pids = 0;
    thread.refused_by_memory = 0;
    thread.counters.same_process_switches = 0;
    thread.counters.threads_created = 0;
    thread.counters.processes_created = 0;
    for failure in 0..CloneFailure::ALL.len() {
        thread.counters.clone_failures[failure] = 0;
    }
}

/// Fills a process's part in place.
///
/// # Safety
/// `process` points to a whole one.
#[inline(always)]
unsafe fn fill_process(process: *mut Process, task: Task) {
    // SAFETY: the caller's.
    let process = unsafe { &mut *process };
    let signal = task.signal();
    let mm = task.mm();
    process.parent_tgid = task.parent_tgid();
    process.uid = task.uid();
    process.is_exempt_from_nproc = u32::from(task.is_exempt_from_nproc());
    process.map_count = mm.map_count();
    process.total_vm_pages = mm.total_vm_pages();
    process.cgroup_id = task.cgroup_id();
    process.css_set = task.css_set() as u64;
    let pid_ns = task.pid_ns();
    process.pid_ns = pid_ns.inode();
    process.pid_ns_parent = pid_ns.parent().inode();
    process.pid_ns_used = pid_ns.used();
    process.pid_ns_max = pid_ns.own_max();
    process.rlimit_nproc = signal.rlimit(RLIMIT_NPROC);
    // SAFETY: the caller's.
    unsafe { fill_nproc(process, task) };
    process.rlimit_as_bytes = signal.rlimit(RLIMIT_AS);
    process.rlimit_stack_bytes = signal.rlimit(RLIMIT_STACK);
    // SAFETY: whole words of plain data.
    unsafe { zero_words(&raw mut process.exe) };
    mm.exe_name(&mut process.exe);
}

/// Fills what counts against RLIMIT_NPROC: of the user namespaces that charge the task, that with the least room.
///
/// # Safety
/// `process` points to a whole one.
#[inline(always)]
unsafe fn fill_nproc(process: *mut Process, task: Task) {
    // SAFETY: the caller's. In the record, not in registers: the verifier would follow every path through the loop.
    unsafe {
        let (used, max) = (&raw mut (*process).nproc_used, &raw mut (*process).nproc_max);
        let mut charge = task.nproc_charge((*process).rlimit_nproc);
        used.write_volatile(charge.used());
        max.write_volatile(charge.max());
        (&raw mut (*process).nproc_uid).write_volatile(charge.uid());
        for _ in 1..MAX_USER_NAMESPACES {
            charge = charge.above();
            if charge.is_null() {
                break;
            }
            let room = max.read_volatile().saturating_sub(used.read_volatile());
            if charge.max().saturating_sub(charge.used()) < room {
                used.write_volatile(charge.used());
                max.write_volatile(charge.max());
                (&raw mut (*process).nproc_uid).write_volatile(charge.uid());
            }
        }
        (*process).reserved = 0;
    }
}

/// Copies word by word: the target has no `memcpy` to call.
///
/// # Safety
/// Both point to a whole `T`, aligned to 8 bytes and a multiple of 8 long.
#[inline(always)]
unsafe fn copy_words<T>(from: *const T, to: *mut T) {
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: the caller's. Volatile, lest it become the call of `memcpy` again.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

/// Zeroes word by word.
///
/// # Safety
/// `to` points to a whole `T`, aligned to 8 bytes and a multiple of 8 long.
#[inline(always)]
unsafe fn zero_words<T>(to: *mut T) {
    let to = to.cast::<u64>();
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: the caller's.
        unsafe { to.add(word).write_volatile(0) };
    }
}

/// Nanoseconds since boot, suspended time included: the clock of `start_boottime`.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}
