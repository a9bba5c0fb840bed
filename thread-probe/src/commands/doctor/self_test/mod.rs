//! A load of which the kernel knows what it does, held against what the probe says of it; and what that costs.
//!
//! Two threads pass a byte to and fro and then sleep, so that the kernel's own figures of them in /proc stand still;
//! others are created and end.

mod load;

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};

use self::load::{ENDED, Kernel, PASSES};
use super::{
    process::sees_all_processes,
    programs::Loaded,
    report::{Check, Cost},
};
use crate::{
    model::{Model, Thread},
    sampler::Sampler,
    text::human,
};

/// How long the host is watched without the test's load, which takes as long at most on a host that is not slow.
const REST: Duration = Duration::from_secs(1);
/// How often, and how long after each other, final records are looked for: they come an RCU grace period after the end.
const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
const REPORT_IT: &str = "report it with all of this output: the figures can't be trusted on this kernel";

/// What came out.
#[derive(Default)]
pub(super) struct Tested {
    pub(super) checks: Vec<Check>,
    pub(super) cost: Option<Cost>,
}

/// Runs it: two seconds.
pub(super) fn run(loaded: Loaded) -> Tested {
    if !sees_all_processes() {
        return Tested { checks: vec![not_run()], cost: None };
    }
    let test = |mut loaded: Loaded| -> Result<Tested> {
        let sampler = &mut loaded.sampler;
        sampler.sample()?;
        sampler.wait(REST)?;
        let rest = sampler.sample()?;
        let (busy, measured) = measure(sampler)?;
        let cost = Cost::of(&rest, &busy);
        let mut checks = vec![first_process(measured.hides_first)];
        checks.extend(measured.checks());
        checks.push(cost_check(cost, &loaded));
        Ok(Tested { checks, cost })
    };
    test(loaded).unwrap_or_else(|error| {
        let remedy = "free what it lacks (thread-probe limits says what), and run it again";
        Tested { checks: vec![Check::missing("self-test", format!("failed: {error:#}"), remedy)], cost: None }
    })
}

/// Where there is nothing to run it with.
pub(super) fn not_run() -> Check {
    Check::unknown("self-test", "not run", "see what is missing above")
}

/// What the kernel and the probe say of the same.
struct Measured {
    /// Of each of the two threads.
    threads: Vec<(Kernel, Thread)>,
    created: u64,
    ended: u64,
    lost: u64,
    hides_first: bool,
}

/// The first sample after the load, and what there is to compare.
fn measure(sampler: &mut Sampler) -> Result<(Model, Measured)> {
    let pid = std::process::id();
    let own = |model: &Model| {
        let own = model.processes.iter().find(|process| process.pid == pid);
        own.map(|process| process.totals).context("the probe does not see its own process")
    };
    load::run(|tids| {
        let before = own(&sampler.sample()?)?;
        load::create_threads()?;
        let busy = sampler.sample()?;
        let (mut model, mut kernel, mut asleep);
        let mut tries = 0;
        loop {
            kernel = load::kernel_says(tids)?;
            model = sampler.sample()?;
            asleep = load::kernel_says(tids)? == kernel;
            tries += 1;
            let all_ended = own(&model)?.threads_exited - before.threads_exited >= ENDED;
            if asleep && all_ended || tries == TRIES {
                break;
            }
            thread::sleep(BETWEEN_TRIES);
        }
        let threads = sampler.one_process(pid).threads;
        let of = |tid: u32| {
            threads.iter().find(|thread| thread.tid == tid).cloned().context("a thread is not in the sample")
        };
        let ours: Vec<Thread> = tids.iter().map(|tid| of(*tid)).collect::<Result<_>>()?;
        anyhow::ensure!(asleep, "its threads did not come to rest");
        let after = own(&model)?;
        let measured = Measured {
            threads: kernel.into_iter().zip(ours).collect(),
            created: after.threads_created - before.threads_created,
            ended: after.threads_exited - before.threads_exited,
            lost: model.probe.lost.iter().map(|lost| lost.count).sum(),
            hides_first: model.processes.iter().all(|process| process.pid != 1),
        };
        Ok((busy, measured))
    })
}

