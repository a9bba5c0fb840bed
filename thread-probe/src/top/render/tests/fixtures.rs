//! Samples with fixed figures.

use std::sync::Arc;

use thread_probe_ebpf::abi::{names::CloneErrno, time::TimeState};

use crate::{
    ledger::ThreadState,
    limits::{Foremost, Headroom, Limit, LimitUse, Scope},
    model::{
        Activity, Bucket, CloneFailures, CloneFailuresByLimit, IntervalWaits, LostCount, Memory, Model, OneProcess,
        Process, Rates, TakenBy, TakerProcess, Thread, ThreadCounts, ThreadsOfName, Times,
        alert::{AlertName, AlertView, Severity, State},
    },
    testing::{alert, empty_model, limit_use, process},
    top::feed::Sample,
};

/// 2026-01-02 03:04:05 UTC: when such views are looked at.
pub(super) const NOW: f64 = 1_767_323_045.0;

/// A host without a process, in its first sample.
pub(super) fn empty() -> Sample {
    let mut model = empty_model();
    model.time_unix_seconds = NOW;
    Sample { model, one: None, command_line: None }
}

fn named(mut limit: LimitUse, set_by: &str) -> LimitUse {
    limit.set_by = set_by.into();
    limit
}

fn with_room(limit: LimitUse, headroom_threads: u64) -> LimitUse {
    LimitUse { headroom_threads, ..limit }
}

fn growing(limit: LimitUse, exhaustion_seconds: f64) -> LimitUse {
    LimitUse { exhaustion_seconds: Some(exhaustion_seconds), growth_per_second: Some(1.0), ..limit }
}

fn leaking(limit: LimitUse) -> LimitUse {
    let comm = "java".into();
    let foremost = Foremost { pid: 4711, comm, threads: 4_400, threads_grown_per_second: Some(0.33) };
    LimitUse { foremost: Some(foremost), ..limit }
}

pub(super) fn limits() -> Vec<LimitUse> {
    let host = |limit, used, max| limit_use((limit, Scope::Host), "host", used, max);
    let cgroup = |limit, name, used, max| limit_use((limit, Scope::Cgroup), name, used, max);
    vec![
        named(host(Limit::ThreadsMax, 7_312, 62_821), "kernel.threads-max"),
        named(host(Limit::PidMax, 7_312, 4_194_004), "kernel.pid_max"),
        named(with_room(host(Limit::Memory, 13 << 30, 16 << 30), 41_312), "the host's memory"),
        named(
            leaking(growing(cgroup(Limit::CgroupPids, "/system.slice/java.service", 4_484, 4_915), 22.0 * 60.0)),
            "TasksMax of java.service",
        ),
        named(
            with_room(cgroup(Limit::CgroupMemory, "/system.slice/db.service", 3_543_348_019, 4 << 30), 1_204),
            "memory.max",
        ),
        named(
            growing(limit_use((Limit::Nproc, Scope::User), "alice", 812, 4_096), 40.0 * 3600.0),
            "RLIMIT_NPROC of user alice",
        ),
    ]
}

pub(super) fn rates(switches_per_second: f64, wait_seconds: f64) -> Rates {
    Rates {
        switches_per_second,
        voluntary_switches_per_second: switches_per_second * 0.9,
        involuntary_switches_per_second: switches_per_second * 0.1,
        same_process_ratio: 0.25,
        cpu_ratio: switches_per_second / 100_000.0,
        wait_ratio: wait_seconds * switches_per_second / 1000.0,
        wait_p50_seconds: Some(wait_seconds / 30.0),
        wait_p99_seconds: Some(wait_seconds),
        wait_max_seconds: Some(wait_seconds * 2.5),
        time_ratio: Times::of([
            (TimeState::Running, switches_per_second / 100_000.0),
            (TimeState::WaitWakeup, wait_seconds * switches_per_second / 1_000.0),
            (TimeState::Poll, 0.5),
            (TimeState::File, 0.1),
        ]),
        ..Rates::default()
    }
}

/// A hundred waits with these quantiles.
fn interval_waits(rates: &Rates) -> IntervalWaits {
    let ns = |seconds: Option<f64>| (seconds.unwrap_or(0.0) * 1e9) as u64;
    let [p50, p99, max] = [rates.wait_p50_seconds, rates.wait_p99_seconds, rates.wait_max_seconds].map(ns);
    serde_json::from_value(serde_json::json!([[p50, 90], [p99, 9], [max, 1]])).unwrap_or_default()
}

