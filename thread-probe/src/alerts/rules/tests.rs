use std::collections::BTreeSet;

use super::*;
use thread_probe_ebpf::abi::time::TimeState;

use crate::{
    limits::{Foremost, Headroom, Limit, Refusers},
    model::{Activity, BlockedThread, CloneFailuresByLimit, CpuTaken, Memory, TakenBy, Times, UsableCpus},
    testing::{self, empty_model, idle_group, limit_use},
};

/// What the default rules find in a model: value, summary, advice, by alert and group.
fn found(model: &Model) -> Vec<(AlertName, String, Finding)> {
    let rules = Rules::default();
    let findings = Findings::of(&rules, model, BTreeSet::new());
    findings.iter().map(|(subject, finding)| (subject.alert, subject.group.to_string(), finding.clone())).collect()
}

fn only(model: &Model) -> (AlertName, String, Finding) {
    let mut all = found(model);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn of_limits(limits: &[LimitUse]) -> Model {
    let mut model = empty_model();
    model.limits.shared = limits.to_vec();
    model
}

fn of_group(group: Group) -> Model {
    let mut model = empty_model();
    model.interval_seconds = Some(5.0);
    model.groups = vec![group];
    model
}

fn service(used: u64) -> LimitUse {
    let path = "/system.slice/postgresql.service";
    let mut limit = limit_use((Limit::CgroupPids, Scope::Cgroup), path, used, 4915);
    limit.set_by = "TasksMax of postgresql.service".into();
    limit
}

#[test]
fn a_limit_says_what_where_how_much_and_what_to_raise() {
    let mut limit = service(4812);
    limit.exhaustion_seconds = Some(22.0 * 60.0);
    let comm = "postgres".into();
    limit.foremost = Some(Foremost { pid: 71, comm, threads: 4700, threads_grown_per_second: Some(0.08) });
    let all = found(&of_limits(&[limit]));
    let names: Vec<_> = all.iter().map(|(alert, group, _)| (*alert, group.as_str())).collect();
    let path = "/system.slice/postgresql.service";
    assert_eq!(names, [(AlertName::ThreadLimitNear, path), (AlertName::ThreadLimitExhaustionSoon, path)]);
    for (_, _, finding) in &all {
        assert_eq!(
            &*finding.summary,
            "4,812 of 4,915 threads of postgresql.service used (98 %), full in 22 min; process 71 (postgres) has 4,700, +4.8/min"
        );
    }
    assert_eq!(&*all[0].2.advice, "set TasksMax of postgresql.service to 9,624, or create fewer threads");
    assert_eq!(
        &*all[1].2.advice,
        "find out what creates threads; set TasksMax of postgresql.service to 9,624, or create fewer threads"
    );
}

#[test]
fn each_scope_is_named_by_what_it_holds_for() {
    for (limit, scope, name, group, summary) in [
        (Limit::ThreadsMax, Scope::Host, "host", "host", "9 of 10 threads of the host used (90 %)"),
        (Limit::PidMax, Scope::Host, "host", "host", "9 of 10 thread ids of the host used (90 %)"),
        (
            Limit::PidMax,
            Scope::PidNamespace,
            "4026532281",
            "pid namespace 4026532281",
            "9 of 10 thread ids of pid namespace 4026532281 used (90 %)",
        ),
        (Limit::Nproc, Scope::User, "alice", "user alice", "9 of 10 threads of user alice used (90 %)"),
        (Limit::CgroupPids, Scope::Cgroup, "/a/b", "/a/b", "9 of 10 threads of /a/b used (90 %)"),
        (Limit::CgroupMemory, Scope::Cgroup, "/a/b", "/a/b", "9 B of 10 B of memory of /a/b used (90 %)"),
        (Limit::Memory, Scope::Host, "host", "host", "9 B of 10 B of memory of the host used (90 %)"),
    ] {
        let (alert, of, finding) = only(&of_limits(&[limit_use((limit, scope), name, 9, 10)]));
        assert_eq!((alert, of.as_str(), &*finding.summary), (AlertName::ThreadLimitNear, group, summary));
    }
}

#[test]
fn memory_that_is_nearly_used_says_what_comes_before_threads_are_refused() {
    let memory = limit_use((Limit::Memory, Scope::Host), "host", 9, 10);
    let advice =
        "use less memory or fewer threads, or add memory: the kernel reclaims, then its OOM killer ends processes";
    assert_eq!(&*only(&of_limits(&[memory])).2.advice, advice);
}

#[test]
fn a_limit_of_one_thread_is_meant_to_be_full() {
    let of_user = |max| {
        let mut limit = limit_use((Limit::Nproc, Scope::User), "alice", max, max);
        limit.exhaustion_seconds = Some(60.0);
        limit
    };
    let of_cgroup = |max| limit_use((Limit::CgroupPids, Scope::Cgroup), "/hardened", max, max);
    assert_eq!(found(&of_limits(&[of_user(1), of_cgroup(1), of_cgroup(0)])), []);
    assert_eq!(found(&of_limits(&[of_user(2), of_cgroup(2)])).len(), 3);
}

#[test]
fn the_limit_of_a_process_is_its_groups_and_a_shared_one_is_not_told_twice() {
    let mut limit = limit_use((Limit::MaxMapCount, Scope::Process), "123 (java)", 65_000, 65_530);
    limit.exhaustion_seconds = Some(90.0);
    let mut group = idle_group("java");
    group.headroom = Some(Headroom { binding: limit.clone(), first_exhausted: Some(limit.clone()) });
    let (alert, of, finding) = only(&of_group(group.clone()));
    assert_eq!((alert, of.as_str()), (AlertName::ThreadLimitExhaustionSoon, "java"));
    assert_eq!(&*finding.summary, "65,000 of 65,530 mappings of process 123 (java) used (99 %), full in 90 s");
    limit.scope = Scope::Host;
    group.headroom = Some(Headroom { binding: limit.clone(), first_exhausted: Some(limit) });
    assert_eq!(found(&of_group(group)), []);
}

#[test]
fn of_a_users_limits_the_fuller_is_told() {
    let mut model = empty_model();
    let of_user = |max| limit_use((Limit::Nproc, Scope::User), "alice", 95, max);
    for order in [[100, 120], [120, 100]] {
        model.limits.shared = order.map(of_user).into();
        assert_eq!(only(&model).2.value, 0.95);
    }
}

#[test]
fn failed_clones_name_the_limit_that_refused_them() {
    let mut group = idle_group("postgres");
    group.interval_clone_failures = CloneFailuresByLimit::of([(Limit::CgroupPids, 1200)]);
    let mut model = of_group(group.clone());
    let (alert, _, finding) = only(&model);
    assert_eq!((alert, finding.value), (AlertName::CloneFailures, 240.0));
    assert_eq!(&*finding.summary, "1,200 clones of postgres refused in 5 s by its cgroup");
    let cgroup_pids = Some("/system.slice/postgresql.service".into());
    model.groups[0].clone_refused_by = Refusers { cgroup_pids, cgroup_memory: Some("/memory".into()) };
    let (_, _, finding) = only(&model);
    assert_eq!(&*finding.summary, "1,200 clones of postgres refused in 5 s by TasksMax of postgresql.service");
    assert_eq!(&*finding.advice, "raise TasksMax of postgresql.service, or find out what creates threads");
    group.interval_clone_failures = CloneFailuresByLimit::of([(Limit::Nproc, 1), (Limit::Unknown, 2)]);
    let mut summaries: Vec<_> = found(&of_group(group)).into_iter().map(|(_, _, finding)| finding.summary).collect();
    summaries.sort();
    let expected = [
        "1 clone of postgres refused in 5 s by RLIMIT_NPROC of its user",
        "2 clones of postgres failed in 5 s, and no limit was exhausted",
    ];
    assert_eq!(summaries.iter().map(|text| &**text).collect::<Vec<_>>(), expected);
}

#[test]
fn rates_of_a_group_are_told_by_what_they_cost() {
    let mut group = idle_group("nginx");
    let waits =
        |switches| Some(Rates { wait_p99_seconds: Some(0.3), switches_per_second: switches, ..Rates::default() });
    group.rates = waits(1.0);
    assert_eq!(found(&of_group(group.clone())), [], "who hardly runs does not matter");
    group.rates = waits(2.0);
    let (alert, _, finding) = only(&of_group(group.clone()));
    assert_eq!(alert, AlertName::RunQueueLatencyHigh);
    assert_eq!(&*finding.summary, "1 % of the waits for a CPU of threads of nginx last 300 ms or longer");
    group.rates = Some(Rates { switches_per_second: 300_000.0, ..Rates::default() });
    let (alert, _, finding) = only(&of_group(group.clone()));
    assert_eq!(alert, AlertName::ContextSwitchOverhead);
    let expected = "300,000 switches a second of nginx cost 0.60 CPUs, at 2.0us each, as assumed: \
                    thread-probe bench switch measures it";
    assert_eq!(&*finding.summary, expected);
    let short_lived =
        |ended| Some(Rates { threads_exited_per_second: ended, short_lived_ratio: 0.95, ..Rates::default() });
    group.rates = short_lived(4812.0);
    let (alert, _, finding) = only(&of_group(group.clone()));
    assert_eq!(alert, AlertName::ShortLivedThreads);
    assert!(finding.summary.starts_with("95 % of the 4,812 threads of nginx that end in a second"));
    assert!(finding.advice.contains("fewer processes"), "none was created as a thread: {finding:?}");
    group.rates = group.rates.map(|rates| Rates { threads_created_per_second: 4800.0, ..rates });
    assert!(only(&of_group(group.clone())).2.advice.contains("a pool of 5"));
    group.rates = short_lived(100.0);
    assert_eq!(found(&of_group(group.clone())), [], "few ends don't matter");
    group.rates = None;
    assert_eq!(found(&of_group(group)), [], "the first sample has no rates");
}

#[test]
fn the_deepest_kernel_stack_of_a_group_is_told() {
    let mut model = empty_model();
    model.host.thread_cost.stack_bytes = 16384;
    model.processes = [(1, 13_000), (2, 15_000), (3, 14_000)].map(|(pid, depth)| process(pid, depth)).into();
    let (alert, _, finding) = only(&model);
    assert_eq!((alert, finding.value), (AlertName::KernelStackDeep, 15_000.0 / 16384.0));
    assert_eq!(&*finding.summary, "14.6 KiB of 16.0 KiB of a kernel stack used (92 %) by process 2 (x)");
}

fn process(pid: u32, depth: u64) -> Process {
    Process {
        pid,
        comm: "x".to_owned(),
        group: "g".into(),
        memory: Memory { kernel_stack_depth_max_bytes: depth, ..Memory::default() },
        ..Process::default()
    }
}

#[test]
fn a_threshold_of_0_is_reached_by_anything_but_nothing() {
    assert!(AlertName::CloneFailures.reaches(0.2, 0.0));
    assert!(!AlertName::CloneFailures.reaches(0.0, 0.0));
    assert!(AlertName::ThreadLimitNear.reaches(1.0, 1.0));
    assert!(AlertName::ThreadLimitExhaustionSoon.reaches(0.0, 0.0));
    assert!(!AlertName::ThreadLimitNear.reaches(f64::NAN, 0.5));
}

#[test]
fn a_figure_is_found_until_it_is_behind_the_lowest_threshold_that_is_on() {
    let mut rules = Rules::default();
    let model = of_limits(&[limit_use((Limit::ThreadsMax, Scope::Host), "host", 77, 100)]);
    let count = |rules: &Rules| Findings::of(rules, &model, BTreeSet::new()).iter().count();
    assert_eq!(count(&rules), 1, "0.8 less 5 % is 0.76");
    rules.limit_use.warning = None;
    assert_eq!(count(&rules), 0, "0.9 less 5 % is 0.855");
    rules.limit_use = Rule { warning: Some(0.1), enabled: false, ..rules.limit_use };
    assert_eq!(count(&rules), 0);
}

/// A group of which so many threads on average run, are throttled and wait.
fn working(running: f64, throttled: f64, contended: f64) -> Group {
    let times = [
        (TimeState::Running, running),
        (TimeState::Throttled, throttled),
        (TimeState::WaitWakeup, contended / 3.0),
        (TimeState::WaitPreempted, contended / 1.5),
        (TimeState::Poll, 100.0),
    ];
    Group { rates: Some(Rates { time_ratio: Times::of(times), ..Rates::default() }), ..idle_group("java") }
}

fn taken(rates: &[(&str, f64)]) -> CpuTaken {
    rates.iter().map(|(by, ratio)| TakenBy { by: (*by).into(), seconds: 0.0, ratio: *ratio }).collect()
}

#[test]
fn what_of_its_work_a_group_may_not_do_is_told_by_who_keeps_it_from_it() {
    let (alert, _, finding) = only(&of_group(working(0.5, 1.5, 0.0)));
    assert_eq!((alert, finding.value), (AlertName::CpuThrottled, 0.75));
    let summary = "75 % of the work of java waited for a quota: 2.00 threads had work on average, 0.50 ran";
    assert_eq!(&*finding.summary, summary);
    let (alert, _, finding) = only(&of_group(working(0.5, 0.0, 1.5)));
    assert_eq!((alert, finding.value), (AlertName::CpuContended, 0.75));
    assert!(finding.advice.contains("cpu.weight"), "{}", finding.advice);
    let group =
        Group { cpu_taken: taken(&[("~throttled", 2.0), ("make", 0.9), ("~short", 0.6)]), ..working(0.5, 0.0, 1.5) };
    let (.., finding) = only(&of_group(group));
    assert!(finding.summary.ends_with("0.50 ran; make had the CPU for 60 % of that time"), "{}", finding.summary);
    assert!(finding.advice.ends_with("or let make run less"), "{}", finding.advice);
    let group = Group { cpu_taken: taken(&[("~self", 1.5)]), ..working(0.5, 0.0, 1.5) };
    let (.., finding) = only(&of_group(group));
    assert!(finding.summary.ends_with("its own threads had the CPU for 100 % of that time"), "{}", finding.summary);
    assert!(finding.advice.starts_with("let fewer of its threads"), "{}", finding.advice);
    let quota = UsableCpus { cpus: 1.0, quota_set_by: Some("cpu.max of /a".into()) };
    let group = Group { cpu_taken: taken(&[("make", 1.5)]), usable_cpus: quota, ..working(0.5, 0.0, 1.5) };
    let mut model = of_group(group);
    model.probe.tells_throttling = false;
    let (.., finding) = only(&model);
    assert!(!finding.summary.contains("make"), "it may be its own quota: {}", finding.summary);
    // Nearly all of it was done, or there was hardly any.
    assert_eq!(found(&of_group(working(0.9, 0.05, 0.05))), []);
    assert_eq!(found(&of_group(working(0.01, 0.04, 0.04))), []);
}

#[test]
fn who_has_more_work_than_cpus_is_told_both_numbers() {
    let usable_cpus = UsableCpus { cpus: 1.5, quota_set_by: Some("CPUQuota of a.service".into()) };
    let group = Group { usable_cpus, oversubscription: Some(8.0), ..working(11.8, 0.1, 0.1) };
    let (alert, _, finding) = only(&of_group(group));
    assert_eq!((alert, finding.value), (AlertName::ThreadsOversubscribed, 8.0));
    let summary = "12.0 threads of java had work on average for 1.50 CPUs (CPUQuota of a.service): 8.0 for each";
    assert_eq!(&*finding.summary, summary);
    assert!(
        finding.advice.starts_with("raise CPUQuota of a.service to 12.0 CPUs, or let 2 of its"),
        "{}",
        finding.advice
    );
    let quota = UsableCpus { cpus: 0.5, quota_set_by: Some("cpu.max of /a".into()) };
    let (alert, _, finding) = only(&of_group(Group { usable_cpus: quota, ..working(0.5, 1.5, 0.0) }));
    assert_eq!(alert, AlertName::CpuThrottled);
    assert!(finding.advice.starts_with("raise cpu.max of /a to 2.0 CPUs, or let 1 of its"), "{}", finding.advice);
}

fn of_process(process: Process) -> Model {
    Model { processes: vec![Process { group: "node".into(), ..process }], ..empty_model() }
}

#[test]
fn a_thread_that_nothing_can_end_is_told_with_its_id() {
    let blocked = |seconds| {
        let longest_blocked = Some(BlockedThread { tid: 12, comm: "nfsd".to_owned(), seconds });
        of_process(Process { longest_blocked, ..testing::process(7, "node") })
    };
    let (alert, _, finding) = only(&blocked(150.0));
    assert_eq!((alert, finding.value), (AlertName::ThreadStuck, 150.0));
    assert_eq!(&*finding.summary, "thread 12 (nfsd) of process 7 (node) has been in uninterruptible sleep for 2 min");
    assert_eq!(found(&blocked(60.0)), []);
}

#[test]
fn a_burst_is_told_of_who_used_to_sleep_and_not_of_who_computes() {
    let burst = |seconds, voluntary_switches| {
        let rates = Some(Rates { burst_max_seconds: Some(seconds), ..Rates::default() });
        let totals = Activity { cpu_seconds: 20.0 + seconds, voluntary_switches, ..Activity::default() };
        of_process(Process { totals, rates, ..testing::process(7, "node") })
    };
    let (alert, _, finding) = only(&burst(12.0, 2_000));
    assert_eq!((alert, finding.value), (AlertName::ThreadSpinning, 12.0));
    let summary =
        "a thread of process 7 (node) ran for 12 s without sleeping; before that, its threads slept after 10 ms";
    assert_eq!(&*finding.summary, summary);
    assert_eq!(found(&burst(12.0, 150)), [], "it slept after 133 ms before");
    assert_eq!(found(&burst(12.0, 99)), [], "it hardly ever slept");
    assert_eq!(found(&burst(9.0, 2_000)), []);
}

#[test]
fn long_waits_say_how_much_of_them_was_for_a_quota() {
    let told = |group: Group| {
        let rates = group.rates.map(|rates| Rates { wait_p99_seconds: Some(0.08), switches_per_second: 9.0, ..rates });
        let all = found(&of_group(Group { rates, ..group }));
        all.into_iter().find(|(alert, ..)| *alert == AlertName::RunQueueLatencyHigh).map(|(.., finding)| finding)
    };
    let texts = told(working(1.0, 0.03, 0.01)).map(|finding| (finding.summary, finding.advice));
    let (summary, advice) = texts.unwrap_or_default();
    let expected =
        "1 % of the waits for a CPU of threads of java last 80 ms or longer; 75 % of what they wait is for a quota";
    assert_eq!(&*summary, expected);
    assert!(advice.starts_with("raise cpu.max"), "{advice}");
    let without_ledger = told(idle_group("java")).map(|finding| finding.advice.to_string()).unwrap_or_default();
    assert!(without_ledger.starts_with("look at the quota"), "{without_ledger}");
}
