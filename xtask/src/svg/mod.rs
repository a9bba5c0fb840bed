//! A terminal's screen as SVG.
//!
//! Fonts differ in how wide a character is and in how they draw blocks and lines. So each word is put where its column
//! is, and whatever has to meet its neighbours without a gap is drawn, not written.

mod colour;
mod glyph;

use std::{collections::BTreeMap, fmt::Write as _};

use colour::{BACKGROUND, Rgb, Style};
use glyph::Glyph;
use vt100::{Cell, Screen};

/// The width of a column, in pixels: that of most monospace fonts at [`FONT_SIZE`].
const WIDTH: u16 = 9;
/// The height of a row, in pixels.
const HEIGHT: u16 = 18;
/// In pixels.
const FONT_SIZE: u16 = 15;
/// From a row's top to the line that letters stand on, in pixels.
const BASELINE: u16 = 14;
/// Around the screen, in pixels.
const PADDING: u16 = 14;
/// The height of the window's title, in pixels.
const TITLE: u16 = 34;

/// Draws a screen as a window with a title.
pub(crate) fn draw(screen: &Screen, title: &str) -> String {
    let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
    let mut picture = Picture::default();
    for row in 0..rows {
        let cells: Vec<&Cell> = (0..columns).filter_map(|column| screen.cell(row, column)).collect();
        picture.draw_row(row, &cells);
    }
    let (width, height) = (columns * WIDTH + 2 * PADDING, rows * HEIGHT + TITLE + PADDING);
    let title = escape(title);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<rect x=".5" y=".5" width="{}" height="{}" rx="9" fill="{BACKGROUND}" stroke="#39414f"/>
<circle cx="20" cy="17" r="6" fill="#ff5f57"/><circle cx="40" cy="17" r="6" fill="#febc2e"/><circle cx="60" cy="17" r="6" fill="#28c840"/>
<g font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="{FONT_SIZE}">
<text x="{}" y="22" text-anchor="middle" fill="#8b95a7">{title}</text>
<g transform="translate({PADDING} {TITLE})">
"##,
        width - 1,
        height - 1,
        width / 2,
    );
    picture.write(&mut svg);
    svg.push_str("</g>\n</g>\n</svg>\n");
    svg
}

/// What is on the screen, layer by layer. All of a colour is one path, as two shapes that touch show a seam.
#[derive(Default)]
struct Picture {
    backgrounds: BTreeMap<Rgb, String>,
    /// By colour and opacity, in percent.
    fills: BTreeMap<(Rgb, u8), String>,
    lines: BTreeMap<Rgb, String>,
    dots: BTreeMap<Rgb, String>,
    texts: String,
}

impl Picture {
    fn draw_row(&mut self, row: u16, cells: &[&Cell]) {
        let top = row * HEIGHT;
        for (start, run) in runs(cells, Style::of) {
            let (left, width) = (start * WIDTH, run.len() as u16 * WIDTH);
            let style = Style::of(run[0]);
            if let Some(background) = style.background {
                add(&mut self.backgrounds, background, &rect(left, top, width, HEIGHT));
            }
            if style.is_underlined {
                add(&mut self.fills, (style.foreground, 100), &rect(left, top + BASELINE + 2, width, 1));
            }
            for (offset, cell) in (start..).zip(run) {
                self.draw_glyph(offset * WIDTH, top, cell, style.foreground);
            }
            for word in words(start, run) {
                self.write_word(top, &word, style);
            }
        }
    }

    fn draw_glyph(&mut self, left: u16, top: u16, cell: &Cell, colour: Rgb) {
        match glyph_of(cell) {
            Some(Glyph::Fill { rects, percent }) => {
                let path: String = rects.iter().map(|part| part.path(left, top)).collect();
                add(&mut self.fills, (colour, percent), &path);
            }
            Some(Glyph::Lines(lines)) => add(&mut self.lines, colour, &lines.path(left, top)),
            Some(Glyph::Dots(dots)) => add(&mut self.dots, colour, &dots.path(left, top)),
            None => {}
        }
    }

