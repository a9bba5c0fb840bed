//! What the eBPF programs and the daemon share ([`abi`]), and what the programs decide without asking the kernel
//! ([`logic`]).
//!
//! Everything here is plain data and pure functions, so the host tests run the very code the kernel runs.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod logic;
#[cfg(feature = "programs")]
pub mod task_storage;
