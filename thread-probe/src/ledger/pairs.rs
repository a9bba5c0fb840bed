//! Pairs of who waited and who had the CPU, as they were read last.

use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::taken::Pair;

/// A pair's time as it was read last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastPair {
    /// What was read, in nanoseconds.
    pub(super) read_ns: u64,
    /// What was added to somebody.
    pub(super) added_ns: u64,
    /// What was added in the last sample.
    pub(super) grown_ns: u64,
    /// For how many samples it has waited for a name.
    pub(super) nameless: u8,
    pub(super) has_grown: bool,
}

/// The pairs.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) by: FxHashMap<Pair, LastPair>,
}