impl Measured {
    fn checks(&self) -> Vec<Check> {
        vec![self.switches(), self.waits(), self.histograms(), self.ends()]
    }

    fn sum(&self, of: impl Fn(&Kernel, &Thread) -> [u64; 2]) -> [u64; 2] {
        let all = self.threads.iter().map(|(kernel, ours)| of(kernel, ours));
        all.fold([0; 2], |[kernel, ours], [more_kernel, more_ours]| [kernel + more_kernel, ours + more_ours])
    }

    fn switches(&self) -> Check {
        let voluntary = self.sum(|kernel, ours| [kernel.voluntary_switches, ours.totals.voluntary_switches]);
        let involuntary = self.sum(|kernel, ours| [kernel.involuntary_switches, ours.totals.involuntary_switches]);
        let when = format!("involuntary switches as two threads passed a byte {} times", human::count(PASSES));
        exact("self-test switches", &[("voluntary", voluntary), (&when, involuntary)])
    }

    fn waits(&self) -> Check {
        let nanoseconds = |seconds: f64| (seconds * 1e9).round() as u64;
        let waited = self.sum(|kernel, ours| [kernel.waited_ns, nanoseconds(ours.totals.wait_seconds)]);
        let runs = self.sum(|kernel, ours| [kernel.runs, ours.totals.runs]);
        exact("self-test waits", &[("runs of theirs", runs), ("ns waited for a CPU before", waited)])
    }

    /// Where the first process is hidden, the wait after a switch away from it goes unseen.
    fn histograms(&self) -> Check {
        const NAME: &str = "self-test histogram";
        let [runs, seen] =
            self.sum(|_, ours| [ours.totals.runs, ours.wait_histogram.iter().map(|bucket| bucket.count).sum()]);
        let found = format!("{} of {} waits are in it", human::count(seen), human::count(runs));
        match runs.checked_sub(seen) {
            Some(0) => Check::ok(NAME, found),
            Some(unseen) if self.may_lose() && unseen <= runs / 100 => {
                Check::ok(NAME, format!("{found}, which is 99 % or more"))
            }
            _ => Check::missing(NAME, found, REPORT_IT),
        }
    }

    fn ends(&self) -> Check {
        const NAME: &str = "self-test threads";
        let found = format!("{} of {ENDED} threads seen to be created, {} to end", self.created, self.ended);
        match (self.created, self.ended) {
            (ENDED, ENDED) => Check::ok(NAME, found),
            _ if self.may_lose() => Check::warning(
                NAME,
                found,
                "see \"What is lost, and said\" in docs/metrics.md: totals are too low by such a share",
            ),
            _ => Check::missing(NAME, found, REPORT_IT),
        }
    }

    /// Whether the kernel is one that keeps things from the programs, or they said that they lost something.
    fn may_lose(&self) -> bool {
        self.hides_first || self.lost > 0
    }
}

/// Figures, each with what the kernel and what the probe says.
fn exact(name: &str, figures: &[(&str, [u64; 2])]) -> Check {
    let list = |side: usize| {
        let all = figures.iter().map(|(what, figure)| format!("{} {what}", human::count(figure[side])));
        all.collect::<Vec<_>>().join(" and ")
    };
    let (kernel, ours) = (list(0), list(1));
    let has_happened = figures.iter().any(|(_, [kernel, _])| *kernel > 0);
    match kernel == ours && has_happened {
        true => Check::ok(name, format!("{kernel}: exactly what the kernel says")),
        false => Check::missing(name, format!("{ours}; the kernel says {kernel}"), REPORT_IT),
    }
}

