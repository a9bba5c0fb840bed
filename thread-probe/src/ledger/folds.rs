//! The sums of the programs as they were read last.

use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::fold::Folded;

use crate::sample::FoldOf;

/// Of kinds of processes this many are kept in the kernel, whether they grow or not; the maps have room for more.
pub(super) const LEADERS_KEPT: usize = 4096;

/// The sums as they were read last.
#[derive(Debug, Default)]
pub(super) struct Folds {
    pub(super) by: FxHashMap<FoldOf, LastRead>,
    pub(super) orphans: Folded,
}

#[derive(Debug)]
pub(super) struct LastRead {
    pub(super) sums: Box<Folded>,
    pub(super) has_grown: bool,
}

impl Folds {
    /// What was added since the last reading; `None` if nothing was.
    pub(super) fn added(&mut self, of: FoldOf, sums: &Folded) -> Option<Folded> {
        let Some(last) = self.by.get_mut(&of) else {
            self.by.insert(of, LastRead { sums: Box::new(*sums), has_grown: true });
            return Some(*sums);
        };
        last.has_grown = *last.sums != *sums;
        let added = last.has_grown.then(|| sums.since(&last.sums));
        *last.sums = *sums;
        added
    }
}
