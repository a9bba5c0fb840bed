//! What is rare: other scheduling policies, what is frozen or traced, an exec.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill},
        statfs::{FsType, TMPFS_MAGIC, statfs},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use thread_probe_ebpf::abi::time::TimeState;

use crate::{
    kernel::{
        probe::Probe,
        roles::ROLE,
        tests::Test,
        time::{Window, is_near},
        workload::Workload,
    },
    support::cgroup::Cgroup,
};

pub(crate) const ALL: &[(&str, Test)] = &[
    ("who_waits_for_a_disk_or_in_a_page_fault_is_told", disk_and_fault_are_told),
    ("threads_of_every_policy_have_each_second_in_its_state", every_policy_is_accounted_for),
    ("what_is_stopped_is_stopped_while_it_lasts_and_afterwards", what_a_signal_stopped_is_stopped),
    ("what_a_cgroup_froze_is_stopped", what_a_cgroup_froze_is_stopped),
    ("what_is_traced_is_stopped", what_is_traced_is_stopped),
    ("a_system_call_of_32_bit_programs_is_known_by_their_numbers", a_compat_call_is_known_by_its_number),
    ("an_exec_by_another_thread_goes_on_with_its_times", an_exec_goes_on_with_its_times),
];

/// Whether files in a folder are on a disk.
fn is_on_disk(folder: &Path) -> Result<bool> {
    const IN_MEMORY: [FsType; 2] = [TMPFS_MAGIC, FsType(0x8584_58f6)];
    Ok(!IN_MEMORY.contains(&statfs(folder)?.filesystem_type()))
}

fn disk_and_fault_are_told() -> Result<()> {
    let mut probe = Probe::get()?;
    let folder = std::env::temp_dir();
    if is_on_disk(&folder)? {
        let mut workload = Workload::start("tp-disk", &[&folder.to_string_lossy()])?;
        workload.facts()?;
        let window = Window::of(&mut probe, workload.pid(), Duration::from_secs(1))?;
        let grown = window.grown("t-io")?;
        let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
        let on_cpu = [TimeState::Running, TimeState::WaitWakeup, TimeState::WaitPreempted, TimeState::Unaccounted];
        let asleep: f64 = TimeState::ALL.into_iter().filter(|state| !on_cpu.contains(state)).map(&grown).sum();
        ensure!(grown(TimeState::Io) > 0.9 * asleep && asleep > 0.1, "{told:?}");
    } else {
        println!("{} is in memory: no disk to wait for", folder.display());
    }
    let mut workload = Workload::start("tp-fault", &[])?;
    if workload.facts()? == [0] {
        println!("userfaultfd is not allowed here: nothing to prove");
        return Ok(());
    }
    thread::sleep(Duration::from_millis(100));
    let window = Window::of(&mut probe, workload.pid(), Duration::from_secs(1))?;
    let grown = window.grown("t-fault")?;
    let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
    ensure!(window.is_long(grown(TimeState::Fault)), "of {} s: {told:?}", window.seconds);
    let threads = probe.threads_of(workload.pid())?;
    let thread = threads.iter().find(|thread| thread.comm == "t-fault").context("the thread")?;
    ensure!(thread.syscall.is_none() && thread.still_seconds >= 1.1, "{thread:?}");
    Ok(())
}

fn every_policy_is_accounted_for() -> Result<()> {
    let mut probe = Probe::get()?;
    for (name, policy) in [("fifo", "1"), ("rr", "2"), ("batch", "3"), ("idle", "5"), ("deadline", "6")] {
        let mut workload = Workload::start("tp-policy", &[policy])?;
        if workload.facts()? == [0] {
            println!("{name} is not allowed here: nothing to prove");
            continue;
        }
        let window = Window::of(&mut probe, workload.pid(), Duration::from_millis(1500))?;
        let grown = window.grown("t-policy")?;
        let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
        let all: f64 = TimeState::ALL.into_iter().map(&grown).sum();
        let on_cpu = [TimeState::Running, TimeState::WaitWakeup, TimeState::WaitPreempted, TimeState::Unaccounted];
        let busy: f64 = on_cpu.into_iter().map(&grown).sum();
        ensure!(window.is_long(all), "{name}: {all} s of {} s: {told:?}", window.seconds);
        ensure!(is_near(grown(TimeState::Sleep), all - busy), "{name}: {told:?}");
        ensure!((0.03..0.3).contains(&grown(TimeState::Running)), "{name} ran 4 ms in 104: {told:?}");
    }
    Ok(())
}

