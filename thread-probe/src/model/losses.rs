//! What can be lost: each reason once, with where it is counted and what it means.

use std::fmt::Write as _;

use thread_probe_ebpf::abi::names::Lost;

use super::status::LostCount;
use crate::{ledger::LedgerLosses, sample::HostCounters};

/// A reason.
#[derive(Clone, Copy)]
pub struct Loss {
    /// Its name: the label `reason`.
    pub reason: &'static str,
    /// Some kernels lose a little of it by themselves, so that nothing is to be done about it at once.
    pub is_of_kernels: bool,
    /// Counts are too low by it; else single events, or what is said of them.
    pub lacks_counts: bool,
    /// What happened: the table of docs/metrics.md.
    pub help: &'static str,
    count: Count,
}

type Count = fn(&HostCounters, &LedgerLosses) -> u64;

macro_rules! losses {
    ($($reason:literal [$($and:ident)*] $count:expr, $help:literal;)+) => {
        /// All of them: those that the programs count come first.
        pub const LOSSES: &[Loss] = &[$(Loss::new($reason, $count, $help)$(.$and())*),+];
    };
}

losses! {
    "storage_missing" [of_kernels] |host, _| host.lost[Lost::StorageMissing as usize],
        "a thread without storage was switched in: its wait is in the sum but not in the histogram";
    "storage_not_created" [of_kernels] |host, _| host.lost[Lost::StorageNotCreated as usize],
        "no memory for a new thread's storage, where other programs and the next scan try again";
    "impossible_wait" [] |host, _| host.lost[Lost::ImpossibleWait as usize],
        "run_delay went backwards; the wait is not in the histogram";
    "ring_full" [of_kernels lacking] |host, _| host.lost[Lost::RingFull as usize],
        "a thread's final record had no room: its process's totals have it, exactly, but not this thread's own page";
    "record_without_histogram" [of_kernels] |host, _| host.lost[Lost::RecordWithoutHistogram as usize],
        "a final record was made without storage: no histogram, no lifetime. Linux before 6.2 under churn";
    "fold_full" [] |host, _| host.lost[Lost::FoldFull as usize],
        "65,536 processes have sums to read: what is beyond counts under `~lost`, and the host's totals stay exact";
    "end_not_seen" [of_kernels] |host, _| host.lost[Lost::EndNotSeen as usize],
        "it was not seen when a thread ended: no lifetime";
    "record_not_sent" [] |host, _| host.lost[Lost::RecordNotSent as usize],
        "a final record without storage, and the ring was full: what that thread did since the last sample is in no total";
    "taker_not_counted" [] |host, _| host.lost[Lost::TakerNotCounted as usize],
        "32,768 pairs of who waited and who had the CPU are counted: a part of a wait beyond these counts as short";
    "end_missing" [of_kernels lacking] |_, ledger| ledger.end_missing,
        "a thread left and its final record never came: its last one stands";
    "storage_emptied" [of_kernels lacking] |_, ledger| ledger.storage_emptied,
        "some kernels (docs/kernels.md) empty a thread's storage: what it counted there since the sample before is gone";
    "unknown_thread" [lacking] |_, ledger| ledger.unknown_thread,
        "a record of a thread that nobody knows, which makes no sense: please report it";
    "counter_backwards" [lacking] |_, ledger| ledger.counter_backwards,
        "a record with a counter below the one before, which makes no sense: please report it";
    "malformed_record" [lacking] |host, _| host.malformed_records,
        "a record that is none: please report it";
    "program_skipped" [of_kernels lacking] |host, _| host.missed_runs,
        "the kernel skipped a program, as another was in the middle of it on that CPU";
    "clone_return_not_seen" [of_kernels] |host, _| host.missed_clone_returns,
        "the same for the return of a clone: if it failed, that is not counted. Linux 7 under churn";
    "log_line" [] |host, _| host.log_lines_left_out,
        "a line of the log that could not be written without waiting for who reads it";
}

impl Loss {
    const fn new(reason: &'static str, count: Count, help: &'static str) -> Self {
        Self { reason, is_of_kernels: false, lacks_counts: false, help, count }
    }

    const fn of_kernels(self) -> Self {
        Self { is_of_kernels: true, ..self }
    }

    const fn lacking(self) -> Self {
        Self { lacks_counts: true, ..self }
    }

    /// The loss of that name; `None` of one that only a newer daemon knows.
    pub fn named(reason: &str) -> Option<&'static Self> {
        LOSSES.iter().find(|loss| loss.reason == reason)
    }
}

/// How much was lost for each reason.
pub(super) fn counts(host: &HostCounters, ledger: &LedgerLosses) -> Vec<LostCount> {
    let count = |loss: &Loss| LostCount { reason: loss.reason.into(), count: (loss.count)(host, ledger) };
    LOSSES.iter().map(count).collect()
}

/// The table of docs/metrics.md.
pub fn markdown() -> String {
    let mut table = "| reason | what happened |\n|---|---|\n".to_owned();
    for Loss { reason, help, .. } in LOSSES {
        // Writing to a String never fails.
        let _ = writeln!(table, "| `{reason}` | {help} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_count_has_the_programs_names_in_their_order() {
        let reasons = LOSSES.iter().map(|loss| loss.reason);
        assert!(Lost::ALL.map(Lost::label).into_iter().eq(reasons.take(Lost::ALL.len())));
        let counters = HostCounters { lost: std::array::from_fn(|index| index as u64), ..HostCounters::default() };
        let counts = counts(&counters, &LedgerLosses::default());
        assert!(counts.iter().take(Lost::ALL.len()).map(|lost| lost.count).eq(0..Lost::ALL.len() as u64));
    }
}