fn first_process(is_hidden: bool) -> Check {
    const NAME: &str = "first process";
    match is_hidden {
        false => Check::ok(NAME, "visible"),
        true => Check::warning(
            NAME,
            "hidden from eBPF by this kernel: it is in no figure, nor is what runs on top of it, so waits and ends may lack 1 %",
            "nothing, or another kernel: see \"What is lost, and said\" in docs/metrics.md",
        ),
    }
}

impl Cost {
    fn of(rest: &Model, busy: &Model) -> Option<Self> {
        let switches_per_second = rest.host.rates.as_ref()?.switches_per_second;
        let seconds_per_switch = rest.probe.seconds_per_switch?;
        Some(Self {
            seconds_per_switch,
            switches_per_second,
            cpu_ratio: seconds_per_switch * switches_per_second,
            seconds_per_switch_under_load: busy.probe.seconds_per_switch?,
        })
    }
}

fn cost_check(cost: Option<Cost>, loaded: &Loaded) -> Check {
    const NAME: &str = "cost";
    match (cost, &loaded.timing) {
        (Some(cost), _) => {
            let ns = |seconds: f64| (seconds * 1e9).round();
            Check::ok(
                NAME,
                format!(
                    "{} ns a switch x {} switches/s of this host = {:.3} % of a core; {} ns a switch under the load of the test",
                    ns(cost.seconds_per_switch),
                    human::count(cost.switches_per_second.round() as u64),
                    cost.cpu_ratio * 100.0,
                    ns(cost.seconds_per_switch_under_load),
                ),
            )
        }
        (None, Err(error)) => Check::unknown(
            NAME,
            format!("timing the programs: {error}"),
            "run it with CAP_SYS_ADMIN, or with kernel.bpf_stats_enabled=1",
        ),
        (None, Ok(_)) => Check::unknown(NAME, "no switch was timed", "run it again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::doctor::report::Status,
        model::{Activity, Bucket},
    };

    /// Two threads of which the probe saw so many waits less than there were.
    fn measured(unseen: u64) -> Measured {
        let kernel = Kernel { voluntary_switches: 900, involuntary_switches: 7, waited_ns: 1_234_567_891, runs: 1000 };
        let ours = Thread {
            totals: Activity {
                voluntary_switches: 900,
                involuntary_switches: 7,
                runs: 1000,
                wait_seconds: 1_234_567_891.0 / 1e9,
                ..Activity::default()
            },
            wait_histogram: vec![Bucket { le_seconds: None, count: 1000 - unseen }],
            ..Thread::default()
        };
        let threads = vec![(kernel, ours.clone()), (kernel, ours)];
        Measured { threads, created: ENDED, ended: ENDED, lost: 0, hides_first: false }
    }

    fn statuses(measured: &Measured) -> Vec<Status> {
        measured.checks().iter().map(|check| check.status).collect()
    }

    #[test]
    fn equal_figures_are_ok_and_one_nanosecond_is_not() {
        let mut measured = measured(0);
        assert_eq!(statuses(&measured), [Status::Ok; 4]);
        measured.threads[0].0.waited_ns += 1;
        measured.threads[1].0.involuntary_switches += 1;
        assert_eq!(statuses(&measured), [Status::Missing, Status::Missing, Status::Ok, Status::Ok]);
    }

    #[test]
    fn what_a_kernel_hides_is_allowed_for_only_there_and_only_to_a_hundredth() {
        let histogram = |unseen, hides_first| Measured { hides_first, ..measured(unseen) }.histograms().status;
        assert_eq!(histogram(1, false), Status::Missing);
        assert_eq!(histogram(1, true), Status::Ok);
        assert_eq!(histogram(11, true), Status::Missing);
        let ends = |hides_first| Measured { ended: ENDED - 1, hides_first, ..measured(0) }.ends().status;
        assert_eq!((ends(false), ends(true)), (Status::Missing, Status::Warning));
    }

    #[test]
    fn a_test_in_which_nothing_happened_proves_nothing() {
        assert_eq!(exact("", &[("", [0, 0])]).status, Status::Missing);
    }
}
