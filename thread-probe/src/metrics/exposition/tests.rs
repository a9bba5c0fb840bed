use std::{collections::BTreeMap, sync::Arc, time::Duration};

use thread_probe_ebpf::record::{
    self, Head, PART_END_SEEN, PART_ENDED, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS, Waits,
};

use super::*;
use crate::{
    bpf::{AttachedProgram, Source},
    grouping::{GroupBy, Grouper},
    ledger::Ledger,
    metrics::METRICS,
    model::{ConfigStatus, SampleFacts},
    sample::{HostCounters, Observation, ThreadCost, ThreadObservation},
    testing::alert,
};

/// A model of `processes` processes of one thread each, named by their comm, each of which did something.
fn model_of(comms: &[&[u8]]) -> Model {
    let mut ledger = Ledger::new(Grouper::new(GroupBy::Comm), 500, Duration::from_secs(600));
    ledger.begin_scan(1_000_000_000);
    for (tid, comm) in (1u32..).zip(comms) {
        let mut thread = record::Thread {
            head: Head { task: u64::from(tid), parts: PART_THREAD | PART_PROCESS | PART_WAITS | PART_STORAGE, tid },
            tgid: tid,
            start_boottime_ns: 1,
            process_start_ns: 1,
            stack_bytes: 16384,
            stack_depth_bytes: 600,
            ..record::Thread::default()
        };
        thread.comm[..comm.len()].copy_from_slice(comm);
        thread.counters.voluntary_switches = 7;
        thread.counters.run_delay_ns = 3_000_000;
        thread.counters.runs = 3;
        thread.counters.clone_failures[2] = 1;
        let mut waits = Waits::default();
        for wait_ns in [1024, 1025, 2_000_000_000] {
            waits.buckets[bucket_of(wait_ns)] += 1;
        }
        let observed =
            ThreadObservation { thread: &thread, process: Some(&record::Process::default()), waits: Some(&waits) };
        ledger.observe(Observation::Alive(observed));
        // Another of its threads has ended.
        let mut ended = thread;
        ended.head =
            Head { task: u64::from(tid) << 32, tid: tid + 10_000, parts: PART_THREAD | PART_ENDED | PART_END_SEEN };
        ended.ended_ns = 50_000;
        ended.counters = record::Counters::default();
        ledger.observe(Observation::Ended(ThreadObservation { thread: &ended, process: None, waits: None }));
    }
    ledger.finish_sample();
    let programs: Arc<[AttachedProgram]> =
        Arc::new([AttachedProgram { program: "sched_switch", source: Source::TpBtf, reason: String::new() }]);
    let facts = SampleFacts {
        time: std::time::SystemTime::now(),
        interval: None,
        duration: Duration::from_millis(3),
        threads: comms.len() as u64,
        group_by: GroupBy::Comm,
        counters: &HostCounters::default(),
        cost: ThreadCost { stack_bytes: 0, task_struct_bytes: 5840, task_struct_from_slab: true, probe_bytes: 760 },
        programs: &programs,
        config: ConfigStatus::loaded(std::time::SystemTime::UNIX_EPOCH),
    };
    Model::build(&mut ledger, &crate::limits::Evaluation::default(), &facts)
}

fn exposition_of(comms: &[&[u8]]) -> String {
    text_of(&model_of(comms))
}

fn text_of(model: &Model) -> String {
    String::from_utf8(render(model).unwrap_or_default()).unwrap_or_default()
}

