//! Which cgroups refused a process a clone.

use thread_probe_ebpf::abi::{fold::Folded, names::CloneFailure};

/// Ids of the cgroups that refused a process a clone last; 0 if none did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedBy {
    /// By `pids.max`.
    pub pids: u64,
    /// By its memory limit.
    pub memory: u64,
}

impl RefusedBy {
    /// Takes over what the sums say of a process whose failures have grown.
    pub(super) fn observe(&mut self, sums: &Folded, added: &Folded) {
        if added.clone_failures[CloneFailure::CgroupPids as usize] > 0 {
            self.pids = sums.refused_by_pids;
        }
        if added.clone_failures[CloneFailure::CgroupMemory as usize] > 0 {
            self.memory = sums.refused_by_memory;
        }
    }
}