fn a_compat_call_is_known_by_its_number() -> Result<()> {
    let mut probe = Probe::get()?;
    let attempt = Command::new(std::env::current_exe()?).args([ROLE, "tp-compat-once"]).status()?;
    if !attempt.success() {
        println!("no system calls of 32-bit programs here ({attempt}): nothing to prove");
        return Ok(());
    }
    let mut workload = Workload::start("tp-compat", &[])?;
    workload.facts()?;
    let window = Window::of(&mut probe, workload.pid(), Duration::from_secs(1))?;
    let grown = window.grown("t-compat")?;
    let told: Vec<_> = TimeState::ALL.map(|state| (state.label(), grown(state))).to_vec();
    ensure!(grown(TimeState::Poll) > 0.9 * window.seconds, "{told:?}");
    ensure!(grown(TimeState::Other) == 0.0, "{told:?}");
    let threads = probe.threads_of(workload.pid())?;
    let thread = threads.iter().find(|thread| thread.comm == "t-compat").context("the thread")?;
    ensure!(thread.syscall.as_deref() == Some("poll"), "{thread:?}");
    Ok(())
}

/// For how long the spinner of a workload has been stopped.
fn stopped(probe: &Probe, pid: u32) -> Result<f64> {
    let threads = probe.threads_of(pid)?;
    let spinner = threads.iter().find(|thread| thread.comm == "t-spin").context("the spinner")?;
    Ok(spinner.totals.time_seconds.get(TimeState::Stopped))
}

/// It is stopped for a second between these two, and not after.
fn is_stopped_between(pid: u32, stop: impl FnOnce() -> Result<()>, go_on: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut probe = Probe::get()?;
    probe.sample()?;
    let before = stopped(&probe, pid)?;
    stop()?;
    thread::sleep(Duration::from_secs(1));
    probe.sample()?;
    let meanwhile = stopped(&probe, pid)? - before;
    go_on()?;
    ensure!((0.9..1.3).contains(&meanwhile), "{meanwhile} s of 1 s");
    thread::sleep(Duration::from_millis(200));
    probe.sample()?;
    let afterwards = stopped(&probe, pid)?;
    thread::sleep(Duration::from_millis(200));
    probe.sample()?;
    ensure!(stopped(&probe, pid)? == afterwards, "it goes on being stopped");
    ensure!(afterwards - before < meanwhile + 0.2, "{meanwhile} s became {} s", afterwards - before);
    Ok(())
}

fn what_a_signal_stopped_is_stopped() -> Result<()> {
    let mut workload = Workload::start("tp-spin", &[])?;
    workload.facts()?;
    let pid = Pid::from_raw(workload.pid().cast_signed());
    is_stopped_between(workload.pid(), || Ok(kill(pid, Signal::SIGSTOP)?), || Ok(kill(pid, Signal::SIGCONT)?))?;
    workload.finish()
}

fn what_a_cgroup_froze_is_stopped() -> Result<()> {
    let mut kinds = Vec::new();
    if Path::new("/sys/fs/cgroup/freezer").exists() {
        kinds.push((Cgroup::new("freezer", "tp-frozen")?, "freezer.state", "FROZEN", "THAWED"));
    }
    let unified = Cgroup::unified("tp-frozen");
    kinds.extend(unified.ok().map(|cgroup| (cgroup, "cgroup.freeze", "1", "0")));
    for (cgroup, file, freeze, thaw) in kinds {
        let mut workload = Workload::start("tp-spin", &[])?;
        workload.facts()?;
        cgroup.add(workload.pid())?;
        is_stopped_between(workload.pid(), || cgroup.set(file, freeze), || cgroup.set(file, thaw)).context(file)?;
        workload.finish()?;
    }
    Ok(())
}

fn what_is_traced_is_stopped() -> Result<()> {
    let mut workload = Workload::start("tp-spin", &[])?;
    workload.facts()?;
    let spinner = {
        let mut probe = Probe::get()?;
        probe.sample()?;
        let threads = probe.threads_of(workload.pid())?;
        let tid = threads.iter().find(|thread| thread.comm == "t-spin").context("the spinner")?.tid;
        Pid::from_raw(tid.cast_signed())
    };
    let attach = || {
        ptrace::attach(spinner)?;
        waitpid(spinner, Some(WaitPidFlag::__WALL))?;
        Ok(())
    };
    is_stopped_between(workload.pid(), attach, || Ok(ptrace::detach(spinner, None)?))?;
    workload.finish()
}

fn an_exec_goes_on_with_its_times() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-exec", &[])?;
    workload.facts()?;
    probe.sample()?;
    let before = probe.threads_of(workload.pid())?;
    let other = before.iter().find(|thread| thread.tid != workload.pid()).context("the other thread")?;
    let before = other.totals.time_seconds.total();
    workload.go()?;
    workload.facts()?;
    thread::sleep(Duration::from_millis(500));
    let model = probe.sample()?;
    let after = probe.threads_of(workload.pid())?;
    ensure!(after.len() == 1 && after[0].tid == workload.pid(), "{after:?}");
    let grown = after[0].totals.time_seconds.total() - before;
    let seconds = model.interval_seconds.context("the second sample")?;
    ensure!((seconds - 0.05..seconds + 0.05).contains(&grown), "{grown} s of {seconds} s");
    Ok(())
}
