//! Draws an [`App`]: from nothing else, so that the same state is always the same picture.

mod figures;
mod footer;
mod gauges;
mod header;
mod processes;
mod table;
mod tabs;
mod text;
mod theme;

use ratatui::{Frame, layout::Rect, text::Line};

use self::text::{Canvas, below, top};
pub use self::theme::{ColorMode, Glyphs, Theme};
use super::app::{App, View};

/// The smallest screen on which anything can be told.
const MIN_WIDTH: u16 = 40;
const MIN_HEIGHT: u16 = 10;

/// Draws the view.
pub fn draw(frame: &mut Frame<'_>, app: &App, theme: &Theme) {
    let area = frame.area();
    let mut canvas = Canvas { buffer: frame.buffer_mut(), theme };
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        canvas.line(area, 0, &Line::raw(format!("needs {MIN_WIDTH}x{MIN_HEIGHT}, q quits")));
    } else {
        draw_screen(&mut canvas, area, app);
    }
    theme.finish(canvas.buffer);
}

fn draw_screen(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let rows = header::draw(canvas, area, app);
    let body = below(top(area, area.height - 1), rows);
    if app.model().is_none() {
        draw_waiting(canvas, body, app);
    } else {
        draw_view(canvas, body, app);
    }
    footer::draw(canvas, below(area, area.height - 1), app);
}

fn draw_waiting(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    canvas.line(area, 0, &Line::from(vec!["Waiting for the first sample from ".into(), text::name(app.source())]));
}

fn draw_view(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    if app.view() == View::Processes {
        processes::draw(canvas, area, app);
    }
}

#[cfg(test)]
mod tests;
