mod fleet;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use thread_probe_ebpf::abi::{
    fold::{Folded, FoldedProcess},
    record::{self, Head, PART_END_SEEN, PART_ENDED, PART_PROCESS, PART_STORAGE, PART_THREAD, PART_WAITS, Waits},
    taken::{IDLE, Pair},
};

use super::*;
use crate::{
    export::metrics::{METRICS, Metric},
    ledger::{GroupBounds, Ledger},
    limits::{Headroom, LimitUse, Quota, Scope, Unreadable},
    model::{Rates, RecordingCounts, Times},
    names::owner::Owner,
    sample::{AttachedProgram, FoldOf, HostCounters, Observation, Source, ThreadObservation},
    testing::{alert, build, by_comm, limit_use},
};

/// A model of `processes` processes of one thread each, named by their comm, each of which did something.
fn model_of(comms: &[&[u8]]) -> Model {
    let mut ledger = Ledger::new(GroupBounds { max: 500, retention: Duration::from_mins(10), keep: Vec::new() });
    ledger.begin_scan(1_000_000_000);
    for (tid, comm) in (1u32..).zip(comms) {
        let mut thread = record::ThreadPart {
            head: Head { task: u64::from(tid), parts: PART_THREAD | PART_PROCESS | PART_WAITS | PART_STORAGE, tid },
            tgid: tid,
            start_boottime_ns: 1,
            process_start_ns: 1,
            stack_bytes: 16384,
            stack_depth_bytes: 600,
            ..record::ThreadPart::default()
        };
        thread.comm[..comm.len()].copy_from_slice(comm);
        thread.counters.voluntary_switches = 7;
        thread.counters.run_delay_ns = 3_000_000;
        thread.counters.runs = 3;
        thread.counters.time_ns[TimeState::Poll as usize] = 5_000_000;
        let mut waits = Waits::default();
        for wait_ns in [1024, 1025, 2_000_000_000] {
            waits.buckets[bucket_of(wait_ns)] += 1;
        }
        let observed =
            ThreadObservation { thread: &thread, process: Some(&record::ProcessPart::default()), waits: Some(&waits) };
        ledger.observe(Observation::Alive(observed), &mut by_comm());
        // As long as it has waited: nothing of it was short.
        ledger.observe_taken(Pair { waiter: tid, taker: IDLE }, 3_000_000);
        let mut failed = Folded::default();
        failed.clone_failures[2] = 1;
        ledger.observe_fold(
            FoldOf::Process(FoldedProcess { tgid: tid, reserved: 0, start_ns: 1 }),
            &failed,
            &mut by_comm(),
        );
        // Another of its threads has ended.
        let mut ended = thread;
        ended.head =
            Head { task: u64::from(tid) << 32, tid: tid + 10_000, parts: PART_THREAD | PART_ENDED | PART_END_SEEN };
        ended.ended_ns = 50_000;
        ended.counters = record::Counters::default();
        ledger.observe(
            Observation::Ended(ThreadObservation { thread: &ended, process: None, waits: None }),
            &mut by_comm(),
        );
    }
    ledger.add_taken(&|_| None, &mut by_comm());
    ledger.finish_sample(&mut by_comm());
    let programs: Arc<[AttachedProgram]> =
        Arc::new([AttachedProgram { program: "sched_switch".into(), source: Source::TpBtf, reason: String::new() }]);
    build(&ledger, &programs, &HostCounters::default(), None)
}

