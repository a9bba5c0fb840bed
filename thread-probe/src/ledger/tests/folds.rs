//! What comes as sums, and what comes late.

use thread_probe_ebpf::abi::{
    fold::{Folded, FoldedLeader, FoldedProcess},
    names::CloneFailure,
};

use super::*;
use crate::sample::FoldOf;

fn process_of(task: Task) -> FoldedProcess {
    FoldedProcess { tgid: task.tgid, reserved: 0, start_ns: task.process_start_ns }
}

fn named(comm: &str) -> FoldedLeader {
    let mut leader = FoldedLeader::default();
    leader.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    leader
}

/// Sums of that many threads, each of which switched and waited once.
fn ends(threads: u64) -> Folded {
    let mut sums = Folded { ends: threads, waited_ns: threads * 1000, ..Folded::default() };
    sums.counters.voluntary_switches = threads;
    sums.counters.run_delay_ns = threads * 1000;
    sums.waits.buckets[10] = threads as u32;
    sums
}

impl Scene {
    /// One sample: these are alive, and sums were read.
    fn sample_with_folds(&mut self, alive: &[Task], folds: &[(FoldOf, Folded)]) {
        self.ledger.next_interval();
        self.now_ns += 5 * SECOND;
        self.ledger.begin_scan(self.now_ns);
        for task in alive {
            self.observe(task, None);
        }
        for (of, sums) in folds {
            self.ledger.observe_fold(*of, sums, &mut by_comm());
        }
        self.ledger.finish_sample(&mut by_comm());
    }

    fn process_totals(&self, pid: u32) -> Totals {
        self.ledger
            .processes()
            .find(|(key, _)| key.tgid == pid)
            .map(|(_, found)| found.totals.clone())
            .unwrap_or_default()
    }
}

#[test]
fn threads_that_no_scan_saw_count_for_their_process_once() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let of = FoldOf::Process(process_of(main));
    scene.sample_with_folds(&[main], &[(of, ends(7))]);
    scene.sample_with_folds(&[main], &[(of, ends(7))]);
    scene.sample_with_folds(&[main], &[(of, ends(9))]);
    let totals = scene.process_totals(10);
    assert_eq!((totals.threads_exited, totals.waits.count(), totals.counters.voluntary_switches), (9, 9, 9));
    assert_eq!(scene.ledger.take_folds_that_are_over(), [], "the process lives");
    scene.assert_adds_up();
}

#[test]
fn sums_of_a_process_that_is_over_are_forgotten_once_they_rest() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let of = FoldOf::Process(process_of(main));
    scene.sample_with_folds(&[main], &[(of, ends(7))]);
    scene.sample(&[], &[main]);
    scene.sample_with_folds(&[], &[(of, ends(8))]);
    assert_eq!(scene.ledger.take_folds_that_are_over(), [], "it has just grown");
    scene.sample_with_folds(&[], &[(of, ends(8))]);
    assert_eq!(scene.ledger.take_folds_that_are_over(), [of]);
    assert_eq!(scene.group("a").threads_exited, 9);
    scene.assert_adds_up();
}

#[test]
fn processes_that_no_scan_saw_count_for_the_group_of_their_name() {
    let mut scene = Scene::new();
    let of = FoldOf::Leader(named("cc1"));
    scene.sample_with_folds(&[leader(10, "make")], &[(of, ends(500))]);
    assert_eq!(scene.group("cc1").threads_exited, 500);
    scene.assert_adds_up();
}

#[test]
fn a_leader_in_the_sums_names_the_process() {
    let mut scene = Scene::new();
    let of = FoldOf::Process(process_of(leader(10, "a")));
    let sums = Folded { leader: named("java"), leader_ended: 1, ..ends(4) };
    scene.sample_with_folds(&[], &[(of, sums)]);
    assert_eq!(scene.group("java").threads_exited, 4);
    assert_eq!(scene.ledger.processes.len(), 0);
    scene.assert_adds_up();
}

