//! Standard output, for what is printed once.

use std::io::{self, StdoutLock, Write as _};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{commands::options::TableOrJson, export::json};

/// Prints what a command has to say. A reader that has seen enough, as with `| head`, is no error.
///
/// # Errors
/// Standard output can't be written to.
pub(super) fn print(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> Result<()> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("writing to standard output failed"),
    }
}

/// Prints it as JSON, or for people as `table` writes it.
///
/// # Errors
/// The same.
pub(super) fn print_as(
    format: TableOrJson,
    value: &impl Serialize,
    table: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>,
) -> Result<()> {
    print(|out| match format {
        TableOrJson::Json => {
            json::write(out, value)?;
            writeln!(out)
        }
        TableOrJson::Table => table(out),
    })
}
