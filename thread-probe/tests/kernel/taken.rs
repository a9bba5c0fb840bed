//! Who took the CPU from whom, against workloads of which it is known.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use thread_probe::model::{Group, Model};
use thread_probe_ebpf::abi::time::TimeState;

use crate::kernel::{
    probe::{Probe, group, hides_init},
    tests::Test,
    time::{spinner_under_quota, tells_throttling},
    workload::Workload,
};

pub(crate) const ALL: &[(&str, Test)] = &[
    ("what_spinners_take_of_each_other_is_what_the_others_ran_meanwhile", spinners_take_what_they_run),
    ("who_ended_before_a_scan_saw_it_is_charged_by_its_name", who_ended_unseen_is_named),
    ("what_a_quota_takes_is_charged_to_nobody", what_a_quota_takes_is_charged_to_nobody),
    ("a_storm_of_switches_makes_the_pairs_incomplete_and_never_wrong", a_storm_is_incomplete_not_wrong),
];

/// What a group had taken from it between two samples.
struct Taken<'a> {
    before: &'a Group,
    after: &'a Group,
}

impl<'a> Taken<'a> {
    fn of(name: &str, before: &'a Model, after: &'a Model) -> Result<Self> {
        let found = |model: &'a Model| group(model, name).with_context(|| format!("group {name}"));
        Ok(Self { before: found(before)?, after: found(after)? })
    }

    fn seconds(&self, by: &str) -> f64 {
        let of = |group: &Group| {
            let taken = group.cpu_taken.iter().find(|taken| *taken.by == *by);
            taken.map_or(0.0, |taken| taken.seconds)
        };
        of(self.after) - of(self.before)
    }

    fn cpu_seconds(&self) -> f64 {
        self.after.totals.cpu_seconds - self.before.totals.cpu_seconds
    }

    fn wait_seconds(&self) -> f64 {
        self.after.totals.wait_seconds - self.before.totals.wait_seconds
    }

    fn all(&self) -> f64 {
        self.after.cpu_taken.iter().map(|taken| self.seconds(&taken.by)).sum()
    }

    fn told(&self) -> Vec<(&str, f64)> {
        self.after.cpu_taken.iter().map(|taken| (&*taken.by, self.seconds(&taken.by))).collect()
    }
}

/// A wait that is not over at a sample counts with the next one, and one that ends during a sample may be charged already
/// and not counted as a wait; the lowest priority waits for longest.
const OPEN: f64 = 0.06;

/// Whether what was taken adds up to the waits, of which one may be charged in another sample than it is counted in.
fn adds_up(taken: &Taken<'_>) -> bool {
    (taken.all() - taken.wait_seconds()).abs() < OPEN
}

fn spinners_take_what_they_run() -> Result<()> {
    const NAMES: [&str; 3] = ["tp-nice-0", "tp-nice-5", "tp-nice-10"];
    let mut probe = Probe::get()?;
    let mut spinners = Vec::new();
    for (name, nice) in NAMES.into_iter().zip(["0", "5", "10"]) {
        let mut spinner = Workload::start(name, &[nice])?;
        spinner.facts()?;
        spinners.push(spinner);
    }
    thread::sleep(Duration::from_millis(200));
    let before = probe.sample()?;
    thread::sleep(Duration::from_secs(6));
    let after = probe.sample()?;
    for victim in NAMES {
        let taken = Taken::of(victim, &before, &after)?;
        for taker in NAMES.into_iter().filter(|taker| *taker != victim) {
            let (charged, ran) = (taken.seconds(taker), Taken::of(taker, &before, &after)?.cpu_seconds());
            let told = taken.told();
            ensure!((charged - ran).abs() <= 0.01 * ran + OPEN, "{victim}: {taker} ran {ran} s: {told:?}");
        }
        ensure!(taken.seconds("~unknown") == 0.0 && taken.seconds("~self") == 0.0, "{victim}: {:?}", taken.told());
        ensure!(adds_up(&taken), "{} s: {:?}", taken.wait_seconds(), taken.told());
    }
    let process = after.processes.iter().find(|process| process.pid == spinners[2].pid()).context("the third")?;
    let most = process.cpu_taken.most();
    ensure!(most.is_some_and(|(by, share)| by == NAMES[0] && share > 0.5), "{most:?}");
    let takers = probe.one_process(process.pid)?.cpu_takers;
    let first = takers.first().context("a taker")?;
    ensure!(first.pid == Some(spinners[0].pid()) && first.comm == NAMES[0], "{takers:?}");
    Ok(())
}

