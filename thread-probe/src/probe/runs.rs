//! What the kernel counts of a program's runs: how many it skipped, as another was in the middle of the same program on
//! that CPU; and with `kernel.bpf_stats_enabled`, how many there were and how long they took.
//!
//! The counts are read from files that are opened before privileges are dropped, as a process that changed its user may
//! not open its own fdinfo.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use aya::sys::{Stats, enable_stats};

use crate::sample::Runs;

/// Has the kernel time all programs for as long as the result is held: `kernel.bpf_stats_enabled` restores itself so.
///
/// # Errors
/// No CAP_SYS_ADMIN, which this takes besides CAP_BPF.
pub(crate) fn time_runs() -> io::Result<OwnedFd> {
    enable_stats(Stats::RunTime).map_err(|error| error.io_error)
}

/// The files of the programs whose runs count.
#[derive(Debug, Default)]
pub(super) struct RunFiles(Vec<File>);

impl RunFiles {
    /// Includes a program.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub(super) fn include(&mut self, program: BorrowedFd<'_>) -> io::Result<()> {
        self.0.push(File::open(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?);
        Ok(())
    }

    /// The runs of all of them.
    ///
    /// # Errors
    /// A file could not be read.
    pub(super) fn total(&self) -> io::Result<Runs> {
        self.0.iter().try_fold(Runs::default(), |total, file| {
            let mut text = [0; 1024];
            let length = file.read_at(&mut text, 0)?;
            Ok(total + runs(&String::from_utf8_lossy(&text[..length])))
        })
    }
}

fn runs(fdinfo: &str) -> Runs {
    let count = |name: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    };
    Runs { skipped: count("recursion_misses"), timed: count("run_cnt"), timed_ns: count("run_time_ns") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_found_among_the_other_lines() {
        let fdinfo =
            "pos:\t0\nprog_id:\t12\nrun_time_ns:\t250\nrun_cnt:\t5\nrecursion_misses:\t7\nverified_insns:\t9\n";
        assert_eq!(runs(fdinfo), Runs { skipped: 7, timed: 5, timed_ns: 250 });
        assert_eq!(runs("pos:\t0\n"), Runs::default());
    }
}
