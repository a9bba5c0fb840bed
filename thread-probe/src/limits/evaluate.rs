//! One pass over all limits of all processes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::names::CloneFailure;

use super::{
    Headroom, Limit, LimitUse, LimitsReport, Scope,
    files::Files,
    foremost::{Contender, Contest},
    growth::{Growth, History},
    host::{HostReading, LowIds, page_bytes},
    quota::{Quota, Quotas},
    shared::{PidNamespaces, Shared, nproc_key},
    thread_memory::ThreadMemory,
    tree::{self, Tree},
};
use crate::{
    ledger::{GroupId, Ledger, ProcessEntry, ProcessKey, RefusedBy},
    names::{
        cgroups::{Membership, Memberships},
        grouping::Names,
    },
    os::memory::shrink,
    sample::ThreadCost,
    text::until_nul,
};

/// What glibc gives the stack of a thread where RLIMIT_STACK is unlimited: ARCH_STACK_DEFAULT_SIZE.
const UNLIMITED_STACK_BYTES: u64 = 2 << 20;
/// The guard page below a stack.
const GUARD_BYTES: u64 = 4096;
/// What a thread takes of memory for itself at the least, for as long as its process's was not seen to: a page of its
/// stack, one of thread-local storage, and the page table of both.
const LEAST_OWN_BYTES: u64 = 3 * 4096;
/// RLIM_INFINITY.
const UNLIMITED: u64 = u64::MAX;

/// Evaluates limits, and remembers how their use grew.
pub struct Limits {
    window: Duration,
    files: Files,
    low_ids: LowIds,
    tree: Tree,
    quotas: Quotas,
    histories: Histories,
    own_memory: FxHashMap<ProcessKey, ThreadMemory>,
    /// Clones that a limit may have refused, on the host.
    refused: u64,
    /// Paths of cgroups by controller and id, with the pass in which each was last asked for.
    refusers: FxHashMap<(Limit, u64), (Arc<str>, u64)>,
    started: Instant,
}

/// What one pass found.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// The limits that processes share; those of the host first.
    shared: Vec<LimitUse>,
    /// Of each process that may create threads.
    pub processes: FxHashMap<ProcessKey, ProcessLimits>,
    /// The cgroups that refused processes of a group a clone last, of groups that were.
    pub group_refusers: FxHashMap<GroupId, Refusers>,
    /// The CPU quotas of cgroups that processes are in.
    pub quotas: Vec<Quota>,
    /// The limits as everybody reads them.
    pub report: LimitsReport,
}

/// The limits of one process.
#[derive(Debug)]
pub struct ProcessLimits {
    /// Its cgroups; `None` if they could not be read.
    pub cgroups: Option<Arc<Membership>>,
    /// The nearest.
    pub headroom: Headroom,
    /// What a further thread takes of memory besides the kernel's, in bytes, once that is known.
    pub own_bytes_per_thread: Option<u64>,
    /// The cgroups that refused it a clone last.
    pub refused_by: Refusers,
    /// Which of [`Evaluation::quotas`] is the smallest that holds for it.
    pub quota: Option<usize>,
    shared: Vec<usize>,
    own: Vec<LimitUse>,
    thread_bytes: u64,
}

/// Paths of the cgroups that refused a process a clone last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusers {
    /// By `pids.max`; null if none did.
    pub cgroup_pids: Option<Arc<str>>,
    /// By its memory limit; null if none did.
    pub cgroup_memory: Option<Arc<str>>,
}

impl Refusers {
    /// That of a limit.
    pub fn of(&self, limit: Limit) -> Option<&str> {
        match limit {
            Limit::CgroupPids => self.cgroup_pids.as_deref(),
            Limit::CgroupMemory => self.cgroup_memory.as_deref(),
            _ => None,
        }
    }
}

/// What processes in the same cgroups share.
struct Cgroup {
    membership: Arc<Membership>,
    /// Where the limits are that hold for them.
    limits: Vec<usize>,
    /// Where the smallest quota is that holds for them.
    quota: Option<usize>,
}

impl Evaluation {
    /// The limits that no other process shares, of all processes.
    pub fn own_limits(&self) -> impl Iterator<Item = &LimitUse> {
        self.processes.values().flat_map(|process| &process.own)
    }

    /// Every limit that holds for a process, the one with room for the fewest threads first; empty if there is no such
    /// process, or it is a kernel thread.
    pub fn limits_of(&self, pid: u32) -> Vec<LimitUse> {
        let found = self.processes.iter().find(|(key, _)| key.tgid == pid);
        let Some((_, process)) = found else { return Vec::new() };
        let shared = process.shared.iter().filter_map(|index| self.shared.get(*index));
        let mut limits: Vec<LimitUse> = shared
            .map(|limit| limit.with_room(limit.room_for(process.thread_bytes)))
            .chain(process.own.iter().cloned())
            .collect();
        limits.sort_by_key(|limit| limit.headroom_threads);
        limits
    }
}

