//! The tests, each named after what it proves.

use std::{fs, ops::RangeInclusive, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use thread_probe::{export::metrics, model::Model};
use thread_probe_ebpf::abi::names::CloneErrno;

use crate::{
    kernel::{
        churn,
        probe::{Probe, ensure_equal, ensure_lifetimes, field_of_proc_stat, group, hides_init, lost, process},
        workload::Workload,
    },
    support::cgroup::Cgroup,
};

pub(crate) type Test = fn() -> Result<()>;

pub(crate) const ALL: &[(&str, Test)] = &[
    ("every_program_is_attached", every_program_is_attached),
    ("threads_created_and_joined_are_counted_exactly", threads_created_and_joined_are_counted_exactly),
    ("the_switches_of_a_process_are_its_own_getrusage", the_switches_of_a_process_are_its_own_getrusage),
    ("the_waits_of_a_thread_are_its_schedstat", the_waits_of_a_thread_are_its_schedstat),
    ("threads_that_live_microseconds_are_counted_with_their_lifetime", short_threads_have_lifetimes),
    ("switches_between_threads_of_a_process_are_told_apart", same_process_switches_are_told_apart),
    ("nothing_is_lost_in_a_churn_of_threads_and_processes", churn::nothing_is_lost_in_a_churn),
    ("ends_while_nobody_reads_and_every_cpu_is_busy_are_exact", churn::ends_while_nobody_reads_are_exact),
    ("a_crowd_that_ends_at_once_while_nobody_reads_is_exact", churn::a_crowd_that_ends_at_once_is_exact),
    ("a_clone_beyond_rlimit_nproc_is_an_eagain_of_its_process", a_clone_beyond_nproc_is_an_eagain),
    ("an_exec_by_a_thread_that_is_not_the_leader_loses_nothing", an_exec_by_another_thread_loses_nothing),
    ("a_zombie_leader_and_its_live_thread_are_both_there", a_zombie_leader_is_there),
    ("threads_that_a_cgroup_froze_are_stopped", threads_that_a_cgroup_froze_are_stopped),
    ("children_that_ended_took_what_getrusage_says", children_that_ended_took_what_getrusage_says),
    ("an_io_uring_worker_is_a_thread_created", an_io_uring_worker_is_a_thread_created),
    ("a_process_that_changes_its_name_moves_on", a_process_that_changes_its_name_moves_on),
    ("a_hostile_name_breaks_neither_exposition_nor_json", a_hostile_name_breaks_nothing),
    ("the_kernel_stack_is_as_large_as_the_kernel_says", the_kernel_stack_is_as_large_as_the_kernel_says),
    ("all_switches_are_those_of_proc_stat", all_switches_are_those_of_proc_stat),
];

fn every_program_is_attached() -> Result<()> {
    let model = Probe::get()?.sample()?;
    for program in model.probe.programs.iter() {
        ensure!(program.is_attached(), "{} is not attached: {}", program.program, program.reason);
    }
    Ok(())
}

fn threads_created_and_joined_are_counted_exactly() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-threads", &["1000"])?;
    let created = workload.facts()?[0];
    let pid = workload.pid();
    probe.sample_until("the last thread's final record", |model| {
        let totals = process(model, pid).ok()?.totals;
        (totals.threads_exited >= created).then_some(())
    })?;
    let model = probe.sample()?;
    let totals = process(&model, pid)?.totals;
    ensure_equal("threads created", totals.threads_created, created)?;
    ensure_equal("threads exited", totals.threads_exited, created)?;
    ensure_equal("live threads", process(&model, pid)?.threads.total, 1)?;
    workload.finish()
}

