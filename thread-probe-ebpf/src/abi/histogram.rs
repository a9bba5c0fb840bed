//! The log-linear histogram of durations: one function from a duration to its bucket, one back to the bounds.
//!
//! Bucket 0 holds 0 to 128 ns. Above that each octave has four buckets of equal width, so a bucket's width is
//! at most a quarter of its lower bound and its midpoint is within 12.5 % of every value in it. A bucket includes
//! its upper bound, as a Prometheus `le` does: sums of buckets up to a power of two are exact `le` series.

/// Number of buckets. A power of two, so that the programs can mask an index where the verifier of Linux 6.1
/// forgets a comparison.
pub const BUCKETS: usize = 128;

/// Upper bound of bucket 0, in nanoseconds.
pub const FIRST_BOUND_NS: u64 = 1 << FIRST_OCTAVE;

const FIRST_OCTAVE: u32 = 7;
const SUB_BUCKET_BITS: u32 = 2;
const SUB_BUCKETS: u64 = 1 << SUB_BUCKET_BITS;
const LAST: u64 = BUCKETS as u64 - 1;

/// The lower bound, exclusive, of the last bucket, which has no upper one: 412 s.
const LAST_LOWER_NS: u64 = lower_bound_ns(BUCKETS - 1);

/// The bucket of a duration in nanoseconds; always below [`BUCKETS`].
///
/// The hot path of every context switch. BPF can neither find the highest bit nor move conditionally, and comparisons
/// that follow the duration's size would be branches that a mix of waits mispredicts. So the bits that count are looked
/// up in a table, after a shift by six where they are too many; only waits of over half a millisecond take a branch.
#[inline(always)]
pub fn bucket_of(duration_ns: u64) -> usize {
    if duration_ns <= FIRST_BOUND_NS {
        return 0;
    }
    if duration_ns > LAST_LOWER_NS {
        return LAST as usize;
    }
    // Upper bounds are inclusive, so it is the value below that decides. From here on its lowest bits don't matter.
    let mut value = (duration_ns - 1) >> (FIRST_OCTAVE - SUB_BUCKET_BITS);
    let mut bucket = 1;
    if value >= TWICE_TABLE {
        value >>= 12;
        bucket += 12 * SUB_BUCKETS;
        if value >= TWICE_TABLE {
            value >>= 12;
            bucket += 12 * SUB_BUCKETS;
        }
    }
    // All ones if the value is beyond the table: both numbers are below 2^63.
    let beyond = ((TABLE.len() as u64 - 1).wrapping_sub(value) as i64 >> 63) as u64;
    value >>= beyond & 6;
    bucket += beyond & (6 * SUB_BUCKETS);
    bucket += u64::from(TABLE[value as usize % TABLE.len()]);
    (bucket & LAST) as usize
}

/// Where six bits more than the table has no longer suffice.
const TWICE_TABLE: u64 = (TABLE.len() as u64) << 6;

/// By a value's highest bits, of which there are at least three: its octave above the first, times four, and its
/// quarter of it.
static TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut value = SUB_BUCKETS;
    while value < 256 {
        let octave = value.ilog2() - SUB_BUCKET_BITS;
        table[value as usize] = (octave as u64 * SUB_BUCKETS + (value >> octave) % SUB_BUCKETS) as u8;
        value += 1;
    }
    table
};

/// The largest duration of a bucket in nanoseconds, inclusive; `None` for the last bucket, which has no bound.
pub const fn upper_bound_ns(bucket: usize) -> Option<u64> {
    if bucket >= BUCKETS - 1 { None } else { Some(lower_bound_ns(bucket + 1)) }
}

/// The duration in nanoseconds above which a bucket starts, exclusive; 0 for bucket 0, which includes 0.
pub const fn lower_bound_ns(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let step = bucket as u64 - 1;
    let octave = FIRST_OCTAVE + (step / SUB_BUCKETS) as u32;
    (SUB_BUCKETS + step % SUB_BUCKETS) << (octave - SUB_BUCKET_BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_in_its_bucket(duration_ns: u64) {
        let bucket = bucket_of(duration_ns);
        let above_lower = duration_ns > lower_bound_ns(bucket) || bucket == 0;
        let within_upper = upper_bound_ns(bucket).is_none_or(|upper| duration_ns <= upper);
        assert!(above_lower && within_upper, "{duration_ns} ns is not within the bounds of bucket {bucket}");
    }

    #[test]
    fn every_bound_and_its_neighbours_fall_in_the_bucket_that_claims_them() {
        for bucket in 0..BUCKETS {
            let lower = lower_bound_ns(bucket);
            for duration in [lower.saturating_sub(1), lower, lower + 1] {
                assert_in_its_bucket(duration);
            }
            if let Some(upper) = upper_bound_ns(bucket) {
                assert_eq!(bucket_of(upper), bucket, "upper bounds are inclusive");
                assert_eq!(bucket_of(upper + 1), bucket + 1);
            }
        }
    }

    #[test]
    fn the_midpoint_of_a_bucket_is_within_an_eighth_of_its_values() {
        for bucket in 1..BUCKETS - 1 {
            let lower = lower_bound_ns(bucket);
            let upper = upper_bound_ns(bucket).unwrap_or_default();
            let midpoint = (lower + upper) as f64 / 2.0;
            let worst = (midpoint - (lower + 1) as f64).max(upper as f64 - midpoint);
            assert!(worst / lower as f64 <= 0.125, "bucket {bucket} is off by {worst} ns at {lower} ns");
        }
    }

    #[test]
    fn the_range_reaches_from_below_128_ns_to_over_30_s() {
        assert_eq!(upper_bound_ns(0), Some(128));
        assert!(lower_bound_ns(BUCKETS - 1) > 30_000_000_000);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn every_power_of_two_from_the_first_bound_ends_a_bucket() {
        for exponent in FIRST_OCTAVE..=38 {
            let bound = 1u64 << exponent;
            assert_eq!(upper_bound_ns(bucket_of(bound)), Some(bound));
        }
    }

    proptest! {
        #[test]
        fn any_duration_falls_within_its_buckets_bounds(duration_ns: u64, shift in 0u32..64) {
            assert_in_its_bucket(duration_ns >> shift);
        }

        #[test]
        fn a_longer_duration_never_falls_in_an_earlier_bucket(a: u64, b: u64, shift in 0u32..64) {
            let (short, long) = if a < b { (a >> shift, b >> shift) } else { (b >> shift, a >> shift) };
            prop_assert!(bucket_of(short) <= bucket_of(long));
        }
    }
}
