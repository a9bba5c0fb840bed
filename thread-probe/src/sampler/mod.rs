//! The loop from probe to model: load, then sample by sample.

mod config;
mod own_cost;

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use nix::{
    poll::{PollFd, PollFlags},
    sys::utsname::uname,
    time::{ClockId, clock_gettime},
};
use thread_probe_ebpf::abi::record::HostLimits;

pub use self::config::{GroupsConfig, LimitsConfig, ProbeConfig, SamplerConfig};
use self::own_cost::OwnCostMeter;
use crate::{
    ledger::{GroupBounds, Ledger},
    limits::{Evaluation, HostReading, LimitUse, Limits},
    model::{self, ConfigStatus, Model, OneProcess, SampleFacts, System},
    names::grouping::{GroupBy, Names},
    os::{log, memory, wait::until_ready},
    privileges,
    probe::{LoadOptions, Probe, SlowToDetach},
    record::{LookedInto, to_look_into},
    sample::{AttachedProgram, ThreadCost},
    text::human::bytes,
};

/// The probe with its ledger.
pub struct Sampler {
    probe: Probe,
    ledger: Ledger,
    names: Names,
    config: SamplerConfig,
    config_status: ConfigStatus,
    cost: ThreadCost,
    limits: Limits,
    evaluation: Evaluation,
    programs: Arc<[AttachedProgram]>,
    last: Option<Instant>,
    interval_seconds: Option<f64>,
    /// Since memory was returned last.
    most_threads: u64,
    /// Whether most of these were gone in the sample before.
    had_gone: bool,
    system: System,
    own_cost: OwnCostMeter,
}

impl Sampler {
    /// As [`Self::start`], but gives up every privilege as soon as the programs are attached, before any name is looked
    /// up. Called while the process has one thread.
    ///
    /// # Errors
    /// What the host lacks, or a privilege that could not be given up.
    pub fn start_and_drop_privileges(config: &SamplerConfig) -> Result<(Self, Model)> {
        // Before anything is attached: a user that does not exist is a mistake of who configured it.
        let user = config.probe.user.as_deref().map(privileges::find_user).transpose()?;
        let attached = Self::attach(config)?;
        if let Some(kept) = privileges::drop_all(user.as_ref())? {
            tracing::warn!("kept {kept}");
        }
        attached.first_sample()
    }

    /// Loads and attaches the programs and takes the first sample.
    ///
    /// # Errors
    /// What the host lacks.
    pub fn start(config: &SamplerConfig) -> Result<(Self, Model)> {
        Self::attach(config)?.first_sample()
    }

    fn attach(config: &SamplerConfig) -> Result<Attached> {
        let (options, groups) = (&config.probe, &config.groups);
        let mut limits = Limits::new(config.limits.window);
        warn_of_little_memory(limits.own_memory_limit());
        let mut probe = Probe::load(LoadOptions {
            log: options.ebpf_log,
            clone_probe: options.clone_probe,
            fold_leaders: groups.by != GroupBy::Pid,
            time_ledger: options.time_ledger,
            who: options.who,
        })?;
        let mut ledger = Ledger::new(group_bounds(groups));
        let started = Started::now();
        let host = limits.read_host();
        tell_limits(&mut probe, &host)?;
        ledger.begin_scan(boot_ns()?);
        begin_scan_on_time();
        let mut threads = 0;
        probe.start(&mut |observation| {
            threads += 1;
            ledger.observe_unnamed(observation);
        })?;
        let cost = probe.thread_cost();
        log_programs(probe.programs(), &cost);
        let programs = Arc::from(probe.programs());
        let sampler = Self {
            probe,
            ledger,
            names: Names::new(groups.by),
            config: config.clone(),
            config_status: ConfigStatus::loaded(started.time),
            cost,
            limits,
            evaluation: Evaluation::default(),
            programs,
            last: None,
            interval_seconds: None,
            most_threads: 0,
            had_gone: false,
            system: this_host(),
            own_cost: OwnCostMeter::default(),
        };
        Ok(Attached { sampler, started, threads, host })
    }

    /// Takes a sample: scan first, drain second, so that a final record replaces what the scan saw.
    ///
    /// # Errors
    /// The scan failed. It can't be repeated without losing what it had handed out, so the probe has to be restarted.
    pub fn sample(&mut self) -> Result<Model> {
        let started = Started::now();
        let host = self.limits.read_host();
        tell_limits(&mut self.probe, &host)?;
        self.ledger.begin_scan(boot_ns()?);
        begin_scan_on_time();
        let (ledger, names) = (&mut self.ledger, &mut self.names);
        let threads = self
            .probe
            .scan(&mut |observation| ledger.observe(observation, names))
            .context("scanning the threads failed")?;
        self.finish(started, threads, &host)
    }