impl Limits {
    /// Growth is measured over the last `window`.
    pub fn new(window: Duration) -> Self {
        let mut files = Files::new();
        let mounts = tree::mounts(&mut files);
        let (tree, quotas) = (Tree::new(&mounts, &mut files), Quotas::new(&mounts, &mut files));
        let histories = Histories::default();
        Self {
            window,
            files,
            low_ids: LowIds::default(),
            tree,
            quotas,
            histories,
            own_memory: FxHashMap::default(),
            refused: 0,
            refusers: FxHashMap::default(),
            started: Instant::now(),
        }
    }

    /// Changes the window.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// What the host allows and has, now. Part of the next evaluation.
    pub fn read_host(&mut self) -> HostReading {
        HostReading::read(&mut self.files, &mut self.low_ids)
    }

    /// Of the memory limits of this process's own cgroups the one with the least left, before anything is evaluated.
    pub fn own_memory_limit(&mut self) -> Option<LimitUse> {
        let membership = Memberships::default().of(std::process::id(), (0, 0), true).ok()??;
        let mut limits = Vec::new();
        self.tree.limits_of(&membership, 1, &mut self.files, &mut limits);
        self.tree.finish_pass();
        let of_memory = limits.into_iter().filter(|limit| limit.limit == Limit::CgroupMemory);
        of_memory.min_by_key(|limit| limit.headroom_threads)
    }

    /// The limits of the host alone: what is known without the probe.
    pub fn evaluate_host(&mut self, host: &HostReading, cost: &ThreadCost) -> LimitsReport {
        let began = Instant::now();
        let mut shared = host.limits(None, cost.kernel_bytes());
        self.measure_growth(&mut shared);
        self.histories.finish_pass();
        self.report(&shared, host.took + began.elapsed())
    }

    /// Evaluates the limits of all processes.
    pub fn evaluate(
        &mut self,
        ledger: &Ledger,
        names: &mut Names,
        host: &HostReading,
        cost: &ThreadCost,
    ) -> Evaluation {
        let began = Instant::now();
        let failures = CloneFailure::ALL.iter().zip(ledger.host().clone_failures);
        let refused = failures.filter(|(failure, _)| Limit::of(**failure).is_some()).map(|(_, count)| count).sum();
        if refused != self.refused {
            self.refused = refused;
            self.tree.want_details();
        }
        let kernel_bytes = cost.kernel_bytes();
        let namespaces = PidNamespaces::of(ledger);
        let mut shared = Shared::new(host, &namespaces, kernel_bytes);
        let mut quotas = Vec::new();
        let cgroups = self.cgroup_limits((ledger, names), kernel_bytes, (&mut shared.limits, &mut quotas));
        let users = shared.add_users(ledger, names.users());
        self.measure_growth(&mut shared.limits);
        let mut contest = Contest::new(shared.limits.len());
        let mut held = Vec::new();
        for (key, process) in ledger.processes().filter(|(_, process)| process.may_create_threads()) {
            let mut indices = shared.of_all();
            indices.extend(shared.of_namespaces(&namespaces, process.facts.pid_ns));
            let cgroup = cgroups.get(&process.facts.css_set);
            indices.extend(cgroup.into_iter().flat_map(|cgroup| &cgroup.limits));
            indices.extend(nproc_key(&process.facts).and_then(|user| users.get(&user)));
            contest.enter(&indices, self.contender(key, process));
            held.push((key, process, indices));
        }
        contest.tell(&mut shared.limits, ledger);
        let mut processes = FxHashMap::default();
        for (key, process, indices) in held {
            let limits = self.of_process(key, process, host, kernel_bytes, (indices, &shared.limits));
            let cgroup = cgroups.get(&process.facts.css_set);
            let (cgroups, quota) = (cgroup.map(|of| Arc::clone(&of.membership)), cgroup.and_then(|of| of.quota));
            processes.extend(limits.map(|limits| (key, ProcessLimits { cgroups, quota, ..limits })));
        }
        let refused = ledger.groups().filter(|(_, group)| group.refused_by != RefusedBy::default());
        let group_refusers = refused.map(|(id, group)| (id, self.refusers(group.refused_by))).collect();
        self.tree.finish_pass();
        self.quotas.finish_pass();
        let pass = self.histories.pass;
        self.refusers.retain(|_, (_, used_in)| *used_in == pass);
        self.histories.finish_pass();
        self.own_memory.retain(|key, _| processes.contains_key(key));
        shrink(&mut self.own_memory);
        let report = self.report(&shared.limits, host.took + began.elapsed());
        Evaluation { shared: shared.limits, processes, group_refusers, quotas, report }
    }

