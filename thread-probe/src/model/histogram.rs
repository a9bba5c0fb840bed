//! Histograms as people read them.

use serde::{Deserialize, Serialize};
use thread_probe_ebpf::histogram::{BUCKETS, lower_bound_ns, upper_bound_ns};

use super::NS_PER_SECOND;

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

pub(super) fn histogram(buckets: &[u64; BUCKETS]) -> Vec<Bucket> {
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
