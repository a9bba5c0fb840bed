use super::*;
use crate::{
    model::Rates,
    testing::{alert, empty_model, limit_use, process},
    top::settings::Tree,
};

/// A sample at that second, of processes with these rates of switches.
fn sample(second: u64, switches: &[(u32, f64)]) -> Sample {
    let mut model = empty_model();
    model.time_unix_seconds = second as f64;
    model.processes = switches
        .iter()
        .map(|(pid, rate)| Process {
            rates: Some(Rates { switches_per_second: *rate, ..Rates::default() }),
            ..process(*pid, &format!("p{pid}"))
        })
        .collect();
    Sample { model, one: None, command_line: None }
}

fn app() -> App {
    let settings = Settings { process_sort: Sort::default(), ..Settings::default() };
    let mut app = App::new(settings, "test".to_owned());
    app.on_sample(sample(0, &[(1, 5.0), (2, 9.0), (3, 7.0)]));
    app
}

fn pids(app: &App) -> Vec<u32> {
    let processes = &app.model().map(|model| model.processes.clone()).unwrap_or_default();
    app.rows().iter().filter_map(|row| row.process(processes)).map(|process| process.pid).collect()
}

fn press(app: &mut App, keys: &str) -> Vec<Action> {
    keys.chars().map(|c| app.on_key(if c == '\n' { Key::Enter } else { Key::Char(c) })).collect()
}

#[test]
fn the_busiest_is_on_top_and_the_cursor_stays_with_its_process() {
    let mut app = app();
    assert_eq!(pids(&app), [2, 3, 1]);
    press(&mut app, "j");
    app.on_sample(sample(1, &[(1, 50.0), (2, 9.0), (3, 1.0)]));
    assert_eq!((pids(&app), app.processes_cursor().index()), (vec![1, 2, 3], 2));
    press(&mut app, "g");
    app.on_sample(sample(2, &[(1, 1.0), (2, 9.0), (3, 2.0)]));
    assert_eq!(app.processes_cursor().index(), 0);
}

#[test]
fn enter_asks_for_the_threads_of_the_process_and_esc_for_none() {
    let mut app = app();
    let interval = app.settings().interval;
    assert_eq!(press(&mut app, "\n"), [Action::Request(Request { pid: Some(2), interval })]);
    assert_eq!((app.view(), app.pid(), app.one().is_none()), (View::Process, Some(2), true));
    let threads = [(2, 1.0), (22, 3.0)].map(|(tid, rate)| Thread {
        tid,
        rates: Some(Rates { switches_per_second: rate, ..Rates::default() }),
        ..Thread::default()
    });
    let one = Some(OneProcess { threads: threads.into(), ..OneProcess::default() });
    app.on_sample(Sample { one, ..sample(1, &[(2, 9.0)]) });
    assert_eq!(
        app.thread_rows().iter().filter_map(|row| app.thread_of(row)).map(|t| t.tid).collect::<Vec<_>>(),
        [22, 2]
    );
    assert_eq!(app.on_key(Key::Esc), Action::Request(Request { pid: None, interval }));
    assert_eq!(app.view(), View::Processes);
}

#[test]
fn a_filter_holds_while_it_is_typed_and_a_wrong_one_changes_nothing() {
    let mut app = app();
    press(&mut app, "/p3");
    assert_eq!(pids(&app), [3]);
    press(&mut app, " nosuchcolumn>");
    assert!(matches!(app.overlay(), Overlay::Filter(LineEdit { error: Some(_), .. })));
    assert_eq!(pids(&app), [2, 3, 1], "until it is one again, what was in force before is");
    press(&mut app, "\n");
    assert!(matches!(app.overlay(), Overlay::Filter(_)), "Enter does not accept what is wrong");
    app.on_key(Key::Ctrl('w'));
    press(&mut app, "\n");
    assert_eq!((app.filter_text(), matches!(app.overlay(), Overlay::None)), ("p3", true));
    press(&mut app, "/4");
    assert!(pids(&app).is_empty());
    app.on_key(Key::Esc);
    assert_eq!((app.filter_text(), pids(&app)), ("p3", vec![3]), "nothing of what was not accepted is left");
    app.on_key(Key::Esc);
    assert_eq!((app.filter_text(), pids(&app)), ("", vec![2, 3, 1]));
}

