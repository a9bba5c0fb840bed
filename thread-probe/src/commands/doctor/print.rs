//! The report, for people and for programs.

use std::io::{self, Write};

use anyhow::Result;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use super::report::{Check, Report, Status};
use crate::{
    commands::{options::TableOrJson, output},
    text::{
        human,
        terminal::{has_colors, is_utf8},
    },
};

pub(super) fn print(format: TableOrJson, report: &Report) -> Result<()> {
    output::print_as(format, report, |out| write(out, report))
}

fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "{}", table(&report.checks).trim_fmt())?;
    let counts =
        [(Status::Ok, "ok"), (Status::Warning, "warning"), (Status::Missing, "missing"), (Status::Unknown, "unknown")]
            .map(|(status, name)| format!("{} {name}", report.count(status)));
    writeln!(out, "\n {}", counts.join(", "))
}

fn table(checks: &[Check]) -> Table {
    /// Where there is room for a word a line at most, lines that the terminal breaks are easier to read.
    const NARROWEST: u16 = 40;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // A serial console is 0 columns wide.
    if table.width().is_some_and(|columns| columns < NARROWEST) {
        table.set_width(80);
    }
    table.set_header(["STATUS", "CHECK", "FOUND"]);
    let arrow = if is_utf8() { "→" } else { "->" };
    for check in checks {
        let found = human::plain(&check.found);
        let text = match &check.remedy {
            Some(remedy) => format!("{found}\n{arrow} {remedy}"),
            None => found.into_owned(),
        };
        let (name, color) = look(check.status);
        let status = if has_colors() { Cell::new(name).fg(color) } else { Cell::new(name) };
        table.add_row([status, Cell::new(human::plain(&check.check)), Cell::new(text)]);
    }
    table
}

fn look(status: Status) -> (&'static str, Color) {
    match status {
        Status::Ok => ("ok", Color::Green),
        Status::Warning => ("warning", Color::Yellow),
        Status::Missing => ("missing", Color::Red),
        Status::Unknown => ("unknown", Color::Yellow),
    }
}
