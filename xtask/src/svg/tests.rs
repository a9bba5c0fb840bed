use std::num::NonZeroU16;

use super::*;

/// What is drawn for such output, on a screen of two rows.
fn drawn(output: &str) -> String {
    let (rows, columns) = (NonZeroU16::MIN.saturating_add(1), NonZeroU16::MIN.saturating_add(9));
    let mut parser = vt100::Parser::new(rows, columns, 0);
    parser.process(output.as_bytes());
    draw(parser.screen(), "a title")
}

/// It has all of these.
fn assert_has(svg: &str, parts: &[&str]) {
    for part in parts {
        assert!(svg.contains(part), "no {part} in\n{svg}");
    }
}

#[test]
fn each_word_is_put_where_its_column_is() {
    let svg = drawn("ab  cde\r\n f");
    assert_has(
        &svg,
        &[
            r##"<text x="0" y="14" textLength="18" lengthAdjust="spacingAndGlyphs" fill="#d3d9e4">ab</text>"##,
            r#"<text x="36" y="14" textLength="27" "#,
            r#"<text x="9" y="32" textLength="9" "#,
        ],
    );
}

#[test]
fn colours_may_be_of_16_256_or_all() {
    let svg = drawn("\x1b[31mr\x1b[38;5;208mo\x1b[38;2;1;2;3mt\x1b[0;48;5;21m  \x1b[0m");
    assert_has(
        &svg,
        &[
            r##"fill="#e86a71">r<"##,
            r##"fill="#ff8700">o<"##,
            r##"fill="#010203">t<"##,
            "fill=\"#0000ff\" d=\"M27 0h18v18h-18z\"",
        ],
    );
}

#[test]
fn reverse_swaps_the_default_colours_too() {
    let svg = drawn("\x1b[7mx");
    assert_has(&svg, &[r##"<path fill="#d3d9e4" d="M0 0h9v18h-9z"/>"##, r##"fill="#12161e">x<"##]);
}

#[test]
fn bold_italic_dim_and_underlined_text_look_so() {
    let svg = drawn("\x1b[1mb\x1b[0;3mi\x1b[0;2md\x1b[0;4mu v");
    assert_has(
        &svg,
        &[
            r#" font-weight="bold">b<"#,
            r#" font-style="italic">i<"#,
            // Between the two colours.
            r##"fill="#858b94">d<"##,
            // One line, below the blank as well.
            r##"<path fill="#d3d9e4" d="M27 16h27v1h-27z"/>"##,
        ],
    );
}

#[test]
fn text_can_not_break_the_xml() {
    assert_has(&drawn("<&\">"), &[">&lt;&amp;&quot;&gt;</text>"]);
    assert_eq!(escape("a\u{1}b\u{ffff}"), "a\u{fffd}b\u{fffd}");
}

#[test]
fn wide_characters_take_two_columns_and_do_not_move_what_follows() {
    let svg = drawn("漢x");
    assert_has(&svg, &[r#"<text x="0" y="14" textLength="18" "#, r#"<text x="18" y="14" textLength="9" "#]);
}

#[test]
fn blocks_are_drawn_and_meet_in_one_path() {
    let svg = drawn("█▄\r\n▎▐▚");
    assert!(svg.contains(
        r##"<path fill="#d3d9e4" d="M0 0h9v18h-9zM9 9h9v9h-9zM0 18h2.25v18h-2.25zM13.5 18h4.5v18h-4.5zM18 18h4.5v9h-4.5zM22.5 27h4.5v9h-4.5z"/>"##
    ), "{svg}");
    assert_eq!(svg.matches("<text").count(), 1, "only the title is written: {svg}");
}

#[test]
fn every_block_and_braille_character_is_drawn() {
    for c in ('\u{2580}'..='\u{259f}').chain('\u{2800}'..='\u{28ff}') {
        assert!(Glyph::of(c).is_some(), "{c}");
    }
    let eighths: Vec<_> = ('▁'..='█').map(|c| drawn(&c.to_string())).collect();
    for (svg, height) in eighths.iter().zip(1..) {
        assert_has(svg, &[&format!("h9v{}h-9z", f64::from(height) * 2.25)]);
    }
}

#[test]
fn shades_are_transparent() {
    assert_has(&drawn("░▓"), &[r#"fill-opacity=".25""#, r#"fill-opacity=".75""#]);
}

#[test]
fn lines_reach_the_edges_of_their_cells() {
    assert_has(&drawn("─┐\r\n ╰"), &[r#"d="M0 9.5H9M9 9.5H14M13.5 9V18M13.5 18Q13.5 27.5 18 27.5"/>"#]);
}

#[test]
fn braille_dots_are_where_they_are_read() {
    assert_has(&drawn("⠁⢀"), &[r#"d="M2.25 2.25h.01M15.75 15.75h.01"/>"#]);
}
