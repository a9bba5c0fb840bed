//! Who took the CPU that a thread waited for: by the time that each had it, not by who had it last.

use crate::abi::taken::{ELSEWHERE, Occupants, SUMS, Sum, THROTTLED, TURNS, Turn, UNKNOWN};

/// A wait that is over.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LongWait {
    /// Since when it was on this CPU's run queue, by its clock.
    pub queued_ns: u64,
    /// When it got the CPU.
    pub now_ns: u64,
    /// The whole of it, on run queues that it has left too.
    pub wait_ns: u64,
    /// How much of it a quota made.
    pub throttled_ns: u64,
}

/// The next turn begins.
///
/// # Safety
/// `occupants` points to those of this CPU.
#[inline(always)]
pub unsafe fn begin_turn(occupants: *mut Occupants, tgid: u32, now_ns: u64) {
    // SAFETY: the caller's, and the index is below the array's length.
    unsafe {
        let begun = (*occupants).turns_begun;
        (*occupants).turns_begun = begun.wrapping_add(1);
        let turn = (&raw mut (*occupants).turns).cast::<Turn>().add(begun as usize % TURNS);
        turn.write(Turn { since_ns: now_ns, tgid: u64::from(tgid) });
    }
}

/// Says of each part of a wait who took it: the parts add up to it. A quota's part is taken for its beginning: what is
/// throttled is put aside at once.
///
/// # Safety
/// `occupants` points to those of this CPU, which the waiter's turn is not among yet.
#[inline(always)]
pub unsafe fn share_out(occupants: *mut Occupants, wait: &LongWait, mut charge: impl FnMut(u32, u64)) {
    let here_ns = wait.now_ns.saturating_sub(wait.queued_ns).min(wait.wait_ns);
    let elsewhere_ns = wait.wait_ns - here_ns;
    let throttled_ns = wait.throttled_ns.min(wait.wait_ns);
    if throttled_ns != 0 {
        charge(THROTTLED, throttled_ns);
    }
    let throttled_here_ns = throttled_ns.saturating_sub(elsewhere_ns);
    let untold_elsewhere_ns = elsewhere_ns.saturating_sub(throttled_ns);
    if untold_elsewhere_ns != 0 {
        charge(ELSEWHERE, untold_elsewhere_ns);
    }
    let from_ns = wait.now_ns - here_ns + throttled_here_ns;
    // SAFETY: the caller's.
    let reached_ns = unsafe { walk(occupants, from_ns, wait.now_ns, &mut charge) };
    if reached_ns > from_ns {
        charge(UNKNOWN, reached_ns - from_ns);
    }
}

/// Charges the turns between two moments, the last one first. Returns how far back they reach.
///
/// # Safety
/// As of [`share_out`].
#[inline(always)]
unsafe fn walk(occupants: *mut Occupants, from_ns: u64, now_ns: u64, charge: &mut impl FnMut(u32, u64)) -> u64 {
    // SAFETY: the caller's, and all indices are below the arrays' lengths.
    unsafe {
        let begun = (*occupants).turns_begun;
        let turns = (&raw const (*occupants).turns).cast::<Turn>();
        let mut end_ns = now_ns;
        for back in 1..=TURNS as u64 {
            let turn = turns.add(begun.wrapping_sub(back) as usize % TURNS).read();
            if end_ns <= from_ns || turn.since_ns == 0 || turn.since_ns > end_ns {
                break;
            }
            let since_ns = if turn.since_ns > from_ns { turn.since_ns } else { from_ns };
            add(occupants, turn.tgid, end_ns - since_ns, charge);
            end_ns = since_ns;
        }
        for index in 0..SUMS as u64 {
            add(occupants, index ^ EMPTIES, 0, charge);
        }
        end_ns
    }
}

/// A tgid that nobody has and that goes to the place of any, by its low bits.
const EMPTIES: u64 = 1 << 32;

/// Adds what one took to its sum, and charges the sum of who was there if that is another.
///
/// # Safety
/// As of [`share_out`].
#[inline(always)]
unsafe fn add(occupants: *mut Occupants, tgid: u64, ns: u64, charge: &mut impl FnMut(u32, u64)) {
    // SAFETY: the caller's, and the index is below the array's length.
    unsafe {
        let sum = (&raw mut (*occupants).sums).cast::<Sum>().add(tgid as usize % SUMS);
        let before = sum.read();
        if before.tgid == tgid {
            (*sum).ns = before.ns + ns;
            return;
        }
        if before.ns != 0 {
            charge(before.tgid as u32, before.ns);
        }
        sum.write(Sum { tgid, ns });
    }
}

