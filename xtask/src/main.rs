//! Developer commands: `cargo xtask COMMAND`.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod build;
mod dashboards;
mod dist;
mod fleet;
mod initramfs;
mod kernels;
mod notices;
mod screenshot;
mod setup;
mod systemd;
mod tmux;
mod vm;
mod workload;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Developer commands of thread-probe
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the build needs: rust-src, and bpf-linker into target/tools
    Setup,
    /// Build, and run thread-probe as root (through sudo if need be)
    Run {
        /// Arguments of thread-probe
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run all tests; those on the kernel as root (through sudo if need be)
    Test,
    /// Lint the eBPF programs, with warnings denied
    ClippyEbpf,
    /// Measure what thread-probe costs, as root: switches, scans, limits, the daemon, top, recordings (some ten minutes)
    Bench {
        /// Only these: switches, scan, limits, daemon, top, record
        #[arg(value_parser = ["switches", "scan", "limits", "daemon", "top", "record"])]
        parts: Vec<String>,
    },
    /// Measure what many hosts cost a Prometheus, as root (needs Debian's prometheus; some minutes)
    Fleet(fleet::Options),
    /// Be one of the processes on the host that all of them look like
    #[command(hide = true)]
    FleetProcess {
        /// Which
        number: u32,
    },
    /// Run the kernel tests on Debian's stock kernels, in emulated machines
    Vm(vm::Options),
    /// Make what is handed out, in target/dist: a static program, in a Debian package and an archive, with checksums
    Dist(dist::Options),
    /// Install the Debian package on Debian 12 and 13 with systemd, in emulated machines, and see it serve and go
    VmSystemd(systemd::Options),
    /// Take the README's picture of `thread-probe top`, as root, with processes at work (needs tmux)
    Screenshot(screenshot::Options),
    /// Write the Grafana dashboards into dashboards/grafana, and the rules for the Prometheus operator into
    /// deploy/kubernetes
    Dashboards,
    /// Be one of the processes at work in the picture
    #[command(hide = true)]
    Workload {
        #[command(subcommand)]
        role: workload::Role,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => setup::setup()?,
        Command::Run { arguments } => return build::run(&arguments),
        Command::Test => build::test()?,
        Command::ClippyEbpf => build::clippy_ebpf()?,
        Command::Bench { parts } => build::bench(&parts)?,
        Command::Fleet(options) => fleet::run(&options)?,
        Command::FleetProcess { number } => fleet::be_process(number)?,
        Command::Vm(options) => vm::run(&options)?,
        Command::Dist(options) => dist::run(&options)?,
        Command::VmSystemd(options) => systemd::run(&options)?,
        Command::Screenshot(options) => screenshot::run(&options)?,
        Command::Dashboards => dashboards::write()?,
        Command::Workload { role } => workload::play(&role)?,
    }
    Ok(ExitCode::SUCCESS)
}