/// Samples a workload that sleeps, and compares with what it says of itself when it wakes. Between its two reports it
/// may only block once, else something disturbed it and it is asked again.
///
/// getrusage lacks the last switch of each thread that ended: `__exit_signal` adds up a thread's switches before it
/// switches away for good. The thread's own counter, and `ctxt` of /proc/stat, have it, and so has the probe.
fn compare_switches(probe: &mut Probe, workload: &mut Workload, ended_threads: RangeInclusive<u64>) -> Result<()> {
    for _ in 0..15 {
        let before = workload.facts()?;
        let pid = workload.pid();
        wait_until_asleep(pid)?;
        let model = probe.sample()?;
        workload.go()?;
        let after = workload.facts()?;
        workload.go()?;
        if after[0] == before[0] + 1 && after[1] == before[1] {
            let totals = process(&model, pid)?.totals;
            let unseen = totals.voluntary_switches.checked_sub(after[0]);
            ensure!(
                unseen.is_some_and(|unseen| ended_threads.contains(&unseen)),
                "the probe says {} voluntary switches, getrusage {} without those of {ended_threads:?} ended threads",
                totals.voluntary_switches,
                after[0]
            );
            // One that ends may be preempted after it was added up.
            let unseen = totals.involuntary_switches.checked_sub(after[1]);
            ensure!(
                unseen.is_some_and(|unseen| unseen <= *ended_threads.end()),
                "the probe says {} involuntary switches, getrusage {}",
                totals.involuntary_switches,
                after[1]
            );
            return Ok(());
        }
    }
    bail!("the workload was disturbed 15 times in a row")
}

fn wait_until_asleep(pid: u32) -> Result<()> {
    for _ in 0..1000 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        if state == Some('S') {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    bail!("process {pid} does not sleep")
}

fn the_switches_of_a_process_are_its_own_getrusage() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-switches", &["300"])?;
    let pid = workload.pid();
    // The final records of its four threads.
    probe.sample_until("the threads' final records", |model| {
        (process(model, pid).ok()?.totals.threads_exited == 4).then_some(())
    })?;
    compare_switches(&mut probe, &mut workload, 4..=4)
}

fn the_waits_of_a_thread_are_its_schedstat() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-switches", &["2000"])?;
    let pid = workload.pid();
    workload.facts()?;
    wait_until_asleep(pid)?;
    let model = probe.sample()?;
    let schedstat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat"))?;
    let truth: Vec<u64> = schedstat.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let threads = probe.threads_of(pid)?;
    let thread = threads.iter().find(|thread| thread.tid == pid).context("the main thread is in the sample")?;
    let waited_ns = (thread.totals.wait_seconds * 1e9).round() as u64;
    ensure_equal("nanoseconds waited", waited_ns, truth[1])?;
    ensure_equal("runs", thread.totals.runs, truth[2])?;
    let cpu_ns = (thread.totals.cpu_seconds * 1e9).round() as u64;
    ensure_equal("nanoseconds on a CPU", cpu_ns, truth[0])?;
    // Its four sleepers ran 2,000 times each: enough to tell 1 %.
    let own = group(&model, "tp-switches").context("its group")?;
    let (events, runs) = (own.raw.waits.count(), own.totals.runs);
    let may_miss = if hides_init(&model) { runs / 100 } else { 0 };
    ensure!(events <= runs && events + may_miss >= runs, "{events} events in the histogram of {runs} runs");
    ensure_equal("histogram sum", own.raw.waited_ns, own.raw.counters.run_delay_ns)
}

fn short_threads_have_lifetimes() -> Result<()> {
    const COUNT: u64 = 200;
    let mut probe = Probe::get()?;
    let first = probe.sample()?;
    let before = group(&first, "tp-short").map_or(0, |group| group.totals.threads_exited);
    let mut workload = Workload::start("tp-short", &[&COUNT.to_string()])?;
    let at_most_ns = workload.facts()?[0];
    let model = probe.sample_until("the threads' final records", |model| {
        (group(model, "tp-short")?.totals.threads_exited >= before + COUNT).then(|| model.clone())
    })?;
    let own = group(&model, "tp-short").context("its group")?;
    ensure_equal("threads exited", own.totals.threads_exited, before + COUNT)?;
    ensure_lifetimes(own, &first, &model)?;
    let lived_ns = own.raw.lifetimes_ns;
    ensure!(
        lived_ns > 0 && lived_ns <= u128::from(at_most_ns),
        "the threads lived {lived_ns} ns, but were created and gone within {at_most_ns} ns"
    );
    ensure_equal("lost", lost(&model), lost(&first))?;
    workload.finish()
}

