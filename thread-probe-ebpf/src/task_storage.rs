//! Task-local storage, for the programs that are measured and for the least that one could cost.

use core::ptr;

use aya_ebpf::{
    bindings::{bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE, task_struct},
    helpers::bpf_task_storage_get,
};

/// BPF_F_NO_PREALLOC of include/uapi/linux/bpf.h.
const NO_PREALLOC: usize = 1;

/// A map of task-local storage, which aya-ebpf does not have: the BTF that the loader reads is the layout below.
#[repr(C)]
pub struct TaskStorageMap<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; NO_PREALLOC],
}

const BPF_LOCAL_STORAGE_GET_F_CREATE: u64 = 1;

// SAFETY: the pointers are never dereferenced; the loader reads the type and the kernel serialises access.
unsafe impl<T> Sync for TaskStorageMap<T> {}

impl<T> TaskStorageMap<T> {
    /// The one of a program.
    #[expect(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
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
    pub fn get(&self, task: *const u8) -> Option<&'static mut T> {
        self.lookup(task, ptr::null_mut(), 0)
    }

    /// The task's storage; a new one starts as `initial`.
    #[inline(always)]
    pub fn get_or_create(&self, task: *const u8, initial: *mut T) -> Option<&'static mut T> {
        self.lookup(task, initial, BPF_LOCAL_STORAGE_GET_F_CREATE)
    }

    #[inline(always)]
    fn lookup(&self, task: *const u8, initial: *mut T, flags: u64) -> Option<&'static mut T> {
        let map = ptr::from_ref(self).cast_mut().cast();
        let task = task.cast_mut().cast::<task_struct>();
        // SAFETY: the verifier checks map, task and value. A program runs to its end on one task's storage, and of
        // what another CPU may write at the same time (see TASKS) no field is read as more than a number.
        unsafe { bpf_task_storage_get(map, task, initial.cast(), flags).cast::<T>().as_mut() }
    }
}
