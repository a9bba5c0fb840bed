//! What is added up: for a process, a group, the host.

use thread_probe_ebpf::abi::{
    fold::{Folded, LIFETIMES, lifetime_class},
    histogram::BUCKETS,
    names::CloneFailure,
    record::{COUNTERS, Counters, Waits},
};

pub use thread_probe_ebpf::abi::fold::LIFETIME_BOUNDS_NS;

/// Counts of waits by bucket of [`thread_probe_ebpf::abi::histogram`]; allocated with the first wait.
#[derive(Clone, Debug, Default)]
pub struct WaitCounts(Option<Box<[u64; BUCKETS]>>);

impl WaitCounts {
    /// The counts by bucket.
    pub fn buckets(&self) -> &[u64; BUCKETS] {
        const NONE: [u64; BUCKETS] = [0; BUCKETS];
        self.0.as_deref().unwrap_or(&NONE)
    }

    /// How many waits there were.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |buckets| buckets.iter().sum())
    }

    fn add(&mut self, changes: &[(u8, u32)]) {
        if changes.is_empty() {
            return;
        }
        let buckets = self.0.get_or_insert_with(|| Box::new([0; BUCKETS]));
        for (bucket, count) in changes {
            buckets[usize::from(*bucket) % BUCKETS] += u64::from(*count);
        }
    }

    fn merge(&mut self, other: &Self) {
        let Some(theirs) = &other.0 else { return };
        let buckets = self.0.get_or_insert_with(|| Box::new([0; BUCKETS]));
        for (count, more) in buckets.iter_mut().zip(theirs.iter()) {
            *count += more;
        }
    }
}

/// The waits of one thread as last reported: the buckets that are not 0, in order. Most threads have a few.
#[derive(Clone, Debug, Default)]
pub(super) struct ThreadWaits(Box<[(u8, u64)]>);

impl ThreadWaits {
    /// Takes over what the kernel reports and leaves in `changes` what was added since. The counters are `u32` that
    /// wrap.
    pub(super) fn replace(&mut self, reported: &Waits, changes: &mut Vec<(u8, u32)>) {
        changes.clear();
        let mut before = self.0.iter().copied().peekable();
        let mut now = Vec::with_capacity(self.0.len() + 1);
        for (bucket, count) in (0u8..).zip(reported.buckets) {
            let old = before.next_if(|(old, _)| *old == bucket).map_or(0, |(_, count)| count);
            // The kernel's counter is the low half of ours.
            let added = count.wrapping_sub(old as u32);
            if added != 0 {
                changes.push((bucket, added));
            }
            if added != 0 || old != 0 {
                now.push((bucket, old + u64::from(added)));
            }
        }
        if !changes.is_empty() {
            self.0 = now.into();
        }
    }

    /// Whether the kernel reports fewer than it did before.
    pub(super) fn exceed(&self, reported: &Waits) -> bool {
        let grown = |(bucket, count): &(u8, u64)| {
            reported.buckets[usize::from(*bucket) % BUCKETS].wrapping_sub(*count as u32) as i32
        };
        self.0.iter().any(|count| grown(count) < 0)
    }

    /// The counts by bucket.
    pub(super) fn buckets(&self) -> [u64; BUCKETS] {
        let mut buckets = [0; BUCKETS];
        for (bucket, count) in &self.0 {
            buckets[usize::from(*bucket) % BUCKETS] = *count;
        }
        buckets
    }
}

/// Threads that ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    pub(super) threads: u64,
    pub(super) lifetimes: [u64; LIFETIMES],
    pub(super) lifetimes_ns: u64,
}

impl Ends {
    /// One, and how long it lived if that is known.
    pub(super) fn one(lifetime_ns: Option<u64>) -> Self {
        let mut ends = Self { threads: 1, ..Self::default() };
        if let Some(lifetime_ns) = lifetime_ns {
            ends.lifetimes[lifetime_class(lifetime_ns)] = 1;
            ends.lifetimes_ns = lifetime_ns;
        }
        ends
    }
}

/// What one record, or one reading of sums, adds to the one before it.
#[derive(Debug, Default)]
pub(super) struct Delta<'a> {
    pub(super) counters: Counters,
    pub(super) clone_failures: [u64; CloneFailure::ALL.len()],
    pub(super) waited_ns: u64,
    pub(super) waits: &'a [(u8, u32)],
    pub(super) ends: Ends,
    pub(super) burst_max_ns: u64,
}

impl<'a> Delta<'a> {
    /// What was added to sums. `waits` is where the changes of the histogram are put.
    pub(super) fn of_sums(added: &Folded, waits: &'a mut Vec<(u8, u32)>) -> Self {
        waits.clear();
        waits.extend((0u8..).zip(added.waits.buckets).filter(|(_, count)| *count != 0));
        Self {
            counters: added.counters,
            clone_failures: added.clone_failures,
            waited_ns: added.waited_ns,
            waits,
            // Of what no scan has seen it is not kept.
            burst_max_ns: 0,
            ends: Ends { threads: added.ends, lifetimes: added.lifetimes, lifetimes_ns: added.lifetimes_ns },
        }
    }
}