    /// The path of each set of cgroups, and where its limits are.
    fn cgroup_limits(
        &mut self,
        (ledger, names): (&Ledger, &mut Names),
        thread_bytes: u64,
        (limits, quotas): (&mut Vec<LimitUse>, &mut Vec<Quota>),
    ) -> FxHashMap<u64, Cgroup> {
        let mut sets: FxHashMap<u64, (ProcessKey, &ProcessEntry)> = FxHashMap::default();
        // Of a process whose main thread has ended /proc says that it is in the root.
        let is_readable = |process: &ProcessEntry| process.may_create_threads() && process.facts.pid_ns != 0;
        let readable = ledger.processes().filter(|(_, process)| is_readable(process));
        sets.extend(readable.map(|(key, process)| (process.facts.css_set, (key, process))));
        let asked = sets.len();
        let mut found = FxHashMap::default();
        for (css_set, (key, process)) in sets {
            match names.membership(key.tgid, &process.identity, true) {
                Ok(Some(membership)) => {
                    let limits = self.tree.limits_of(&membership, thread_bytes, &mut self.files, limits);
                    let quota = self.quotas.smallest_of(&membership.cpu, &mut self.files, quotas);
                    found.insert(css_set, Cgroup { membership, limits, quota });
                }
                Ok(None) => {}
                Err(error) => self.files.failed("cgroup", format!("/proc/{}/cgroup", key.tgid).as_ref(), &error),
            }
        }
        // Others come and go, but not all at once: only its own is there for a process from which the rest is hidden.
        if found.len() <= 1 && asked > 3 {
            let hidden = "there for no other process: is /proc mounted with hidepid?";
            self.files.failed("cgroup", "/proc/PID/cgroup".as_ref(), &hidden);
        }
        found
    }

    fn contender(&mut self, key: ProcessKey, process: &ProcessEntry) -> Contender {
        let (threads, now) = (u64::from(process.live_threads()), self.now());
        let growth = self.histories.observe(HistoryKey::Threads(key), threads, now);
        Contender { key, threads, growth_per_second: growth.map(|growth| growth.per_second) }
    }

    fn of_process(
        &mut self,
        key: ProcessKey,
        process: &ProcessEntry,
        host: &HostReading,
        kernel_bytes: u64,
        (shared, limits): (Vec<usize>, &[LimitUse]),
    ) -> Option<ProcessLimits> {
        let threads = u64::from(process.live_threads());
        let own_memory = self.own_memory.entry(key).or_default();
        let per_thread = own_memory.observe(key.tgid, threads, &mut self.files);
        let own_bytes_per_thread = per_thread.map(|usage| usage.anonymous_bytes);
        let thread_bytes = kernel_bytes + own_bytes_per_thread.unwrap_or(LEAST_OWN_BYTES);
        let address_space_bytes = per_thread.map(|usage| usage.address_space_bytes).filter(|bytes| *bytes > 0);
        let mut own = own_limits(key.tgid, process, host, address_space_bytes);
        let now = self.now();
        for limit in &mut own {
            limit.growing(self.histories.observe(HistoryKey::Process(limit.limit, key), limit.used, now));
        }
        let all = shared.iter().map(|index| (&limits[*index], limits[*index].room_for(thread_bytes)));
        let headroom = Headroom::of(all.chain(own.iter().map(|limit| (limit, limit.headroom_threads))))?;
        let refused_by = self.refusers(process.refused_by);
        Some(ProcessLimits {
            cgroups: None,
            headroom,
            own_bytes_per_thread,
            refused_by,
            quota: None,
            shared,
            own,
            thread_bytes,
        })
    }

    fn refusers(&mut self, ids: RefusedBy) -> Refusers {
        Refusers {
            cgroup_pids: self.refuser(Limit::CgroupPids, ids.pids),
            cgroup_memory: self.refuser(Limit::CgroupMemory, ids.memory),
        }
    }

    /// The path of a cgroup that refused a clone. Kept from when it is first asked for: the cgroup may go.
    fn refuser(&mut self, limit: Limit, id: u64) -> Option<Arc<str>> {
        if id == 0 {
            return None;
        }
        let (tree, pass) = (&mut self.tree, self.histories.pass);
        let (path, used_in) = self.refusers.entry((limit, id)).or_insert_with(|| {
            let unknown = || Arc::from(format!("a cgroup that is gone (inode {id})"));
            (tree.path_of(limit, id).unwrap_or_else(unknown), pass)
        });
        *used_in = pass;
        Some(Arc::clone(path))
    }

