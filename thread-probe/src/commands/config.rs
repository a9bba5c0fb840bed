//! `thread-probe config`: what is in a file, and what comes of it.

use std::{io::Write as _, path::Path};

use anyhow::Result;

use super::{options::ConfigCommand, output};
use crate::{
    config::{Config, read, write},
    export::server::web_config,
    http_client::without_passwords,
};

/// Checks or shows a configuration.
///
/// # Errors
/// What is wrong with the file, or standard output that can't be written to.
pub(super) fn run(command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check { file, web_config_file } => check(file.as_deref(), web_config_file.as_deref()),
        ConfigCommand::Show { config_file } => print(&shown(config_file.as_deref())?),
    }
}

/// Checks what is named, and the web configuration that the file names.
fn check(file: Option<&Path>, web_config_file: Option<&Path>) -> Result<()> {
    let config = file.map(read).transpose()?;
    let named = config.and_then(|config| config.web.config_file);
    for path in web_config_file.into_iter().chain(named.as_deref()) {
        web_config::check(path)?;
    }
    file.into_iter().chain(web_config_file).try_for_each(|checked| print(&format!("{}: ok\n", checked.display())))
}

fn shown(file: Option<&Path>) -> Result<String> {
    Ok(without_passwords(&write(&file.map(read).transpose()?.unwrap_or_else(Config::default))))
}

fn print(text: &str) -> Result<()> {
    output::print(|out| out.write_all(text.as_bytes()))
}
