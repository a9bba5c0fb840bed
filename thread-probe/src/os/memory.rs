//! Giving memory back. musl's allocator does so by itself.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Lets each large allocation be a mapping of its own, which goes back when it is freed. glibc does so only at first:
/// once such a one was freed, those of its size come from the heap, where a small one above keeps it all.
pub fn keep_large_allocations_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt has no preconditions.
    unsafe {
        const LARGE_BYTES: nix::libc::c_int = 128 << 10;
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Lets a table that was once larger have room for twice of what is in it: else it keeps that of the busiest moment.
pub(crate) fn shrink<K: Eq + Hash, V>(table: &mut FxHashMap<K, V>) {
    const SMALL: usize = 1024;
    if table.capacity() > SMALL && table.capacity() / 8 > table.len() {
        table.shrink_to(2 * table.len());
    }
}

/// Gives back what was freed. The kernel's types were tens of megabytes, and the allocator would keep them.
pub fn return_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
