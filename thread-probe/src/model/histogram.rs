//! Histograms as people read them.

use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::histogram::{BUCKETS, bucket_of, lower_bound_ns, upper_bound_ns};

pub(super) const NS_PER_SECOND: f64 = 1e9;

/// The quantile `q` of a histogram, at the middle of its bucket: at most 12.5 % off. `None` if it is empty.
pub fn quantile_seconds(buckets: &[u64; BUCKETS], q: f64) -> Option<f64> {
    let count: u64 = buckets.iter().sum();
    let rank = ((count as f64 * q).ceil() as u64).max(1);
    let mut below = 0;
    let bucket = buckets.iter().position(|in_bucket| {
        below += in_bucket;
        below >= rank
    })?;
    let lower = lower_bound_ns(bucket);
    let upper = upper_bound_ns(bucket).unwrap_or(lower);
    Some((lower + upper) as f64 / 2.0 / NS_PER_SECOND)
}

/// Waits for a CPU in an interval, so that those of several processes can be added up: of each bucket that is not empty
/// its inclusive upper bound in nanoseconds, `None` for the last one, which has none, and how many fell in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntervalWaits(Vec<(Option<u64>, u64)>);

impl IntervalWaits {
    pub(crate) fn new(buckets: &[u64; BUCKETS]) -> Self {
        let occupied = buckets.iter().enumerate().filter(|(_, count)| **count != 0);
        Self(occupied.map(|(bucket, count)| (upper_bound_ns(bucket), *count)).collect())
    }

    /// Adds them to a histogram.
    pub fn add_to(&self, buckets: &mut [u64; BUCKETS]) {
        for (bound, count) in &self.0 {
            buckets[bound.map_or(BUCKETS - 1, bucket_of)] += count;
        }
    }
}

pub(super) fn longest_seconds(buckets: &[u64; BUCKETS]) -> Option<f64> {
    let bucket = buckets.iter().rposition(|count| *count != 0)?;
    Some(upper_bound_ns(bucket).unwrap_or_else(|| lower_bound_ns(bucket)) as f64 / NS_PER_SECOND)
}

/// One bucket of a histogram that is not empty. Counts are not cumulative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Upper bound, inclusive; null for the last one, which has none.
    pub le_seconds: Option<f64>,
    /// How many fell in it.
    pub count: u64,
}

/// The counts of a histogram, by bucket.
pub(crate) fn counts(histogram: &[Bucket]) -> [u64; BUCKETS] {
    let mut counts = [0; BUCKETS];
    for Bucket { le_seconds, count } in histogram {
        let bucket = le_seconds.map_or(BUCKETS - 1, |le| bucket_of((le * NS_PER_SECOND).round() as u64));
        counts[bucket] += count;
    }
    counts
}

pub(crate) fn histogram(buckets: &[u64; BUCKETS]) -> Vec<Bucket> {
    let occupied = buckets.iter().enumerate().filter(|(_, count)| **count != 0);
    occupied
        .map(|(bucket, count)| Bucket {
            le_seconds: upper_bound_ns(bucket).map(|bound| bound as f64 / NS_PER_SECOND),
            count: *count,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_of_an_interval_add_up_to_what_they_were_made_of() -> anyhow::Result<()> {
        let mut buckets = [0; BUCKETS];
        for bucket in [0, 1, 40, BUCKETS - 2, BUCKETS - 1] {
            buckets[bucket] = bucket as u64 + 1;
        }
        let json = serde_json::to_string(&IntervalWaits::new(&buckets))?;
        let waits: IntervalWaits = serde_json::from_str(&json)?;
        let mut sum = buckets;
        waits.add_to(&mut sum);
        assert_eq!(sum, buckets.map(|count| 2 * count));
        Ok(())
    }

    #[test]
    fn a_quantile_is_the_middle_of_the_bucket_that_reaches_its_rank() {
        let mut buckets = [0; BUCKETS];
        assert_eq!(quantile_seconds(&buckets, 0.5), None);
        buckets[4] = 99;
        buckets[40] = 1;
        let middle = |bucket| (lower_bound_ns(bucket) + upper_bound_ns(bucket).unwrap_or(0)) as f64 / 2e9;
        assert_eq!(quantile_seconds(&buckets, 0.5), Some(middle(4)));
        assert_eq!(quantile_seconds(&buckets, 0.99), Some(middle(4)));
        assert_eq!(quantile_seconds(&buckets, 0.995), Some(middle(40)));
    }
}
