//! What the eBPF programs and the daemon share: the records that travel between them, the histogram,
//! the table of kernel offsets and the names of programs, maps and drop reasons.
//!
//! Everything here is plain data and pure functions, so the host tests run the very code the kernel runs.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod fold;
pub mod histogram;
pub mod names;
pub mod offsets;
pub mod record;
pub mod storage;