/// The same with limits of all kinds.
fn with_limits(mut model: Model) -> Model {
    let cgroup = LimitUse { refused: Some(3), ..limit_use((Limit::CgroupPids, Scope::Cgroup), "/a", 49, 50) };
    let leak = LimitUse { exhaustion_seconds: Some(60.0), ..limit_use((Limit::Memory, Scope::Host), "host", 3, 4) };
    let ids = limit_use((Limit::PidMax, Scope::Host), "host", 5, 6);
    model.limits.shared = vec![leak.clone(), ids, cgroup.clone()];
    model.cpu_quotas = vec![Quota { cgroup: "/a".into(), cpus: 0.5, ..Quota::default() }];
    // Of a user with two, the fuller comes first.
    let of_user = |max| limit_use((Limit::Nproc, Scope::User), "alice", 90, max);
    model.limits.shared.extend([of_user(100), of_user(1000)]);
    model.limits.unreadable = vec![Unreadable { file: "pids.max".into(), count: 2 }];
    for group in &mut model.groups {
        group.owner = Some(Owner { unit: Some("a.service".into()), container: None, pod: Some("p".into()) });
        group.headroom = Some(Headroom { binding: cgroup.clone(), first_exhausted: Some(leak.clone()) });
    }
    model
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
fn every_metric_of_the_table_is_exposed_in_its_order_and_nothing_else() {
    let mut model = with_limits(model_of(&[b"a"]));
    model.host.rates = Some(Rates { time_ratio: Times::of([(TimeState::Running, 1.0)]), ..Rates::default() });
    model.alerts = vec![alert(State::Firing, "a")];
    model.notifications = vec![NotificationCount { alertmanager: "http://a".into(), requests: 1, failed: 0 }];
    model.recording = Some(RecordingCounts::default());
    let text = text_of(&model);
    let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# ")).collect();
    let (of_table, of_process) = heads.split_at(heads.len().min(2 * METRICS.len()));
    for (metric, head) in METRICS.iter().zip(of_table.chunks(2)) {
        let Metric { name, help, kind, .. } = metric;
        let kind = format!("{kind:?}").to_lowercase();
        assert_eq!(head, [format!("# HELP {name} {help}"), format!("# TYPE {name} {kind}")]);
    }
    assert!(
        !of_process.is_empty() && of_process.iter().all(|head| head[7..].starts_with("process_")),
        "{of_process:?}"
    );
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
fn a_count_is_told_to_the_last_digit() {
    let mut model = model_of(&[b"a"]);
    model.groups[0].raw.counters.voluntary_switches = u64::MAX;
    model.groups[0].raw.counters.cpu_ns = 1_500_000_000;
    let text = text_of(&model);
    assert!(text.contains("threadprobe_context_switches_total{group=\"a\",kind=\"voluntary\"} 18446744073709551615\n"));
    assert_eq!(series(&text, "threadprobe_cpu_seconds_total{group=\"a\"}"), Some(1.5));
}

#[test]
fn a_hostile_name_is_escaped_and_stays_on_its_line() {
    let text = exposition_of(&[b"a\"b\\c\nd\xffe"]);
    assert_eq!(series(&text, "threadprobe_processes{group=\"a\\\"b\\\\c\\nd\u{fffd}e\"}"), Some(1.0));
    let is_series = |line: &str| line.starts_with("threadprobe_") || line.starts_with("process_");
    assert!(text.lines().all(|line| line.starts_with("# ") || is_series(line)), "{text}");
}

#[test]
fn failures_of_the_host_are_there_before_the_first_one_and_those_of_a_group_after_it() {
    let mut model = model_of(&[b"a"]);
    let failures = |text: &str, labels: &str| series(text, &format!("threadprobe_{labels}"));
    let text = text_of(&model);
    let by_cgroup = "clone_failures_total{errno=\"EAGAIN\",limit=\"cgroup_pids\"}";
    assert_eq!(failures(&text, &format!("host_{by_cgroup}")), Some(0.0));
    assert_eq!(failures(&text, "host_clone_failures_total{errno=\"EPERM\",limit=\"\"}"), Some(0.0));
    let of_group = |limit| format!("clone_failures_total{{group=\"a\",errno=\"EAGAIN\",limit=\"{limit}\"}}");
    assert_eq!(failures(&text, &of_group("pid_max")), Some(1.0), "what the record has");
    assert_eq!(failures(&text, &of_group("cgroup_pids")), None);
    model.groups[0].raw.clone_failures[CloneFailure::CgroupPids as usize] = 5;
    assert_eq!(failures(&text_of(&model), &of_group("cgroup_pids")), Some(5.0));
}

#[test]
fn limits_are_exported_with_what_they_bind() {
    let text = text_of(&with_limits(model_of(&[b"a"])));
    let value = |name: &str| series(&text, &format!("threadprobe_{name}"));
    assert_eq!(
        (value("limit_used_bytes{limit=\"memory\"}"), value("limit_max_bytes{limit=\"memory\"}")),
        (Some(3.0), Some(4.0))
    );
    assert_eq!(value("cgroup_pids_max{cgroup=\"/a\"}"), Some(50.0));
    assert_eq!(value("cgroup_pids_failures_total{cgroup=\"/a\"}"), Some(3.0));
    assert_eq!(value("user_threads_max{user=\"alice\"}"), Some(100.0), "the lowest of the user's limits");
    assert_eq!(text.matches("threadprobe_user_threads_max{").count(), 1);
    assert_eq!(value("headroom_threads{group=\"a\",limit=\"cgroup_pids\"}"), Some(1.0));
    assert!(value("headroom_ratio{group=\"a\"}").is_some_and(|free| (free - 0.02).abs() < 1e-9));
    assert_eq!(value("exhaustion_seconds{group=\"a\",limit=\"memory\"}"), Some(60.0));
}

#[test]
fn whose_a_group_is_and_whose_a_cgroup_is_are_labels_and_empty_where_it_is_nobodys() {
    let mut model = with_limits(model_of(&[b"a"]));
    let text = text_of(&model);
    let value = |text: &str, name: &str| series(text, &format!("threadprobe_{name}"));
    let of_group = "group_info{group=\"a\",unit=\"a.service\",container=\"\",pod=\"p\"}";
    assert_eq!(value(&text, of_group), Some(1.0));
    assert_eq!(value(&text, "cgroup_info{cgroup=\"/a\",unit=\"\",container=\"\",pod=\"\"}"), Some(1.0));
    model.groups[0].owner = None;
    assert!(!text_of(&model).contains("threadprobe_group_info"), "of a group that no cgroup names");
}

#[test]
fn no_more_cgroups_are_exported_than_there_may_be_groups_and_the_fullest_first() {
    let mut model = model_of(&[]);
    let cgroup = |used: u64| limit_use((Limit::CgroupPids, Scope::Cgroup), &format!("/{used}"), used, 1000);
    model.limits.shared = (0..model.max_groups as u64 + 7).rev().map(cgroup).collect();
    let text = text_of(&model);
    assert_eq!(text.matches("threadprobe_cgroup_pids_used{").count(), model.max_groups);
    assert_eq!(series(&text, "threadprobe_cgroup_pids_used{cgroup=\"/506\"}"), Some(506.0));
    assert_eq!(series(&text, "threadprobe_limits_left_out{scope=\"cgroup\"}"), Some(7.0));
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