/// The value of a series as the exposition has it.
fn series(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn every_metric_of_the_table_is_exposed_and_nothing_else() {
    let mut model = model_of(&[b"a"]);
    model.alerts = vec![alert(State::Firing, "a")];
    model.notifications = vec![NotificationCount { alertmanager: "http://a".into(), requests: 1, failed: 0 }];
    let text = text_of(&model);
    let exposed: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for metric in METRICS {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        assert_eq!(exposed.get(metric.name), Some(&kind.as_str()), "{}", metric.name);
    }
    let declared = |name: &str| METRICS.iter().any(|metric| metric.name == name) || name.starts_with("process_");
    assert!(exposed.keys().all(|name| declared(name)), "{exposed:?}");
}

#[test]
fn an_le_bound_counts_exactly_the_waits_up_to_it() {
    let text = exposition_of(&[b"a"]);
    let bucket =
        |le: &str| series(&text, &format!("threadprobe_runqueue_latency_seconds_bucket{{group=\"a\",le=\"{le}\"}}"));
    assert_eq!(bucket("0.000001024"), Some(1.0), "1024 ns is within, 1025 ns is not");
    assert_eq!(bucket("0.000004096"), Some(2.0));
    assert_eq!(bucket("1.073741824"), Some(2.0));
    assert_eq!(bucket("+Inf"), Some(3.0));
    assert_eq!(series(&text, "threadprobe_runqueue_latency_seconds_sum{group=\"a\"}"), Some(0.003));
    assert_eq!(text.matches("latency_seconds_bucket{group=\"a\"").count(), 14);
}

#[test]
fn a_hostile_name_is_escaped_and_stays_on_its_line() {
    let text = exposition_of(&[b"a\"b\\c\nd\xffe"]);
    assert_eq!(series(&text, "threadprobe_processes{group=\"a\\\"b\\\\c\\nd\u{fffd}e\"}"), Some(1.0));
    let is_series = |line: &str| line.starts_with("threadprobe_") || line.starts_with("process_");
    assert!(text.lines().all(|line| line.starts_with("# ") || is_series(line)), "{text}");
}

#[test]
fn failures_by_the_limit_errnos_are_there_before_the_first_one() {
    let text = exposition_of(&[b"a"]);
    let failures =
        |errno: &str| series(&text, &format!("threadprobe_clone_failures_total{{group=\"a\",errno=\"{errno}\"}}"));
    assert_eq!((failures("EAGAIN"), failures("ENOMEM")), (Some(0.0), Some(0.0)));
    assert_eq!((failures("EPERM"), failures("EINVAL")), (Some(1.0), None));
}

#[test]
fn an_alert_that_fires_is_one_series_whatever_its_limit_and_others_are_none() {
    let mut model = model_of(&[]);
    model.alerts = vec![alert(State::Firing, "/a"), alert(State::Firing, "/a"), alert(State::Firing, "/b")];
    model.alerts[1].limit = None;
    model.alerts.extend([alert(State::Pending, "/c"), alert(State::Resolved, "/d")]);
    model.alerts_suppressed = 7;
    let text = text_of(&model);
    let firing = |group| {
        let labels = format!("alert=\"ThreadLimitNear\",severity=\"critical\",group=\"{group}\"");
        text.matches(&format!("\nthreadprobe_alert_firing{{{labels}}} 1\n")).count()
    };
    assert_eq!(["/a", "/b", "/c", "/d"].map(firing), [1, 1, 0, 0]);
    assert_eq!(series(&text, "threadprobe_alerts_suppressed"), Some(7.0));
}

#[test]
fn requests_to_each_alertmanager_are_counted_by_its_url() {
    let mut model = model_of(&[]);
    model.notifications = vec![NotificationCount { alertmanager: "http://a".into(), requests: 5, failed: 2 }];
    let text = text_of(&model);
    assert_eq!(series(&text, "threadprobe_notifications_total{alertmanager=\"http://a\"}"), Some(5.0));
    assert_eq!(series(&text, "threadprobe_notifications_failed_total{alertmanager=\"http://a\"}"), Some(2.0));
}

#[test]
fn memory_is_threads_times_what_one_costs() {
    let text = exposition_of(&[b"a", b"a"]);
    assert_eq!(series(&text, "threadprobe_kernel_stack_bytes{group=\"a\"}"), Some(2.0 * 16384.0));
    assert_eq!(series(&text, "threadprobe_kernel_memory_bytes{group=\"a\"}"), Some(2.0 * (16384.0 + 5840.0)));
    assert_eq!(series(&text, "threadprobe_thread_kernel_bytes{part=\"stack\"}"), Some(16384.0));
    assert_eq!(series(&text, "threadprobe_kernel_stack_depth_max_bytes{group=\"a\"}"), Some(600.0));
}
