//! How long a task waited for its CPU, computed at the switch that ends the wait.

use crate::abi::{histogram::bucket_of, storage::TaskStorage};

/// All that a task has waited by the time it runs, in nanoseconds, as `sched_info_arrive` of kernel/sched/stats.h is
/// about to count it.
#[inline(always)]
pub const fn waited_ns(run_delay_ns: u64, run_queue_clock_ns: u64, last_queued_ns: u64) -> u64 {
    run_delay_ns.wrapping_add(run_queue_clock_ns).wrapping_sub(last_queued_ns)
}

/// Puts what was not accounted yet of all that a task has waited into its histogram, and returns it, in nanoseconds.
/// `None` if that went backwards: then it is in no bucket.
///
/// A wait in parts (the task was moved to another run queue while it waited) stays whole so, an event that was missed
/// is folded into the next, and the histogram's sum is `run_delay` by construction.
#[inline(always)]
pub fn account(storage: &mut TaskStorage, waited_ns: u64) -> Option<u64> {
    let wait_ns = waited_ns.wrapping_sub(storage.accounted_ns);
    storage.accounted_ns = waited_ns;
    if (wait_ns as i64) < 0 {
        return None;
    }
    storage.waits.buckets[bucket_of(wait_ns)] += 1;
    Some(wait_ns)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn counts(storage: &TaskStorage) -> u64 {
        storage.waits.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    #[test]
    fn a_wait_is_what_run_delay_is_about_to_grow_by() {
        let mut storage = TaskStorage { accounted_ns: 500, ..TaskStorage::default() };
        assert_eq!(account(&mut storage, waited_ns(500, 10_000, 8_976)), Some(1_024));
        assert_eq!(storage.accounted_ns, 1_524);
        assert_eq!(storage.waits.buckets[bucket_of(1_024)], 1);
    }

    #[test]
    fn a_clock_of_another_run_queue_may_wrap_and_the_sum_is_the_same() {
        // Moved while it waited: the kernel took the first part into run_delay, by the clock of the queue it left.
        assert_eq!(waited_ns(u64::MAX, 5, 2), 2);
    }

    #[test]
    fn what_goes_backwards_is_in_no_bucket_and_the_next_wait_counts_from_there() {
        let mut storage = TaskStorage { accounted_ns: 1_000, ..TaskStorage::default() };
        assert_eq!(account(&mut storage, 999), None);
        assert_eq!((counts(&storage), storage.accounted_ns), (0, 999));
        assert_eq!(account(&mut storage, 999), Some(0));
        assert_eq!((counts(&storage), storage.waits.buckets[bucket_of(0)]), (1, 1));
    }

    proptest! {
        #[test]
        fn events_that_were_missed_are_in_the_next_one(waits in prop::collection::vec((0..1u64 << 40, any::<bool>()), 1..50)) {
            let mut storage = TaskStorage::default();
            let (mut run_delay, mut pending, mut expected) = (0, 0, Vec::new());
            for (wait, is_seen) in waits {
                pending += wait;
                if is_seen {
                    prop_assert_eq!(account(&mut storage, waited_ns(run_delay, wait + 7, 7)), Some(pending));
                    expected.push(pending);
                    pending = 0;
                }
                run_delay += wait;
            }
            let mut histogram = TaskStorage::default().waits;
            expected.iter().for_each(|wait| histogram.buckets[bucket_of(*wait)] += 1);
            prop_assert_eq!(storage.waits, histogram);
            prop_assert_eq!(storage.accounted_ns, run_delay - pending);
        }
    }
}
