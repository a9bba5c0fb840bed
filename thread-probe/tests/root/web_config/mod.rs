//! `--web.config.file`: a real daemon, with certificates made here. What needs root says so.
mod changes;
mod client;
mod files;
mod passwords;
mod tls;
mod warnings;
mod wrong;

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use anyhow::Result;

use crate::support::daemon::{Daemon, PROGRAM};

fn run(args: &[&str]) -> Result<Output> {
    Ok(Command::new(PROGRAM).args(args).stdin(Stdio::null()).output()?)
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How often a line has been logged.
fn logged(daemon: &Daemon, part: &str) -> Result<usize> {
    Ok(fs::read_to_string(&daemon.log)?.lines().filter(|line| line.contains(part)).count())
}
