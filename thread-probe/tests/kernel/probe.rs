//! The one probe that all tests share: loading it takes seconds on an emulated machine.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use thread_probe::{
    limits::LimitUse,
    model::{Group, Model, OneProcess, Process, Thread},
    sampler::{GroupsConfig, LimitsConfig, Sampler, SamplerConfig},
};

static SAMPLER: Mutex<Option<Sampler>> = Mutex::new(None);

/// Whether this kernel is one whose first process is hidden from eBPF: nothing is traced while one of its threads is
/// current. A wait that ends with a switch away from it goes unseen, so a histogram may lack 1 % of its events; and so
/// does the end of a thread that is freed in a soft interrupt on top of it.
pub(crate) fn hides_init(model: &Model) -> bool {
    model.processes.iter().all(|process| process.pid != 1)
}

/// Why the probe can't be loaded for lack of privilege, if so. Anything else is for the tests to fail on.
pub(crate) fn refusal() -> Option<String> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    Some("loading eBPF programs needs root".to_owned())
}

/// The probe, started by the first who asks.
pub(crate) struct Probe(MutexGuard<'static, Option<Sampler>>);

impl Probe {
    pub(crate) fn get() -> Result<Self> {
        let mut sampler = SAMPLER.lock().unwrap_or_else(PoisonError::into_inner);
        if sampler.is_none() {
            let groups = GroupsConfig { max: 5000, ..GroupsConfig::default() };
            // Tests leak for seconds.
            let limits = LimitsConfig { window: Duration::from_secs(10) };
            *sampler = Some(Sampler::start(&SamplerConfig { groups, limits, ..SamplerConfig::default() })?.0);
        }
        Ok(Self(sampler))
    }

    pub(crate) fn sample(&mut self) -> Result<Model> {
        self.0.as_mut().context("started above")?.sample()
    }

    pub(crate) fn drain(&mut self) -> Result<()> {
        self.0.as_mut().context("started above")?.drain();
        Ok(())
    }

    pub(crate) fn ring_fd(&self) -> Result<std::os::fd::OwnedFd> {
        Ok(self.0.as_ref().context("started above")?.ring_fd()?)
    }

    pub(crate) fn one_process(&self, pid: u32) -> Result<OneProcess> {
        Ok(self.0.as_ref().context("started above")?.one_process(pid))
    }

    pub(crate) fn threads_of(&self, pid: u32) -> Result<Vec<Thread>> {
        Ok(self.one_process(pid)?.threads)
    }

    pub(crate) fn limits_of(&self, pid: u32) -> Result<Vec<LimitUse>> {
        Ok(self.0.as_ref().context("started above")?.limits_of(pid))
    }

    /// Samples until `done` answers, for at most 30 s: final records come an RCU grace period after the end.
    pub(crate) fn sample_until<T>(&mut self, what: &str, mut done: impl FnMut(&Model) -> Option<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            let model = self.sample()?;
            if let Some(found) = done(&model) {
                return Ok(found);
            }
            if started.elapsed() > Duration::from_secs(30) {
                let lost: Vec<_> = model.probe.lost.iter().filter(|lost| lost.count > 0).collect();
                let busy: Vec<_> = model.groups.iter().filter(|group| group.totals.threads_exited > 0).collect();
                let ended: Vec<_> = busy.iter().map(|group| (&group.group, group.totals.threads_exited)).collect();
                bail!("{what}: not after 30 s; lost: {lost:?}; threads that ended: {ended:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The process in a model.
pub(crate) fn process(model: &Model, pid: u32) -> Result<&Process> {
    model
        .processes
        .iter()
        .find(|process| process.pid == pid)
        .with_context(|| format!("process {pid} is not in the sample"))
}

/// The group in a model.
pub(crate) fn group<'a>(model: &'a Model, name: &str) -> Option<&'a Group> {
    model.groups.iter().find(|group| *group.group == *name)
}

/// How often something was lost for one reason.
pub(crate) fn lost_for(model: &Model, reason: &str) -> u64 {
    model.probe.lost.iter().filter(|lost| lost.reason == reason).map(|lost| lost.count).sum()
}

/// What is counted where a thread's storage is out of reach.
const OF_STORAGE: [&str; 3] = ["storage_missing", "storage_not_created", "record_without_histogram"];

/// How often storage was out of reach so far.
pub(crate) fn lost_of_storage() -> Result<u64> {
    let model = Probe::get()?.sample()?;
    Ok(OF_STORAGE.iter().map(|reason| lost_for(&model, reason)).sum())
}

/// Why what a test compares may not be there on this kernel, if it was so since storage was out of reach that often.
pub(crate) fn excuse(lost_of_storage_before: u64) -> Result<Option<&'static str>> {
    if hides_init(&Probe::get()?.sample()?) {
        return Ok(Some("this kernel hides its first process"));
    }
    let is_counted = is_before_6_2() && lost_of_storage()? > lost_of_storage_before;
    Ok(is_counted.then_some("storage was out of reach, as before Linux 6.2 it may be, and that was counted"))
}

/// How much was lost of what may never be lost. Before Linux 6.2 storage is out of reach while another operation on it
/// is interrupted, and on a kernel that hides its first process, that of its threads always is; both are counted.
pub(crate) fn lost(model: &Model) -> u64 {
    let may_be = |reason: &str| OF_STORAGE.contains(&reason) && (hides_init(model) || is_before_6_2());
    // Of clones that succeed there is nothing to see on return.
    let harmless = |reason: &str| reason == "clone_return_not_seen" || may_be(reason);
    model.probe.lost.iter().filter(|lost| !harmless(&lost.reason)).map(|lost| lost.count).sum()
}

pub(crate) fn is_before_6_2() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(6), Some(2))
}

pub(crate) fn ensure_equal<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, truth: T) -> Result<()> {
    ensure!(ours == truth, "{what}: the probe says {ours:?}, the truth is {truth:?}");
    Ok(())
}

/// A number of the host in /proc/stat.
pub(crate) fn field_of_proc_stat(name: &str) -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line =
        stat.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name} in /proc/stat"))?;
    Ok(line.trim().parse()?)
}

/// Every thread that ended has its lifetime, save those whose record was made without storage: on Linux before 6.2,
/// and counted; others on the host may be among them.
pub(crate) fn ensure_lifetimes(group: &Group, first: &Model, last: &Model) -> Result<()> {
    let without = lost_for(last, "record_without_histogram") - lost_for(first, "record_without_histogram");
    let (lifetimes, ended) = (group.raw.lifetimes.iter().sum::<u64>(), group.totals.threads_exited);
    ensure!(
        lifetimes <= ended && lifetimes + without >= ended,
        "{lifetimes} lifetimes of {ended} ended threads, {without} records without storage"
    );
    Ok(())
}
