//! What a further thread of a process takes of its own: in memory the resident part of its stack and what it allocates,
//! in address space its stack, guard and arena.
//!
//! Nobody who may not trace the process can see its stacks. What can be seen is how its memory grows with its threads,
//! and that is what a further one will take. The kernel's own count lags: by 64 pages a thread before Linux 6.2
//! (SPLIT_RSS_COUNTING), by some pages a CPU since.

use std::path::Path;

use super::{
    files::{Files, Folder},
    host::page_bytes,
};

/// How many changes of the number of threads are kept.
const POINTS: usize = 16;
/// Fewer different numbers of threads say nothing: memory that grows while one thread comes and goes is not its.
const MIN_COUNTS: usize = 4;

/// Threads and memory of a process, whenever the former changed.
#[derive(Clone, Debug, Default)]
pub(super) struct ThreadMemory {
    points: Vec<Point>,
    threads: u64,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    threads: u64,
    usage: Usage,
}

/// Bytes of memory: of a process, or what each of its threads took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Resident, and its alone.
    pub(super) anonymous_bytes: u64,
    /// Of its address space.
    pub(super) address_space_bytes: u64,
}

impl ThreadMemory {
    /// Takes in the number of threads; reads the memory if it changed. Returns what each took, `None` before that is
    /// known.
    pub(super) fn observe(&mut self, pid: u32, threads: u64, files: &mut Files) -> Option<Usage> {
        if self.threads != 0
            && self.threads != threads
            && let Some(usage) = usage(pid, files)
        {
            if self.points.len() == POINTS {
                self.points.remove(0);
            }
            self.points.push(Point { threads, usage });
        }
        self.threads = threads;
        per_thread(&self.points)
    }
}

fn per_thread(points: &[Point]) -> Option<Usage> {
    let counts: std::collections::BTreeSet<u64> = points.iter().map(|point| point.threads).collect();
    (counts.len() >= MIN_COUNTS).then(|| Usage {
        anonymous_bytes: bytes_per_thread(points, |usage| usage.anonymous_bytes),
        address_space_bytes: bytes_per_thread(points, |usage| usage.address_space_bytes),
    })
}

/// The median growth of all pairs of points that have not the same number of threads; what shrank as threads came
/// counts as none.
fn bytes_per_thread(points: &[Point], of: fn(&Usage) -> u64) -> u64 {
    let pairs =
        points.iter().enumerate().flat_map(|(index, one)| points[index + 1..].iter().map(move |two| (one, two)));
    let apart = pairs.filter(|(one, two)| one.threads != two.threads);
    let slope = |one: &Point, two: &Point| {
        (of(&two.usage) as f64 - of(&one.usage) as f64) / (two.threads as f64 - one.threads as f64)
    };
    let mut slopes: Vec<f64> = apart.map(|(one, two)| slope(one, two)).collect();
    let median = slopes.len() / 2;
    slopes.select_nth_unstable_by(median, f64::total_cmp).1.max(0.0) as u64
}

/// From /proc/PID/statm, which anyone may read: all pages, and the resident less the shared.
fn usage(pid: u32, files: &mut Files) -> Option<Usage> {
    let statm = files.read(Folder::absolute(Path::new(&format!("/proc/{pid}"))), "statm")?;
    let mut pages = statm.split(' ').map_while(|field| field.parse::<u64>().ok());
    let (all, resident, shared) = (pages.next()?, pages.next()?, pages.next()?);
    let bytes = |pages: u64| pages * page_bytes();
    Some(Usage { anonymous_bytes: bytes(resident.saturating_sub(shared)), address_space_bytes: bytes(all) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: impl IntoIterator<Item = (u64, u64)>) -> Vec<Point> {
        let usage = |bytes| Usage { anonymous_bytes: bytes, address_space_bytes: 5 * bytes };
        of.into_iter().map(|(threads, bytes)| Point { threads, usage: usage(bytes) }).collect()
    }

    fn bytes_per_thread(points: &[Point]) -> Option<u64> {
        per_thread(points).map(|usage| usage.anonymous_bytes)
    }

    #[test]
    fn threads_that_come_with_memory_tell_what_one_takes() {
        let points = points((0..10).map(|index| (5 + index * 3, 1_000_000 + index * 3 * 12_288)));
        let took = Usage { anonymous_bytes: 12_288, address_space_bytes: 61_440 };
        assert_eq!(per_thread(&points), Some(took));
        assert_eq!(per_thread(&points[..3]), None);
    }

    #[test]
    fn memory_that_has_nothing_to_do_with_threads_costs_them_nothing_below_0() {
        assert_eq!(bytes_per_thread(&points([(1, 900), (2, 800), (3, 700), (4, 600)])), Some(0));
        let comes_and_goes = points((0..16).map(|index| (10 + index % 2, index * 200_000_000)));
        assert_eq!(bytes_per_thread(&comes_and_goes), None);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = usage(std::process::id(), &mut Files::new());
        assert!(usage.is_some_and(|of| 0 < of.anonymous_bytes && of.anonymous_bytes < of.address_space_bytes));
    }
}
