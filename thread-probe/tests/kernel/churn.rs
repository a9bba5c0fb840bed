//! Many tasks at once, with every CPU busy or nobody reading: what came and went is counted to the last one.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use thread_probe::model::Model;

use crate::kernel::{
    probe::{
        Probe, ensure_equal, ensure_lifetimes, field_of_proc_stat, group, hides_init, is_before_6_2, lost, lost_for,
        process,
    },
    workload::Workload,
};

/// Tasks ever created, as the kernel counts them.
fn tasks_created() -> Result<u64> {
    field_of_proc_stat("processes")
}

fn created(model: &Model) -> u64 {
    model.host.totals.threads_created + model.host.totals.processes_created
}

pub(crate) fn nothing_is_lost_in_a_churn() -> Result<()> {
    ensure_exact_churn(["20000", "5000"], Workload::facts_while_draining)
}

/// More ends than the ring holds records.
pub(crate) fn ends_while_nobody_reads_are_exact() -> Result<()> {
    if is_before_6_2() {
        println!("storage is out of reach of one in a hundred there, and that is counted: nothing to prove");
        return Ok(());
    }
    let cpus = std::thread::available_parallelism()?.get();
    let _spinners = Workload::start("tp-spinners", &[&(2 * cpus).to_string()])?;
    ensure_exact_churn(["14000", "2000"], |workload, _| workload.facts())
}

fn ensure_exact_churn(
    threads_and_processes: [&str; 2],
    wait_for: impl FnOnce(&mut Workload, &mut Probe) -> Result<Vec<u64>>,
) -> Result<()> {
    let mut probe = Probe::get()?;
    let before = tasks_created()?;
    let first = probe.sample()?;
    let after_first = tasks_created()?;
    let mut workload = Workload::start("tp-churn", &threads_and_processes)?;
    let facts = wait_for(&mut workload, &mut probe)?;
    let pid = workload.pid();
    let (threads, processes) = (facts[0], facts[1]);
    // What such a kernel does not trace: see `hides_init`.
    let untraced = if hides_init(&first) { (threads + processes) / 100 } else { 0 };
    let ended_before = group(&first, "tp-churn").map_or(0, |group| group.totals.threads_exited);
    let all = ended_before + threads + processes;
    // All of them if they come; where some may never, those that do within 3 s.
    let deadline = Instant::now() + Duration::from_secs(3);
    probe.sample_until("the last final record", |model| {
        let ended = group(model, "tp-churn")?.totals.threads_exited;
        (ended >= all || (ended + untraced >= all && untraced > 0 && Instant::now() > deadline)).then_some(())
    })?;
    let before_last = tasks_created()?;
    let model = probe.sample()?;
    let after_last = tasks_created()?;
    ensure!(lost(&model) == lost(&first), "lost: {:?}", model.probe.lost);
    let totals = process(&model, pid)?.totals;
    ensure_equal("threads created", totals.threads_created, threads)?;
    ensure_equal("processes created", totals.processes_created, processes)?;
    // Without storage nobody knows whose a thread was that ended before its process was seen: it counts for the group.
    let unknown =
        untraced + lost_for(&model, "record_without_histogram") - lost_for(&first, "record_without_histogram");
    ensure!(
        totals.threads_exited <= threads && totals.threads_exited + unknown >= threads,
        "{} threads of the process ended of {threads}",
        totals.threads_exited
    );
    let own = group(&model, "tp-churn").context("its group")?;
    let ended = own.totals.threads_exited;
    ensure!(ended <= all && ended + untraced >= all, "{ended} threads ended, main threads included, of {all}");
    ensure_lifetimes(own, &first, &model)?;
    let ours = created(&model) - created(&first);
    let truth = before_last - after_first..=after_last - before;
    ensure!(truth.contains(&ours), "the probe saw {ours} tasks created, /proc/stat {truth:?}");
    workload.finish()
}

/// Threads that a scan has seen: more of them than the ring holds records, and two processes as one may not have so
/// many.
pub(crate) fn a_crowd_that_ends_at_once_is_exact() -> Result<()> {
    const THREADS: u64 = 12_000;
    const MEMORY_KB: u64 = 4 << 20;
    if memory_kb()? < MEMORY_KB {
        println!("twice {THREADS} threads need {MEMORY_KB} kB of memory: nothing to prove");
        return Ok(());
    }
    let mut probe = Probe::get()?;
    let full_before = lost_for(&probe.sample()?, "ring_full");
    let start = || Workload::start("tp-crowd", &[&THREADS.to_string()]);
    let mut crowds = [start()?, start()?];
    for crowd in &mut crowds {
        ensure_equal("threads", crowd.facts()?[0], THREADS)?;
    }
    let first = probe.sample()?;
    for crowd in &mut crowds {
        ensure_equal("live threads", process(&first, crowd.pid())?.threads.total, THREADS + 1)?;
        crowd.go()?;
    }
    for crowd in &mut crowds {
        crowd.facts()?;
    }
    let untraced = if hides_init(&first) { THREADS / 100 } else { 0 };
    for crowd in &mut crowds {
        ensure_crowd_is_exact(&mut probe, crowd.pid(), THREADS, untraced)?;
    }
    let last = probe.sample()?;
    ensure!(lost_for(&last, "ring_full") > full_before, "the ring was not full");
    ensure_equal("what no sum had room for", lost_for(&last, "fold_full"), 0)?;
    crowds.iter_mut().try_for_each(Workload::finish)
}

fn ensure_crowd_is_exact(probe: &mut Probe, pid: u32, threads: u64, untraced: u64) -> Result<()> {
    let totals = probe.sample_until("the last thread's end", |model| {
        let totals = process(model, pid).ok()?.totals;
        (totals.threads_exited + untraced >= threads).then_some(totals)
    })?;
    ensure!(totals.threads_exited <= threads, "{} threads ended of {threads}", totals.threads_exited);
    let counted: u64 = probe.one_process(pid)?.process_wait_histogram.iter().map(|bucket| bucket.count).sum();
    let range = totals.runs - 3 * untraced..=totals.runs;
    ensure!(range.contains(&counted), "{counted} waits in the histogram of {} runs", totals.runs);
    Ok(())
}

fn memory_kb() -> Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("MemTotal in /proc/meminfo")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
