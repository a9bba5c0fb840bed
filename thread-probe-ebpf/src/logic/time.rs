//! Where a thread's time went between two arrivals on a CPU, computed at the second: what is known of it then is all
//! there is to know. The parts add up to the wall clock by construction.

use super::burst;
use crate::abi::{
    record::NO_STATE,
    storage::{Period, TaskStorage},
    time::{TIME_STATES, TimeState},
};

/// What a task arrives with on a CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival {
    /// The run queue's clock.
    pub now_ns: u64,
    /// `sum_exec_runtime`.
    pub cpu_ns: u64,
    /// How long it waited for this CPU.
    pub wait_ns: u64,
    /// `nvcsw`.
    pub voluntary_switches: u64,
    /// Address of its CFS run queue.
    pub cfs_rq: u64,
    /// For how long that was throttled, ever.
    pub throttled_ns: u64,
    /// For how long the one was throttled since the last arrival that it was on then, if that is another.
    pub elsewhere_ns: u64,
}

/// Closes the period since the last arrival. `asleep_in` says what it slept in, if it did.
///
/// It was woken if it left the CPU voluntarily: then what it neither ran nor waited it slept. Else something else was
/// to run, and what is left is time in which the clock went on and the task's did not.
///
/// Returns the part of the wait that a quota made, in nanoseconds.
#[inline(always)]
pub fn arrive(storage: &mut TaskStorage, arrival: Arrival, asleep_in: impl FnOnce() -> u32) -> u64 {
    let before = storage.period;
    put(&mut storage.period.since_ns, arrival.now_ns);
    let was_asleep = arrival.voluntary_switches != before.voluntary_switches;
    // All that is known of a new one is its first wait.
    let all_ns = if before.since_ns == 0 { arrival.wait_ns } else { elapsed(before.since_ns, arrival.now_ns) };
    let wait_ns = least(arrival.wait_ns, all_ns);
    let run_ns = least(arrival.cpu_ns.wrapping_sub(before.cpu_ns), all_ns - wait_ns);
    let rest_ns = all_ns - wait_ns - run_ns;
    let throttled_ns = least(throttled(&before, arrival.cfs_rq, (arrival.throttled_ns, arrival.elsewhere_ns)), wait_ns);
    put(&mut storage.period.cpu_ns, arrival.cpu_ns);
    put(&mut storage.period.voluntary_switches, arrival.voluntary_switches);
    put(&mut storage.period.cfs_rq, arrival.cfs_rq);
    put(&mut storage.period.throttled_ns, arrival.throttled_ns);
    let time_ns = &mut storage.time_ns;
    add(&mut time_ns[TimeState::Running as usize], run_ns);
    if throttled_ns != 0 {
        add(&mut time_ns[TimeState::Throttled as usize], throttled_ns);
    }
    if was_asleep {
        burst::end(&mut storage.burst, arrival.cpu_ns);
        add(&mut time_ns[TimeState::WaitWakeup as usize], wait_ns - throttled_ns);
        let state = if storage.is_stopped == 0 {
            asleep_in()
        } else {
            put(&mut storage.is_stopped, 0);
            TimeState::Stopped as u32
        };
        add(&mut time_ns[state as usize % TIME_STATES], rest_ns);
    } else {
        add(&mut time_ns[TimeState::WaitPreempted as usize], wait_ns - throttled_ns);
        add(&mut time_ns[TimeState::Unaccounted as usize], rest_ns);
    }
    put(&mut storage.closed_ns, arrival.now_ns);
    throttled_ns
}

/// Writes in the order of the source, which the reader counts on. Volatile, as the target has no fences.
#[inline(always)]
fn put(to: &mut u64, value: u64) {
    // SAFETY: a reference.
    unsafe { core::ptr::from_mut(to).write_volatile(value) };
}

#[inline(always)]
fn add(to: &mut u64, more: u64) {
    // SAFETY: as above.
    put(to, unsafe { core::ptr::from_ref(to).read_volatile() } + more);
}

