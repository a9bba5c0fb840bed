//! Scenarios: what threads do between scans, and what must come out.

use std::time::Duration;

use thread_probe_ebpf::abi::fold::Folded;
use thread_probe_ebpf::abi::record::{
    self, COMM_BYTES, Counters, Head, PART_END_SEEN, PART_ENDED, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS,
    Waits,
};

use super::*;
use crate::{
    names::grouping::LOST,
    sample::{Observation, ThreadObservation},
    testing::by_comm,
};

mod folds;
mod groups;

const SECOND: u64 = 1_000_000_000;

/// A ledger and the clock of its scans.
struct Scene {
    ledger: Ledger,
    now_ns: u64,
}

/// A thread as the kernel would report it.
#[derive(Clone, Copy)]
struct Task {
    address: u64,
    tid: u32,
    tgid: u32,
    start_ns: u64,
    process_start_ns: u64,
    comm: &'static str,
    switches: u64,
    run_delay_ns: u64,
    waits: u32,
    has_storage: bool,
    storage_base_ns: u64,
    created: u64,
    exit_state: u32,
}

/// The main thread of process `pid`.
fn leader(pid: u32, comm: &'static str) -> Task {
    let start_ns = u64::from(pid) * 1000;
    Task {
        address: u64::from(pid) << 12,
        tid: pid,
        tgid: pid,
        start_ns,
        process_start_ns: start_ns,
        comm,
        switches: 0,
        run_delay_ns: 0,
        waits: 0,
        has_storage: true,
        storage_base_ns: 0,
        created: 0,
        exit_state: 0,
    }
}

/// Another thread of the same process.
fn thread(of: Task, tid: u32) -> Task {
    Task { address: u64::from(tid) << 12, tid, start_ns: of.start_ns + u64::from(tid), switches: 0, ..of }
}

impl Task {
    fn switched(self, switches: u64) -> Self {
        Self { switches, run_delay_ns: switches * 1000, waits: switches as u32, ..self }
    }

    fn record(&self, parts: u32) -> (record::ThreadPart, record::ProcessPart, Waits) {
        let mut comm = [0; COMM_BYTES];
        comm[..self.comm.len()].copy_from_slice(self.comm.as_bytes());
        let storage = if self.has_storage { PART_STORAGE } else { 0 };
        let own = |value| if self.has_storage { value } else { 0 };
        let thread = record::ThreadPart {
            head: Head { task: self.address, parts: PART_THREAD | storage | parts, tid: self.tid },
            tgid: self.tgid,
            start_boottime_ns: self.start_ns,
            process_start_ns: own(self.process_start_ns),
            run_delay_base_ns: own(self.storage_base_ns),
            state: 1,
            exit_state: self.exit_state,
            comm,
            counters: Counters {
                voluntary_switches: self.switches,
                run_delay_ns: self.run_delay_ns,
                threads_created: own(self.created),
                ..Counters::default()
            },
            ..record::ThreadPart::default()
        };
        let mut waits = Waits::default();
        waits.buckets[10] = self.waits;
        (thread, record::ProcessPart { uid: 7, ..record::ProcessPart::default() }, waits)
    }
}

fn bounds(max: usize, retention_seconds: u64) -> GroupBounds {
    GroupBounds { max, retention: Duration::from_secs(retention_seconds), keep: Vec::new() }
}

impl Scene {
    fn new() -> Self {
        Self::with_groups(100)
    }

    fn with_groups(max_groups: usize) -> Self {
        let ledger = Ledger::new(bounds(max_groups, 600));
        Self { ledger, now_ns: SECOND }
    }

    fn observe(&mut self, task: &Task, ended_ns: Option<u64>) {
        let leads = task.tid == task.tgid;
        let seen = if task.has_storage { PART_END_SEEN } else { 0 };
        let parts = if leads { PART_PROCESS } else { 0 } | PART_WAITS | ended_ns.map_or(0, |_| PART_ENDED | seen);
        let (mut thread, process, waits) = task.record(parts);
        thread.ended_ns = ended_ns.unwrap_or_default();
        let observed = ThreadObservation { thread: &thread, process: leads.then_some(&process), waits: Some(&waits) };
        let observation = match ended_ns {
            None => Observation::Alive(observed),
            Some(_) => Observation::Ended(observed),
        };
        self.ledger.observe(observation, &mut by_comm());
    }

