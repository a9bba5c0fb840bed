//! The maps, with who writes, reads and deletes their entries.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use thread_probe_ebpf::{
    abi::{
        fold::{EndedLeader, Folded, FoldedLeader, FoldedProcess},
        histogram::BUCKETS,
        names::Lost,
        record::{HostLimits, ThreadRecord},
        storage::TaskStorage,
        taken::{Occupants, Pair},
    },
    task_storage::TaskStorageMap,
};

/// BPF_F_NO_PREALLOC of include/uapi/linux/bpf.h.
const NO_PREALLOC: usize = 1;

/// Bytes of the ring buffer. It carries threads that a scan has seen, and leaders: what else ends is folded.
const RING_BYTES: usize = 4 << 20;

/// Processes that threads can be folded for. An element takes 2 kB, and only while it is there.
const FOLDED_PROCESSES: usize = 65_536;
/// Kinds of processes: as many as there are names of short-lived programs, users and cgroups.
const FOLDED_LEADERS: usize = 16_384;

/// Pairs of who waited and who had the CPU. An element takes 64 bytes.
const TAKEN_PAIRS: usize = 32_768;
/// As many as end between two scans.
const ENDED_LEADERS_KEPT: usize = 4096;

/// One [`TaskStorage`] per task. Written by the task's own creation, switches and clones, and by the scan (`sent`);
/// read by the scan and when the task is freed; deleted by the kernel with the task.
#[btf_map]
pub(crate) static TASKS: TaskStorageMap<TaskStorage> = TaskStorageMap::new();

/// Final records: whole ones and [`thread_probe_ebpf::abi::record::ShortRecord`]s. Written when a task is freed; read,
/// and so deleted, by the daemon.
#[btf_map]
pub(crate) static ENDED: RingBuf<ThreadRecord, RING_BYTES> = RingBuf::new();

/// Dropped events by [`Lost`]. Written by every program on its CPU; read by the daemon; never deleted.
#[btf_map]
pub(crate) static LOST: PerCpuArray<[u64; Lost::ALL.len()], 1> = PerCpuArray::new();

/// By process: the ends of threads that no scan has seen, and clones that failed. Written when that happens; read by
/// the daemon, which deletes it when the process is over.
#[btf_map]
pub(crate) static FOLDED: HashMap<FoldedProcess, Folded, FOLDED_PROCESSES, NO_PREALLOC> = HashMap::new();

/// By process: the ends of threads that a scan has seen and that the ring had no room for. Histograms and times are
/// whole, of which the daemon knows the part that it has seen. Written, read and deleted as [`FOLDED`].
#[btf_map]
pub(crate) static FOLDED_KNOWN: HashMap<FoldedProcess, Folded, FOLDED_PROCESSES, NO_PREALLOC> = HashMap::new();

/// By what names a process's group: the ends of processes of one thread that no scan has seen. Written when that
/// happens; read by the daemon, which deletes what no longer grows when there are many.
#[btf_map]
pub(crate) static FOLDED_LEADER: HashMap<FoldedLeader, Folded, FOLDED_LEADERS, NO_PREALLOC> = HashMap::new();

/// What the sums start as. Never written.
#[btf_map]
pub(crate) static NOTHING_FOLDED: Array<Folded, 1> = Array::new();

/// What no other map had room for, so that the host's totals stay exact. Written on its CPU; read by the daemon; never
/// deleted.
#[btf_map]
pub(crate) static ORPHANS: PerCpuArray<Folded, 1> = PerCpuArray::new();

/// Durations of successful clones: counts by bucket, then their sum in nanoseconds. Written on its CPU when a task
/// has been created; read by the daemon; never deleted.
#[btf_map]
pub(crate) static CLONE_DURATION: PerCpuArray<[u64; BUCKETS + 1], 1> = PerCpuArray::new();

/// Who has the CPU, and had it before. Written and read at its context switches; never deleted.
#[btf_map]
pub(crate) static OCCUPANTS: PerCpuArray<Occupants, 1> = PerCpuArray::new();

/// How long one process had the CPU while another waited for it, in nanoseconds. Allocated whole at the start, as
/// nothing can be allocated with a run queue locked. Written at context switches; read by the daemon, which deletes
/// what no longer grows.
#[btf_map]
pub(crate) static TAKEN: HashMap<Pair, u64, TAKEN_PAIRS> = HashMap::new();

/// Names of processes that had the CPU, or waited for one, for long, and that ended before a scan saw them. The kernel
/// drops the oldest. Written when a process ends; read by the daemon.
#[btf_map]
pub(crate) static ENDED_LEADERS: LruHashMap<u32, EndedLeader, ENDED_LEADERS_KEPT> = LruHashMap::new();

/// What the daemon knows of the host's limits. Written by the daemon at each sample; read when a clone fails; never
/// deleted.
#[btf_map]
pub(crate) static HOST_LIMITS: Array<HostLimits, 1> = Array::new();

/// What is to be taken off the monotonic clock to have that of the run queues. Written at the beginning of a scan; read
/// by the scan; never deleted.
#[btf_map]
pub(crate) static SCAN_CLOCK: Array<u64, 1> = Array::new();

/// Where the scan puts records together, which the BPF stack is too small for. Written and read within one run of it;
/// never deleted.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<ThreadRecord, 1> = PerCpuArray::new();

/// What the storage of a task starts as that has none: the scan's, and the context switch's, which may come in the
/// middle of the scan. Written and read within one run of a program; never deleted.
#[btf_map]
pub(crate) static ADOPTED: PerCpuArray<[TaskStorage; 2], 1> = PerCpuArray::new();

/// Counts a drop. Never on the path of a switch that goes well.
#[inline(always)]
pub(crate) fn lost(reason: Lost) {
    if let Some(counts) = LOST.get_ptr_mut(0) {
        // SAFETY: this CPU's slot, and the index is below the array's length.
        unsafe { (*counts)[reason as usize] += 1 };
    }
}
