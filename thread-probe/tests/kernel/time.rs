//! Where a thread's time goes, against workloads that are known to spend it so.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use thread_probe::model::{Model, Thread};
use thread_probe_ebpf::abi::time::TimeState;

use crate::{
    kernel::{
        probe::{Probe, process},
        tests::Test,
        workload::Workload,
    },
    support::cgroup::Cgroup,
};

pub(crate) const ALL: &[(&str, Test)] = &[
    ("each_kind_of_sleep_is_in_its_class_and_the_parts_are_the_wall_clock", each_sleep_is_in_its_class),
    ("a_burst_is_the_cpu_time_between_two_voluntary_switches", a_burst_is_cpu_time_between_sleeps),
    ("a_thread_that_waits_uninterruptibly_is_told_while_it_lasts", who_waits_uninterruptibly_is_told),
    ("a_lock_in_the_kernel_is_an_uninterruptible_sleep", a_lock_in_the_kernel_is_uninterruptible),
    ("what_a_quota_takes_is_what_its_cgroup_says", what_a_quota_takes_is_what_its_cgroup_says),
    ("a_quota_is_told_from_neighbours", a_quota_is_told_from_neighbours),
    ("the_times_of_all_groups_are_the_hosts_and_none_ever_shrinks", times_add_up_and_never_shrink),
];

/// What two figures of one time may differ by.
pub(super) fn is_near(a_seconds: f64, b_seconds: f64) -> bool {
    (a_seconds - b_seconds).abs() <= 0.001 + 0.001 * b_seconds
}

/// What a running thread may not have been charged for, in seconds: with CONFIG_HZ=100 and a tick to spare.
const TICK: f64 = 0.02;

/// Two samples of a process's threads, and the time between the scans.
pub(super) struct Window {
    before: Vec<Thread>,
    after: Vec<Thread>,
    pub(super) seconds: f64,
    /// How long both samples took: anywhere in them each thread was read.
    blurred_seconds: f64,
}

impl Window {
    pub(super) fn of(probe: &mut Probe, pid: u32, length: Duration) -> Result<Self> {
        let first = probe.sample()?.probe.sample_duration_seconds;
        let before = probe.threads_of(pid)?;
        thread::sleep(length);
        let model = probe.sample()?;
        let seconds = model.interval_seconds.context("the second sample")?;
        let blurred_seconds = first + model.probe.sample_duration_seconds;
        Ok(Self { before, after: probe.threads_of(pid)?, seconds, blurred_seconds })
    }

    /// Whether that is the time between the two readings of a thread.
    pub(super) fn is_long(&self, seconds: f64) -> bool {
        (seconds - self.seconds).abs() <= 0.001 + self.blurred_seconds
    }

    /// What the times of the thread of that name grew by.
    pub(super) fn grown(&self, name: &str) -> Result<impl Fn(TimeState) -> f64 + use<>> {
        let find = |threads: &[Thread]| threads.iter().find(|thread| thread.comm == name).cloned();
        let pair = find(&self.before).zip(find(&self.after));
        let (before, after) = pair.with_context(|| format!("thread {name} in both samples"))?;
        Ok(move |state| after.totals.time_seconds.get(state) - before.totals.time_seconds.get(state))
    }
}

fn each_sleep_is_in_its_class() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-time", &[])?;
    workload.facts()?;
    let window = Window::of(&mut probe, workload.pid(), Duration::from_secs(2))?;
    for state in [
        TimeState::Sleep,
        TimeState::File,
        TimeState::Network,
        TimeState::Poll,
        TimeState::Lock,
        TimeState::Child,
        TimeState::Running,
    ] {
        let grown = window.grown(&format!("t-{}", state.label()))?;
        let on_cpu = [TimeState::Running, TimeState::WaitWakeup, TimeState::WaitPreempted, TimeState::Unaccounted];
        let busy: f64 = on_cpu.into_iter().map(&grown).sum();
        let all: f64 = TimeState::ALL.into_iter().map(&grown).sum();
        let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
        if state == TimeState::Running {
            ensure!(is_near(busy, all), "a thread that only runs slept: {told:?}");
            // It has not been charged for its last tick, in both samples.
            ensure!(
                (window.seconds - all).abs() <= TICK + window.blurred_seconds,
                "{all} s of {} s: {told:?}",
                window.seconds
            );
        } else {
            ensure!(is_near(grown(state), all - busy), "{}: {told:?}", state.label());
            ensure!(grown(state) > window.seconds / 4.0, "{} slept little: {told:?}", state.label());
            ensure!(window.is_long(all), "{all} s of {} s: {told:?}", window.seconds);
        }
    }
    workload.finish()
}

