//! The commands, a file each: here alone options become plain values.

mod advise;
mod bench;
mod config;
mod configuration;
pub mod doctor;
mod inspect;
pub mod limits;
mod look;
pub mod options;
mod output;
mod plan;
mod ps;
mod record;
pub mod serve;
mod top;

use std::{io::Write as _, process::ExitCode};

use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

use self::options::{Cli, Command, LogFormat};
use crate::{
    http_client,
    os::{log, memory},
};

/// Runs a command to its end. An error is one line on standard error and exit code 1.
pub fn run(cli: &Cli) -> ExitCode {
    memory::keep_large_allocations_apart();
    start_log(cli);
    let result = match &cli.command {
        Command::Serve(options) => serve::serve(options),
        Command::Top(options) => top::top(options),
        Command::Ps(options) => ps::ps(options),
        Command::Limits(options) => limits::limits(options),
        Command::Doctor(options) => doctor::doctor(options),
        Command::Bench(options) => bench::bench(options),
        Command::Plan(options) => plan::plan(options),
        Command::Inspect(options) => inspect::inspect(options),
        Command::Record(options) => record::record(options),
        Command::Advise(options) => advise::advise(options),
        Command::Config(command) => config::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each line of the journal has a priority of its own: this one is LOG_ERR of syslog(3).
            let priority = if log::Log::on_stderr().is_journal() { "<3>" } else { "" };
            for line in format!("thread-probe: {error:#}").lines() {
                // Nobody is left to tell if standard error is gone.
                let _ = writeln!(std::io::stderr(), "{priority}{line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the command line, in one line and with exit code 2; or prints the help it asks for.
pub fn usage_error(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody is left to tell if the terminal is gone.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let text = http_client::without_passwords(&error.to_string());
    let said = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let line: Vec<&str> = said.map(str::trim).filter(|line| !line.is_empty()).collect();
    let _ = writeln!(std::io::stderr(), "{} (see --help)", line.join("; "));
    ExitCode::from(2)
}

fn start_log(cli: &Cli) {
    let level = cli.log_level.unwrap_or_else(|| cli.command.default_log_level());
    let log = log::Log::on_stderr();
    let builder = tracing_subscriber::fmt()
        .with_writer(log)
        .with_ansi(false)
        .with_target(false)
        // A log that can't be written must not end the daemon: by default that is said on standard error, which panics.
        .log_internal_errors(false)
        // A handshake that fails is said once, by the notifier; rustls would say it at each try.
        .with_env_filter(EnvFilter::new(format!("{},rustls=error", level.directive())));
    match (cli.log_format, log.is_journal()) {
        (LogFormat::Text, false) => builder.init(),
        (LogFormat::Text, true) => builder.without_time().init(),
        (LogFormat::Json, _) => builder.json().init(),
    }
}