#[test]
fn what_has_no_group_yet_is_not_the_hosts_either() {
    let mut scene = Scene::new();
    let main = leader(10, "short");
    scene.sample_with_folds(&[], &[(FoldOf::Process(process_of(main)), ends(93))]);
    assert_eq!(scene.ledger.host().threads_exited, 0);
    scene.assert_adds_up();
    scene.sample(&[], &[main]);
    assert_eq!(scene.ledger.host().threads_exited, 94);
    assert_eq!(scene.group("short").threads_exited, 94);
    scene.assert_adds_up();
}

#[test]
fn known_threads_that_did_not_fit_the_ring_end_once_with_their_whole_histograms() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let (one, two) = (thread(main, 11), thread(main, 12));
    scene.sample(&[main, one.switched(3), two.switched(4)], &[]);
    // They switch twice more each and end: their whole histograms, and what the scan has not seen of the rest.
    let mut sums = ends(2);
    sums.counters.voluntary_switches = 4;
    sums.counters.run_delay_ns = 4000;
    sums.waited_ns = 4000;
    sums.waits.buckets[10] = 5 + 6;
    let of = FoldOf::Known(process_of(main));
    scene.sample_with_folds(&[main], &[(of, sums)]);
    let totals = scene.group("a");
    assert_eq!((totals.counters.voluntary_switches, totals.threads_exited), (11, 2));
    assert_eq!((totals.waits.count(), totals.waited_ns), (11, 11_000));
    assert_eq!(scene.ledger.losses().end_missing, 0);
    scene.assert_adds_up();
}

#[test]
fn while_a_record_is_still_to_come_nobody_knows_which_thread_is_in_the_sums() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let (one, two) = (thread(main, 11), thread(main, 12));
    scene.sample(&[main, one.switched(3), two.switched(4)], &[]);
    // One of the two ended in the sums, with two switches more; the other's record is late.
    let mut sums = ends(1);
    sums.counters.voluntary_switches = 2;
    sums.waited_ns = 2000;
    sums.waits.buckets[10] = 5;
    let of = FoldOf::Known(process_of(main));
    scene.sample_with_folds(&[main], &[(of, sums)]);
    assert_eq!((scene.switches("a"), scene.group("a").threads_exited), (9, 1));
    assert_eq!(scene.group("a").waits.count(), 7);
    scene.assert_adds_up();
    scene.sample(&[main], &[two.switched(4)]);
    let totals = scene.group("a");
    assert_eq!((totals.threads_exited, totals.waits.count(), totals.waited_ns), (2, 9, 9000));
    assert_eq!(scene.ledger.losses().end_missing, 0);
    scene.assert_adds_up();
}

#[test]
fn a_final_record_that_comes_after_a_minute_counts_its_thread_once() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let other = thread(main, 11);
    scene.sample(&[main, other.switched(3)], &[]);
    scene.sample(&[main], &[]);
    scene.now_ns += 60 * SECOND;
    scene.sample(&[main], &[]);
    assert_eq!((scene.group("a").threads_exited, scene.ledger.losses().end_missing), (1, 1));
    scene.sample(&[main], &[other.switched(4)]);
    let totals = scene.group("a");
    assert_eq!((totals.threads_exited, totals.counters.voluntary_switches), (1, 4));
    assert_eq!(totals.lifetimes.iter().sum::<u64>(), 1, "now it is known");
    scene.sample(&[], &[main]);
    assert_eq!(scene.ledger.processes.len(), 0, "its entry was taken off once");
    scene.assert_adds_up();
}

#[test]
fn a_refused_clone_is_its_processs_and_names_the_cgroup() {
    let mut scene = Scene::new();
    let main = leader(10, "a");
    let mut sums = Folded { refused_by_pids: 77, ..Folded::default() };
    sums.clone_failures[CloneFailure::CgroupPids as usize] = 40;
    scene.sample_with_folds(&[main], &[(FoldOf::Process(process_of(main)), sums)]);
    assert_eq!(scene.process_totals(10).clone_failures[CloneFailure::CgroupPids as usize], 40);
    assert_eq!(scene.ledger.processes().next().map(|(_, found)| found.refused_by.pids), Some(77));
    scene.assert_adds_up();
}
