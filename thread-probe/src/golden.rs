//! A recorded sample and what the two machine-readable views make of it, to the letter: who scrapes /metrics or reads
//! the JSON must not notice that the code was rebuilt.

use std::{sync::Arc, time::Duration};

use thread_probe_ebpf::abi::{
    fold::{Folded, FoldedLeader, FoldedProcess},
    names::{CloneFailure, Lost},
    record::{
        self, Counters, Head, PART_END_SEEN, PART_ENDED, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS, Waits,
    },
};

use crate::{
    export::{json, metrics},
    ledger::{GroupBounds, Ledger},
    limits::{Foremost, Headroom, Limit, LimitUse, Scope, Unreadable},
    model::{
        Model, OneProcess, RecordingCounts,
        alert::{NotificationCount, State},
        one_process,
    },
    names::owner::Owner,
    sample::{AttachedProgram, FoldOf, HostCounters, Observation, Source, ThreadObservation},
    testing::{alert, build, by_comm, limit_use},
};

const SECOND_NS: u64 = 1_000_000_000;

/// A thread's record after it was switched `n` times.
fn record(tgid: u32, tid: u32, comm: &str, n: u64) -> record::ThreadPart {
    let mut thread = record::ThreadPart {
        head: Head { task: u64::from(tid) << 12, parts: PART_THREAD | PART_WAITS | PART_STORAGE, tid },
        tgid,
        flags: if tgid == 2 { 0x0020_0000 } else { 0 },
        start_boottime_ns: u64::from(tid) * 1000,
        process_start_ns: u64::from(tgid) * 1000,
        state: tid % 3,
        stack_bytes: 16384,
        stack_depth_bytes: 500 + tid,
        counters: Counters {
            voluntary_switches: 3 * n,
            involuntary_switches: n,
            run_delay_ns: n * 1_234_567,
            runs: 4 * n,
            cpu_ns: n * 10_000_001,
            same_process_switches: n / 2,
            time_ns: std::array::from_fn(|state| if state % 3 == 0 { n * state as u64 * 1_000_001 } else { 0 }),
            ..Counters::default()
        },
        ..record::ThreadPart::default()
    };
    thread.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    thread
}

fn waits(n: u32) -> Waits {
    let mut waits = Waits::default();
    for (at, bucket) in waits.buckets.iter_mut().enumerate() {
        *bucket = if at % 7 == 3 { n } else { 0 };
    }
    waits
}

fn observe(ledger: &mut Ledger, mut thread: record::ThreadPart, n: u32, ended_ns: Option<u64>) {
    let leads = thread.head.tid == thread.tgid;
    let mut process = record::ProcessPart {
        parent_tgid: 1,
        uid: 4_000_000_000,
        map_count: 40,
        cgroup_id: 77,
        css_set: 0,
        static_prio: 125,
        allowed_cpus: 2,
        children_cpu_ns: u64::from(n) * SECOND_NS,
        ..record::ProcessPart::default()
    };
    process.exe[..4].copy_from_slice(b"exe\xff");
    thread.head.parts |= if leads { PART_PROCESS } else { 0 };
    if let Some(ended_ns) = ended_ns {
        thread.head.parts |= PART_ENDED | PART_END_SEEN;
        thread.ended_ns = ended_ns;
    }
    let waits = waits(n);
    let observed = ThreadObservation { thread: &thread, process: leads.then_some(&process), waits: Some(&waits) };
    let observation = if ended_ns.is_some() { Observation::Ended(observed) } else { Observation::Alive(observed) };
    ledger.observe(observation, &mut by_comm());
}

/// Failed clones of a process, and ends that no scan has seen.
fn folded(ledger: &mut Ledger) {
    let mut sums = Folded { ends: 9, waited_ns: 12_345, waits: waits(2), lifetimes_ns: 9_000_000, ..Folded::default() };
    sums.lifetimes[2] = 9;
    for failure in CloneFailure::ALL {
        sums.clone_failures[failure as usize] = failure as u64 + 1;
    }
    sums.counters.threads_created = 9;
    ledger.observe_fold(
        FoldOf::Process(FoldedProcess { tgid: 10, reserved: 0, start_ns: 10_000 }),
        &sums,
        &mut by_comm(),
    );
    let mut leader = FoldedLeader { uid: 4_000_000_000, ..FoldedLeader::default() };
    leader.comm[..6].copy_from_slice(b"~short");
    ledger.observe_fold(FoldOf::Leader(leader), &Folded { ends: 3, ..sums }, &mut by_comm());
}

