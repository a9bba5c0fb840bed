//! Memory that two threads, or two processes, have in common.

use std::{
    io,
    num::NonZeroUsize,
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Bytes of a line of the cache.
const LINE_BYTES: usize = 64;

/// What two sides have in common. All 0 at first.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Common {
    /// By side: its turn has come.
    pub(super) turns: [Apart<AtomicU32>; 2],
    /// Of the other side: its switches, as the kernel counted them.
    pub(super) switches: AtomicU64,
    /// Of the other side: its CPU time, in nanoseconds.
    pub(super) cpu_ns: AtomicU64,
}

/// On a line of the cache of its own.
#[repr(C, align(128))]
#[derive(Debug)]
pub(super) struct Apart<T>(pub(super) T);

/// A mapping that a fork leaves shared: a [`Common`], and behind it memory for each side to touch.
#[derive(Debug)]
pub(super) struct Mapping {
    begin: NonNull<Common>,
    bytes: NonZeroUsize,
    side_bytes: usize,
}

// SAFETY: what is shared is atomic; each side touches its own memory alone.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// With so many bytes for each side to touch.
    pub(super) fn new(side_bytes: usize) -> io::Result<Self> {
        let bytes = NonZeroUsize::MIN.saturating_add(size_of::<Common>() + 2 * side_bytes);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping that nothing refers to.
        let begin = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_SHARED) }?;
        Ok(Self { begin: begin.cast(), bytes, side_bytes })
    }

    /// Reads and writes a word in each line of a side's memory.
    pub(super) fn touch(&self, side: usize) {
        let begin = size_of::<Common>() + side * self.side_bytes;
        for offset in (begin..begin + self.side_bytes).step_by(LINE_BYTES) {
            let word = self.begin.as_ptr().cast::<u64>().wrapping_add(offset / size_of::<u64>());
            // SAFETY: within the mapping, and of this side alone.
            unsafe { word.write_volatile(word.read_volatile().wrapping_add(1)) };
        }
    }
}

impl Deref for Mapping {
    type Target = Common;

    fn deref(&self) -> &Common {
        // SAFETY: it is mapped, larger, all 0, which a Common may be, and made of atomics.
        unsafe { self.begin.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; nothing refers to it any more.
        let _ = unsafe { munmap(self.begin.cast(), self.bytes.get()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn a_side_touches_its_own_memory_and_nothing_else() -> io::Result<()> {
        let mapping = Mapping::new(2 * LINE_BYTES)?;
        mapping.turns[1].0.store(7, Relaxed);
        mapping.touch(0);
        mapping.touch(0);
        let begin = mapping.begin.as_ptr().cast::<u64>().wrapping_add(size_of::<Common>() / 8);
        // SAFETY: all are within the mapping.
        let words = [0, 8, 16, 24].map(|word| unsafe { begin.add(word).read_volatile() });
        assert_eq!(words, [2, 2, 0, 0]);
        assert_eq!(mapping.turns[1].0.load(Relaxed), 7);
        Ok(())
    }
}
