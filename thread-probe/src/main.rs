//! The command line: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use thread_probe::{commands::options::Cli, run, usage_error};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(&cli),
        Err(error) => usage_error(&error),
    }
}
