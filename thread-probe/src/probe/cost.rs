//! What a thread costs, where the kernel tells it.

use std::{fs, path::Path};

use crate::sample::ThreadCost;

/// What a thread costs, its stack aside: that a record tells. The slab's object size is root's alone to read.
pub fn thread_cost(task_struct_btf_bytes: u64, probe_bytes: u64) -> ThreadCost {
    let slab = slab_object_bytes(Path::new("/sys/kernel/slab/task_struct/object_size"));
    ThreadCost {
        stack_bytes: 0,
        task_struct_bytes: slab.unwrap_or(task_struct_btf_bytes),
        task_struct_from_slab: slab.is_some(),
        probe_bytes,
    }
}

fn slab_object_bytes(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
