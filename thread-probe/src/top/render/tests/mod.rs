mod fixtures;

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::top::{app::Key, feed::Sample, settings::Settings};

const COLOR: Theme = Theme { color: ColorMode::Ansi16, glyphs: Glyphs::Utf8 };

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

fn terminal(app: &App, theme: &Theme, (width, height): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, theme)).unwrap();
    terminal
}

/// The picture as text.
fn picture(app: &App, width: u16, height: u16) -> String {
    terminal(app, &COLOR, (width, height)).backend().to_string()
}

#[test]
fn a_frame_is_drawn_at_80x24() {
    assert!(picture(&app(&fixtures::normal(), &[]), 80, 24).contains("91% cgroup_pids"));
    assert!(picture(&app(&fixtures::hostile(), &[Key::Char('t')]), 80, 24).contains("very-long-name"));
    assert!(picture(&app(&fixtures::empty(), &[]), 80, 24).contains("threads"));
    assert!(picture(&app(&fixtures::huge(), &[]), 80, 24).contains("worker-"));
    assert!(picture(&app(&fixtures::with_threads(fixtures::normal(), 2), &[]), 80, 24).contains("java"));
}
