mod fixtures;

use insta::assert_snapshot;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use super::*;
use crate::top::{app::Key, feed::Sample, settings::Settings};

const COLOR: Theme = Theme { color: ColorMode::Ansi16, glyphs: Glyphs::Utf8 };
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];

/// An app after half a minute of such samples, and then these keys.
fn app(sample: &Sample, keys: &[Key]) -> App {
    let mut app = App::new(Settings::default(), "this host's eBPF".to_owned());
    for second in 0..30 {
        app.on_sample(fixtures::later(sample, second));
    }
    for key in keys {
        app.on_key(*key);
    }
    // What a key asked for is there with the next sample.
    app.on_sample(fixtures::later(sample, 30));
    app
}

fn chars(text: &str) -> Vec<Key> {
    text.chars().map(|c| if c == '\n' { Key::Enter } else { Key::Char(c) }).collect()
}

fn drawn(app: &App, theme: &Theme, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, theme)).unwrap();
    terminal.backend().buffer().clone()
}

/// The picture as text, without the blanks at the ends of lines.
fn picture(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.content.chunks(usize::from(buffer.area.width)) {
        let mut line = String::new();
        let mut hidden = 0;
        for cell in row {
            // A wide character hides the cell behind it.
            if hidden == 0 {
                line.push_str(cell.symbol());
            }
            hidden = if hidden > 0 { hidden - 1 } else { text::width(cell.symbol()).saturating_sub(1) };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Pictures of an app in both sizes.
fn assert_pictures(name: &str, app: &App) {
    for (width, height) in SIZES {
        assert_snapshot!(format!("{name}_{width}x{height}"), picture(&drawn(app, &COLOR, (width, height))));
    }
}

/// Every view of a sample.
fn assert_views(name: &str, sample: &Sample) {
    assert_pictures(&format!("{name}_processes"), &app(sample, &[]));
    assert_pictures(&format!("{name}_tree"), &app(sample, &chars("t")));
    assert_pictures(&format!("{name}_process"), &app(sample, &chars("/java\n\n")));
    assert_pictures(&format!("{name}_limits"), &app(sample, &chars("2")));
    assert_pictures(&format!("{name}_alerts"), &app(sample, &chars("3")));
    assert_pictures(&format!("{name}_advice"), &app(sample, &chars("a")));
}

#[test]
fn a_click_chooses_a_row_the_next_one_opens_it_and_headings_and_views_answer() {
    let mut app = app(&fixtures::normal(), &[]);
    let place = |app: &App, text: &str| {
        let picture = picture(&drawn(app, &COLOR, (120, 30)));
        let mut lines = picture.lines().enumerate();
        let found = lines.find_map(|(row, line)| Some((row, line[..line.find(text)?].chars().count())));
        assert!(found.is_some(), "{text} is not in\n{picture}");
        let (row, column) = found.unwrap_or_default();
        Key::Click(column as u16, row as u16)
    };
    let name = "stress-ng-switc";
    app.on_key(place(&app, name));
    assert_eq!((app.view(), app.processes_cursor().index()), (View::Processes, 3));
    app.on_key(place(&app, name));
    assert_eq!((app.view(), app.process().map(|process| &*process.comm)), (View::Process, Some(name)));
    app.on_key(place(&app, "2 Limits"));
    assert_eq!(app.view(), View::Limits);
    app.on_key(place(&app, "1 Processes"));
    app.on_key(place(&app, "THR"));
    assert_eq!(app.settings().process_sort.column, "threads");
    app.on_key(Key::Click(999, 999));
    app.on_key(Key::Home);
    app.on_key(Key::WheelDown);
    assert_eq!(app.processes_cursor().index(), 3);
}

#[test]
fn a_host_about_to_run_out_of_threads_looks_like_this() {
    assert_views("normal", &fixtures::with_threads(fixtures::normal(), 300));
}

#[test]
fn an_empty_host_looks_like_this() {
    assert_views("empty", &fixtures::empty());
}

#[test]
fn a_huge_host_looks_like_this() {
    assert_views("huge", &fixtures::with_threads(fixtures::huge(), 20_000));
}

#[test]
fn a_hostile_host_looks_like_this() {
    assert_views("hostile", &fixtures::hostile());
}

#[test]
fn what_is_in_front_of_a_view_looks_like_this() {
    let sample = fixtures::normal();
    assert_pictures("overlay_help", &app(&sample, &chars("?")));
    assert_pictures("overlay_columns", &app(&sample, &chars("c")));
    assert_pictures("overlay_filter", &app(&sample, &chars("/user:app")));
    assert_pictures("overlay_filter_error", &app(&sample, &chars("/nosuch>1")));
}

#[test]
fn states_besides_a_sample_look_like_this() {
    let mut waiting = App::new(Settings::default(), "http://127.0.0.1:10420".to_owned());
    assert_pictures("waiting", &waiting);
    waiting.on_lost("http://127.0.0.1:10420: connection refused".to_owned());
    assert_pictures("waiting_lost", &waiting);
    let mut paused = app(&fixtures::normal(), &chars(" [["));
    paused.on_sample(fixtures::later(&fixtures::normal(), 72));
    paused.on_lost("the daemon has closed the connection".to_owned());
    assert_pictures("paused_lost", &paused);
    paused.on_key(Key::Enter);
    assert_pictures("paused_process", &paused);
    let mut thread = app(&fixtures::with_threads(fixtures::normal(), 9), &[Key::Enter]);
    thread.on_key(Key::Down);
    assert_pictures("thread", &thread);
    let mut ended = app(&fixtures::with_threads(fixtures::normal(), 9), &chars("/java\n\n"));
    let mut without = fixtures::later(&fixtures::normal(), 33);
    without.model.processes.retain(|process| process.comm != "java");
    ended.on_sample(Sample { one: None, ..without });
    assert_pictures("ended", &ended);
    assert_pictures("pool", &app(&fixtures::with_pool(), &chars("/java\n\n")));
    assert_pictures("within", &app(&fixtures::normal(), &chars("2jjj\n")));
    assert_pictures("time", &app(&fixtures::normal(), &chars("w")));
    assert_pictures("time_thread", &app(&fixtures::with_pool(), &chars("/java\n\nw")));
}

/// The cell where a text begins.
fn at<'a>(buffer: &'a Buffer, text: &str) -> &'a Cell {
    let width = usize::from(buffer.area.width);
    let row = |cells: &[Cell]| cells.iter().map(Cell::symbol).collect::<String>();
    let lines: Vec<String> = buffer.content.chunks(width).map(row).collect();
    let found = lines.iter().enumerate().find_map(|(y, line)| Some((y, line[..line.find(text)?].chars().count())));
    assert!(found.is_some(), "{text} is not in\n{}", lines.join("\n"));
    let (y, x) = found.unwrap_or_default();
    &buffer.content[y * width + x]
}

#[test]
fn colour_says_what_is_bad_and_nothing_else() {
    let sample = fixtures::with_threads(fixtures::normal(), 5);
    let buffer = drawn(&app(&sample, &[]), &COLOR, (200, 60));
    let color = |text| at(&buffer, text).fg;
    assert_eq!([color("91 % cgroup_pids"), color("82 % cgroup_memory")], [Color::Red, Color::Yellow]);
    assert_eq!([color("131ms"), color("16.2ms"), color("2.3ms")], [Color::Red, Color::Yellow, Color::Reset]);
    assert_eq!(
        [color("failed clones/s 3"), color("1 alert fires"), color("lost 123")],
        [Color::Red, Color::Red, Color::Yellow]
    );
    assert_eq!([color("switches/s"), color("postgres"), color("0 % pid_max")], [Color::Reset; 3]);
    let alerts = drawn(&app(&sample, &chars("3")), &COLOR, (80, 24));
    assert_eq!([at(&alerts, "critical firing").fg, at(&alerts, "warning").fg], [Color::Red, Color::Yellow]);
    assert_eq!(at(&alerts, "critical resolved").fg, Color::Reset);
}

#[test]
fn the_row_of_the_cursor_and_the_sorted_column_are_reversed_and_what_does_nothing_is_dim() {
    let app = app(&fixtures::normal(), &[chars("cg\n"), vec![Key::Down]].concat());
    let buffer = drawn(&app, &COLOR, (80, 24));
    let has = |text, modifier| at(&buffer, text).modifier.contains(modifier);
    let cursor = app.processes_cursor().index();
    assert_eq!(cursor, 1);
    let first = |row: u16| buffer[(79, 10 + row)].modifier.contains(Modifier::REVERSED);
    assert_eq!([first(0), first(1), first(2)], [false, true, false]);
    assert!(has("THR/s", Modifier::BOLD));
    assert!(buffer.content.iter().any(|cell| cell.symbol() == "0" && cell.modifier.contains(Modifier::DIM)));
    assert_eq!(at(&buffer, "▲PID").modifier, Modifier::BOLD | Modifier::REVERSED);
}

#[test]
fn the_help_scrolls_to_its_end_and_back_at_once() {
    let mut app = app(&fixtures::normal(), &[Key::Char('?')]);
    let end = |app: &App| picture(&drawn(app, &COLOR, (80, 24))).contains("FULL IN");
    assert!(!end(&app));
    app.on_key(Key::End);
    app.on_key(Key::Down);
    assert!(end(&app));
    app.on_key(Key::Up);
    app.on_key(Key::Up);
    assert!(!end(&app), "not one line further than its end");
}

#[test]
fn where_columns_do_not_fit_the_names_and_what_is_sorted_by_stay() {
    let mut app = app(&fixtures::normal(), &[]);
    let headings = |app: &App, width| {
        let picture = picture(&drawn(app, &COLOR, (width, 24)));
        picture.lines().nth(9).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(headings(&app, 50), "PID COMM THR SW/s WAIT p99");
    // Choosing columns: the last one is what it is sorted by.
    chars("cG").into_iter().for_each(|key| drop(app.on_key(key)));
    chars(" \n").into_iter().for_each(|key| drop(app.on_key(key)));
    assert_eq!(headings(&app, 50), "PID COMM THR SW/s ▼LOSS%");
    app.on_key(Key::Right);
    app.on_key(Key::Right);
    // Threads of this host are blocked.
    assert_eq!(headings(&app, 50), "PID COMM BLOCK +THR/s ▼LOSS%");
}

/// Every view and overlay of samples that are hard to draw.
fn all_apps() -> Vec<App> {
    let keys = ["", "t", "tt", "/java\n\n", "2", "3", "?", "c", "/nosuch>1", " ", "3\n"];
    let samples = [fixtures::hostile(), fixtures::with_threads(fixtures::normal(), 30), fixtures::empty()];
    samples.iter().flat_map(|sample| keys.map(|keys| app(sample, &chars(keys)))).collect()
}

#[test]
fn in_ascii_there_is_nothing_else_and_without_colour_there_is_none() {
    let plain = Theme::new(false, false);
    for app in all_apps() {
        for size in SIZES {
            let buffer = drawn(&app, &plain, size);
            for cell in &buffer.content {
                assert!(cell.symbol().is_ascii(), "{:?}", cell.symbol());
                assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
            }
        }
    }
    let sample = fixtures::with_threads(fixtures::normal(), 9);
    assert_snapshot!("ascii_tree_80x24", picture(&drawn(&app(&sample, &chars("t")), &plain, (80, 24))));
    assert_snapshot!("ascii_process_80x24", picture(&drawn(&app(&sample, &[Key::Enter]), &plain, (80, 24))));
}

#[test]
fn no_background_is_set_and_no_colour_that_may_be_the_background() {
    for app in all_apps() {
        let buffer = drawn(&app, &COLOR, SIZES[1]);
        let allowed = [Color::Reset, Color::Red, Color::Yellow, Color::Green, Color::Cyan];
        assert!(buffer.content.iter().all(|cell| cell.bg == Color::Reset && allowed.contains(&cell.fg)));
    }
}

#[test]
fn no_control_character_reaches_the_terminal() {
    let is_bad = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    for app in all_apps() {
        let buffer = drawn(&app, &COLOR, SIZES[1]);
        assert!(!buffer.content.iter().any(|cell| cell.symbol().chars().any(is_bad)));
    }
}

#[test]
fn a_screen_that_is_too_small_says_how_large_it_must_be() {
    let app = app(&fixtures::normal(), &[]);
    assert_eq!(picture(&drawn(&app, &COLOR, (30, 9))).trim(), "Too small: needs 40x10");
    assert!(picture(&drawn(&app, &COLOR, (40, 10))).contains("java"));
}

#[test]
fn there_is_a_picture_at_every_size_however_small() {
    let apps = all_apps();
    for width in 1..=120 {
        for height in 1..=40 {
            // Over the sizes, each app has its turn at all of them or at a neighbour's.
            let app = &apps[usize::from(width * 7 + height) % apps.len()];
            drawn(app, &COLOR, (width, height));
        }
    }
}