fn who_ended_unseen_is_named() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut victim = Workload::start("tp-nice-0", &["0"])?;
    victim.facts()?;
    let before = probe.sample()?;
    let mut hog = Workload::start("tp-hog", &["300"])?;
    hog.finish()?;
    // Its name comes with its final record, an RCU grace period after its end.
    thread::sleep(Duration::from_millis(200));
    probe.sample()?;
    thread::sleep(Duration::from_millis(200));
    let after = probe.sample()?;
    let taken = Taken::of("tp-nice-0", &before, &after)?;
    let by_hog = taken.seconds("tp-hog");
    ensure!((0.2..0.31).contains(&by_hog), "it ran 0.3 s beside: {:?}", taken.told());
    Ok(())
}

fn what_a_quota_takes_is_charged_to_nobody() -> Result<()> {
    const PERIOD: f64 = 0.1;
    let mut probe = Probe::get()?;
    let (_cgroup, _workload) = spinner_under_quota("tp-quota")?;
    let before = probe.sample()?;
    thread::sleep(Duration::from_secs(3));
    let after = probe.sample()?;
    let taken = Taken::of("tp-spin", &before, &after)?;
    if tells_throttling() {
        let of = |group: &Group| group.totals.time_seconds.get(TimeState::Throttled);
        let throttled = of(taken.after) - of(taken.before);
        // The ledger tells of a wait that is not over.
        ensure!((taken.seconds("~throttled") - throttled).abs() <= PERIOD, "{throttled} s: {:?}", taken.told());
        ensure!(taken.seconds("~throttled") > 1.0, "{:?}", taken.told());
    } else {
        ensure!(taken.seconds("~throttled") == 0.0 && taken.seconds("~idle") > 1.0, "{:?}", taken.told());
    }
    Ok(())
}

fn a_storm_is_incomplete_not_wrong() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut victim = Workload::start("tp-nice-5", &["5"])?;
    victim.facts()?;
    let _storm = Workload::start("tp-pingproc", &["10000000"])?;
    // What a process takes is told once a sample has seen it: the second one may be long in coming beside a spinner.
    let both = |model: &Model| group(model, "tp-pingproc").filter(|group| group.processes == 2).map(|_| ());
    probe.sample_until("both processes of the storm", both)?;
    let before = probe.sample()?;
    thread::sleep(Duration::from_secs(2));
    let after = probe.sample()?;
    let taken = Taken::of("tp-nice-5", &before, &after)?;
    let (charged, ran) = (taken.seconds("tp-pingproc"), Taken::of("tp-pingproc", &before, &after)?.cpu_seconds());
    ensure!(charged > 0.0 && charged <= 1.01 * ran + 0.02, "of {ran} s: {:?}", taken.told());
    ensure!(adds_up(&taken), "{} s: {:?}", taken.wait_seconds(), taken.told());
    let others = taken.told().into_iter().filter(|(by, _)| !by.starts_with('~') && *by != "tp-pingproc");
    let others: f64 = others.map(|(_, seconds)| seconds).sum();
    ensure!(others < 0.1 || hides_init(&after), "{:?}", taken.told());
    println!("the storm ran {ran} s of {} s waited: {:?}", taken.wait_seconds(), taken.told());
    Ok(())
}
