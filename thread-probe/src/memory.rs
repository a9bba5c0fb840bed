//! Giving memory back. musl's allocator does so by itself.

/// Lets each large allocation be a mapping of its own, which goes back when it is freed. glibc does so only at first: once
/// such a one was freed, those of its size come from the heap, where a small one above keeps it all.
pub fn keep_large_allocations_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt has no preconditions.
    unsafe {
        const LARGE_BYTES: nix::libc::c_int = 128 << 10;
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE_BYTES);
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