fn busy(pid: u32, parent_pid: u32, comm: &str, (user, cgroup): (&str, &str), rates: &Rates) -> Process {
    let total = u64::from(pid % 37 + 1);
    Process {
        parent_pid,
        user: user.into(),
        cgroup: Some(cgroup.into()),
        exe: comm.to_owned(),
        rates: Some(*rates),
        interval_waits: interval_waits(rates),
        threads: ThreadCounts { total, running: 1, sleeping: total - 1, ..ThreadCounts::default() },
        memory: Memory {
            kernel_stack_bytes: total * 16384,
            kernel_stack_depth_max_bytes: 2_912,
            kernel_memory_bytes: total * 22_984,
        },
        headroom: Some(Headroom { binding: limits()[1].clone(), first_exhausted: None }),
        ..process(pid, comm)
    }
}

/// A host on which a Java service is about to run out of threads.
pub(super) fn normal() -> Sample {
    let mut model = empty().model;
    model.interval_seconds = Some(1.0);
    model.host.rates = Some(Rates {
        threads_created_per_second: 130.0,
        processes_created_per_second: 4.0,
        clone_failures_per_second: 3.0,
        ..rates(152_300.0, 0.0123)
    });
    model.host.threads = ThreadCounts { total: 7_312, ..ThreadCounts::default() };
    model.limits.shared = limits();
    model.probe.cpu_ratio = Some(0.0031);
    model.probe.seconds_per_switch = Some(24e-9);
    model.probe.lost = vec![lost("no_storage", 0), lost("ring_full", 123)];
    model.processes = processes();
    model.alerts = alerts();
    Sample { model, one: None, command_line: None }
}

fn lost(reason: &'static str, count: u64) -> LostCount {
    LostCount { reason: reason.into(), count }
}

fn processes() -> Vec<Process> {
    let java_rates = Rates {
        threads_created_per_second: 120.0,
        clone_failures_per_second: 3.0,
        time_ratio: Times::of([
            (TimeState::Running, 1.4),
            (TimeState::WaitWakeup, 11.2),
            (TimeState::WaitPreempted, 7.1),
            (TimeState::Throttled, 200.0),
            (TimeState::Io, 2.0),
            (TimeState::Lock, 3_100.0),
            (TimeState::Poll, 1_160.0),
        ]),
        ..rates(140_000.0, 0.131)
    };
    let java = Process {
        threads: ThreadCounts { total: 4_484, running: 12, sleeping: 4_470, blocked: 2, ..ThreadCounts::default() },
        totals: java_totals(),
        headroom: Some(Headroom { binding: limits()[3].clone(), first_exhausted: Some(limits()[3].clone()) }),
        clone_refused_by: crate::limits::Refusers {
            cgroup_pids: Some("/system.slice/java.service".into()),
            cgroup_memory: None,
        },
        cpu_taken: [("stress-ng", 1.62), ("~self", 0.9)]
            .map(|(by, ratio)| TakenBy { by: by.into(), seconds: 40.0 * ratio, ratio })
            .into_iter()
            .collect(),
        ..busy(1200, 1, "java", ("app", "/system.slice/java.service"), &java_rates)
    };
    let postgres = Process {
        headroom: Some(Headroom { binding: limits()[4].clone(), first_exhausted: None }),
        ..busy(900, 1, "postgres", ("postgres", "/system.slice/db.service"), &rates(812.0, 0.0023))
    };
    let kernel = Process {
        is_kernel_thread: true,
        cgroup: None,
        headroom: None,
        ..busy(15, 2, "ksoftirqd/0", ("root", "/"), &rates(95.0, 0.00004))
    };
    vec![
        busy(1, 0, "systemd", ("root", "/init.scope"), &rates(12.0, 0.0001)),
        Process { parent_pid: 0, cgroup: None, is_kernel_thread: true, headroom: None, ..process(2, "kthreadd") },
        kernel,
        postgres,
        busy(905, 900, "postgres", ("postgres", "/system.slice/db.service"), &rates(4_120.0, 0.0162)),
        busy(906, 900, "checkpointer", ("postgres", "/system.slice/db.service"), &rates(2.5, 0.00021)),
        java,
        busy(2001, 1, "sshd", ("root", "/system.slice/ssh.service"), &Rates::default()),
        busy(2002, 2001, "bash", ("alice", "/user.slice/user-1000.slice/session-3.scope"), &rates(1.0, 0.00003)),
        busy(
            2003,
            2002,
            "stress-ng-switc",
            ("alice", "/user.slice/user-1000.slice/session-3.scope"),
            &rates(3_300.0, 0.0009),
        ),
    ]
}