    fn finish(&mut self, started: Started, threads: u64, host: &HostReading) -> Result<Model> {
        self.drain();
        let (ledger, names) = (&mut self.ledger, &mut self.names);
        self.probe
            .read_folds(&mut |of, sums| ledger.observe_fold(of, sums, names))
            .context("reading the sums failed")?;
        self.probe.forget_folds(&self.ledger.take_folds_that_are_over()).context("making room for sums failed")?;
        let mut counters = self.probe.host_counters().context("reading the probe's counters failed")?;
        counters.log_lines_left_out = log::lines_left_out();
        self.ledger.observe_orphans(&counters.orphans);
        self.add_taken()?;
        self.ledger.finish_sample(&mut self.names);
        self.cost.stack_bytes = self.ledger.stack_bytes();
        self.evaluation = self.limits.evaluate(&self.ledger, &mut self.names, host, &self.cost);
        let interval = self.last.map(|last| started.instant - last);
        let facts = SampleFacts {
            time: started.time,
            interval,
            duration: started.instant.elapsed(),
            threads,
            tells_throttling: self.probe.tells_throttling(),
            group_by: self.config.groups.by,
            counters: &counters,
            cost: self.cost,
            programs: &self.programs,
            config: self.config_status,
            system: &self.system,
            cpus: host.cpus,
            load_averages: host.load_averages,
            cpu_pressure_seconds: host.cpu_pressure_seconds,
            own_cost: self.own_cost.measure(counters.switch_runs),
        };
        let model = Model::build(&self.ledger, &self.evaluation, &facts, |uid| self.names.users().get(uid));
        self.interval_seconds = model.interval_seconds;
        self.return_memory(threads);
        self.last = Some(started.instant);
        self.names.finish_sample();
        self.ledger.next_interval();
        Ok(model)
    }

    /// Who took the CPU: after all that names who ended.
    fn add_taken(&mut self) -> Result<()> {
        if !self.config.probe.who {
            return Ok(());
        }
        let (probe, ledger) = (&mut self.probe, &mut self.ledger);
        probe.read_taken(|pair, ns| ledger.observe_taken(pair, ns)).context("reading who took the CPU failed")?;
        ledger.add_taken(&|tgid| probe.ended_leader(tgid), &mut self.names);
        probe.forget_taken(&ledger.take_pairs_that_are_over()).context("making room for who took the CPU failed")
    }

    /// Takes over what can change while it runs; who calls keeps the rest as it was.
    pub fn reconfigure(&mut self, config: &SamplerConfig) {
        self.ledger.set_group_bounds(group_bounds(&config.groups));
        self.limits.set_window(config.limits.window);
        self.config = config.clone();
    }

    /// What the next models say of the configuration.
    pub fn set_config_status(&mut self, status: ConfigStatus) {
        self.config_status = status;
    }

    /// Takes in the threads that ended since the last drain.
    pub fn drain(&mut self) {
        let (ledger, names) = (&mut self.ledger, &mut self.names);
        self.probe.drain(&mut |observation| ledger.observe(observation, names));
    }

    /// Lets time pass, and takes in the threads that end meanwhile when the ring needs it.
    ///
    /// # Errors
    /// Waiting for the ring failed.
    pub fn wait(&mut self, time: Duration) -> Result<()> {
        let ring = self.ring_fd().context("duplicating the ring buffer's descriptor failed")?;
        let until = Instant::now() + time;
        let mut ready = [PollFd::new(ring.as_fd(), PollFlags::POLLIN)];
        while until_ready(&mut ready, until).context("waiting for the ring buffer failed")? {
            self.drain();
        }
        Ok(())
    }

