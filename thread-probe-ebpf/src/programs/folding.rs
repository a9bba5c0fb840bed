//! Adds to the sums that the daemon reads.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::btf_maps::HashMap;
use thread_probe_ebpf::abi::{
    fold::{EndedLeader, Folded, FoldedLeader, FoldedProcess, PF_KTHREAD, lifetime_class},
    names::{CloneFailure, Lost},
    record::{Counters, Waits},
    storage::{SEEN, TaskStorage, UNSEEN},
    taken::LONG_WAIT_NS,
    time::{TIME_STATES, TimeState},
};

use super::{
    fill::copy_words,
    kernel::{Comm, Task, keeps_time, keeps_who},
    maps::{ENDED_LEADERS, FOLDED, FOLDED_KNOWN, FOLDED_LEADER, NOTHING_FOLDED, ORPHANS, lost},
};

/// A thread that ended, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Ended<'a> {
    pub(crate) task: Task,
    pub(crate) storage: &'a TaskStorage,
    /// When it began to exit; 0 if that was not seen.
    pub(crate) ended_ns: u64,
}

impl Ended<'_> {
    /// Its process.
    #[inline(always)]
    fn process(self) -> FoldedProcess {
        FoldedProcess { tgid: self.task.tgid(), reserved: 0, start_ns: self.storage.process_start_ns }
    }

    /// Whether a scan has written it, so that the daemon has an entry of it.
    #[inline(always)]
    pub(crate) fn is_known(self) -> bool {
        self.storage.seen == SEEN
    }

    /// Whether the daemon can't have an entry of it.
    #[inline(always)]
    pub(crate) fn is_unknown(self) -> bool {
        self.storage.seen == UNSEEN
    }
}

/// Adds a thread that no scan has seen to its process. False if there is no room.
#[inline(always)]
pub(crate) fn fold_unknown(ended: Ended<'_>) -> bool {
    let Some(sums) = entry(&FOLDED, &ended.process()) else { return false };
    // SAFETY: an element of the map.
    unsafe {
        add_end(sums, ended);
        add_waits(&raw mut (*sums).waits, &raw const ended.storage.waits);
        add_times(sums, ended);
        name(sums, ended);
    }
    true
}

/// Adds a process that no scan has seen to those that are named alike. False if there is no room, or if it has sums of
/// its own, as it has once it created a thread or a process: these are named by its leader's record.
#[inline(always)]
pub(crate) fn fold_leader(ended: Ended<'_>) -> bool {
    if FOLDED.get_ptr(ended.process()).is_some() {
        return false;
    }
    let leader = leader(ended.task);
    let Some(sums) = entry(&FOLDED_LEADER, &leader) else { return false };
    if keeps_who() && (ended.task.sum_exec_runtime() >= LONG_WAIT_NS || ended.task.run_delay() >= LONG_WAIT_NS) {
        // It may be one of a pair, of which the daemon knows the thread group id alone.
        let _ = ENDED_LEADERS.insert(ended.task.tgid(), EndedLeader { leader, ended_ns: ended.ended_ns }, 0);
    }
    // SAFETY: an element of the map.
    unsafe {
        add_end(sums, ended);
        add_waits(&raw mut (*sums).waits, &raw const ended.storage.waits);
        add_times(sums, ended);
    }
    true
}

/// Adds a thread that a scan has seen to its process. False if there is no room.
#[inline(always)]
pub(crate) fn fold_known(ended: Ended<'_>) -> bool {
    let Some(sums) = entry(&FOLDED_KNOWN, &ended.process()) else { return false };
    // SAFETY: an element of the map.
    unsafe {
        add_end(sums, ended);
        add_waits(&raw mut (*sums).waits, &raw const ended.storage.waits);
        add_times(sums, ended);
    }
    true
}

/// Adds a thread to the host alone. One that a scan has seen ends for the daemon when it is overdue.
#[inline(always)]
pub(crate) fn orphan(ended: Ended<'_>) {
    lost(Lost::FoldFull);
    let Some(sums) = ORPHANS.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's slot.
    unsafe {
        if ended.is_known() {
            add_counters(sums, ended);
        } else {
            add_end(sums, ended);
            add_waits(&raw mut (*sums).waits, &raw const ended.storage.waits);
            add_times(sums, ended);
        }
    }
}

/// Where to add what a live task did that has no place of its own.
#[inline(always)]
fn of_live(task: Task) -> Option<*mut Folded> {
    let process = FoldedProcess { tgid: task.tgid(), reserved: 0, start_ns: task.process_start_ns() };
    entry(&FOLDED, &process).or_else(|| {
        lost(Lost::FoldFull);
        ORPHANS.get_ptr_mut(0)
    })
}

/// Counts a clone that failed in a live task, and the cgroup that refused it; 0 if none did.
#[inline(always)]
pub(crate) fn clone_failed(task: Task, failure: CloneFailure, cgroup: u64) {
    let Some(sums) = of_live(task) else { return };
    // SAFETY: an element of a map, and the index is below the array's length.
    unsafe {
        add((&raw mut (*sums).clone_failures).cast::<u64>().add(failure as usize), 1);
        match failure {
            CloneFailure::CgroupPids => (&raw mut (*sums).refused_by_pids).write_volatile(cgroup),
            CloneFailure::CgroupMemory => (&raw mut (*sums).refused_by_memory).write_volatile(cgroup),
            _ => {}
        }
    }
}

/// Counts a task that a live task created.
#[inline(always)]
pub(crate) fn created(creator: Task, is_thread: bool) {
    let Some(sums) = of_live(creator) else { return };
    // SAFETY: an element of a map.
    unsafe {
        let counters = &raw mut (*sums).counters;
        add(if is_thread { &raw mut (*counters).threads_created } else { &raw mut (*counters).processes_created }, 1);
    }
}

