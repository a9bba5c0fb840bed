//! `thread-probe config`: what is in a file, and what comes of it.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{Config, keys, read};
use crate::cli::ConfigCommand;

/// Checks or shows a configuration.
///
/// # Errors
/// What is wrong with the file, or standard output that can't be written to.
pub fn run(command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check { file } => {
            read(file)?;
            print(&format!("{}: ok\n", file.display()))
        }
        ConfigCommand::Show { config_file } => print(&shown(config_file.as_deref())?),
    }
}

fn shown(file: Option<&Path>) -> Result<String> {
    Ok(keys::write(&file.map(read).transpose()?.unwrap_or_else(Config::default)))
}

fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough, as with `| head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("writing to standard output failed"),
    }
}
