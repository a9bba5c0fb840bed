//! Fills records from the kernel's structures and the task's storage.

use thread_probe_ebpf::{
    abi::{
        record::{NO_STATE, NO_SYSCALL, ProcessPart, ThreadPart},
        storage::{Period, TaskStorage},
        time::TimeState,
    },
    logic::{
        refusal::{Charge as _, MAX_USER_NAMESPACES, Namespace as _},
        time::{AsOf, Standing, add_open},
    },
};

use super::kernel::{Comm, REGISTERS_ABOVE_STACK, RLIMIT_AS, RLIMIT_NPROC, RLIMIT_STACK, Task, keeps_time};

/// Fills a thread's part in place: the BPF stack is too small for a copy of it. `now_ns` is by the run queues' clocks.
///
/// # Safety
/// `thread` points to a whole one.
#[inline(always)]
pub(crate) unsafe fn fill_thread(
    thread: *mut ThreadPart,
    task: Task,
    storage: Option<&TaskStorage>,
    (parts, now_ns): (u32, u64),
) {
    // SAFETY: the caller's.
    let thread = unsafe { &mut *thread };
    thread.head.task = task.0 as u64;
    thread.head.parts = parts;
    thread.head.tid = task.pid();
    thread.tgid = task.tgid();
    thread.flags = task.flags();
    thread.start_boottime_ns = task.start_boottime();
    thread.state = task.state_or_frozen();
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
    // These count for the process: see `folding`.
    thread.counters.threads_created = 0;
    thread.counters.processes_created = 0;
    thread.since_arrival_ns = now_ns.saturating_sub(task.last_arrival());
    thread.burst_max_ns = 0;
    thread.syscall = NO_SYSCALL;
    match storage {
        Some(storage) => {
            fill_from_storage(thread, storage);
            if keeps_time() {
                // SAFETY: a whole part and a whole storage.
                unsafe { fill_times(thread, task, storage, now_ns) };
            } else {
                fill_without_times(thread);
            }
        }
        None => fill_without_storage(thread),
    }
}

/// The size and the used depth of the kernel stack; both 0 once it is gone, and the depth while the task never ran.
///
/// # Safety
/// `thread` points to a whole one.
#[inline(always)]
unsafe fn fill_stack(thread: *mut ThreadPart, task: Task) {
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
    if is_size {
        // SAFETY: a number, of this program's own.
        unsafe { (&raw mut REGISTERS_ABOVE_STACK).write_volatile(registers - stack) };
    }
    let (size, depth) = if is_size { (size, if depth > size { 0 } else { depth }) } else { (0, 0) };
    // SAFETY: the caller's.
    unsafe {
        (*thread).stack_bytes = size as u32;
        (*thread).stack_depth_bytes = depth as u32;
        (*thread).ended_ns = 0;
    }
}

#[inline(always)]
fn fill_from_storage(thread: &mut ThreadPart, storage: &TaskStorage) {
    thread.process_start_ns = storage.process_start_ns;
    thread.run_delay_base_ns = storage.run_delay_base_ns;
    thread.counters.same_process_switches = storage.same_process_switches;
}

/// Fills where its time went. A thread that arrives on a CPU meanwhile is read once more; if it does so again, what it
/// has done since its last arrival is left to the next record.
///
/// # Safety
/// `thread` and `storage` point to whole ones.
#[inline(always)]
unsafe fn fill_times(thread: *mut ThreadPart, task: Task, storage: *const TaskStorage, now_ns: u64) {
    // SAFETY: the caller's. Volatile, as the context switch writes at the same time.
    unsafe {
        let time_ns = &raw mut (*thread).counters.time_ns;
        for _ in 0..2 {
            let closed_ns = (&raw const (*storage).closed_ns).read_volatile();
            copy_words(&raw const (*storage).time_ns, time_ns);
            let mut before = Period::default();
            copy_words(&raw const (*storage).period, &raw mut before);
            let moved_ns = task.run_delay().wrapping_sub((&raw const (*storage).accounted_ns).read_volatile());
            let as_of = add_open(time_ns.cast(), &before, standing(task, &before, moved_ns, now_ns), || {
                if task.is_stopped() { TimeState::Stopped as u32 } else { task.asleep_in() }
            });
            set_as_of(thread, as_of);
            if (&raw const (*storage).period.since_ns).read_volatile() == closed_ns {
                return;
            }
        }
        copy_words(&raw const (*storage).time_ns, time_ns);
        let as_of_ns = (&raw const (*storage).closed_ns).read_volatile();
        set_as_of(thread, AsOf { as_of_ns, standing_state: NO_STATE });
    }
}

/// # Safety
/// `thread` points to a whole one.
#[inline(always)]
unsafe fn set_as_of(thread: *mut ThreadPart, as_of: AsOf) {
    // SAFETY: the caller's.
    unsafe {
        (*thread).as_of_ns = as_of.as_of_ns;
        (*thread).standing_state = as_of.standing_state;
    }
}

/// What a task does now.
#[inline(always)]
fn standing(task: Task, before: &Period, moved_ns: u64, now_ns: u64) -> Standing {
    let cfs_rq = task.cfs_rq();
    let throttled_since_ns = cfs_rq.throttled_since_ns();
    let throttled_now_ns = if throttled_since_ns == 0 { 0 } else { now_ns.saturating_sub(throttled_since_ns) };
    Standing {
        now_ns,
        cpu_ns: task.sum_exec_runtime(),
        moved_ns,
        last_queued_ns: task.last_queued(),
        voluntary_switches: task.nvcsw(),
        cfs_rq: cfs_rq.address(),
        throttled_ns: cfs_rq.throttled_ns() + throttled_now_ns,
        elsewhere_ns: cfs_rq.throttled_elsewhere_ns(before.cfs_rq, before.throttled_ns, moved_ns),
        has_ended: task.exit_state() != 0 || task.is_dead(),
    }
}

#[inline(always)]
fn fill_without_times(thread: &mut ThreadPart) {
    thread.as_of_ns = 0;
    thread.standing_state = NO_STATE;
    // SAFETY: whole words of plain data.
    unsafe { zero_words(&raw mut thread.counters.time_ns) };
}

#[inline(always)]
fn fill_without_storage(thread: &mut ThreadPart) {
    fill_without_times(thread);
    thread.process_start_ns = 0;
    thread.run_delay_base_ns = 0;
    thread.counters.same_process_switches = 0;
}

/// Fills a process's part in place.
///
/// # Safety
/// `process` points to a whole one.
#[inline(always)]
pub(crate) unsafe fn fill_process(process: *mut ProcessPart, task: Task) {
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
    process.static_prio = task.static_prio();
    process.policy = task.policy();
    process.allowed_cpus = task.nr_cpus_allowed();
    process.children_cpu_ns = signal.children_cpu_ns();
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
unsafe fn fill_nproc(process: *mut ProcessPart, task: Task) {
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
    }
}

/// Copies word by word: the target has no `memcpy` to call.
///
/// # Safety
/// Both point to a whole `T`, aligned to 8 bytes and a multiple of 8 long.
#[inline(always)]
pub(crate) unsafe fn copy_words<T>(from: *const T, to: *mut T) {
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: the caller's. Volatile, or it would become a call of `memcpy` again.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

/// Zeroes word by word.
///
/// # Safety
/// `to` points to a whole `T`, aligned to 8 bytes and a multiple of 8 long.
#[inline(always)]
pub(crate) unsafe fn zero_words<T>(to: *mut T) {
    let to = to.cast::<u64>();
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: the caller's.
        unsafe { to.add(word).write_volatile(0) };
    }
}
