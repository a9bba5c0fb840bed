//! thread-probe.
pub mod bpf;
pub mod sample;