/// The second sample of a host with a server of threads, a kernel thread and a hostile name.
fn recorded() -> (Model, OneProcess) {
    let bounds = GroupBounds { max: 500, retention: Duration::from_mins(10), keep: Vec::new() };
    let mut ledger = Ledger::new(bounds);
    let programs: Arc<[AttachedProgram]> = Arc::new([
        AttachedProgram { program: "sched_switch".into(), source: Source::TpBtf, reason: String::new() },
        AttachedProgram { program: "clone_exit".into(), source: Source::Tracepoint, reason: "no kprobes".into() },
    ]);
    let mut counters =
        HostCounters { malformed_records: 1, missed_runs: 2, log_lines_left_out: 3, ..Default::default() };
    counters.lost[Lost::ImpossibleWait as usize] = 4;
    counters.clone_duration_buckets[40] = 5;
    counters.clone_duration_sum_ns = 123_456;
    ledger.begin_scan(100 * SECOND_NS);
    for (tgid, tid, comm) in [(2, 2, "kworker/0:1-x"), (10, 10, "server"), (10, 11, "pool-1"), (10, 12, "pool-2")] {
        observe(&mut ledger, record(tgid, tid, comm, 100), 50, None);
    }
    ledger.finish_sample(&mut by_comm());
    build(&ledger, &programs, &counters, None);
    ledger.next_interval();
    ledger.begin_scan(105 * SECOND_NS);
    ledger.observe(Observation::Unchanged { task: 2 << 12 }, &mut by_comm());
    for (tgid, tid, comm) in [(10, 10, "server"), (10, 11, "pool-1"), (20, 20, "a\"b\\\n\u{7f}~")] {
        observe(&mut ledger, record(tgid, tid, comm, 200 + u64::from(tid)), 100 + tid, None);
    }
    observe(&mut ledger, record(10, 12, "pool-2", 150), 60, Some(104 * SECOND_NS));
    folded(&mut ledger);
    ledger.finish_sample(&mut by_comm());
    let model = build(&ledger, &programs, &counters, Some(Duration::from_secs(5)));
    let more = one_process(&ledger, 10, ledger.epoch(), model.interval_seconds);
    (with_limits(model), more)
}

/// The same with limits of all kinds and alerts in all states.
fn with_limits(mut model: Model) -> Model {
    let cgroup = LimitUse { refused: Some(3), ..limit_use((Limit::CgroupPids, Scope::Cgroup), "/a", 49, 50) };
    let foremost = Foremost { pid: 10, comm: "server".into(), threads: 3, threads_grown_per_second: Some(0.5) };
    let leak = LimitUse {
        exhaustion_seconds: Some(60.0),
        growth_per_second: Some(0.25),
        foremost: Some(foremost),
        ..limit_use((Limit::Memory, Scope::Host), "host", 3, 4)
    };
    let others = Limit::ALL.map(|limit| limit_use((limit, Scope::Host), "host", 5, 7));
    model.limits.shared = others.into_iter().chain([leak.clone(), cgroup.clone()]).collect();
    model.limits.unreadable = vec![Unreadable { file: "pids.max".into(), count: 2 }];
    let headroom = Headroom { binding: cgroup, first_exhausted: Some(leak) };
    for group in &mut model.groups {
        group.owner = Some(Owner { unit: Some("a.service".into()), container: None, pod: Some("p".into()) });
        group.headroom = Some(headroom.clone());
    }
    for process in &mut model.processes {
        process.headroom = Some(headroom.clone());
    }
    model.alerts = [State::Pending, State::Firing, State::Resolved].map(|state| alert(state, "server")).to_vec();
    model.alerts_suppressed = 1;
    model.recording = Some(RecordingCounts { samples: 7, lost_samples: 1, bytes: 12345 });
    model.notifications = vec![NotificationCount { alertmanager: "http://a".into(), requests: 2, failed: 1 }];
    model.revision = "revision".into();
    model
}

fn assert_is(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn metrics_of_the_recorded_sample_are_as_they_were() -> prometheus::Result<()> {
    let text = String::from_utf8(metrics::render(&recorded().0)?).unwrap_or_default();
    // What the library says of this very process.
    let is_ours = |line: &&str| !line.contains("process_") || line.contains("threadprobe_");
    assert_is("metrics", &text.lines().filter(is_ours).collect::<Vec<_>>().join("\n"));
    Ok(())
}

#[test]
fn json_of_the_recorded_sample_is_as_it_was() -> serde_json::Result<()> {
    let (model, more) = recorded();
    for (name, value) in [("snapshot", json::to_vec(&model)?), ("process", json::to_vec(&more)?)] {
        // One field a line, in the order in which they are written.
        assert_is(name, &String::from_utf8(value).unwrap_or_default().replace(",\"", ",\n\""));
    }
    Ok(())
}
