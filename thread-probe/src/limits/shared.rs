//! The limits that processes share, besides those of cgroups: the host's, pid namespaces', users'.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::record;

use super::{
    Limit, LimitUse, Scope,
    host::{HostReading, usable_ids},
};
use crate::{ledger::Ledger, names::users::UserNames};

/// RLIM_INFINITY as the kernel charges it: LONG_MAX.
const UNLIMITED_CHARGE: u64 = i64::MAX as u64;

/// Whose RLIMIT_NPROC it is, and how much; `None` if none holds for the process.
pub(super) fn nproc_key(facts: &record::ProcessPart) -> Option<(u32, u64)> {
    (facts.is_exempt_from_nproc == 0 && facts.nproc_max < UNLIMITED_CHARGE)
        .then_some((facts.nproc_uid, facts.nproc_max))
}

/// The pid namespaces that processes create threads in.
pub(super) struct PidNamespaces {
    by_inode: FxHashMap<u32, PidNamespace>,
}

#[derive(Clone, Copy)]
struct PidNamespace {
    parent: u32,
    used: u64,
    own_max: u64,
}

impl PidNamespaces {
    pub(super) fn of(ledger: &Ledger) -> Self {
        let mut by_inode: FxHashMap<u32, PidNamespace> = FxHashMap::default();
        for facts in ledger.processes().map(|(_, process)| &process.facts).filter(|facts| facts.pid_ns != 0) {
            let new = PidNamespace { parent: facts.pid_ns_parent, used: 0, own_max: u64::from(facts.pid_ns_max) };
            let known = by_inode.entry(facts.pid_ns).or_insert(new);
            // Each process's record was made at its own moment of the scan.
            known.used = known.used.max(u64::from(facts.pid_ns_used));
        }
        Self { by_inode }
    }

    /// Ids in use on the host: those of the namespace that is in no other.
    fn ids_of_host(&self) -> Option<u64> {
        self.by_inode.values().find(|namespace| namespace.parent == 0).map(|namespace| namespace.used)
    }

    fn nested(&self) -> impl Iterator<Item = (u32, PidNamespace)> {
        self.by_inode.iter().filter(|(_, namespace)| namespace.parent != 0).map(|(inode, of)| (*inode, *of))
    }

    /// A namespace and those it is in.
    fn chain(&self, inode: u32) -> impl Iterator<Item = u32> {
        let parent = |inode: &u32| self.by_inode.get(inode).map(|namespace| namespace.parent);
        std::iter::successors(Some(inode), parent).take_while(|inode| *inode != 0)
    }
}

/// The limits that processes share, as they are put together.
pub(super) struct Shared {
    pub(super) limits: Vec<LimitUse>,
    of_host: usize,
    namespaces: FxHashMap<u32, usize>,
}

impl Shared {
    pub(super) fn new(host: &HostReading, namespaces: &PidNamespaces, thread_bytes: u64) -> Self {
        let limits = host.limits(namespaces.ids_of_host(), thread_bytes);
        let of_host = limits.len();
        let mut shared = Self { limits, of_host, namespaces: FxHashMap::default() };
        for (inode, namespace) in namespaces.nested() {
            let pid_max = if namespace.own_max == 0 { host.pid_max } else { namespace.own_max };
            let name = Arc::from(inode.to_string());
            let set_by = match namespace.own_max {
                0 => Arc::from("kernel.pid_max"),
                _ => Arc::from(format!("kernel.pid_max of pid namespace {inode}")),
            };
            let limit = LimitUse::new(Limit::PidMax, Scope::PidNamespace, name, set_by);
            // Few namespaces ever run out of ids, so that those below 300 are still handed out.
            shared.limits.push(limit.of_threads(namespace.used, usable_ids(pid_max, namespace.used)));
            shared.namespaces.insert(inode, shared.limits.len() - 1);
        }
        shared
    }

    /// Adds RLIMIT_NPROC of each user, and returns where it is.
    pub(super) fn add_users(&mut self, ledger: &Ledger, names: &mut UserNames) -> FxHashMap<(u32, u64), usize> {
        let mut used: FxHashMap<(u32, u64), u64> = FxHashMap::default();
        for (_, process) in ledger.processes().filter(|(_, process)| process.may_create_threads()) {
            if let Some(user) = nproc_key(&process.facts) {
                let used = used.entry(user).or_default();
                *used = (*used).max(process.facts.nproc_used);
            }
        }
        let mut found = FxHashMap::default();
        for ((uid, max), used) in used {
            let name = names.get(uid);
            let set_by = Arc::from(format!("RLIMIT_NPROC of user {name}"));
            self.limits.push(LimitUse::new(Limit::Nproc, Scope::User, name, set_by).of_threads(used, max));
            found.insert((uid, max), self.limits.len() - 1);
        }
        found
    }

    pub(super) fn of_all(&self) -> Vec<usize> {
        (0..self.of_host).collect()
    }

    pub(super) fn of_namespaces(&self, namespaces: &PidNamespaces, inode: u32) -> impl Iterator<Item = usize> {
        namespaces.chain(inode).filter_map(|inode| self.namespaces.get(&inode).copied())
    }
}
