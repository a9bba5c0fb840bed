//! The longest burst: CPU time of a thread between two voluntary switches. Of an event loop it is the lag.
//!
//! The context switch writes into one of two places and the scan empties the other, so that neither waits for the
//! other. A switch that is in the middle of it as the scan turns them over may be left out.

use crate::abi::storage::Burst;

/// A burst is over: the thread slept since, and `cpu_ns` is its CPU time.
#[inline(always)]
pub fn end(burst: &mut Burst, cpu_ns: u64) {
    let burst_ns = cpu_ns.wrapping_sub(burst.since_cpu_ns);
    burst.since_cpu_ns = cpu_ns;
    let longest_ns = &mut burst.longest_ns[burst.tellings as usize % 2];
    // One that was told when it was over already is not one of the time since.
    if burst_ns > *longest_ns && cpu_ns != burst.told_cpu_ns {
        *longest_ns = burst_ns;
    }
}

/// The longest burst since the last telling, in nanoseconds, with that which is not over or was the last. The thread may
/// have gone on since its CPU time was read.
#[inline(always)]
pub fn longest_ns(burst: &Burst, cpu_ns: u64) -> u64 {
    let ended_ns = burst.longest_ns[burst.tellings as usize % 2];
    let open_ns = if cpu_ns == burst.told_cpu_ns { 0 } else { cpu_ns.saturating_sub(burst.since_cpu_ns) };
    if open_ns > ended_ns { open_ns } else { ended_ns }
}

/// Tells it, and begins anew.
#[inline(always)]
pub fn tell(burst: &mut Burst, cpu_ns: u64) -> u64 {
    let longest_ns = longest_ns(burst, cpu_ns);
    burst.longest_ns[(burst.tellings as usize + 1) % 2] = 0;
    burst.tellings = burst.tellings.wrapping_add(1);
    burst.told_cpu_ns = cpu_ns;
    longest_ns
}

/// What was told did not get through.
#[inline(always)]
pub fn take_back(burst: &mut Burst, told_ns: u64) {
    let longest_ns = &mut burst.longest_ns[burst.tellings as usize % 2];
    if told_ns > *longest_ns {
        *longest_ns = told_ns;
    }
    burst.told_cpu_ns = NEVER;
}

/// No CPU time.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_telling_has_the_longest_burst_since_the_last_one() {
        let mut burst = Burst::default();
        end(&mut burst, 5);
        end(&mut burst, 105);
        end(&mut burst, 125);
        assert_eq!(tell(&mut burst, 125), 100);
        end(&mut burst, 155);
        assert_eq!(tell(&mut burst, 155), 30);
        assert_eq!(tell(&mut burst, 155), 0, "it did not run");
    }

    #[test]
    fn a_burst_that_is_not_over_is_told_as_far_as_it_goes_and_whole_once_it_is_over() {
        let mut burst = Burst::default();
        end(&mut burst, 10);
        assert_eq!(tell(&mut burst, 60), 50);
        assert_eq!(tell(&mut burst, 90), 80);
        end(&mut burst, 100);
        end(&mut burst, 101);
        assert_eq!(tell(&mut burst, 101), 90);
    }

    #[test]
    fn one_that_was_over_when_it_was_told_is_not_told_again() {
        let mut burst = Burst::default();
        end(&mut burst, 10);
        // It sleeps, and the program has not seen it come back.
        assert_eq!(tell(&mut burst, 60), 50);
        assert_eq!(tell(&mut burst, 60), 0);
        end(&mut burst, 60);
        end(&mut burst, 67);
        assert_eq!(tell(&mut burst, 67), 7);
    }

    #[test]
    fn a_thread_that_has_gone_on_since_it_was_read_has_no_burst_of_less_than_nothing() {
        let mut burst = Burst::default();
        end(&mut burst, 70);
        end(&mut burst, 100);
        assert_eq!(tell(&mut burst, 90), 70);
    }

    #[test]
    fn what_did_not_get_through_is_told_again() {
        let mut burst = Burst::default();
        end(&mut burst, 10);
        let told_ns = tell(&mut burst, 60);
        take_back(&mut burst, told_ns);
        assert_eq!(tell(&mut burst, 60), 50);
        assert_eq!(tell(&mut burst, 60), 0);
    }
}