    /// One sample: these are alive, then these end.
    fn sample(&mut self, alive: &[Task], ended: &[Task]) {
        self.ledger.next_interval();
        self.now_ns += 5 * SECOND;
        self.ledger.begin_scan(self.now_ns);
        for task in alive {
            self.observe(task, None);
        }
        for task in ended {
            self.observe(task, Some(self.now_ns));
        }
        self.ledger.finish_sample(&mut by_comm());
    }

    fn group(&self, name: &str) -> Totals {
        let group = self.ledger.groups().find(|(_, group)| *group.name == *name);
        group.map(|(_, group)| group.totals.clone()).unwrap_or_default()
    }

    fn switches(&self, group: &str) -> u64 {
        self.group(group).counters.voluntary_switches
    }

    fn live_threads(&self, pid: u32) -> u32 {
        self.ledger.processes().filter(|(key, _)| key.tgid == pid).map(|(_, process)| process.live_threads()).sum()
    }

    /// Groups add up to the host, histograms to what was waited, whatever happened.
    fn assert_adds_up(&self) {
        let mut sum = Totals::default();
        for (_, group) in self.ledger.groups() {
            sum.merge(&group.totals);
        }
        let host = self.ledger.host();
        assert_eq!(sum.counters, host.counters);
        assert_eq!(sum.waited_ns, host.waited_ns);
        assert_eq!(sum.waits.buckets(), host.waits.buckets());
        assert_eq!(sum.threads_exited, host.threads_exited);
    }
}

#[test]
fn a_thread_that_dies_between_scans_counts_with_its_final_record() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = thread(main, 11);
    scene.sample(&[main.switched(5), other.switched(3)], &[]);
    scene.sample(&[main.switched(6)], &[other.switched(9)]);
    assert_eq!(scene.switches("a"), 6 + 9);
    assert_eq!(scene.group("a").threads_exited, 1);
    assert_eq!(scene.live_threads(10), 1);
    scene.assert_adds_up();
}

#[test]
fn a_thread_in_the_scan_and_in_the_ring_counts_once() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = thread(main, 11);
    scene.sample(&[main, other.switched(3)], &[other.switched(4)]);
    assert_eq!(scene.switches("a"), 4);
    scene.assert_adds_up();
}

#[test]
fn a_process_born_and_dead_between_scans_counts_for_its_own_name() {
    let mut scene = Scene::new();
    let main = leader(10, "short");
    // The thread ends first, and nothing says yet whose it is.
    scene.sample(&[], &[thread(main, 11).switched(2), main.switched(3)]);
    assert_eq!(scene.switches("short"), 5);
    assert_eq!(scene.group("short").threads_exited, 2);
    assert_eq!(scene.ledger.processes.len(), 0);
    scene.assert_adds_up();
}

#[test]
fn a_final_record_that_comes_after_its_leaders_still_finds_the_group() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    scene.sample(&[], &[main.switched(1)]);
    scene.sample(&[], &[thread(main, 11).switched(2)]);
    assert_eq!(scene.switches("a"), 3);
    assert_eq!(scene.ledger.processes.len(), 0);
    scene.assert_adds_up();
}

#[test]
fn a_reused_id_is_another_thread() {
    let mut scene = Scene::new();
    let first = leader(10, "a");
    scene.sample(&[first.switched(100)], &[]);
    let second = Task { address: 0xabc, start_ns: 77_000, process_start_ns: 77_000, comm: "b", ..first };
    scene.sample(&[second.switched(1)], &[first.switched(101)]);
    assert_eq!((scene.switches("a"), scene.switches("b")), (101, 1));
    assert_eq!(scene.ledger.losses(), LedgerLosses::default());
    scene.assert_adds_up();
}

