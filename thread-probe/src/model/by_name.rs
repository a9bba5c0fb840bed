//! The threads of a process by name: a pool is one line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::{histogram::BUCKETS, record::Counters};

use super::{
    activity::{Activity, ProcessEvents, Rates, ThreadCounts},
    histogram::{Bucket, histogram},
};
use crate::{
    ledger::{self, combine},
    text::until_nul,
};

/// The threads of a process that have one name, the digits in it aside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ThreadsOfName {
    /// The name, with a # for each number in it: `worker-#`.
    pub name: String,
    /// How many, by state.
    pub threads: ThreadCounts,
    /// Totals of those that live.
    pub totals: Activity,
    /// Rates over the interval; null for the first sample. The quantiles are of all their waits, not the interval's.
    pub rates: Option<Rates>,
    /// Deepest kernel stack of any of them when it was last switched out, in bytes.
    pub kernel_stack_depth_max_bytes: u32,
    /// Their waits for a CPU since the probe was started.
    pub wait_histogram: Vec<Bucket>,
}

/// A name in which each number is a #.
pub fn without_numbers(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '0'..='9' if folded.ends_with('#') => {}
            '0'..='9' => folded.push('#'),
            c => folded.push(c),
        }
    }
    folded
}

/// What is added up of one name.
struct Sum {
    by_state: [u32; ledger::ThreadState::ALL.len()],
    counters: Counters,
    grown: Counters,
    waits: [u64; BUCKETS],
    depth_bytes: u32,
    burst_ns: u64,
}

impl Sum {
    fn nothing() -> Self {
        Self {
            by_state: Default::default(),
            counters: Counters::default(),
            grown: Counters::default(),
            waits: [0; BUCKETS],
            depth_bytes: 0,
            burst_ns: 0,
        }
    }

    fn add(&mut self, thread: &ledger::ThreadEntry, epoch: u64) {
        if let Some(index) = ledger::ThreadState::ALL.iter().position(|state| *state == thread.state) {
            self.by_state[index] += 1;
        }
        self.counters = combine(self.counters, thread.counters, u64::wrapping_add);
        self.grown = combine(self.grown, thread.grown(epoch), u64::wrapping_add);
        self.waits.iter_mut().zip(thread.wait_buckets()).for_each(|(sum, count)| *sum += count);
        self.depth_bytes = self.depth_bytes.max(thread.stack_depth_bytes);
        self.burst_ns = self.burst_ns.max(thread.burst_ns(epoch));
    }
}

/// Those threads, by name.
pub(super) fn by_name<'a>(
    threads: impl Iterator<Item = &'a ledger::ThreadEntry>,
    epoch: u64,
    interval_seconds: Option<f64>,
) -> Vec<ThreadsOfName> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for thread in threads {
        sums.entry(without_numbers(&until_nul(&thread.comm))).or_insert_with(Sum::nothing).add(thread, epoch);
    }
    let of_name = |(name, sum): (String, Sum)| {
        let mut threads = ThreadCounts::default();
        threads.add(&sum.by_state);
        ThreadsOfName {
            name,
            threads,
            totals: Activity::of_thread(&sum.counters),
            rates: interval_seconds
                .map(|seconds| Rates::new(&sum.grown, &sum.waits, ProcessEvents::default(), seconds))
                .map(|rates| rates.with_burst(sum.burst_ns)),
            kernel_stack_depth_max_bytes: sum.depth_bytes,
            wait_histogram: histogram(&sum.waits),
        }
    };
    sums.into_iter().map(of_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_whatever_the_numbers_in_them() {
        let folded = ["order-exec", "worker-12", "worker-7", "kworker/0:1", "12ab34", ""].map(without_numbers);
        assert_eq!(folded, ["order-exec", "worker-#", "worker-#", "kworker/#:#", "#ab#", ""]);
    }
}
