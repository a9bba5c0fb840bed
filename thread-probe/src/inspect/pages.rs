//! Which pages of a process are there: its pagemap, by PAGEMAP_SCAN since Linux 6.7, page by page before.

use std::{
    cell::Cell,
    fs::File,
    io,
    ops::Range,
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
};

use nix::{
    errno::Errno,
    libc,
    unistd::{SysconfVar, sysconf},
};

/// Pages one after the other that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Their addresses.
    pub(super) range: Range<u64>,
    /// What they are.
    pub(super) kind: Kind,
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In memory.
    Present,
    /// In memory, as part of a huge page. Known since Linux 6.7.
    Huge,
    /// Swapped out.
    Swapped,
    /// Not to be touched: MADV_GUARD_INSTALL, since Linux 6.13. Told since 6.15.
    Guard,
}

/// The pagemap of a process.
pub(super) struct Pages {
    pagemap: File,
    page_bytes: u64,
    flags: Cell<Flags>,
}

/// What the kernel was found to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flags {
    WithGuards,
    WithoutGuards,
    /// No PAGEMAP_SCAN.
    None,
}

/// `struct page_region` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of the same.
#[repr(C)]
#[derive(Default)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;
const PAGE_IS_HUGE: u64 = 1 << 6;
const PAGE_IS_GUARD: u64 = 1 << 8;
/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::Ioctl =
    3 << 30 | (size_of::<ScanArgument>() as libc::Ioctl) << 16 | (b'f' as libc::Ioctl) << 8 | 16;

impl Pages {
    pub(super) fn of(pagemap: File) -> io::Result<Self> {
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4096) as u64;
        Ok(Self { pagemap, page_bytes, flags: Cell::new(Flags::WithGuards) })
    }

    /// Whether huge pages are told apart; known after the first look.
    pub(super) fn tells_huge(&self) -> bool {
        self.flags.get() != Flags::None
    }

    /// What is there of a range, by address.
    pub(super) fn runs(&self, range: Range<u64>) -> io::Result<Vec<Run>> {
        loop {
            let flags = self.flags.get();
            let outcome = match flags {
                Flags::WithGuards => self.scan(&range, PAGE_IS_GUARD),
                Flags::WithoutGuards => self.scan(&range, 0),
                Flags::None => return self.read(&range),
            };
            match (outcome, flags) {
                (Err(Errno::EINVAL), Flags::WithGuards) => self.flags.set(Flags::WithoutGuards),
                (Err(Errno::ENOTTY | Errno::EINVAL), _) => self.flags.set(Flags::None),
                (outcome, _) => return Ok(outcome?),
            }
        }
    }

    fn scan(&self, range: &Range<u64>, guard: u64) -> nix::Result<Vec<Run>> {
        const AT_ONCE: usize = 256;
        let there = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | guard;
        let mut found = [PageRegion::default(); AT_ONCE];
        let mut runs = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let mut argument = ScanArgument {
                size: size_of::<ScanArgument>() as u64,
                start,
                end: range.end,
                vec: found.as_mut_ptr().addr() as u64,
                vec_len: AT_ONCE as u64,
                category_anyof_mask: there,
                return_mask: there | PAGE_IS_PFNZERO | PAGE_IS_HUGE,
                ..ScanArgument::default()
            };
            // SAFETY: the kernel writes at most `vec_len` regions to `vec`, which lives until then.
            let count =
                Errno::result(unsafe { libc::ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut argument) })?;
            for region in found.iter().take(count as usize) {
                let kind = match region.categories {
                    // Read and never written to: no memory of its own.
                    categories if categories & PAGE_IS_PFNZERO != 0 => continue,
                    categories if categories & PAGE_IS_GUARD != 0 => Kind::Guard,
                    categories if categories & PAGE_IS_SWAPPED != 0 => Kind::Swapped,
                    categories if categories & PAGE_IS_HUGE != 0 => Kind::Huge,
                    _ => Kind::Present,
                };
                runs.push(Run { range: region.start..region.end, kind });
            }
            if argument.walk_end <= start {
                break;
            }
            start = argument.walk_end;
        }
        Ok(runs)
    }

    /// A word for each page: Documentation/admin-guide/mm/pagemap.rst.
    fn read(&self, range: &Range<u64>) -> io::Result<Vec<Run>> {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        let mut runs: Vec<Run> = Vec::new();
        let mut words = [0_u8; 8 * 512];
        let mut page = range.start / self.page_bytes;
        let end = range.end / self.page_bytes;
        while page < end {
            let wanted = (end - page).min(512) as usize * 8;
            let got = self.pagemap.read_at(&mut words[..wanted], page * 8)?;
            if got < 8 {
                break;
            }
            for word in words[..got].as_chunks::<8>().0 {
                let word = u64::from_ne_bytes(*word);
                let start = page * self.page_bytes;
                page += 1;
                let kind = match word {
                    word if word & PRESENT != 0 => Kind::Present,
                    word if word & SWAPPED != 0 => Kind::Swapped,
                    _ => continue,
                };
                match runs.last_mut().filter(|run| run.range.end == start && run.kind == kind) {
                    Some(run) => run.range.end = page * self.page_bytes,
                    None => runs.push(Run { range: start..page * self.page_bytes, kind }),
                }
            }
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

    use super::*;

    #[test]
    fn pages_that_are_touched_are_there_and_no_others_whichever_way_they_are_asked_for()
    -> Result<(), Box<dyn std::error::Error>> {
        let pages = Pages::of(File::open("/proc/self/pagemap")?)?;
        let page = pages.page_bytes;
        let length = NonZeroUsize::new(16 * page as usize).ok_or("16 pages")?;
        let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: memory of its own.
        let memory = unsafe { mmap_anonymous(None, length, protection, flags)? };
        let start = memory.as_ptr().addr() as u64;
        // SAFETY: within it; touched are pages 3, 4 and 9.
        unsafe {
            madvise(memory, length.get(), MmapAdvise::MADV_NOHUGEPAGE)?;
            for touched in [3, 4, 9] {
                memory.cast::<u8>().add(touched * page as usize).write_volatile(1);
            }
        }
        let expected = [
            Run { range: start + 3 * page..start + 5 * page, kind: Kind::Present },
            Run { range: start + 9 * page..start + 10 * page, kind: Kind::Present },
        ];
        let range = start..start + 16 * page;
        assert_eq!(pages.runs(range.clone())?, expected);
        assert_eq!(pages.read(&range)?, expected);
        // SAFETY: not used any more.
        unsafe { munmap(memory, length.get())? };
        Ok(())
    }
}