#[test]
fn reused_memory_is_another_thread_even_before_the_first_ones_final_record() {
    let mut scene = Scene::new();
    let first = leader(10, "a");
    scene.sample(&[first.switched(100)], &[]);
    let second = Task { address: first.address, start_ns: 6 * SECOND, process_start_ns: 6 * SECOND, ..leader(20, "b") };
    scene.ledger.begin_scan(scene.now_ns);
    scene.observe(&second.switched(1), None);
    scene.observe(&first.switched(101), Some(5 * SECOND));
    assert_eq!((scene.switches("a"), scene.switches("b")), (101, 1));
    assert_eq!(scene.group("a").threads_exited, 1);
    scene.assert_adds_up();
}

#[test]
fn an_exec_by_a_thread_that_is_not_the_leader_keeps_both_tasks_apart() {
    let mut scene = Scene::new();
    let main = leader(10, "old");
    let other = thread(main, 11);
    scene.sample(&[main.switched(50), other.switched(3)], &[]);
    // The other takes the leader's tid and start; the old leader ends under the other's tid.
    let became = Task { address: other.address, comm: "new", ..main };
    let was = Task { address: main.address, tid: 11, start_ns: main.start_ns, ..main };
    scene.sample(&[became.switched(4)], &[was.switched(51)]);
    assert_eq!(scene.ledger.losses(), LedgerLosses::default());
    assert_eq!(scene.switches("old") + scene.switches("new"), 51 + 4);
    assert_eq!(scene.live_threads(10), 1);
    // And ends as the leader it became.
    scene.sample(&[], &[became.switched(6)]);
    assert_eq!(scene.switches("old") + scene.switches("new"), 51 + 6);
    assert_eq!(scene.ledger.processes.len(), 0);
    scene.assert_adds_up();
}

#[test]
fn what_a_process_did_under_its_old_name_stays_there() {
    let mut scene = Scene::new();
    let main = leader(10, "old");
    scene.sample(&[main.switched(5)], &[]);
    scene.sample(&[Task { comm: "new", ..main }.switched(7)], &[]);
    assert_eq!((scene.switches("old"), scene.switches("new")), (5, 2));
    scene.assert_adds_up();
}

#[test]
fn a_missing_final_record_is_given_up_and_counted_after_half_a_minute() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = thread(main, 11);
    scene.sample(&[main, other.switched(3)], &[]);
    for _ in 0..6 {
        scene.sample(&[main], &[]);
        assert_eq!(scene.ledger.losses().end_missing, 0);
        assert_eq!(scene.switches("a"), 3, "its last record still counts");
    }
    scene.sample(&[main], &[]);
    scene.sample(&[main], &[]);
    assert_eq!(scene.ledger.losses().end_missing, 1);
    assert_eq!(scene.switches("a"), 3);
    scene.now_ns += 700 * SECOND;
    scene.sample(&[main], &[]);
    assert_eq!(scene.ledger.threads.len(), 1, "nor is it remembered for ever");
    scene.assert_adds_up();
}

#[test]
fn a_final_record_is_waited_for_however_rare_the_samples_are() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = thread(main, 11);
    scene.sample(&[main, other.switched(3)], &[]);
    scene.now_ns += 3600 * SECOND;
    scene.sample(&[main], &[]);
    scene.observe(&other.switched(4), Some(scene.now_ns));
    assert_eq!(scene.ledger.losses().end_missing, 0);
    assert_eq!((scene.switches("a"), scene.group("a").threads_exited), (4, 1));
    scene.assert_adds_up();
}

#[test]
fn a_final_record_of_a_later_thread_in_reused_memory_is_not_the_first_ones() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let first = thread(main, 11);
    scene.sample(&[main, first.switched(100)], &[]);
    let second = Task { tid: 12, start_ns: 6 * SECOND, ..first };
    scene.sample(&[main], &[second.switched(1)]);
    assert_eq!(scene.switches("a"), 101);
    assert_eq!(scene.ledger.losses().counter_backwards, 0);
    scene.assert_adds_up();
}

