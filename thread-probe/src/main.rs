//! The command line: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use thread_probe::{cli::Cli, run};

fn main() -> ExitCode {
    // clap itself exits with 2 on a usage error.
    run(&Cli::parse())
}