/// The element of a key, made if there is room.
#[inline(always)]
fn entry<K, const N: usize, const F: usize>(map: &HashMap<K, Folded, N, F>, key: &K) -> Option<*mut Folded> {
    /// BPF_NOEXIST of include/uapi/linux/bpf.h.
    const NOEXIST: u64 = 1;
    if let Some(sums) = map.get_ptr_mut(key) {
        return Some(sums);
    }
    let nothing = NOTHING_FOLDED.get(0)?;
    // If another CPU was first, its element is the one.
    let _ = map.insert(key, nothing, NOEXIST);
    map.get_ptr_mut(key)
}

/// What names a process's group.
#[inline(always)]
fn leader(task: Task) -> FoldedLeader {
    let mut leader = FoldedLeader {
        css_set: task.css_set() as u64,
        cgroup_id: task.cgroup_id(),
        uid: task.uid(),
        flags: task.flags() & PF_KTHREAD,
        ..FoldedLeader::default()
    };
    // SAFETY: 16 bytes of plain data at an offset that is a multiple of 8.
    unsafe { leader.comm.as_mut_ptr().cast::<Comm>().write(task.comm()) };
    leader
}

/// Leaves a name, by which the daemon finds a group even if nothing else is ever heard of the process.
///
/// # Safety
/// `sums` points to an element of a map.
#[inline(always)]
unsafe fn name(sums: *mut Folded, ended: Ended<'_>) {
    let leads = ended.task.pid() == ended.task.tgid();
    // SAFETY: the caller's. Whoever ends last is the one whose name stays, but for the leader.
    unsafe {
        if leads || (&raw const (*sums).leader_ended).read_volatile() == 0 {
            copy_words(&leader(ended.task), &raw mut (*sums).leader);
        }
        if leads {
            (&raw mut (*sums).leader_ended).write_volatile(1);
        }
    }
}

/// Adds a thread that ended, but for its histogram.
///
/// # Safety
/// `sums` points to an element of a map.
#[inline(always)]
unsafe fn add_end(sums: *mut Folded, ended: Ended<'_>) {
    // SAFETY: the caller's, and the class is below the array's length.
    unsafe {
        add_counters(sums, ended);
        add(&raw mut (*sums).ends, 1);
        if ended.ended_ns != 0 {
            let lifetime = ended.ended_ns.saturating_sub(ended.task.start_boottime());
            add((&raw mut (*sums).lifetimes).cast::<u64>().add(lifetime_class(lifetime)), 1);
            add(&raw mut (*sums).lifetimes_ns, lifetime);
        }
    }
}

/// Adds what the scan has not sent yet of a thread's counters, but for its times.
///
/// # Safety
/// `sums` points to an element of a map.
#[inline(always)]
unsafe fn add_counters(sums: *mut Folded, ended: Ended<'_>) {
    let Ended { task, storage, .. } = ended;
    let sent = &storage.sent;
    let waited_before = if ended.is_known() { sent.run_delay_ns } else { storage.run_delay_base_ns };
    // SAFETY: the caller's.
    unsafe {
        let to: *mut Counters = &raw mut (*sums).counters;
        let since = |now: u64, sent: u64| now.wrapping_sub(sent);
        add(&raw mut (*to).voluntary_switches, since(task.nvcsw(), sent.voluntary_switches));
        add(&raw mut (*to).involuntary_switches, since(task.nivcsw(), sent.involuntary_switches));
        add(&raw mut (*to).run_delay_ns, since(task.run_delay(), sent.run_delay_ns));
        add(&raw mut (*to).runs, since(task.pcount(), sent.runs));
        add(&raw mut (*to).cpu_ns, since(task.sum_exec_runtime(), sent.cpu_ns));
        add(&raw mut (*to).same_process_switches, since(storage.same_process_switches, sent.same_process_switches));
        add(&raw mut (*sums).waited_ns, since(task.run_delay(), waited_before));
    }
}

/// Adds where its time went, all of it.
///
/// # Safety
/// `sums` points to an element of a map.
#[inline(always)]
unsafe fn add_times(sums: *mut Folded, Ended { task, storage, .. }: Ended<'_>) {
    let last_run_ns = if keeps_time() { task.sum_exec_runtime().wrapping_sub(storage.period.cpu_ns) } else { 0 };
    // SAFETY: the caller's, and the index is below the arrays' length.
    unsafe {
        let to = (&raw mut (*sums).counters.time_ns).cast::<u64>();
        for state in 0..TIME_STATES {
            add(to.add(state), (&raw const storage.time_ns).cast::<u64>().add(state).read_volatile());
        }
        add(to.add(TimeState::Running as usize), last_run_ns);
    }
}

/// Adds a histogram.
///
/// # Safety
/// `to` points to a whole one.
#[inline(always)]
unsafe fn add_waits(to: *mut Waits, waits: *const Waits) {
    let (to, from) = (to.cast::<u32>(), waits.cast::<u32>());
    for bucket in 0..size_of::<Waits>() / 4 {
        // SAFETY: the caller's.
        unsafe {
            let count = from.add(bucket).read_volatile();
            if count != 0 {
                atomic_xadd::<_, _, { AtomicOrdering::Relaxed }>(to.add(bucket), count);
            }
        }
    }
}

/// Adds, whoever else does at the same time.
///
/// # Safety
/// `to` points into an element of a map.
#[inline(always)]
unsafe fn add(to: *mut u64, amount: u64) {
    if amount != 0 {
        // SAFETY: the caller's.
        unsafe { atomic_xadd::<_, _, { AtomicOrdering::Relaxed }>(to, amount) };
    }
}