#[test]
fn a_process_whose_thread_was_first_seen_without_storage_does_not_stay_for_ever() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = thread(main, 11);
    scene.sample(&[Task { has_storage: false, ..other }], &[]);
    scene.sample(&[main, other], &[]);
    scene.sample(&[], &[other, main]);
    scene.now_ns += 60 * SECOND;
    scene.sample(&[], &[]);
    assert_eq!(scene.ledger.processes.len(), 0);
}

#[test]
fn what_did_not_fit_the_ring_keeps_the_hosts_totals_exact() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    scene.sample(&[main.switched(3)], &[]);
    let counters = Counters { voluntary_switches: 40, run_delay_ns: 9, ..Counters::default() };
    let orphans = Folded { counters, ..Folded::default() };
    scene.ledger.observe_orphans(&orphans);
    scene.ledger.observe_orphans(&orphans);
    assert_eq!(scene.switches(LOST), 40, "they are cumulative");
    assert_eq!(scene.ledger.host().counters.voluntary_switches, 43);
    scene.assert_adds_up();
}

#[test]
fn a_final_record_without_storage_loses_no_counter() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = Task { created: 6, ..thread(main, 11) };
    scene.sample(&[main, other.switched(3)], &[]);
    scene.sample(&[main], &[Task { has_storage: false, ..other }.switched(8)]);
    let totals = scene.group("a");
    assert_eq!(totals.counters.voluntary_switches, 8);
    assert_eq!(totals.counters.threads_created, 6);
    assert_eq!(totals.waited_ns, 8000);
    assert_eq!(totals.waits.count(), 3, "its histogram could not be read");
    assert_eq!((totals.threads_exited, totals.lifetimes.iter().sum::<u64>()), (1, 0));
    scene.assert_adds_up();
}

#[test]
fn an_unseen_thread_without_storage_goes_to_the_process_it_started_in() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    scene.sample(&[main], &[]);
    scene.sample(&[main], &[Task { has_storage: false, ..thread(main, 11) }.switched(2)]);
    assert_eq!(scene.switches("a"), 2);
    scene.assert_adds_up();
}

#[test]
fn a_zombie_leader_stays_until_its_last_thread_ends() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = thread(main, 11);
    let zombie = Task { exit_state: 0x20, ..main };
    scene.sample(&[main, other], &[]);
    scene.sample(&[zombie, other.switched(4)], &[]);
    let states = |scene: &Scene| scene.ledger.processes().next().map(|(_, process)| process.threads);
    assert_eq!(states(&scene), Some([0, 1, 0, 0, 1]));
    scene.sample(&[zombie], &[other.switched(5)]);
    assert_eq!(scene.ledger.processes.len(), 1);
    scene.sample(&[], &[zombie.switched(1)]);
    assert_eq!(scene.switches("a"), 6);
    assert_eq!(scene.ledger.processes.len(), 0);
}

#[test]
fn a_record_as_before_keeps_the_thread_alive_and_one_of_an_unknown_thread_is_counted() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    scene.sample(&[main.switched(5)], &[]);
    scene.ledger.begin_scan(scene.now_ns + SECOND);
    scene.ledger.observe(Observation::Unchanged { task: main.address }, &mut by_comm());
    scene.ledger.observe(Observation::Unchanged { task: 0xdead }, &mut by_comm());
    assert_eq!(scene.live_threads(10), 1);
    assert_eq!(scene.switches("a"), 5);
    assert_eq!(scene.ledger.losses().unknown_thread, 1);
}

#[test]
fn an_interval_has_what_was_added_in_it_and_the_next_none_of_it() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    scene.sample(&[main.switched(5)], &[]);
    scene.sample(&[main.switched(8)], &[]);
    let epoch = scene.ledger.epoch();
    let of = |scene: &Scene, epoch| {
        let process = scene.ledger.processes().next().map(|(_, process)| process);
        process.and_then(|process| process.interval(epoch)).map(|added| added.counters.voluntary_switches)
    };
    assert_eq!(of(&scene, epoch), Some(3));
    let grown: Vec<u64> = scene.ledger.threads_of(10).map(|thread| thread.grown(epoch).voluntary_switches).collect();
    assert_eq!(grown, [3]);
    assert_eq!(of(&scene, epoch + 1), None);
}

