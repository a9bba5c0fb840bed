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
    let mut app = App::new(Settings::default(), "test".to_owned());
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
    assert_eq!(app.threads().map(|thread| thread.tid).collect::<Vec<_>>(), [22, 2]);
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
    with_alert.model.alerts = vec![alert(crate::alerts::view::State::Firing, "/a")];
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
fn a_process_that_ends_is_shown_as_it_was_last_until_one_goes_on() {
    let mut app = app();
    press(&mut app, "\n");
    app.on_sample(sample(1, &[(1, 1.0), (2, 2.0)]));
    app.on_sample(sample(2, &[(1, 1.0)]));
    assert_eq!((app.process().map(|process| process.pid), app.paused_seconds()), (Some(2), Some(1.0)));
    assert!(app.message().is_some_and(|said| said.contains("process 2 has ended")), "{:?}", app.message());
    app.on_sample(sample(3, &[(1, 1.0)]));
    assert_eq!(app.paused_seconds(), Some(2.0));
    press(&mut app, " ");
    assert!(app.process().is_none() && app.paused_seconds().is_none());
    app.on_sample(sample(4, &[(1, 1.0)]));
    assert_eq!(app.paused_seconds(), None, "that was told");
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