#[test]
fn columns_are_chosen_moved_and_sorted_by() {
    let mut app = app();
    press(&mut app, "<");
    assert_eq!(app.settings().process_sort.column, "threads_created_per_second");
    press(&mut app, "cg\n");
    assert_eq!(app.settings().process_sort.column, "pid");
    assert_eq!(pids(&app), [1, 2, 3]);
    press(&mut app, "r");
    assert_eq!(pids(&app), [3, 2, 1]);
    press(&mut app, ">");
    assert_eq!(app.settings().process_sort.column, "user");
    press(&mut app, "cgj jj");
    assert_eq!(app.settings().process_columns[..3], ["pid", "comm", "threads"]);
    press(&mut app, "hh\n");
    assert_eq!(app.settings().process_columns[..3], ["pid", "threads", "comm"]);
    assert_eq!(app.settings().process_sort.column, "threads");
}

#[test]
fn while_paused_one_steps_through_what_was_and_goes_on_with_what_is() {
    let mut app = app();
    for second in 1..=100 {
        app.on_sample(sample(second, &[(1, 1.0)]));
    }
    let second = |app: &App| app.model().map(|model| model.time_unix_seconds);
    press(&mut app, " ");
    app.on_sample(sample(101, &[(1, 1.0)]));
    assert_eq!((second(&app), app.paused_seconds()), (Some(100.0), Some(1.0)));
    app.on_key(Key::Left);
    app.on_key(Key::Left);
    assert_eq!(second(&app), Some(98.0));
    press(&mut app, "[");
    assert_eq!(second(&app), Some(38.0));
    press(&mut app, "[[");
    assert_eq!((second(&app), pids(&app)), (Some(0.0), vec![2, 3, 1]));
    press(&mut app, "]");
    app.on_key(Key::Right);
    assert_eq!(second(&app), Some(61.0));
    press(&mut app, " ");
    assert_eq!((second(&app), app.paused_seconds()), (Some(101.0), None));
    app.on_key(Key::Left);
    assert_eq!(second(&app), Some(101.0), "only while paused");
}

#[test]
fn the_interval_goes_up_and_down_in_steps_and_stops_at_both_ends() {
    let mut app = app();
    let asked = |actions: Vec<Action>| match actions.as_slice() {
        [Action::Request(request)] => Some(request.interval.as_millis()),
        _ => None,
    };
    assert_eq!(asked(press(&mut app, "+")), Some(2000));
    assert_eq!(asked(press(&mut app, "-")), Some(1000));
    assert_eq!(press(&mut app, "--").len(), 2);
    assert_eq!(press(&mut app, "-"), [Action::None]);
}

#[test]
fn a_lost_connection_is_shown_until_a_sample_comes() {
    let mut app = app();
    app.on_lost("connection refused".to_owned());
    assert_eq!((app.lost(), pids(&app)), (Some("connection refused"), vec![2, 3, 1]));
    app.on_sample(sample(1, &[(1, 1.0)]));
    assert_eq!(app.lost(), None);
}