fn java_totals() -> Activity {
    Activity {
        voluntary_switches: 91_234_567,
        involuntary_switches: 1_234_567,
        threads_created: 51_234,
        time_seconds: Times::of([
            (TimeState::Running, 12_345.6),
            (TimeState::Sleep, 0.9),
            (TimeState::Throttled, 98_765.4),
            (TimeState::Lock, 14_123_456.7),
            (TimeState::Poll, 9_876_543.2),
        ]),
        clone_failures: CloneFailures::of([(CloneErrno::Eagain, 412), (CloneErrno::Enomem, 3)]),
        clone_failures_by_limit: CloneFailuresByLimit::of([(Limit::CgroupPids, 410), (Limit::Unknown, 5)]),
        ..Activity::default()
    }
}

fn alerts() -> Vec<AlertView> {
    let near = AlertView {
        summary: "cgroup_pids of /system.slice/java.service: 91 % used, 4,484 of 4,915".into(),
        advice:
            "Raise TasksMax of java.service (systemctl edit java.service), or find out why it has so many threads: \
                 thread-probe top --pid 1200 shows them. It refuses new threads with EAGAIN once it is full."
                .into(),
        since: NOW - 1_330.0,
        ..alert(State::Firing, "/system.slice/java.service")
    };
    let waits = AlertView {
        alert: AlertName::RunQueueLatencyHigh,
        severity: Severity::Warning,
        group: "java".into(),
        limit: None,
        scope: None,
        summary: "java waits for a CPU: p99 131 ms".into(),
        advice: "More runnable threads than CPUs.".into(),
        since: NOW - 45.0,
        ..alert(State::Pending, "java")
    };
    let over = AlertView { since: NOW - 86_400.0 * 3.0, ..alert(State::Resolved, "/user.slice") };
    vec![near, waits, over]
}

/// Buckets with these counts, two in an octave, from this bound on.
fn waits(first_ns: f64, counts: &[u64]) -> Vec<Bucket> {
    let bucket = |(index, count): (usize, &u64)| {
        let octave = first_ns * 2f64.powi(index as i32 / 2);
        let bound = if index % 2 == 0 { octave } else { octave * 1.5 };
        Bucket { le_seconds: Some(bound / 1e9), count: *count }
    };
    counts.iter().enumerate().map(bucket).filter(|bucket| bucket.count > 0).collect()
}

/// The threads of that Java service.
pub(super) fn with_threads(mut sample: Sample, threads: u32) -> Sample {
    const COUNTS: [u64; 28] = [
        12, 80, 230, 900, 4_100, 9_000, 12_345, 15_000, 14_000, 9_100, 5_000, 2_200, 900, 700, 500, 300, 200, 90, 50,
        20, 5, 3, 0, 0, 1, 0, 2, 1,
    ];
    let thread = |index: u32| Thread {
        tid: 1200 + index,
        comm: if index == 0 { "java".to_owned() } else { format!("pool-{index}-thread") },
        state: if index % 5 == 1 { ThreadState::Running } else { ThreadState::Sleeping },
        kernel_stack_depth_bytes: 1_000 + index % 7 * 300,
        rates: Some(rates(f64::from(40_000 / (index + 1)), 0.2 / f64::from(index + 1))),
        wait_histogram: waits(1024.0, &[u64::from(index), 40, 7, 1]),
        ..Thread::default()
    };
    let mut applicable_limits =
        vec![limits()[3].clone(), limits()[0].clone(), limits()[2].clone(), limits()[1].clone()];
    applicable_limits.push(limit_use((Limit::MaxMapCount, Scope::Process), "1200 (java)", 9_100, 65_530));
    let lifetime = |le_seconds, count| Bucket { le_seconds, count };
    sample.one = Some(OneProcess {
        threads: (0..threads).map(thread).collect(),
        threads_by_name: Vec::new(),
        applicable_limits,
        process_wait_histogram: waits(512.0, &COUNTS),
        thread_lifetime_histogram: vec![
            lifetime(Some(0.001), 31_234),
            lifetime(Some(0.01), 2_000),
            lifetime(Some(1.0), 300),
            lifetime(Some(60.0), 17),
            lifetime(None, 3),
        ],
        cpu_takers: [(Some(2003), "stress-ng-switc", 1.62), (Some(1200), "java", 0.9), (None, "~throttled", 0.21)]
            .map(|(pid, comm, ratio)| TakerProcess { pid, comm: comm.to_owned(), ratio })
            .into(),
    });
    sample
}

