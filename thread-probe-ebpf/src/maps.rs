//! The maps, with who writes, reads and deletes their entries.

use core::ptr;

use aya_ebpf::{
    bindings::{bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE, task_struct},
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    helpers::{bpf_task_storage_delete, bpf_task_storage_get},
    macros::btf_map,
};
use thread_probe_ebpf::{
    histogram::BUCKETS,
    names::Lost,
    record::{COUNTERS, HostLimits, ThreadRecord},
    storage::TaskStorage,
};

use crate::kernel::Task;

/// Bytes of the ring buffer: 5,000 whole records, 14,000 short ones.
const RING_BYTES: usize = 4 << 20;

/// One [`TaskStorage`] per task. Written by the task's own creation, switches and clones, and by the scan (`sent`);
/// read by the scan and when the task is freed; deleted by the kernel with the task.
#[btf_map]
pub(crate) static TASKS: TaskStorageMap<TaskStorage> = TaskStorageMap::new();

/// Final records: whole ones and [`thread_probe_ebpf::record::ShortRecord`]s. Written when a task is freed; read, and so deleted, by the daemon.
#[btf_map]
pub(crate) static ENDED: RingBuf<ThreadRecord, RING_BYTES> = RingBuf::new();

/// Dropped events by [`Lost`]. Written by every program on its CPU; read by the daemon; never deleted.
#[btf_map]
pub(crate) static LOST: PerCpuArray<[u64; Lost::ALL.len()], 1> = PerCpuArray::new();

/// What could not be sent, as [`thread_probe_ebpf::record::Counters`], so that the host's totals stay exact.
/// Written on its CPU when the ring is full or a creator has no storage; read by the daemon; never deleted.
#[btf_map]
pub(crate) static ORPHANS: PerCpuArray<[u64; COUNTERS], 1> = PerCpuArray::new();

/// Durations of successful clones: counts by bucket, then their sum in nanoseconds. Written on its CPU when a task
/// has been created; read by the daemon; never deleted.
#[btf_map]
pub(crate) static CLONE_DURATION: PerCpuArray<[u64; BUCKETS + 1], 1> = PerCpuArray::new();

/// What the daemon knows of the host's limits. Written by the daemon at each sample; read when a clone fails; never deleted.
#[btf_map]
pub(crate) static HOST_LIMITS: Array<HostLimits, 1> = Array::new();

/// Where records are put together that the BPF stack is too small for: the scan's, and that of an end which the ring
/// had no room for. Written and read within one run of a program; never deleted.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<[ThreadRecord; 2], 1> = PerCpuArray::new();

/// What the storage of a task starts as that was there before the probe. Written and read within one run of the scan;
/// never deleted.
#[btf_map]
pub(crate) static ADOPTED: PerCpuArray<TaskStorage, 1> = PerCpuArray::new();

/// Storage on its way from a task to the same task (see [`TaskStorageMap::renew`]), by the task's address. Written, read
/// and deleted within one run of a program on that task; the scan sees by it that the task is not without. The daemon
/// sets its size by the number of CPUs.
#[btf_map]
pub(crate) static RENEWED: HashMap<u64, TaskStorage, 64> = HashMap::new();

/// A map of task-local storage, which aya-ebpf does not have: the BTF that the loader reads is the layout below.
#[repr(C)]
pub(crate) struct TaskStorageMap<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC],
}

const BPF_F_NO_PREALLOC: usize = 1;
const BPF_LOCAL_STORAGE_GET_F_CREATE: u64 = 1;

// SAFETY: the pointers are never dereferenced; the loader reads the type and the kernel serialises access.
unsafe impl<T> Sync for TaskStorageMap<T> {}

impl<T> TaskStorageMap<T> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// The task's storage, if it has one and it is not locked by an interrupted operation on this CPU (before 6.2).
    #[inline(always)]
    pub(crate) fn get(&self, task: Task) -> Option<&'static mut T> {
        self.lookup(task, ptr::null_mut(), 0)
    }

    /// The task's storage; a new one starts as `initial`.
    #[inline(always)]
    pub(crate) fn get_or_create(&self, task: Task, initial: *mut T) -> Option<&'static mut T> {
        self.lookup(task, initial, BPF_LOCAL_STORAGE_GET_F_CREATE)
    }

    #[inline(always)]
    fn lookup(&self, task: Task, initial: *mut T, flags: u64) -> Option<&'static mut T> {
        let map = ptr::from_ref(self).cast_mut().cast();
        let task = task.0.cast_mut().cast::<task_struct>();
        // SAFETY: the verifier checks map, task and value. A program runs to its end on one task's storage, and of
        // what another CPU may write at the same time (see TASKS) no field is read as more than a number.
        unsafe { bpf_task_storage_get(map, task, initial.cast(), flags).cast::<T>().as_mut() }
    }
}

impl TaskStorageMap<TaskStorage> {
    /// Puts the storage of the current task in another place, with all that is in it.
    #[inline(always)]
    pub(crate) fn renew(&self, task: Task, storage: &TaskStorage) {
        let address = task.0 as u64;
        if RENEWED.insert(address, storage, 0).is_err() {
            lost(Lost::StorageNotRenewed);
            return;
        }
        if let Some(copy) = RENEWED.get_ptr_mut(address) {
            self.replace(task, copy);
        }
        // Fails only if it is not there.
        let _ = RENEWED.remove(address);
    }

    #[inline(always)]
    fn replace(&self, task: Task, copy: *mut TaskStorage) {
        let map = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the verifier checks map and task.
        if unsafe { bpf_task_storage_delete(map, task.0.cast_mut().cast::<task_struct>()) } != 0 {
            lost(Lost::StorageNotRenewed);
            return;
        }
        // The kernel's reserve for this CPU is filled up as soon as one who asked got nothing.
        for _ in 0..3 {
            if self.get_or_create(task, copy).is_some() {
                return;
            }
        }
        lost(Lost::StorageNotCreated);
    }
}

/// Counts a drop. Never on the path of a switch that goes well.
#[inline(always)]
pub(crate) fn lost(reason: Lost) {
    if let Some(counts) = LOST.get_ptr_mut(0) {
        // SAFETY: this CPU's slot, and the index is below the array's length.
        unsafe { (*counts)[reason as usize] += 1 };
    }
}

/// Adds to what could not be sent.
#[inline(always)]
pub(crate) fn orphan(counter: usize, amount: u64) {
    if let Some(counters) = ORPHANS.get_ptr_mut(0) {
        // SAFETY: this CPU's slot; callers pass constants or loop bounds below the array's length.
        unsafe { (*counters)[counter] += amount };
    }
}