    /// A descriptor that becomes readable when [`Self::drain`] is due before the next sample.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn ring_fd(&self) -> io::Result<OwnedFd> {
        self.probe.ring_fd()
    }

    /// What another thread may drop while this one drops the rest, to detach in half the time.
    pub fn take_slow_links(&mut self) -> SlowToDetach {
        self.probe.take_slow_links()
    }

    /// The programs and where they are attached.
    pub fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    /// More of one process in the last sample; empty if there is no such process.
    pub fn one_process(&self, pid: u32) -> OneProcess {
        let last_epoch = self.ledger.epoch().saturating_sub(1);
        OneProcess {
            applicable_limits: self.limits_of(pid),
            ..model::one_process(&self.ledger, pid, last_epoch, self.interval_seconds)
        }
    }

    /// More of the processes that did much in the last sample, whose model it is: what is recorded with it.
    pub fn look_into(&self, model: &Model) -> Vec<LookedInto> {
        to_look_into(model).into_iter().map(|pid| LookedInto { pid, one: self.one_process(pid) }).collect()
    }

    /// The limits in the last sample that no other process shares, of all processes.
    pub fn own_limits(&self) -> impl Iterator<Item = &LimitUse> {
        self.evaluation.own_limits()
    }

    /// Every limit that held for a process in the last sample, the one with room for the fewest threads first.
    pub fn limits_of(&self, pid: u32) -> Vec<LimitUse> {
        self.evaluation.limits_of(pid)
    }
}

/// A sampler that has scanned once, and not looked anything up.
struct Attached {
    sampler: Sampler,
    started: Started,
    threads: u64,
    host: HostReading,
}

impl Attached {
    /// The thread that looks up users keeps the privileges of now.
    fn first_sample(self) -> Result<(Sampler, Model)> {
        let Self { mut sampler, started, threads, host } = self;
        if let Err(error) = sampler.names.users().look_up_aside() {
            tracing::warn!(%error, "no thread to look up users in: samples wait for the directory of users");
        }
        sampler.ledger.name_all(&mut sampler.names);
        let model = sampler.finish(started, threads, &host)?;
        Ok((sampler, model))
    }
}

/// This host, as uname(2) tells it. What the kernel does not tell is empty.
pub(crate) fn this_host() -> System {
    let Ok(names) = uname() else { return System::default() };
    System { name: names.nodename().to_string_lossy().into(), kernel_release: names.release().to_string_lossy().into() }
}

/// Tells the programs by which limits they explain a clone that fails.
fn tell_limits(probe: &mut Probe, host: &HostReading) -> Result<()> {
    let limits = HostLimits { threads_max: host.threads_max, pid_max: host.pid_max, cpus: host.cpus };
    probe.set_host_limits(limits).context("telling the programs the host's limits failed")
}

/// When a sample began, on both clocks.
#[derive(Clone, Copy)]
struct Started {
    instant: Instant,
    time: SystemTime,
}

impl Started {
    fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }
}

fn log_programs(programs: &[AttachedProgram], cost: &ThreadCost) {
    for program in programs {
        let (name, source) = (&*program.program, program.source.label());
        if !program.is_attached() {
            tracing::warn!(
                program = name,
                reason = program.reason,
                "not attached: clone failures and durations are missing"
            );
        } else if program.reason.is_empty() {
            tracing::info!(program = name, source, "attached");
        } else {
            tracing::info!(program = name, source, reason = program.reason, "attached");
        }
    }
    if !cost.task_struct_from_slab {
        tracing::warn!("the size of the task_struct slab is not readable: its FPU area is not counted");
    }
}

/// Brings the clock of this CPU's run queue up to now: the scan reads it.
fn begin_scan_on_time() {
    std::thread::yield_now();
}

/// Time since boot, suspended time included: the clock of the records.
fn boot_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).context("reading CLOCK_BOOTTIME failed")?;
    Ok(Duration::from(now).as_nanos() as u64)
}

impl Sampler {
    /// What a host with four times as many threads took goes back once these are gone, and with them the sample that
    /// was the last to have them: someone may read that until the next one is there.
    fn return_memory(&mut self, threads: u64) {
        self.most_threads = self.most_threads.max(threads);
        let has_gone = threads < self.most_threads / 4;
        if has_gone && self.had_gone {
            memory::return_freed();
            self.most_threads = threads;
        }
        self.had_gone = has_gone;
    }
}

/// What a start takes of memory for a moment: the kernel's types, 5.5 MB as a file, the programs and their maps.
const START_BYTES: u64 = 32 << 20;

/// Where it is not enough, the kernel ends the daemon without a word: so this one comes before.
fn warn_of_little_memory(limit: Option<LimitUse>) {
    if let Some(limit) = limit.filter(|limit| limit.max.saturating_sub(limit.used) < START_BYTES) {
        let (left, needed) = (bytes(limit.max.saturating_sub(limit.used)), bytes(START_BYTES));
        tracing::warn!("{} leaves {left} of memory: a start takes some {needed} for a moment", limit.set_by);
    }
}

/// How many groups there may be, as configured.
fn group_bounds(groups: &GroupsConfig) -> GroupBounds {
    GroupBounds { max: groups.max as usize, retention: groups.retention, keep: groups.keep.clone() }
}