/// A process whose 300 threads are of one name, but for numbers.
pub(super) fn with_pool() -> Sample {
    let mut sample = with_threads(normal(), 300);
    if let Some(one) = &mut sample.one {
        let threads = ThreadCounts { total: 300, running: 60, sleeping: 240, ..ThreadCounts::default() };
        one.threads.iter_mut().for_each(|thread| thread.comm = format!("order-exec-{}", thread.tid));
        one.threads_by_name = vec![ThreadsOfName {
            name: "order-exec-#".to_owned(),
            threads,
            rates: Some(rates(251_000.0, 0.2)),
            kernel_stack_depth_max_bytes: 2_800,
            wait_histogram: one.process_wait_histogram.clone(),
            ..ThreadsOfName::default()
        }];
    }
    sample
}

/// 2,000 processes.
pub(super) fn huge() -> Sample {
    let mut sample = normal();
    let one = |index: u32| {
        let cgroup = format!("/kubepods.slice/pod{}.slice/{}", index / 40, index / 4);
        let rates = rates(f64::from(index * 7_919 % 50_000), f64::from(index % 97) / 1000.0);
        busy(3_000_000 + index, 1, &format!("worker-{index}"), ("www-data", &cgroup), &rates)
    };
    sample.model.processes.extend((0..2_000).map(one));
    sample.model.alerts = (0..300).flat_map(|_| alerts()).collect();
    sample
}

/// Names and figures of someone who wants to break the view.
pub(super) fn hostile() -> Sample {
    let mut sample = with_threads(normal(), 3);
    let long: String = format!("/system.slice/{}", "very-long-name/".repeat(14));
    let names = [
        "a\u{1b}[31m\nb\tc",
        "\u{202e}txt.exe",
        "日本語日本語日本語",
        "e\u{301}\u{301}\u{301}clair",
        "👩‍👩‍👧‍👧 family",
        "",
        "~~~~~~~~~~~~~~~",
    ];
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, f64::MIN_POSITIVE, 0.0];
    for (index, (name, figure)) in names.into_iter().zip(odd).enumerate() {
        let mut process = busy(4_294_967_288 + index as u32, 1, name, (name, &long), &rates(figure, figure));
        let mut limit = limit_use((Limit::AddressSpace, Scope::Process), name, u64::MAX, u64::MAX);
        (limit.used_ratio, limit.exhaustion_seconds) = (figure, Some(figure));
        process.threads.total = u64::MAX / 100;
        process.headroom = Some(Headroom { binding: limit.clone(), first_exhausted: Some(limit.clone()) });
        sample.model.processes.push(process);
        sample.model.limits.shared.push(LimitUse {
            name: long.clone().into(),
            set_by: Arc::from(name),
            scope: Scope::Cgroup,
            ..limit
        });
        sample.model.alerts.push(AlertView {
            group: long.clone().into(),
            summary: name.into(),
            advice: name.into(),
            since: figure,
            ..alert(State::Firing, name)
        });
    }
    sample.model.host.system.name = "ho\u{1b}]0;st\u{7}".into();
    sample.model.host.rates = Some(rates(f64::INFINITY, f64::NAN));
    sample.model.probe.cpu_ratio = Some(f64::NAN);
    let one = sample.one.get_or_insert_default();
    one.process_wait_histogram.push(Bucket { le_seconds: Some(f64::NAN), count: u64::MAX / 2 });
    one.process_wait_histogram.push(Bucket { le_seconds: None, count: u64::MAX / 2 });
    one.thread_lifetime_histogram.push(Bucket { le_seconds: Some(-1.0), count: u64::MAX / 2 });
    for (thread, name) in one.threads.iter_mut().zip(names) {
        thread.comm = name.to_owned();
    }
    sample
}

/// The same some seconds later, with some up and down.
pub(super) fn later(sample: &Sample, seconds: u32) -> Sample {
    let mut sample = sample.clone();
    let model: &mut Model = &mut sample.model;
    model.time_unix_seconds += f64::from(seconds);
    let swing = 1.0 + f64::from(seconds * 37 % 11) / 10.0;
    if let Some(rates) = &mut model.host.rates {
        rates.switches_per_second *= swing;
        rates.wait_p99_seconds = rates.wait_p99_seconds.map(|wait| wait * swing * swing);
        rates.threads_created_per_second *= f64::from(seconds % 7);
        rates.clone_failures_per_second = if seconds > 25 { 3.0 } else { 0.0 };
        model.host.threads.total -= u64::from(60 - seconds.min(60)) * 40;
    }
    sample
}
