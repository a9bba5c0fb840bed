//! What a program on the context switch costs before it does anything: the baseline of `cargo xtask bench`.
#![no_std]
#![no_main]

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// Does nothing.
#[btf_tracepoint(function = "sched_switch")]
fn empty_switch(_context: BtfTracePointContext) -> i32 {
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
