//! What rules are given, and what they find.

use crate::{
    bench::SwitchCost,
    inspect::{Pool, Runtime},
};

/// What was read of a process itself.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    /// What it is written in, and libraries with pools.
    pub runtimes: Vec<Runtime>,
    /// Its threads by pool.
    pub pools: Vec<Pool>,
}

/// What is taken for known.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// What one switch costs.
    pub switch: SwitchCost,
    /// THREAD_SIZE, in bytes; 0 if that is not known.
    pub kernel_stack_bytes: u64,
}

/// How far beyond its threshold something is, what was measured, and what to change.
pub(super) type Found = (f64, String, String);

/// Beyond a threshold, by how much of it.
pub(super) fn beyond(value: f64, threshold: f64) -> Option<f64> {
    (value > threshold).then_some(value / threshold)
}
