//! How many groups there are, for how long, and who is in which.

use super::*;
use crate::names::grouping::OTHER;
use crate::names::grouping::{GroupNames, Identity, Named};

/// Names groups by what it is asked.
struct ByQuestion;

impl GroupNames for ByQuestion {
    fn name(&mut self, pid: u32, identity: &Identity, is_alive: bool) -> Named {
        format!("{pid} of {} {}", identity.uid, if is_alive { "alive" } else { "ended" }).into()
    }

    fn name_without_leader(&self, pid: u32, _: &[u8; COMM_BYTES]) -> String {
        format!("{pid} without leader")
    }
}

#[test]
fn a_group_is_asked_for_by_who_the_process_is_and_whether_it_lives() {
    let mut ledger = Ledger::new(bounds(10, 600));
    ledger.begin_scan(SECOND);
    let mut observe = |task: Task, ended_ns: Option<u64>| {
        let (mut thread, process, waits) = task.record(PART_PROCESS | ended_ns.map_or(0, |_| PART_ENDED));
        thread.ended_ns = ended_ns.unwrap_or_default();
        let observed = ThreadObservation { thread: &thread, process: Some(&process), waits: Some(&waits) };
        let observation = ended_ns.map_or(Observation::Alive(observed), |_| Observation::Ended(observed));
        ledger.observe(observation, &mut ByQuestion);
    };
    observe(leader(5, "a"), None);
    observe(leader(6, "b"), Some(SECOND));
    ledger.finish_sample(&mut ByQuestion);
    let mut names: Vec<&str> = ledger.groups().map(|(_, group)| &*group.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["5 of 7 alive", "6 of 7 ended"]);
}

#[test]
fn what_was_observed_before_names_could_be_asked_for_is_in_its_group_once_they_are() {
    let mut ledger = Ledger::new(bounds(10, 600));
    ledger.begin_scan(SECOND);
    let first = leader(5, "a").switched(3);
    for task in [first, thread(first, 6).switched(4), thread(leader(8, "b"), 9).switched(5)] {
        let parts = if task.tid == task.tgid { PART_PROCESS } else { 0 };
        let (thread, process, waits) = task.record(parts);
        let process = (parts != 0).then_some(&process);
        ledger.observe_unnamed(Observation::Alive(ThreadObservation { thread: &thread, process, waits: Some(&waits) }));
    }
    assert_eq!(ledger.groups().count(), 0);
    ledger.name_all(&mut ByQuestion);
    ledger.finish_sample(&mut ByQuestion);
    let groups: Vec<_> =
        ledger.groups().map(|(_, group)| (&*group.name, group.totals.counters.voluntary_switches)).collect();
    // Process 8's leader is still to come.
    assert_eq!(groups, [("5 of 7 alive", 7)]);
    assert_eq!(ledger.host().counters.voluntary_switches, 7);
}

#[test]
fn groups_beyond_the_bound_go_to_other_and_are_counted() {
    let mut scene = Scene::with_groups(2);
    scene.sample(&[leader(1, "a"), leader(2, "b"), leader(3, "c").switched(3), leader(4, "d").switched(4)], &[]);
    assert_eq!(scene.switches(OTHER), 7);
    assert_eq!(scene.ledger.groups_refused(), 2);
    // Their processes are not counted again.
    scene.sample(&[leader(1, "a"), leader(2, "b"), leader(3, "c").switched(4), leader(4, "d").switched(4)], &[]);
    assert_eq!((scene.switches(OTHER), scene.ledger.groups_refused()), (8, 2));
    scene.assert_adds_up();
}

#[test]
fn a_group_without_a_live_process_is_dropped_whole_after_its_retention() {
    let mut scene = Scene::new();
    scene.sample(&[leader(1, "gone").switched(9), leader(2, "stays")], &[]);
    scene.sample(&[leader(2, "stays")], &[leader(1, "gone").switched(9)]);
    scene.now_ns += 590 * SECOND;
    scene.sample(&[leader(2, "stays")], &[]);
    assert_eq!(scene.switches("gone"), 9);
    scene.now_ns += 10 * SECOND;
    scene.sample(&[leader(2, "stays")], &[]);
    assert_eq!(scene.switches("gone"), 0);
    assert!(scene.ledger.groups().all(|(_, group)| *group.name == *"stays"));
}

#[test]
fn the_bounds_of_groups_can_change_while_it_runs() {
    let mut scene = Scene::with_groups(2);
    let (a, b, c) = (leader(1, "a"), leader(2, "b"), leader(3, "c").switched(3));
    scene.sample(&[a, b], &[]);
    scene.ledger.set_group_bounds(bounds(1, 5));
    scene.sample(&[a, b, c], &[]);
    assert_eq!(scene.switches(OTHER), 3, "there are two groups already, and room for one");
    scene.sample(&[a, c], &[b]);
    scene.now_ns += 10 * SECOND;
    scene.ledger.set_group_bounds(bounds(2, 5));
    scene.sample(&[a, c], &[]);
    assert!(scene.ledger.groups().all(|(_, group)| *group.name != *"b"), "its retention is over");
    scene.sample(&[a, c.switched(7), leader(4, "d").switched(5)], &[]);
    assert_eq!((scene.switches("c"), scene.switches(OTHER)), (4, 3 + 5), "there was room again, for who waited for it");
}

#[test]
fn a_process_in_other_moves_to_its_own_group_once_there_is_room() {
    let mut scene = Scene::with_groups(1);
    let (short, service) = (leader(1, "short"), leader(2, "service"));
    scene.sample(&[short, service.switched(3)], &[]);
    scene.sample(&[service.switched(4)], &[short]);
    assert_eq!((scene.switches(OTHER), scene.switches("service")), (4, 0));
    // The figures of what ended are there to be scraped for two minutes.
    scene.now_ns += 100 * SECOND;
    scene.sample(&[service.switched(5)], &[]);
    assert_eq!((scene.switches(OTHER), scene.switches("service")), (5, 0));
    scene.now_ns += 30 * SECOND;
    scene.sample(&[service.switched(6)], &[]);
    scene.sample(&[service.switched(9)], &[]);
    assert_eq!((scene.switches(OTHER), scene.switches("service")), (6, 3));
}

#[test]
fn what_ended_before_it_was_seen_takes_half_of_the_groups_at_most() {
    let mut scene = Scene::with_groups(4);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let short: Vec<_> = (1..).zip(names).map(|(pid, name)| leader(pid, name).switched(1)).collect();
    scene.sample(&[], &short);
    assert_eq!(scene.switches(OTHER), 6);
    scene.sample(&[leader(20, "service").switched(2), leader(21, "another").switched(3)], &[]);
    assert_eq!((scene.switches("service"), scene.switches("another")), (2, 3));
    scene.assert_adds_up();
}

#[test]
fn a_name_that_is_kept_has_always_room_also_when_it_becomes_one() {
    let mut scene = Scene::with_groups(1);
    let (first, kept) = (leader(1, "first"), leader(2, "kept"));
    scene.sample(&[first, kept.switched(3)], &[]);
    assert_eq!(scene.switches(OTHER), 3);
    scene.ledger.set_group_bounds(GroupBounds { keep: vec!["kept".to_owned()], ..bounds(1, 600) });
    scene.sample(&[first, kept.switched(4)], &[]);
    scene.sample(&[first, kept.switched(6)], &[]);
    assert_eq!((scene.switches(OTHER), scene.switches("kept")), (4, 2));
    scene.assert_adds_up();
}