/// Totals; they only grow.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// The kernel's and the programs' counters.
    pub counters: Counters,
    /// Clones that failed, by [`CloneFailure`].
    pub clone_failures: [u64; CloneFailure::ALL.len()],
    /// Time waited for a CPU by threads with a histogram, in nanoseconds: the sum of [`Self::waits`].
    pub waited_ns: u64,
    /// How long each wait was.
    pub waits: WaitCounts,
    /// Threads that ended, main threads included.
    pub threads_exited: u64,
    /// Lifetimes of those, by [`LIFETIME_BOUNDS_NS`] and a last class above them.
    pub lifetimes: [u64; LIFETIMES],
    /// The longest burst of any thread, CPU time between two voluntary switches, in nanoseconds.
    pub burst_max_ns: u64,
    /// Sum of those lifetimes, in nanoseconds: seven thousand threads that lived a month overflow 64 bits.
    pub lifetimes_ns: u128,
}

impl Totals {
    pub(super) fn add(&mut self, delta: &Delta<'_>) {
        self.counters = combine(self.counters, delta.counters, u64::wrapping_add);
        add_each(&mut self.clone_failures, &delta.clone_failures);
        self.waited_ns = self.waited_ns.wrapping_add(delta.waited_ns);
        self.waits.add(delta.waits);
        self.threads_exited += delta.ends.threads;
        add_each(&mut self.lifetimes, &delta.ends.lifetimes);
        self.lifetimes_ns += u128::from(delta.ends.lifetimes_ns);
        self.burst_max_ns = self.burst_max_ns.max(delta.burst_max_ns);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counters = combine(self.counters, other.counters, u64::wrapping_add);
        add_each(&mut self.clone_failures, &other.clone_failures);
        self.waited_ns = self.waited_ns.wrapping_add(other.waited_ns);
        self.waits.merge(&other.waits);
        self.threads_exited += other.threads_exited;
        add_each(&mut self.lifetimes, &other.lifetimes);
        self.lifetimes_ns += other.lifetimes_ns;
        self.burst_max_ns = self.burst_max_ns.max(other.burst_max_ns);
    }
}

fn add_each(counts: &mut [u64], more: &[u64]) {
    for (count, more) in counts.iter_mut().zip(more) {
        *count = count.wrapping_add(*more);
    }
}

/// The counters that live in the storage, the times among them.
pub(super) fn of_storage(counters: Counters) -> Counters {
    Counters {
        same_process_switches: counters.same_process_switches,
        threads_created: counters.threads_created,
        processes_created: counters.processes_created,
        time_ns: counters.time_ns,
        ..Counters::default()
    }
}

/// Applies an operation to each pair of counters.
pub(crate) fn combine(a: Counters, b: Counters, operation: fn(u64, u64) -> u64) -> Counters {
    let (a, b) = (a.to_array(), b.to_array());
    let mut result = [0; COUNTERS];
    for index in 0..COUNTERS {
        result[index] = operation(a[index], b[index]);
    }
    Counters::from_array(result)
}

/// Totals over one interval: what was added since the sample before.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    pub(super) epoch: u64,
    /// What was added.
    pub added: Totals,
}

impl Interval {
    /// The totals of the interval `epoch`; those of an earlier one are forgotten.
    pub(super) fn of(&mut self, epoch: u64) -> &mut Totals {
        if self.epoch != epoch {
            *self = Self { epoch, added: Totals::default() };
        }
        &mut self.added
    }

    /// What was added in the interval `epoch`; nothing if the last addition was in an earlier one.
    pub fn in_epoch(&self, epoch: u64) -> Option<&Totals> {
        (self.epoch == epoch).then_some(&self.added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changes_of_a_histogram_add_up_to_it_whatever_came_before() {
        let mut thread = ThreadWaits::default();
        let mut total = WaitCounts::default();
        let mut changes = Vec::new();
        let mut reported = Waits::default();
        for (bucket, count) in [(3, 1), (100, u32::MAX), (3, 5), (4, 2), (127, 1)] {
            reported.buckets[bucket] = count;
            thread.replace(&reported, &mut changes);
            total.add(&changes);
        }
        assert_eq!(thread.buckets(), reported.buckets.map(u64::from));
        assert_eq!(total.buckets(), &reported.buckets.map(u64::from));
    }

    #[test]
    fn a_bucket_that_wraps_adds_what_was_counted() {
        let mut thread = ThreadWaits::default();
        let mut changes = Vec::new();
        let mut reported = Waits::default();
        reported.buckets[9] = u32::MAX - 1;
        thread.replace(&reported, &mut changes);
        reported.buckets[9] = 2;
        thread.replace(&reported, &mut changes);
        assert_eq!(changes, [(9, 4)]);
        assert_eq!(thread.buckets()[9], (1 << 32) + 2);
    }

    #[test]
    fn a_lifetime_on_a_bound_belongs_to_the_class_below_it() {
        let mut totals = Totals::default();
        for lifetime in [50_000, 100_000, 100_001, u64::MAX / 2] {
            totals.add(&Delta { ends: Ends::one(Some(lifetime)), ..Delta::default() });
        }
        assert_eq!(totals.lifetimes, [2, 1, 0, 0, 0, 0, 0, 0, 1]);
    }
}