#[test]
fn the_nearest_limit_of_all_is_the_first_gauge_and_shown_once() {
    let mut app = app();
    let mut sample = sample(1, &[(1, 1.0)]);
    let threads_max = limit_use((Limit::ThreadsMax, Scope::Host), "host", 50, 100);
    let of_cgroup = limit_use((Limit::CgroupPids, Scope::Cgroup), "/a", 90, 100);
    let own = limit_use((Limit::MaxMapCount, Scope::Process), "1 (p1)", 60, 100);
    sample.model.limits.shared = vec![threads_max, of_cgroup];
    sample.model.processes[0].headroom =
        Some(crate::limits::Headroom { binding: own.clone(), first_exhausted: Some(own) });
    app.on_sample(sample.clone());
    let names = |limits: Vec<&LimitUse>| limits.iter().map(|limit| limit.limit.label()).collect::<Vec<_>>();
    assert_eq!(names(app.gauges().collect()), ["cgroup_pids", "threads_max"]);
    assert_eq!(names(app.limits().iter().collect()), ["threads_max", "cgroup_pids", "max_map_count"]);
    sample.model.limits.shared[0].used_ratio = 0.95;
    app.on_sample(sample);
    assert_eq!(names(app.gauges().collect()), ["threads_max"]);
}

#[test]
fn the_view_is_exported_as_it_is_filtered_and_sorted() {
    let mut app = app();
    press(&mut app, "/p3");
    press(&mut app, "\n");
    let Some(Action::Export(json)) = press(&mut app, "e").pop() else { unreachable!("an export") };
    let exported: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    assert_eq!((&exported["filter"], &exported["processes"][0]["pid"]), (&"p3".into(), &3.into()));
    assert_eq!(exported["processes"].as_array().map(Vec::len), Some(1));
    let mut with_alert = sample(1, &[(1, 1.0)]);
    with_alert.model.alerts = vec![alert(crate::model::alert::State::Firing, "/a")];
    app.on_sample(with_alert);
    press(&mut app, "3");
    let Some(Action::Export(json)) = press(&mut app, "e").pop() else { unreachable!("an export") };
    assert!(json.contains("\"alerts\"") && json.contains("ThreadLimitNear"), "{json}");
}

#[test]
fn a_cgroup_is_folded_by_enter_and_all_by_one_key() {
    let mut app = app();
    press(&mut app, "t");
    assert_eq!((app.settings().tree, app.rows().len()), (Tree::Cgroup, 4));
    assert_eq!(press(&mut app, "\n"), [Action::None]);
    assert_eq!(app.rows().len(), 1);
    press(&mut app, "O");
    assert_eq!(app.rows().len(), 4);
    press(&mut app, "O");
    assert_eq!(app.rows().len(), 1);
}

#[test]
fn kernel_threads_are_hidden_by_one_key() {
    let mut app = app();
    let mut sample = sample(1, &[(1, 1.0), (2, 2.0)]);
    sample.model.processes[1].is_kernel_thread = true;
    app.on_sample(sample);
    press(&mut app, "K");
    assert_eq!((pids(&app), app.matches()), (vec![1], 1));
    press(&mut app, "K");
    assert_eq!(pids(&app), [2, 1]);
}

#[test]
fn a_process_that_ended_is_shown_as_it_was_last_while_all_else_goes_on() {
    let mut app = app();
    press(&mut app, "\n");
    app.on_sample(sample(1, &[(1, 1.0), (2, 2.0)]));
    assert_eq!(app.ended_seconds(), None);
    app.on_sample(sample(2, &[(1, 1.0)]));
    app.on_sample(sample(3, &[(1, 1.0)]));
    assert_eq!((app.process().map(|process| process.pid), app.ended_seconds()), (Some(2), Some(2.0)));
    let second = app.model().map(|model| model.time_unix_seconds);
    assert_eq!((second, app.paused_seconds()), (Some(3.0), None), "nothing is paused");
    // Another process of the same pid is another one.
    let mut reused = sample(4, &[(2, 7.0)]);
    reused.model.processes[0].start_boottime_seconds = 4.0;
    app.on_sample(reused);
    assert_eq!(app.ended_seconds(), Some(3.0));
    app.on_key(Key::Esc);
    assert_eq!((app.view(), app.ended_seconds()), (View::Processes, None));
    press(&mut app, "\n");
    assert_eq!((app.process().map(|process| process.start_boottime_seconds), app.ended_seconds()), (Some(4.0), None));
}

