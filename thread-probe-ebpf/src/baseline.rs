//! What a program on the context switch costs before it does anything, and once it can remember something of a task:
//! the floors of `cargo xtask bench`.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use thread_probe_ebpf::task_storage::TaskStorageMap;

/// One number per task.
#[btf_map]
static NUMBERS: TaskStorageMap<u64> = TaskStorageMap::new();

/// Does nothing.
#[btf_tracepoint(function = "sched_switch")]
fn empty_switch(_context: BtfTracePointContext) -> i32 {
    0
}

/// Looks up the next task's storage and adds to it.
#[btf_tracepoint(function = "sched_switch")]
fn lookup_switch(context: BtfTracePointContext) -> i32 {
    if let Some(number) = NUMBERS.get_or_create(context.arg(2), ptr::null_mut()) {
        *number += 1;
    }
    0
}

/// As the measured programs have it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses any program from which this can be reached.
    loop {}
}