fn a_burst_is_cpu_time_between_sleeps() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-bursts", &["50"])?;
    workload.facts()?;
    probe.sample()?;
    let mut last_spin = 0.0;
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(600));
        let model = probe.sample()?;
        let threads = probe.threads_of(workload.pid())?;
        let burst = |name: &str| {
            let rates = threads.iter().find(|thread| thread.comm == name).and_then(|thread| thread.rates);
            rates.and_then(|rates| rates.burst_max_seconds).with_context(|| format!("a burst of {name}"))
        };
        let (bursts, spin) = (burst("t-burst")?, burst("t-spin")?);
        // An emulated machine takes milliseconds to fall asleep; two bursts would be 100 ms.
        ensure!((0.05..0.1).contains(&bursts), "{bursts} s of 50 ms");
        // One that is not over is told as far as it goes.
        ensure!(spin > last_spin + 0.1, "{spin} s after {last_spin} s");
        let all = process(&model, workload.pid())?.rates.and_then(|rates| rates.burst_max_seconds);
        ensure!(all == Some(spin), "{all:?} of {spin} s");
        let group = crate::kernel::probe::group(&model, "tp-bursts").context("its group")?;
        ensure!(group.cpu_burst_max_seconds >= spin, "{} s", group.cpu_burst_max_seconds);
        last_spin = spin;
    }
    Ok(())
}

fn who_waits_uninterruptibly_is_told() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-vfork", &["5"])?;
    workload.facts()?;
    thread::sleep(Duration::from_millis(200));
    probe.sample()?;
    let child = |probe: &Probe| -> Result<f64> {
        let threads = probe.threads_of(workload.pid())?;
        Ok(threads.first().context("its thread")?.totals.time_seconds.get(TimeState::Child))
    };
    let before = child(&probe)?;
    let thread = probe.threads_of(workload.pid())?.pop().context("its thread")?;
    ensure!(thread.syscall.as_deref() == Some("clone"), "it sleeps in {:?}", thread.syscall);
    for second in 1..=3 {
        thread::sleep(Duration::from_secs(1));
        let model = probe.sample()?;
        let blocked = process(&model, workload.pid())?.longest_blocked.clone().context("it is blocked")?;
        let expected = f64::from(second);
        ensure!((expected..expected + 0.5).contains(&blocked.seconds), "{blocked:?} after {second} s");
        ensure!(blocked.tid == workload.pid() && blocked.comm == "tp-vfork", "{blocked:?}");
        let waited = child(&probe)? - before;
        ensure!((expected - 0.1..expected + 0.5).contains(&waited), "{waited} s for a child after {second} s");
    }
    workload.facts()?;
    thread::sleep(Duration::from_millis(200));
    let model = probe.sample()?;
    let thread = probe.threads_of(workload.pid())?.pop().context("its thread")?;
    ensure!(thread.syscall.as_deref() == Some("read"), "it sleeps in {:?}", thread.syscall);
    let blocked = &process(&model, workload.pid())?.longest_blocked;
    ensure!(blocked.is_none(), "{blocked:?} once it is over");
    workload.finish()
}

fn a_lock_in_the_kernel_is_uninterruptible() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-contend", &[])?;
    workload.facts()?;
    let window = Window::of(&mut probe, workload.pid(), Duration::from_secs(2))?;
    let grown = window.grown("t-uninterrupt")?;
    let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
    let asleep = [TimeState::Uninterruptible, TimeState::File, TimeState::Other, TimeState::Fault];
    let asleep: f64 = asleep.into_iter().map(&grown).sum();
    ensure!(asleep > window.seconds / 10.0, "{told:?}");
    ensure!(is_near(grown(TimeState::Uninterruptible), asleep), "{told:?}");
    workload.finish()
}

/// The kernel's own figure of what a cgroup's quota took: of each CPU, from when it was used up until it is there again.
fn throttled_seconds(cgroup: &Cgroup) -> Result<f64> {
    let stat = fs::read_to_string(cgroup.folder().join("cpu.stat"))?;
    let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    let micros = field("throttled_usec ").map(|usec| usec / 1e6);
    micros.or_else(|| field("throttled_time ").map(|ns| ns / 1e9)).context("throttled time in cpu.stat")
}

