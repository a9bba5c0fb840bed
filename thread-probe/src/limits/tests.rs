use proptest::{collection::vec, prelude::*};

use super::*;

/// Any limit with any use of it, below, at or above its maximum; growing or not.
fn any_limit() -> impl Strategy<Value = LimitUse> {
    let grows = proptest::option::of(0.001..1e9f64);
    (0..Limit::ALL.len(), any::<u64>(), any::<u64>(), 1..1u64 << 40, grows).prop_map(
        |(index, used, max, bytes, grows)| {
            let limit = Limit::ALL[index];
            let (scope, name) = (Scope::Host, Arc::from(index.to_string()));
            let limit = LimitUse::new(limit, scope, name, "a test".into());
            let mut limit = match limit.unit {
                Unit::Threads => limit.of_threads(used, max),
                Unit::Mappings => limit.of_mappings(used, max),
                Unit::Bytes => limit.of_bytes(used, max, bytes),
            };
            limit.growing(grows.map(seen_for(1e12)));
            limit
        },
    )
}

/// Growth that was steady for so many seconds.
fn seen_for(seen_seconds: f64) -> impl Fn(f64) -> Growth {
    move |per_second| Growth { per_second, seen_seconds, is_steady: true }
}

fn headroom_of(limits: &[LimitUse]) -> Option<Headroom> {
    Headroom::of(limits.iter().map(|limit| (limit, limit.headroom_threads)))
}

proptest! {
    #[test]
    fn headroom_is_the_most_threads_that_still_fit(used: u64, max: u64, per_thread in 1..1u64 << 40) {
        let room = u128::from(headroom_threads(used, max, per_thread));
        let (used, max, per_thread) = (u128::from(used), u128::from(max), u128::from(per_thread));
        prop_assert!(room == 0 || used + room * per_thread <= max, "they do not fit");
        prop_assert!(used + (room + 1) * per_thread > max, "one more fits");
    }

    #[test]
    fn headroom_shrinks_as_a_limit_is_used(used: u64, more: u64, max: u64, per_thread in 1..1u64 << 40) {
        let before = headroom_threads(used, max, per_thread);
        prop_assert!(headroom_threads(used.saturating_add(more), max, per_thread) <= before);
    }

    #[test]
    fn the_binding_limit_has_room_for_the_fewest_threads_and_the_first_exhausted_is_reached_first(
        limits in vec(any_limit(), 1..12),
    ) {
        let headroom = headroom_of(&limits);
        let binding = headroom.as_ref().map(|headroom| headroom.binding.headroom_threads);
        prop_assert_eq!(binding, limits.iter().map(|limit| limit.headroom_threads).min());
        let first = headroom.and_then(|headroom| headroom.first_exhausted).and_then(|limit| limit.exhaustion_seconds);
        let soonest = limits.iter().filter_map(|limit| limit.exhaustion_seconds).min_by(f64::total_cmp);
        prop_assert_eq!(first, soonest);
    }

    #[test]
    fn a_groups_headroom_does_not_depend_on_the_order_of_its_processes(limits in vec(any_limit(), 1..12), at in 0..12usize) {
        let mut turned = limits.clone();
        turned.rotate_left(at % limits.len());
        let room = |limits: Vec<LimitUse>| {
            let binding = headroom_of(&limits).map(|headroom| headroom.binding);
            binding.map(|binding| (binding.headroom_threads, binding.used_ratio))
        };
        prop_assert_eq!(room(limits), room(turned));
    }

    #[test]
    fn figures_are_numbers_and_never_negative(limit in any_limit()) {
        prop_assert!(limit.used_ratio >= 0.0 && limit.used_ratio.is_finite());
        prop_assert!(limit.exhaustion_seconds.is_none_or(|seconds| seconds >= 0.0 && seconds.is_finite()));
    }
}

#[test]
fn a_limit_of_0_is_full() {
    let limit = LimitUse::new(Limit::CgroupPids, Scope::Cgroup, "/a".into(), "a".into()).of_threads(0, 0);
    assert_eq!((limit.used_ratio, limit.headroom_threads), (1.0, 0));
}

#[test]
fn memory_has_room_for_fewer_threads_that_take_more_of_it() {
    let limit = LimitUse::new(Limit::Memory, Scope::Host, "host".into(), "a".into()).of_bytes(1000, 101_000, 10_000);
    assert_eq!((limit.headroom_threads, limit.room_for(50_000)), (10, 2));
    let limit = LimitUse::new(Limit::CgroupPids, Scope::Cgroup, "/a".into(), "a".into()).of_threads(10, 50);
    assert_eq!(limit.room_for(50_000), 40);
}

/// What is told of a limit with this use, when it was seen to grow for so long.
fn told(limit: Limit, (used, max): (u64, u64), growth: Growth) -> (bool, bool) {
    let limit = LimitUse::new(limit, Scope::Host, "host".into(), "a test".into());
    let mut limit = limit.with(used, max, 1);
    limit.growing(Some(growth));
    (limit.extrapolated_seconds().is_some(), limit.exhaustion_seconds.is_some())
}

#[test]
fn a_forecast_reaches_as_far_as_what_was_seen_carries_it() {
    let growing = |per_second, seconds| seen_for(seconds)(per_second);
    // A service that starts: 434 of 32,532 ids, 13 more a second for 30 s, would be full in 41 min.
    assert_eq!(told(Limit::PidMax, (434, 32_532), growing(13.0, 30.0)), (true, false));
    // A leak that fills it within minutes was seen for long enough.
    assert_eq!(told(Limit::PidMax, (6000, 32_532), growing(200.0, 30.0)), (true, true));
    // A slow one near the end, and the same at the beginning.
    assert_eq!(told(Limit::CgroupPids, (60, 100), growing(1.0 / 60.0, 120.0)), (true, true));
    assert_eq!(told(Limit::CgroupPids, (20, 100), growing(1.0 / 60.0, 120.0)), (true, false));
    // A few compiles: memory of the host, 12 of 64 GB used, full in 18 min, for 2 min.
    let gigabyte = 1 << 30;
    let compiles = growing(48.0 * gigabyte as f64 / 1080.0, 120.0);
    assert_eq!(told(Limit::Memory, (12 * gigabyte, 64 * gigabyte), compiles), (true, false));
    assert_eq!(told(Limit::Memory, (40 * gigabyte, 64 * gigabyte), compiles), (true, true));
    // What goes by fits and starts has no pace to go by.
    let unsteady = Growth { is_steady: false, ..growing(200.0, 30.0) };
    assert_eq!(told(Limit::PidMax, (6000, 32_532), unsteady), (true, false));
}