    fn write_word(&mut self, top: u16, word: &Word, style: Style) {
        let (x, y, length) = (word.start * WIDTH, top + BASELINE, word.columns * WIDTH);
        let weight = if style.is_bold { r#" font-weight="bold""# } else { "" };
        let slant = if style.is_italic { r#" font-style="italic""# } else { "" };
        let (colour, text) = (style.foreground, escape(&word.text));
        // On each text, as Firefox knows the attribute nowhere else.
        let fit = format!(r#"textLength="{length}" lengthAdjust="spacingAndGlyphs""#);
        let _ = writeln!(self.texts, r#"<text x="{x}" y="{y}" {fit} fill="{colour}"{weight}{slant}>{text}</text>"#);
    }

    fn write(&self, svg: &mut String) {
        for (colour, path) in &self.backgrounds {
            let _ = writeln!(svg, r#"<path fill="{colour}" d="{path}"/>"#);
        }
        for ((colour, percent), path) in &self.fills {
            let opacity = if *percent < 100 { format!(r#" fill-opacity=".{percent}""#) } else { String::new() };
            let _ = writeln!(svg, r#"<path fill="{colour}"{opacity} d="{path}"/>"#);
        }
        for (colour, path) in &self.lines {
            let _ = writeln!(svg, r#"<path fill="none" stroke="{colour}" d="{path}"/>"#);
        }
        for (colour, path) in &self.dots {
            let round = r#"stroke-width="2.4" stroke-linecap="round""#;
            let _ = writeln!(svg, r#"<path fill="none" stroke="{colour}" {round} d="{path}"/>"#);
        }
        svg.push_str(&self.texts);
    }
}

fn add<K: Ord>(paths: &mut BTreeMap<K, String>, key: K, path: &str) {
    paths.entry(key).or_default().push_str(path);
}

fn rect(left: u16, top: u16, width: u16, height: u16) -> String {
    format!("M{left} {top}h{width}v{height}h-{width}z")
}

/// Neighbours of the same kind, each run with its first column.
fn runs<'a, 'b, K: PartialEq>(
    cells: &'a [&'b Cell],
    kind: impl Fn(&Cell) -> K,
) -> impl Iterator<Item = (u16, &'a [&'b Cell])> {
    let mut start = 0;
    cells.chunk_by(move |left, right| kind(left) == kind(right)).map(move |run| {
        start += run.len() as u16;
        (start - run.len() as u16, run)
    })
}

fn glyph_of(cell: &Cell) -> Option<Glyph> {
    Glyph::of(cell.contents().chars().next()?)
}

/// What is written in one go.
struct Word {
    start: u16,
    columns: u16,
    text: String,
}

/// How far a cell's text may be written together with its neighbours'.
#[derive(PartialEq)]
enum Kind {
    Nothing,
    /// Every monospace font has it in its width.
    Ascii,
    /// May come from another font, whose widths are not this one's.
    Other,
}

fn kind(cell: &Cell) -> Kind {
    let text = cell.contents();
    if text.trim().is_empty() || glyph_of(cell).is_some() {
        Kind::Nothing
    } else if text.is_ascii() {
        Kind::Ascii
    } else {
        Kind::Other
    }
}

/// The words in cells of one style, of which the first is in column `start`.
fn words(start: u16, cells: &[&Cell]) -> Vec<Word> {
    let mut words = Vec::new();
    for (offset, run) in runs(cells, kind) {
        match kind(run[0]) {
            Kind::Nothing => {}
            Kind::Ascii => {
                let text = run.iter().map(|cell| cell.contents()).collect();
                words.push(Word { start: start + offset, columns: run.len() as u16, text });
            }
            Kind::Other => words.extend((start + offset..).zip(run).map(|(start, cell)| {
                let columns = if cell.is_wide() { 2 } else { 1 };
                Word { start, columns, text: cell.contents().to_owned() }
            })),
        }
    }
    words
}

/// Text as XML writes it; what XML can't have becomes a replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
