//! What a further thread of a process costs in memory of its own: the resident part of its stack, and what it allocates.
//!
//! Nobody who may not trace the process can see its stacks. What can be seen is how its anonymous memory grows with its
//! threads, and that is what a further one will cost. The kernel's own count lags: by 64 pages a thread before Linux 6.2
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

/// Threads and anonymous memory of a process, whenever the former changed.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnMemory {
    points: Vec<(u64, u64)>,
    threads: u64,
}

impl OwnMemory {
    /// Takes in the number of threads; reads the memory if it changed. Returns the bytes that each took, `None` before that is known.
    pub(super) fn observe(&mut self, pid: u32, threads: u64, files: &mut Files) -> Option<u64> {
        if self.threads != 0
            && self.threads != threads
            && let Some(bytes) = anonymous_bytes(pid, files)
        {
            if self.points.len() == POINTS {
                self.points.remove(0);
            }
            self.points.push((threads, bytes));
        }
        self.threads = threads;
        bytes_per_thread(&self.points)
    }
}

/// The median growth of all pairs of points; what shrank as threads came counts as none.
fn bytes_per_thread(points: &[(u64, u64)]) -> Option<u64> {
    let counts: std::collections::BTreeSet<u64> = points.iter().map(|(threads, _)| *threads).collect();
    if counts.len() < MIN_COUNTS {
        return None;
    }
    let pairs =
        points.iter().enumerate().flat_map(|(index, one)| points[index + 1..].iter().map(move |two| (one, two)));
    let apart = pairs.filter(|(one, two)| one.0 != two.0);
    let mut slopes: Vec<f64> =
        apart.map(|(one, two)| (two.1 as f64 - one.1 as f64) / (two.0 as f64 - one.0 as f64)).collect();
    let median = slopes.len() / 2;
    Some(slopes.select_nth_unstable_by(median, f64::total_cmp).1.max(0.0) as u64)
}

/// Resident less shared pages of /proc/PID/statm, which anyone may read.
fn anonymous_bytes(pid: u32, files: &mut Files) -> Option<u64> {
    let statm = files.read(Folder::absolute(Path::new(&format!("/proc/{pid}"))), "statm")?;
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * page_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_come_with_memory_tell_what_one_takes() {
        let points: Vec<(u64, u64)> = (0..10).map(|index| (5 + index * 3, 1_000_000 + index * 3 * 12_288)).collect();
        assert_eq!(bytes_per_thread(&points), Some(12_288));
        assert_eq!(bytes_per_thread(&points[..3]), None);
    }

    #[test]
    fn memory_that_has_nothing_to_do_with_threads_costs_them_nothing_below_0() {
        assert_eq!(bytes_per_thread(&[(1, 900), (2, 800), (3, 700), (4, 600)]), Some(0));
        let comes_and_goes: Vec<(u64, u64)> = (0..16).map(|index| (10 + index % 2, index * 200_000_000)).collect();
        assert_eq!(bytes_per_thread(&comes_and_goes), None);
    }

    #[test]
    fn this_process_has_anonymous_memory() {
        assert!(anonymous_bytes(std::process::id(), &mut Files::new()).is_some_and(|bytes| bytes > 0));
    }
}