/// How long the CFS run queue that it was on was throttled since the last arrival. Of one to which it was woken nothing
/// is known.
#[inline(always)]
fn throttled(before: &Period, cfs_rq: u64, (here_ns, elsewhere_ns): (u64, u64)) -> u64 {
    if cfs_rq == before.cfs_rq { here_ns.wrapping_sub(before.throttled_ns) } else { elsewhere_ns }
}

/// What a task does at the moment of a scan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// The clock of run queues.
    pub now_ns: u64,
    /// `sum_exec_runtime`.
    pub cpu_ns: u64,
    /// How much `run_delay` grew since the last arrival: what it waited on a run queue that it has left.
    pub moved_ns: u64,
    /// Since when it waits for a CPU; 0 if it does not.
    pub last_queued_ns: u64,
    /// `nvcsw`.
    pub voluntary_switches: u64,
    /// Address of its CFS run queue.
    pub cfs_rq: u64,
    /// For how long that was throttled, ever, until now.
    pub throttled_ns: u64,
    /// As [`Arrival::elsewhere_ns`].
    pub elsewhere_ns: u64,
    /// It has run for the last time.
    pub has_ended: bool,
}

/// Up to when the times of a thread go, and what it goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// By the run queues' clocks.
    pub as_of_ns: u64,
    /// A [`TimeState`], or [`NO_STATE`].
    pub standing_state: u32,
}

/// Adds the period since the last arrival, which is not over, to a copy of the times in the storage: as [`arrive`] will
/// add it, if it is over now. Of a task that runs, or has ended, only what its own clock has counted.
///
/// # Safety
/// `time_ns` points to a whole array of [`TIME_STATES`].
#[inline(always)]
pub unsafe fn add_open(
    time_ns: *mut u64,
    before: &Period,
    standing: Standing,
    asleep_in: impl FnOnce() -> u32,
) -> AsOf {
    // SAFETY: the caller's, and the index is kept below the array's length. Volatile, as it may be on the BPF stack's
    // far side: a record in a map.
    let add = |state: u32, ns: u64| unsafe {
        let slot = time_ns.add(state as usize % TIME_STATES);
        slot.write_volatile(slot.read_volatile() + ns);
    };
    let run_ns = standing.cpu_ns.wrapping_sub(before.cpu_ns);
    if standing.has_ended {
        add(TimeState::Running as u32, run_ns);
        return AsOf { as_of_ns: before.since_ns + run_ns, standing_state: NO_STATE };
    }
    let is_first = before.since_ns == 0;
    let is_queued = standing.last_queued_ns != 0;
    let queued_ns = if is_queued { elapsed(standing.last_queued_ns, standing.now_ns) } else { 0 };
    let all_ns = if is_first { queued_ns } else { elapsed(before.since_ns, standing.now_ns) };
    let begun_ns = standing.now_ns - all_ns;
    let was_asleep = standing.voluntary_switches != before.voluntary_switches;
    let run_ns = least(run_ns, all_ns);
    add(TimeState::Running as u32, run_ns);
    let wait_ns = least(elapsed(0, standing.moved_ns) + queued_ns, all_ns - run_ns);
    let throttled_ns =
        least(throttled(before, standing.cfs_rq, (standing.throttled_ns, standing.elsewhere_ns)), wait_ns);
    add(TimeState::Throttled as u32, throttled_ns);
    let wait_state = if was_asleep { TimeState::WaitWakeup } else { TimeState::WaitPreempted };
    add(wait_state as u32, wait_ns - throttled_ns);
    if !is_queued && !was_asleep {
        return AsOf { as_of_ns: begun_ns + run_ns + wait_ns, standing_state: NO_STATE };
    }
    let rest_state = if was_asleep { asleep_in() } else { TimeState::Unaccounted as u32 };
    add(rest_state, all_ns - run_ns - wait_ns);
    AsOf { as_of_ns: standing.now_ns, standing_state: if is_queued { NO_STATE } else { rest_state } }
}