/// Three processes in cgroups, whose threads grow by so many a second, and the limits of those cgroups.
fn growing() -> App {
    let mut app = App::new(Settings::default(), "test".to_owned());
    let mut sample = sample(1, &[(1, 9.0), (2, 8.0), (3, 7.0), (4, 0.0)]);
    for (process, (cgroup, created)) in
        sample.model.processes.iter_mut().zip([("/a", 1.0), ("/ab", 9.0), ("/a/b", 5.0), ("/a", 0.0)])
    {
        process.cgroup = Some(cgroup.into());
        process.rates.as_mut().map(|rates| rates.threads_created_per_second = created).unwrap_or_default();
    }
    let own = limit_use((Limit::MaxMapCount, Scope::Process), "3 (p3)", 60, 100);
    sample.model.limits.shared = vec![
        limit_use((Limit::ThreadsMax, Scope::Host), "host", 50, 100),
        limit_use((Limit::CgroupPids, Scope::Cgroup), "/a", 90, 100),
        limit_use((Limit::Nproc, Scope::User), "root", 5, 100),
        own,
    ];
    sample.model.alerts = vec![alert(crate::model::alert::State::Firing, "/a"), {
        AlertView { limit: None, scope: None, ..alert(crate::model::alert::State::Firing, "p2") }
    }];
    app.on_sample(sample);
    app
}

#[test]
fn enter_on_a_limit_leads_to_its_processes_the_fastest_growing_first_and_esc_back() {
    let mut app = growing();
    let on = |app: &mut App, limit: Limit| {
        press(app, "2g");
        let at = app.limits().iter().position(|use_| use_.limit == limit).unwrap_or(usize::MAX);
        press(app, &"j".repeat(at));
        app.on_key(Key::Enter)
    };
    assert_eq!(on(&mut app, Limit::CgroupPids), Action::None);
    assert_eq!((app.view(), pids(&app)), (View::Processes, vec![3, 1, 4]), "and that which is idle, too");
    press(&mut app, "r");
    assert_eq!(pids(&app), [4, 1, 3]);
    assert_eq!(app.settings(), &Settings::default(), "that order is not kept");
    assert!(matches!(app.on_key(Key::Enter), Action::Request(Request { pid: Some(4), .. })));
    app.on_key(Key::Esc);
    assert_eq!(pids(&app), [4, 1, 3], "back to where one came from");
    app.on_key(Key::Esc);
    assert_eq!((app.view(), app.within()), (View::Limits, None));
    on(&mut app, Limit::ThreadsMax);
    assert_eq!(pids(&app), [2, 3, 1, 4]);
    on(&mut app, Limit::Nproc);
    assert_eq!(pids(&app), [2, 3, 1, 4]);
    let own = on(&mut app, Limit::MaxMapCount);
    assert!(matches!(own, Action::Request(Request { pid: Some(3), .. })), "a process's own limit is the process");
}

#[test]
fn enter_on_an_alert_leads_to_the_processes_of_its_limit_or_its_group() {
    let mut app = growing();
    press(&mut app, "3\n");
    assert_eq!((app.view(), pids(&app)), (View::Processes, vec![3, 1, 4]));
    app.on_key(Key::Esc);
    assert_eq!(app.view(), View::Alerts);
    press(&mut app, "j\n");
    assert_eq!(pids(&app), [2]);
}

/// The comms and tids of the rows of threads.
fn thread_rows(app: &App) -> Vec<String> {
    let rows = app.thread_rows().iter().filter_map(|row| app.thread_of(row));
    rows.map(|thread| format!("{} {}", thread.comm, thread.tid)).collect()
}