/// A process with one spinner under a quota of so many CPUs, of which the cgroup says how long it was used up.
fn may_use(model: &Model, pid: u32, cpus: f64, throttled_seconds: f64) -> Result<()> {
    let process = process(model, pid)?;
    let usable = &process.usable_cpus;
    let set_by = usable.quota_set_by.as_deref().context("a quota")?;
    ensure!(usable.cpus == cpus && set_by.contains("tp-quota"), "{usable:?}");
    let quota = model.cpu_quotas.iter().find(|quota| *quota.set_by == *set_by).context("the quota")?;
    ensure!(
        quota.cpus == cpus && quota.throttled_periods > 10 && quota.periods >= quota.throttled_periods,
        "{quota:?}"
    );
    ensure!((quota.throttled_seconds - throttled_seconds).abs() < 0.2, "{quota:?}, not {throttled_seconds} s");
    let group = crate::kernel::probe::group(model, "tp-spin").context("its group")?;
    ensure!(group.usable_cpus == *usable, "{:?}", group.usable_cpus);
    Ok(())
}

/// A spinner that may use 30 % of a CPU, and does.
pub(super) fn spinner_under_quota(cgroup: &str) -> Result<(Cgroup, Workload)> {
    let cgroup = Cgroup::new("cpu", cgroup)?;
    cgroup.set_cpu_quota(30)?;
    let mut workload = Workload::start("tp-spin", &[])?;
    workload.facts()?;
    cgroup.add(workload.pid())?;
    thread::sleep(Duration::from_millis(500));
    Ok((cgroup, workload))
}

fn what_a_quota_takes_is_what_its_cgroup_says() -> Result<()> {
    const PERIOD: f64 = 0.1;
    let mut probe = Probe::get()?;
    let (cgroup, workload) = spinner_under_quota("tp-quota")?;
    let before = throttled_seconds(&cgroup)?;
    let window = Window::of(&mut probe, workload.pid(), Duration::from_secs(3))?;
    let truth = throttled_seconds(&cgroup)? - before;
    may_use(&probe.sample()?, workload.pid(), 0.3, throttled_seconds(&cgroup)?)?;
    let grown = window.grown("t-spin")?;
    let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
    ensure!(truth > 1.0, "the quota took {truth} s only");
    if tells_throttling() {
        let throttled = grown(TimeState::Throttled);
        ensure!((throttled - truth).abs() <= PERIOD, "{throttled} s throttled, its cgroup says {truth} s: {told:?}");
    } else {
        ensure!(grown(TimeState::Throttled) == 0.0, "{told:?}");
    }
    drop(workload);
    Ok(())
}

/// On CPUs that are all busy it uses up its 30 of 100 ms in some 45 ms, as one of three on two CPUs, or in 60.
fn a_quota_is_told_from_neighbours() -> Result<()> {
    if !tells_throttling() {
        return Ok(());
    }
    let mut probe = Probe::get()?;
    let cpus = thread::available_parallelism()?.get();
    let _neighbours = Workload::start("tp-spinners", &[&cpus.to_string()])?;
    let (_cgroup, workload) = spinner_under_quota("tp-moved")?;
    let window = Window::of(&mut probe, workload.pid(), Duration::from_secs(3))?;
    let grown = window.grown("t-spin")?;
    let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
    ensure!(grown(TimeState::Throttled) > 0.2 * window.seconds, "of {} s: {told:?}", window.seconds);
    ensure!(grown(TimeState::WaitPreempted) > 0.02 * window.seconds, "of {} s: {told:?}", window.seconds);
    Ok(())
}

/// Whether the kernel keeps how long a run queue was throttled: since Linux 6.6.
pub(super) fn tells_throttling() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

fn times_add_up_and_never_shrink() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-churn", &["2000", "200"])?;
    let mut last: Option<Model> = None;
    for round in 0..5 {
        if round == 2 {
            workload.facts_while_sampling(&mut probe)?;
        }
        let model = probe.sample()?;
        for state in TimeState::ALL {
            let groups: f64 = model.groups.iter().map(|group| group.totals.time_seconds.get(state)).sum();
            let host = model.host.totals.time_seconds.get(state);
            ensure!((groups - host).abs() <= 1e-6 * host.max(1.0), "{}: {groups} of {host}", state.label());
            for process in last.iter().flat_map(|last| &last.processes) {
                let before = process.totals.time_seconds.get(state);
                let now = model.processes.iter().find(|now| now.pid == process.pid);
                let now = now.filter(|now| now.start_boottime_seconds == process.start_boottime_seconds);
                let now = now.map_or(before, |now| now.totals.time_seconds.get(state));
                ensure!(now >= before, "{} of {} went from {before} to {now}", state.label(), process.comm);
            }
        }
        last = Some(model);
    }
    process(&last.context("five samples")?, workload.pid())?;
    workload.finish()
}