#[cfg(test)]
mod tests {
    use std::{boxed::Box, collections::BTreeMap};

    use proptest::prelude::*;

    use super::*;
    use crate::abi::taken::IDLE;

    fn nobody() -> Box<Occupants> {
        Box::new(Occupants { turns_begun: 0, turns: [Turn::default(); TURNS], sums: [Sum::default(); SUMS] })
    }

    fn shares(occupants: &mut Occupants, wait: LongWait) -> BTreeMap<u32, u64> {
        let mut shares = BTreeMap::new();
        // SAFETY: a reference.
        unsafe { share_out(occupants, &wait, |taker, ns| *shares.entry(taker).or_default() += ns) };
        shares
    }

    fn begin(occupants: &mut Occupants, turns: &[(u32, u64)]) {
        for (tgid, since_ns) in turns {
            // SAFETY: a reference.
            unsafe { begin_turn(occupants, *tgid, *since_ns) };
        }
    }

    #[test]
    fn each_taker_is_charged_for_the_time_that_it_had_the_cpu_within_the_wait() {
        let mut occupants = nobody();
        begin(&mut occupants, &[(7, 1_000), (8, 3_000), (9, 4_000), (8, 4_500), (0, 6_000)]);
        let wait = LongWait { queued_ns: 2_000, now_ns: 7_000, wait_ns: 5_000, throttled_ns: 0 };
        let expected = BTreeMap::from([(7, 1_000), (8, 2_500), (9, 500), (IDLE, 1_000)]);
        assert_eq!(shares(&mut occupants, wait), expected);
        // Nothing is left over of it for the next one.
        assert_eq!(shares(&mut occupants, wait), expected);
    }

    #[test]
    fn what_was_elsewhere_or_throttled_is_not_charged_to_who_was_here() {
        let mut occupants = nobody();
        begin(&mut occupants, &[(7, 1_000)]);
        let moved = LongWait { queued_ns: 6_000, now_ns: 7_000, wait_ns: 5_000, throttled_ns: 0 };
        assert_eq!(shares(&mut occupants, moved), BTreeMap::from([(7, 1_000), (ELSEWHERE, 4_000)]));
        let throttled = LongWait { queued_ns: 2_000, throttled_ns: 3_000, ..moved };
        assert_eq!(shares(&mut occupants, throttled), BTreeMap::from([(7, 2_000), (THROTTLED, 3_000)]));
        let both = LongWait { throttled_ns: 4_500, ..moved };
        assert_eq!(shares(&mut occupants, both), BTreeMap::from([(7, 500), (THROTTLED, 4_500)]));
    }

    #[test]
    fn what_is_out_of_reach_is_unknown() {
        let mut occupants = nobody();
        let none = LongWait { queued_ns: 1, now_ns: 11, wait_ns: 10, throttled_ns: 0 };
        assert_eq!(shares(&mut occupants, none), BTreeMap::from([(UNKNOWN, 10)]));
        let turns = TURNS as u64 + 10;
        for turn in 1..=turns {
            begin(&mut occupants, &[(7 + turn as u32 % 2, turn * 10)]);
        }
        let long = LongWait { queued_ns: 10, now_ns: turns * 10 + 10, wait_ns: turns * 10, throttled_ns: 0 };
        let half = TURNS as u64 / 2 * 10;
        assert_eq!(shares(&mut occupants, long), BTreeMap::from([(7, half), (8, half), (UNKNOWN, 100)]));
    }

    proptest! {
        #[test]
        fn the_shares_are_the_wait(
            turns in prop::collection::vec((0u32..20, 1u64..5_000), 0..1_500),
            queued_ns in 1u64..3_000_000, here_ns in 0u64..3_000_000,
            elsewhere_ns in 0u64..10_000, throttled_ns in 0u64..100_000,
        ) {
            let mut occupants = nobody();
            let mut now_ns = 0;
            for (tgid, length_ns) in turns {
                begin(&mut occupants, &[(tgid, now_ns)]);
                now_ns += length_ns;
            }
            let wait = LongWait {
                queued_ns, now_ns: queued_ns + here_ns, wait_ns: here_ns + elsewhere_ns, throttled_ns,
            };
            prop_assert_eq!(shares(&mut occupants, wait).values().sum::<u64>(), wait.wait_ns);
            prop_assert!(occupants.sums.iter().all(|sum| sum.ns == 0));
        }
    }
}