#[test]
fn a_counter_that_goes_backwards_is_noticed() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    scene.sample(&[main.switched(5)], &[]);
    scene.sample(&[main.switched(4)], &[]);
    assert_eq!(scene.ledger.losses().counter_backwards, 1);
    assert_eq!(scene.switches("a"), 5, "totals only grow");
    scene.sample(&[main.switched(6)], &[]);
    assert_eq!(scene.switches("a"), 6);
}

#[test]
fn what_was_counted_before_the_probe_is_not_growth_since_its_start() {
    let mut scene = Scene::new();
    let (main, born_later) = (leader(10, "a"), leader(11, "a"));
    scene.sample(&[main.switched(1000)], &[]);
    let since_start = |scene: &Scene| {
        let group = scene.ledger.groups().find(|(_, group)| *group.name == *"a");
        group.map(|(_, group)| group.since_start().counters.voluntary_switches)
    };
    assert_eq!((since_start(&scene), scene.switches("a")), (Some(0), 1000));
    scene.sample(&[main.switched(1003), born_later.switched(7)], &[]);
    scene.sample(&[], &[main.switched(1004), born_later.switched(7)]);
    assert_eq!((since_start(&scene), scene.switches("a")), (Some(11), 1011));
}

#[test]
fn storage_that_the_kernel_emptied_goes_on_from_what_was_counted() {
    let mut scene = Scene::new();
    let main = Task { created: 3, ..leader(10, "a").switched(5) };
    scene.sample(&[main], &[]);
    let anew = Task { storage_base_ns: 5000, created: 0, waits: 0, ..main };
    scene.sample(&[anew], &[]);
    assert_eq!(scene.ledger.losses().storage_emptied, 1);
    let waits = |scene: &Scene| scene.group("a").waits.count();
    assert_eq!((scene.group("a").counters.threads_created, waits(&scene)), (3, 5));
    scene.sample(&[Task { created: 2, waits: 4, switches: 9, ..anew }], &[]);
    assert_eq!((scene.group("a").counters.threads_created, waits(&scene)), (5, 9));
    scene.sample(&[Task { has_storage: false, switches: 10, ..anew }], &[]);
    scene.sample(&[Task { created: 3, waits: 6, switches: 11, ..anew }], &[]);
    assert_eq!((scene.group("a").counters.threads_created, waits(&scene)), (6, 11));
    // Emptied again before it waited: each of the two tells by itself.
    scene.sample(&[Task { created: 1, waits: 6, switches: 11, ..anew }], &[]);
    scene.sample(&[Task { created: 1, waits: 1, switches: 11, ..anew }], &[]);
    scene.sample(&[], &[Task { created: 2, waits: 2, switches: 12, ..anew }]);
    assert_eq!(scene.group("a").counters.threads_created, 6 + 1 + 1 + 1);
    assert_eq!(waits(&scene), 11 + 6 + 1 + 1);
    let losses = scene.ledger.losses();
    assert_eq!((losses.storage_emptied, losses.counter_backwards), (3, 0));
    scene.assert_adds_up();
}

#[test]
fn states_are_those_of_proc() {
    for (state, exit_state, expected) in [
        (0x0, 0, ThreadState::Running),
        (0x1, 0, ThreadState::Sleeping),
        (0x2, 0, ThreadState::Blocked),
        (0x402, 0, ThreadState::Sleeping),
        (0x102, 0, ThreadState::Blocked),
        (0x4, 0, ThreadState::Stopped),
        (0x8, 0, ThreadState::Stopped),
        (0x8000, 0, ThreadState::Stopped),
        (0x200, 0, ThreadState::Running),
        (0x80, 0x20, ThreadState::Zombie),
        (0x40, 0, ThreadState::Sleeping),
    ] {
        assert_eq!(ThreadState::from_bits(state, exit_state), expected, "{state:#x}");
    }
}
