//! The eBPF programs: entry points of a few lines each.
//!
//! | program | hook | what it does |
//! |---|---|---|
//! | `task_newtask`, `sched_process_fork` | tp_btf | storage for the new task |
//! | `sched_wakeup_new` | tp_btf | counts threads and processes created |
//! | `sched_switch` | tp_btf | the hot path: the wait of the next task into its histogram |
//! | `sched_process_exit` | tp_btf | the moment a task ends |
//! | `sched_process_free` | tp_btf | the final record of a task, once, or what it adds to its process |
//! | `scan_tasks` | iter/task | the record of every task, when asked |
//! | `clone_enter`, `clone_exit` | fentry and fexit of `kernel_clone`, or tracepoints of the system calls | failures and duration |
#![no_std]
#![no_main]
// The target's atomics have no addition, for want of compare-and-swap on the oldest kernels; the instruction is there.
#![feature(core_intrinsics)]
// Instructions with a mark: see `abi::offsets`.
#![feature(asm_experimental_arch)]
#![expect(internal_features, reason = "see above")]
#![expect(clippy::cast_ptr_alignment, reason = "fields and contexts are at multiples of their size")]

mod programs;

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fentry, fexit, tracepoint},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, TracePointContext},
};

use crate::programs::{clone, end, kernel::Task, scan, switch, tasks};

// aya-ebpf has no macro for iterators; `extern "C"` and the section name are what it would generate.
/// `iter/task`: called for each task of the reader's pid namespace, and once more with a null task.
///
/// # Safety
/// The kernel passes a valid `struct bpf_iter__task`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub unsafe extern "C" fn scan_tasks(context: *const scan::IterContext) -> i32 {
    scan::scan(context);
    0
}

/// `task_newtask(task, clone_flags)`, in `copy_process`: before the task first runs.
#[btf_tracepoint(function = "task_newtask")]
fn task_newtask(context: BtfTracePointContext) -> i32 {
    tasks::created(Task(context.arg(0)));
    0
}

/// `sched_process_fork(parent, child)`, in `kernel_clone`: a second chance for what [`task_newtask`] missed. Where a
/// tracepoint can be preempted (Linux 7), the kernel skips a program that another task on the CPU is in the middle of.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(context: BtfTracePointContext) -> i32 {
    tasks::created(Task(context.arg(1)));
    0
}

/// `sched_wakeup_new(task)`, in `wake_up_new_task` with the run queue locked, so that it can't be missed.
#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(context: BtfTracePointContext) -> i32 {
    tasks::woken(Task(context.arg(0)));
    0
}

/// `sched_switch(preempt, prev, next, ...)`, in `__schedule` with the run queue locked.
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(context: BtfTracePointContext) -> i32 {
    switch::switched(Task(context.arg(1)), Task(context.arg(2)));
    0
}

/// `sched_process_exit(task, ...)`, in `do_exit`. For what it missed (see [`sched_process_fork`]), the thread's last
/// switch, some microseconds later, is taken for its end.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(context: BtfTracePointContext) -> i32 {
    tasks::exiting(Task(context.arg(0)));
    0
}

/// `sched_process_free(task)`, an RCU grace period after the task was released.
#[btf_tracepoint(function = "sched_process_free")]
fn sched_process_free(context: BtfTracePointContext) -> i32 {
    end::freed(Task(context.arg(0)));
    0
}

/// Entry of `kernel_clone`, in the creating task.
#[fentry(function = "kernel_clone")]
fn clone_enter_fentry(_context: FEntryContext) -> i32 {
    clone::entered();
    0
}

/// Return of `kernel_clone(args)`: the second slot of the context is its return value, a `pid_t` whose upper half is
/// not sign-extended.
#[fexit(function = "kernel_clone")]
fn clone_exit_fexit(context: FExitContext) -> i32 {
    clone::returned(&context, i64::from(context.arg::<i32>(1)));
    0
}

/// `sys_enter_clone`, `_clone3`, `_fork`, `_vfork`.
#[tracepoint]
fn clone_enter_syscall(_context: TracePointContext) -> u32 {
    clone::entered();
    0
}

/// `sys_exit_clone`, `_clone3`, `_fork`, `_vfork`: also reached by the new task, which returns 0.
#[tracepoint]
fn clone_exit_syscall(context: TracePointContext) -> u32 {
    // struct syscall_trace_exit of kernel/trace/trace.h: an 8-byte entry header, `int nr`, `long ret`. The context
    // is the program's own memory, so this is a plain load.
    const RET_OFFSET: usize = 16;
    // SAFETY: the kernel allows loads within the context, which is larger.
    let value = unsafe { context.as_ptr().cast::<u8>().add(RET_OFFSET).cast::<i64>().read_volatile() };
    clone::returned_from_syscall(&context, value);
    0
}

/// The kernel refuses programs that use a GPL-only helper without a GPL-compatible licence.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses any program from which this can be reached.
    loop {}
}