    fn now(&self) -> (f64, Duration) {
        (self.started.elapsed().as_secs_f64(), self.window)
    }

    fn measure_growth(&mut self, limits: &mut [LimitUse]) {
        let now = self.now();
        for limit in limits {
            limit.growing(self.histories.observe(HistoryKey::of_shared(limit), limit.used, now));
        }
    }

    fn report(&self, shared: &[LimitUse], took: Duration) -> LimitsReport {
        let mut shared = shared.to_vec();
        LimitsReport::sort(&mut shared);
        LimitsReport { shared, unreadable: self.files.unreadable(), duration_seconds: took.as_secs_f64() }
    }
}

/// The limits that no other process shares. `thread_bytes` is what its threads were seen to take of its address space.
fn own_limits(pid: u32, process: &ProcessEntry, host: &HostReading, thread_bytes: Option<u64>) -> Vec<LimitUse> {
    let facts = &process.facts;
    let mut limits = Vec::with_capacity(2);
    // Its main thread has ended, and has no memory map to tell of.
    if facts.map_count == 0 {
        return limits;
    }
    let name: Arc<str> = Arc::from(format!("{pid} ({})", until_nul(&process.identity.comm)));
    let of_process = |limit, set_by| LimitUse::new(limit, Scope::Process, Arc::clone(&name), set_by);
    if host.max_map_count != 0 {
        let limit = of_process(Limit::MaxMapCount, Arc::from("vm.max_map_count"));
        limits.push(limit.of_mappings(u64::from(facts.map_count), host.max_map_count));
    }
    if facts.rlimit_as_bytes != UNLIMITED {
        let limit = of_process(Limit::AddressSpace, Arc::from(format!("RLIMIT_AS of process {pid}")));
        let used = facts.total_vm_pages * page_bytes();
        let thread_bytes = thread_bytes.unwrap_or_else(|| expected_stack_bytes(process, used));
        limits.push(limit.of_bytes(used, facts.rlimit_as_bytes, thread_bytes));
    }
    limits
}

/// What a thread takes of an address space before any was seen to come: the stack that it gets unless it asks for
/// another, and no more than those that are there can have.
fn expected_stack_bytes(process: &ProcessEntry, address_space_bytes: u64) -> u64 {
    let limit = process.facts.rlimit_stack_bytes;
    let stack_bytes = if limit == UNLIMITED { UNLIMITED_STACK_BYTES } else { limit };
    let mean = address_space_bytes / u64::from(process.live_threads()).max(1);
    stack_bytes.saturating_add(GUARD_BYTES).min(mean.max(GUARD_BYTES))
}

/// The headroom of each group: that of its process with the least.
pub fn of_groups(ledger: &Ledger, processes: &FxHashMap<ProcessKey, ProcessLimits>) -> FxHashMap<GroupId, Headroom> {
    let mut groups: FxHashMap<GroupId, Headroom> = FxHashMap::default();
    for (key, process) in ledger.processes() {
        let (Some(group), Some(limits)) = (process.group, processes.get(&key)) else { continue };
        let headroom = groups.entry(group).or_insert_with(|| limits.headroom.clone());
        headroom.include(&limits.headroom);
    }
    groups
}

/// How the use of each limit went.
#[derive(Default)]
struct Histories {
    of: FxHashMap<HistoryKey, (History, u64)>,
    pass: u64,
}

/// Whose use it is.
#[derive(PartialEq, Eq, Hash)]
enum HistoryKey {
    /// What processes share; a user may have processes with several RLIMIT_NPROC, so that counts too.
    Shared(Limit, Scope, Arc<str>, u64),
    /// A process's own.
    Process(Limit, ProcessKey),
    /// The threads of a process, whatever limits them.
    Threads(ProcessKey),
}

impl HistoryKey {
    fn of_shared(limit: &LimitUse) -> Self {
        let max = if limit.limit == Limit::Nproc { limit.max } else { 0 };
        Self::Shared(limit.limit, limit.scope, Arc::clone(&limit.name), max)
    }
}

impl Histories {
    /// Takes in a use. Returns how it grows.
    fn observe(&mut self, key: HistoryKey, used: u64, (now, window): (f64, Duration)) -> Option<Growth> {
        let (history, pass) = self.of.entry(key).or_insert_with(|| (History::new(now, used), 0));
        *pass = self.pass;
        history.observe(now, used, window)
    }

    /// Forgets what was not there in this pass.
    fn finish_pass(&mut self) {
        let current = self.pass;
        self.of.retain(|_, (_, pass)| *pass == current);
        shrink(&mut self.of);
        self.pass += 1;
    }
}