#[test]
fn threads_of_one_name_are_one_row_that_opens_and_a_filter_shows_them_one_by_one() {
    use crate::model::{ThreadCounts, ThreadsOfName};
    let mut app = app();
    press(&mut app, "\n");
    let rates = |rate| Some(Rates { switches_per_second: rate, ..Rates::default() });
    let thread = |tid, comm: &str, rate| Thread { tid, comm: comm.to_owned(), rates: rates(rate), ..Thread::default() };
    let of_name = |name: &str, total, rate| ThreadsOfName {
        name: name.to_owned(),
        threads: ThreadCounts { total, sleeping: total, ..ThreadCounts::default() },
        rates: rates(rate),
        ..ThreadsOfName::default()
    };
    let one = OneProcess {
        threads: vec![thread(2, "main", 4.0), thread(21, "worker-1", 2.0), thread(22, "worker-2", 3.0)],
        threads_by_name: vec![of_name("main", 1, 4.0), of_name("worker-#", 2, 5.0)],
        ..OneProcess::default()
    };
    app.on_sample(Sample { one: Some(one), ..sample(1, &[(2, 9.0)]) });
    assert_eq!(thread_rows(&app), ["worker-# 0", "main 2"]);
    press(&mut app, "\n");
    assert_eq!(thread_rows(&app), ["worker-# 0", "worker-2 22", "worker-1 21", "main 2"]);
    press(&mut app, "jj");
    app.on_key(Key::Enter);
    assert_eq!(thread_rows(&app).len(), 4, "a thread alone has nothing to open");
    press(&mut app, "OO");
    assert_eq!(thread_rows(&app).len(), 4);
    press(&mut app, "O/sw>2.5\n");
    assert_eq!((thread_rows(&app), app.filter_text()), (vec!["main 2".to_owned(), "worker-2 22".to_owned()], ""));
    app.on_key(Key::Esc);
    assert_eq!((app.view(), thread_rows(&app).len()), (View::Process, 2), "first the filter goes");
}

#[test]
fn tabs_go_round_and_leave_the_process() {
    let mut app = app();
    press(&mut app, "\n");
    assert!(matches!(app.on_key(Key::Tab), Action::Request(Request { pid: None, .. })));
    let mut views = vec![app.view()];
    for _ in 0..2 {
        app.on_key(Key::Tab);
        views.push(app.view());
    }
    assert_eq!(views, [View::Limits, View::Alerts, View::Processes]);
    app.on_key(Key::BackTab);
    assert_eq!(app.view(), View::Alerts);
}

#[test]
fn any_key_does_something_sane_before_the_first_sample() {
    let mut app = App::new(Settings::default(), "test".to_owned());
    for c in (' '..='~').filter(|c| !matches!(c, 'q')) {
        assert_ne!(app.on_key(Key::Char(c)), Action::Quit);
        app.on_key(Key::Enter);
        app.on_key(Key::Esc);
    }
    for key in [Key::Up, Key::Down, Key::PageDown, Key::Home, Key::End, Key::Left, Key::Right, Key::Tab] {
        app.on_key(key);
    }
    assert_eq!(app.on_key(Key::Ctrl('c')), Action::Quit);
}

#[test]
fn advice_is_of_the_host_or_of_the_process_that_is_looked_at() {
    let mut app = app();
    assert!(app.findings().is_empty(), "{:?}", app.findings());
    let busy = |second| sample(second, &[(1, 5.0), (2, 90_000.0), (3, 60_000.0)]);
    app.on_sample(busy(1));
    let pids = |app: &App| app.findings().iter().map(|finding| finding.pid).collect::<Vec<_>>();
    assert_eq!(pids(&app), [2, 3]);
    press(&mut app, "j\n");
    assert_eq!(pids(&app), [3]);
    press(&mut app, "a");
    assert!(matches!(app.overlay(), Overlay::Advice { scroll: 0 }));
    app.set_scroll_end(3);
    app.on_key(Key::PageDown);
    assert!(matches!(app.overlay(), Overlay::Advice { scroll: 3 }));
    app.on_key(Key::Esc);
    assert!(matches!(app.overlay(), Overlay::None));
    // What a switch costs decides.
    let cheap = App::new(Settings::default(), "test".to_owned());
    let mut cheap = cheap.with_switch_cost(SwitchCost::Given(Duration::from_nanos(600)));
    cheap.on_sample(busy(1));
    assert_eq!(pids(&cheap), [2]);
}
