//! Draws an [`App`]: from nothing else, so that the same state is always the same picture.

mod alerts;
mod details;
mod figures;
mod footer;
mod gauges;
mod header;
mod histogram;
mod limits;
mod overlays;
mod process;
mod processes;
mod table;
mod tabs;
mod text;
mod theme;
mod time;
mod timeline;

use ratatui::{Frame, layout::Rect, text::Line};

use self::text::{Canvas, below, top};
pub use self::theme::{ColorMode, Glyphs, Theme};
use super::app::{App, Overlay, View};
use crate::limits::words::Level;

/// The smallest screen on which anything is drawn.
const MIN_WIDTH: u16 = 40;
const MIN_HEIGHT: u16 = 10;

/// Draws the view.
pub fn draw(frame: &mut Frame<'_>, app: &App, theme: &Theme) {
    app.targets().clear();
    let area = frame.area();
    let mut canvas = Canvas { buffer: frame.buffer_mut(), theme };
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        canvas.line(area, 0, &Line::raw(format!("Too small: needs {MIN_WIDTH}x{MIN_HEIGHT}")));
    } else {
        draw_screen(&mut canvas, area, app);
    }
    theme.finish(canvas.buffer);
}

fn draw_screen(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let rows = header::draw(canvas, area, app);
    let above_footer = top(area, area.height - 1);
    let body = below(above_footer, rows);
    if app.model().is_none() {
        draw_waiting(canvas, body, app);
    } else {
        draw_view(canvas, body, app);
        if app.lost().is_some() {
            // It is not what is, but what was.
            canvas.buffer.set_style(body, canvas.theme.dim());
        }
    }
    match app.overlay() {
        Overlay::Help { scroll } => overlays::draw_help(canvas, below(above_footer, 1), app, *scroll),
        Overlay::Advice { scroll } => overlays::draw_advice(canvas, body, app, *scroll),
        Overlay::Columns(menu) => overlays::draw_menu(canvas, body, menu),
        Overlay::Filter(_) | Overlay::Moment(_) | Overlay::None => {}
    }
    footer::draw(canvas, below(area, area.height - 1), app);
}

fn draw_waiting(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    canvas.line(area, 0, &Line::from(vec!["Waiting for the first sample from ".into(), text::name(app.source())]));
    if let Some(reason) = app.lost() {
        let why = Line::from(vec!["The connection is lost: ".into(), text::name(reason)]);
        canvas.line(area, 1, &why.style(canvas.theme.level(Level::Critical)));
    }
}

fn draw_view(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    match app.view() {
        View::Processes => processes::draw(canvas, area, app),
        View::Process => process::draw(canvas, area, app),
        View::Limits => limits::draw(canvas, area, app),
        View::Alerts => alerts::draw(canvas, area, app),
    }
}

#[cfg(test)]
mod tests;
