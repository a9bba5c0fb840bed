//! Runs of a program that the kernel skipped, because another was in the middle of the same program on that CPU.
//!
//! The kernel counts them per program (`recursion_misses`). The counts are read from files that are opened before
//! privileges are dropped, as a process that changed its user may not open its own fdinfo.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::fs::FileExt as _,
    },
};

/// The files of the programs whose runs count.
#[derive(Debug, Default)]
pub(super) struct MissedRuns(Vec<File>);

impl MissedRuns {
    /// Includes a program.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub(super) fn include(&mut self, program: BorrowedFd<'_>) -> io::Result<()> {
        self.0.push(File::open(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?);
        Ok(())
    }

    /// How many runs were skipped since the programs were loaded.
    ///
    /// # Errors
    /// A file could not be read.
    pub(super) fn total(&self) -> io::Result<u64> {
        let mut total = 0;
        for file in &self.0 {
            let mut text = [0; 1024];
            let length = file.read_at(&mut text, 0)?;
            total += recursion_misses(&String::from_utf8_lossy(&text[..length]));
        }
        Ok(total)
    }
}

/// 0 on a kernel that does not count them, which is one before 5.12.
fn recursion_misses(fdinfo: &str) -> u64 {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_the_other_lines() {
        let fdinfo = "pos:\t0\nprog_id:\t12\nrun_cnt:\t0\nrecursion_misses:\t7\nverified_insns:\t99\n";
        assert_eq!(recursion_misses(fdinfo), 7);
        assert_eq!(recursion_misses("pos:\t0\n"), 0);
    }
}