fn same_process_switches_are_told_apart() -> Result<()> {
    const ROUNDS: u64 = 2000;
    let mut probe = Probe::get()?;
    let count = |probe: &mut Probe, name: &str| -> Result<u64> {
        let totals = |model: &Model| group(model, name).map(|group| group.totals).unwrap_or_default();
        let before = totals(&probe.sample()?);
        let mut workload = Workload::start(name, &[&ROUNDS.to_string()])?;
        workload.facts()?;
        let after = probe.sample_until("the other's final record", |model| {
            Some(totals(model)).filter(|after| after.threads_exited > before.threads_exited)
        })?;
        workload.finish()?;
        Ok(after.same_process_switches - before.same_process_switches)
    };
    let threads = count(&mut probe, "tp-pingpong")?;
    let processes = count(&mut probe, "tp-pingproc")?;
    // Something else may run in between now and then.
    ensure!(
        (ROUNDS * 2 * 8 / 10..=ROUNDS * 2 + 100).contains(&threads),
        "{threads} same-process switches in {ROUNDS} rounds between threads"
    );
    ensure!(processes < 10, "{processes} same-process switches between two processes of one thread each");
    Ok(())
}

fn a_clone_beyond_nproc_is_an_eagain() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-nproc", &["25"])?;
    let failed = workload.facts()?[0];
    ensure!(failed > 0, "the workload was not limited");
    let model = probe.sample()?;
    let failures = process(&model, workload.pid())?.totals.clone_failures;
    ensure_equal("EAGAIN", failures.get(CloneErrno::Eagain), failed)?;
    ensure_equal("failures of any errno", failures.total(), failed)?;
    ensure_equal("limit in its record", process(&model, workload.pid())?.limits.rlimit_nproc, 1)?;
    workload.finish()
}

fn an_exec_by_another_thread_loses_nothing() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-exec", &[])?;
    workload.facts()?;
    let pid = workload.pid();
    let before = probe.sample()?;
    let old = process(&before, pid)?;
    ensure_equal("threads before the exec", old.threads.total, 2)?;
    workload.go()?;
    probe.sample_until("the exec and the old leader's final record", |model| {
        let now = process(model, pid).ok()?;
        (now.comm == "tp-execd" && now.totals.threads_exited == 1).then_some(())
    })?;
    // getrusage goes on across an exec, and so must the process's totals. The old leader is added up by the thread that
    // executes, which may be before or after its last switch.
    compare_switches(&mut probe, &mut workload, 0..=1)?;
    let after = probe.sample()?;
    let new = process(&after, pid)?;
    ensure_equal("start of the process", new.start_boottime_seconds, old.start_boottime_seconds)?;
    ensure_equal("records out of order", lost(&after), lost(&before))
}

fn a_zombie_leader_is_there() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-zombie", &[])?;
    workload.facts()?;
    let pid = workload.pid();
    let threads = probe.sample_until("the leader's end", |model| {
        let process = process(model, pid).ok()?;
        (process.threads.zombie == 1).then_some(process.threads)
    })?;
    ensure_equal("threads", threads.total, 2)?;
    workload.finish()
}

fn children_that_ended_took_what_getrusage_says() -> Result<()> {
    let mut probe = Probe::get()?;
    let own = std::process::id();
    let before = process(&probe.sample()?, own)?.children_cpu_seconds;
    let spin = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    ensure!(Command::new("sh").args(["-c", spin]).status()?.success(), "the child failed");
    let model = probe.sample()?;
    let process = process(&model, own)?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let truth = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
    let told = process.children_cpu_seconds;
    ensure!(
        (told - truth).abs() < 5e-6 && told > before,
        "{told} s of children, {truth} by getrusage, {before} before"
    );
    let interval = model.interval_seconds.context("an interval")?;
    let ratio = process.children_cpu_ratio.context("a rate")?;
    ensure!(
        (ratio * interval - (told - before)).abs() < 1e-6,
        "{ratio} CPUs over {interval} s are not {}",
        told - before
    );
    Ok(())
}

fn threads_that_a_cgroup_froze_are_stopped() -> Result<()> {
    let mut probe = Probe::get()?;
    let cgroup = Cgroup::unified("tp-frozen")?;
    let mut workload = Workload::start("tp-sleeper", &[])?;
    workload.facts()?;
    let pid = workload.pid();
    cgroup.add(pid)?;
    ensure_equal("stopped before", process(&probe.sample()?, pid)?.threads.stopped, 0)?;
    cgroup.set("cgroup.freeze", "1")?;
    probe.sample_until("it to be frozen", |model| (process(model, pid).ok()?.threads.stopped == 1).then_some(()))?;
    cgroup.set("cgroup.freeze", "0")?;
    probe.sample_until("it to go on", |model| (process(model, pid).ok()?.threads.stopped == 0).then_some(()))?;
    workload.finish()
}