/// Clocks of two CPUs may differ by some nanoseconds.
#[inline(always)]
const fn elapsed(from_ns: u64, to_ns: u64) -> u64 {
    let elapsed_ns = to_ns.wrapping_sub(from_ns);
    if (elapsed_ns as i64) < 0 { 0 } else { elapsed_ns }
}

#[inline(always)]
const fn least(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::storage::NEVER_SWITCHED;

    const START: u64 = 1_000;

    /// A new thread's storage.
    fn created() -> TaskStorage {
        let period = Period { voluntary_switches: NEVER_SWITCHED, ..Period::default() };
        TaskStorage { period, ..TaskStorage::default() }
    }

    /// A thread that arrived at [`START`] for the first time.
    fn arrived() -> TaskStorage {
        let mut storage = created();
        let arrival = Arrival { now_ns: START, cfs_rq: 7, throttled_ns: 50, ..Arrival::default() };
        arrive(&mut storage, arrival, || TimeState::Other as u32);
        storage
    }

    fn time(storage: &TaskStorage, state: TimeState) -> u64 {
        storage.time_ns[state as usize]
    }

    fn sum(storage: &TaskStorage) -> u64 {
        storage.time_ns.iter().sum()
    }

    fn again(now_ns: u64) -> Arrival {
        Arrival { now_ns, cfs_rq: 7, throttled_ns: 50, ..Arrival::default() }
    }

    #[test]
    fn a_thread_that_left_voluntarily_slept_and_was_woken() {
        let mut storage = arrived();
        let arrival = Arrival { cpu_ns: 100, wait_ns: 30, voluntary_switches: 1, ..again(START + 1_000) };
        arrive(&mut storage, arrival, || TimeState::Poll as u32);
        assert_eq!(time(&storage, TimeState::Running), 100);
        assert_eq!(time(&storage, TimeState::WaitWakeup), 30);
        assert_eq!(time(&storage, TimeState::Poll), 870);
        assert_eq!(sum(&storage), 1_000);
    }

    #[test]
    fn one_that_was_stopped_did_not_sleep_in_the_system_call_that_it_was_stopped_in() {
        let mut storage = TaskStorage { is_stopped: 1, ..arrived() };
        arrive(&mut storage, Arrival { voluntary_switches: 1, ..again(START + 500) }, || TimeState::Poll as u32);
        arrive(&mut storage, Arrival { voluntary_switches: 2, ..again(START + 700) }, || TimeState::Poll as u32);
        assert_eq!((time(&storage, TimeState::Stopped), time(&storage, TimeState::Poll)), (500, 200));
    }

    #[test]
    fn a_thread_that_was_preempted_did_not_sleep_and_what_is_left_is_unaccounted() {
        let mut storage = arrived();
        let arrival = Arrival { cpu_ns: 600, wait_ns: 390, ..again(START + 1_000) };
        arrive(&mut storage, arrival, || TimeState::Poll as u32);
        assert_eq!(time(&storage, TimeState::WaitPreempted), 390);
        assert_eq!(time(&storage, TimeState::Unaccounted), 10);
        assert_eq!(time(&storage, TimeState::Poll), 0);
    }

    #[test]
    fn of_a_wait_the_part_is_throttled_that_its_run_queue_was() {
        let mut storage = arrived();
        let arrival = Arrival { cpu_ns: 600, wait_ns: 400, throttled_ns: 350, ..again(START + 1_000) };
        arrive(&mut storage, arrival, || TimeState::Poll as u32);
        assert_eq!(time(&storage, TimeState::Throttled), 300);
        assert_eq!(time(&storage, TimeState::WaitPreempted), 100);
        // No longer than it waited; and where it was moved, by the run queue that it left.
        let arrival = Arrival { wait_ns: 100, cpu_ns: 600, throttled_ns: 950, ..again(START + 1_100) };
        arrive(&mut storage, arrival, || TimeState::Poll as u32);
        assert_eq!(time(&storage, TimeState::Throttled), 400);
        let moved = Arrival { wait_ns: 100, cpu_ns: 600, cfs_rq: 8, throttled_ns: 9_950, ..again(START + 1_200) };
        arrive(&mut storage, Arrival { elsewhere_ns: 70, ..moved }, || TimeState::Poll as u32);
        assert_eq!((time(&storage, TimeState::Throttled), time(&storage, TimeState::WaitPreempted)), (470, 130));
    }

    #[test]
    fn the_first_wait_of_a_new_thread_follows_its_wake_up_and_is_all_that_is_known_of_it() {
        let mut storage = created();
        arrive(&mut storage, Arrival { wait_ns: 300, ..again(START) }, || TimeState::Other as u32);
        assert_eq!((time(&storage, TimeState::WaitWakeup), sum(&storage)), (300, 300));
    }

    /// The times with what is open.
    fn open(storage: &TaskStorage, standing: Standing) -> ([u64; TIME_STATES], AsOf) {
        let mut time_ns = storage.time_ns;
        // SAFETY: a whole array.
        let as_of = unsafe { add_open(time_ns.as_mut_ptr(), &storage.period, standing, || TimeState::Poll as u32) };
        (time_ns, as_of)
    }

    #[test]
    fn what_ended_stands_still_from_its_last_run_on() {
        let storage = arrived();
        let standing =
            Standing { now_ns: START + 500, cpu_ns: 20, voluntary_switches: 1, has_ended: true, ..Standing::default() };
        let (time_ns, as_of) = open(&storage, standing);
        assert_eq!(time_ns.iter().sum::<u64>(), 20);
        assert_eq!(as_of, AsOf { as_of_ns: START + 20, standing_state: NO_STATE });
    }

    #[test]
    fn one_that_runs_counts_what_its_own_clock_has() {
        let (time_ns, as_of) =
            open(&arrived(), Standing { now_ns: START + 500, cpu_ns: 480, cfs_rq: 7, ..Standing::default() });
        assert_eq!((time_ns[TimeState::Running as usize], time_ns.iter().sum::<u64>()), (480, 480));
        assert_eq!(as_of, AsOf { as_of_ns: START + 480, standing_state: NO_STATE });
    }

    proptest! {
        #[test]
        fn the_parts_add_up_to_the_clock_whatever_the_kernel_says(
            steps in prop::collection::vec((0..1u64 << 30, 0..1u64 << 30, 0..1u64 << 30, 0..3u64, 0..3u64, 0..1u64 << 20), 1..40),
        ) {
            let mut storage = arrived();
            let mut arrival = again(START);
            for (all, run, wait, slept, cfs_rq, throttled) in steps {
                arrival.now_ns += all;
                arrival.cpu_ns += run;
                arrival.wait_ns = wait;
                arrival.voluntary_switches += slept;
                arrival.cfs_rq = cfs_rq;
                arrival.throttled_ns += throttled;
                arrive(&mut storage, arrival, || TimeState::File as u32);
                prop_assert_eq!(sum(&storage), arrival.now_ns - START);
                prop_assert_eq!(storage.closed_ns, storage.period.since_ns);
            }
        }

        #[test]
        fn a_period_that_is_open_is_told_as_it_is_counted_when_it_is_closed(
            slept: bool, run in 0..1_000u64, wait in 1..1_000u64, rest in 0..1_000u64, throttled in 0..2_000u64,
        ) {
            let mut storage = arrived();
            let now_ns = START + run + wait + rest;
            let standing = Standing {
                now_ns,
                cpu_ns: run,
                last_queued_ns: now_ns - wait,
                voluntary_switches: u64::from(slept),
                cfs_rq: 7,
                throttled_ns: 50 + throttled,
                ..Standing::default()
            };
            let (told, as_of) = open(&storage, standing);
            let arrival = Arrival {
                now_ns,
                cpu_ns: run,
                wait_ns: wait,
                voluntary_switches: u64::from(slept),
                cfs_rq: 7,
                throttled_ns: 50 + throttled,
                elsewhere_ns: 0,
            };
            arrive(&mut storage, arrival, || TimeState::Poll as u32);
            prop_assert_eq!(told, storage.time_ns);
            prop_assert_eq!(as_of.as_of_ns, now_ns);
        }
    }
}