fn an_io_uring_worker_is_a_thread_created() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-io-uring", &[])?;
    if workload.facts()?[0] == 0 {
        println!("io_uring is not available here: nothing to prove");
        return workload.finish();
    }
    let model = probe.sample()?;
    let totals = process(&model, workload.pid())?.totals;
    ensure!(totals.threads_created >= 1, "the worker was not counted: {totals:?}");
    workload.finish()
}

fn a_process_that_changes_its_name_moves_on() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-exec", &[])?;
    workload.facts()?;
    let pid = workload.pid();
    let model = probe.sample()?;
    let (old, switches) = (process(&model, pid)?.group.to_string(), process(&model, pid)?.totals.voluntary_switches);
    let in_old_group = group(&model, &old).context("its group")?.totals.voluntary_switches;
    ensure!(in_old_group >= switches, "its group has {in_old_group} of its {switches} switches");
    workload.go()?;
    probe.sample_until("the new name", |model| (process(model, pid).ok()?.comm == "tp-execd").then_some(()))?;
    let model = probe.sample()?;
    ensure_equal("group", process(&model, pid)?.group.to_string(), "tp-execd".to_owned())?;
    let left = group(&model, &old).context("its old group")?;
    ensure!(left.totals.voluntary_switches >= in_old_group, "the old group lost what was counted there");
    workload.go()
}

fn a_hostile_name_breaks_nothing() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-hostile", &[])?;
    workload.facts()?;
    let model = probe.sample()?;
    ensure_equal("comm", process(&model, workload.pid())?.comm.as_str(), "a\"b\\c\nd\u{fffd}e")?;
    let text = String::from_utf8(metrics::render(&model)?)?;
    ensure!(text.contains("{group=\"a\\\"b\\\\c\\nd\u{fffd}e\"}"), "the label is not escaped");
    for line in text.lines() {
        ensure!(line.starts_with('#') || line.starts_with("threadprobe_") || line.starts_with("process_"), "{line:?}");
    }
    let json = serde_json::to_string(&model)?;
    serde_json::from_str::<serde_json::Value>(&json)?;
    workload.finish()
}

/// KernelStack of /proc/meminfo is all kernel stacks; per thread it is between half and twice THREAD_SIZE, as the
/// counter lags and idle tasks have stacks too.
fn the_kernel_stack_is_as_large_as_the_kernel_says() -> Result<()> {
    let model = Probe::get()?.sample()?;
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("KernelStack:")).context("KernelStack")?;
    let all_kb: u64 = line.trim().trim_end_matches(" kB").parse()?;
    let per_thread = all_kb * 1024 / model.host.threads.total;
    let size = model.host.thread_cost.stack_bytes;
    ensure!(size.is_power_of_two() && (size / 2..size * 2).contains(&per_thread), "{size} bytes, meminfo {per_thread}");
    let depths = model.processes.iter().map(|process| process.memory.kernel_stack_depth_max_bytes);
    ensure!(
        depths.clone().any(|depth| depth > 0) && depths.clone().all(|depth| depth <= size),
        "depths beyond the stack"
    );
    Ok(())
}

/// All switches of all threads are `ctxt` of /proc/stat less the switches of the idle tasks, which are those into a
/// thread from idleness: between two samples the threads' switches can't exceed `ctxt`'s growth, and on a busy pinned
/// CPU that never idles they are nearly all of it.
fn all_switches_are_those_of_proc_stat() -> Result<()> {
    let mut probe = Probe::get()?;
    let switches = |model: &Model| model.host.totals.voluntary_switches + model.host.totals.involuntary_switches;
    let before = field_of_proc_stat("ctxt")?;
    let first = probe.sample()?;
    let after_first = field_of_proc_stat("ctxt")?;
    let mut workload = Workload::start("tp-pingpong", &["20000"])?;
    workload.facts()?;
    let exited = |model: &Model| group(model, "tp-pingpong").map_or(0, |group| group.totals.threads_exited);
    probe.sample_until("the other's final record", |model| (exited(model) > exited(&first)).then_some(()))?;
    let before_last = field_of_proc_stat("ctxt")?;
    let last = probe.sample()?;
    let after_last = field_of_proc_stat("ctxt")?;
    let ours = switches(&last) - switches(&first);
    let (at_least, at_most) = (before_last - after_first, after_last - before);
    ensure!(ours <= at_most, "the probe saw {ours} switches, /proc/stat at most {at_most}");
    ensure!(ours >= at_least * 8 / 10, "the probe saw {ours} switches of {at_least}, idle ones included");
    workload.finish()
}
