//! Building, running, testing and linting.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::setup::{cargo, output, setup, succeed, tools};

/// Builds thread-probe and runs it as root.
///
/// # Errors
/// The build failed, or there is no way to become root.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    setup()?;
    let status = as_root(&release_binary()?).args(arguments).status().context("starting thread-probe")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Builds thread-probe as it is released.
///
/// # Errors
/// The build failed.
pub(crate) fn release_binary() -> Result<PathBuf> {
    succeed(cargo().args(["build", "--release", "--package", "thread-probe", "--quiet"]))?;
    executable(
        cargo().args(["build", "--release", "--package", "thread-probe", "--bin", "thread-probe"]),
        "thread-probe",
    )
}

/// A command that runs a program as root.
pub(crate) fn as_root(program: &Path) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// Runs every test. Those that need root say so and are skipped without it; then they are run again through sudo.
///
/// # Errors
/// A test failed.
pub(crate) fn test() -> Result<()> {
    setup()?;
    succeed(cargo().args(["test", "--workspace"]))?;
    if is_root() {
        return Ok(());
    }
    println!("Running the tests that need root through sudo.");
    for test in ["root", "terminal", "servers", "kernel"] {
        succeed(as_root(&test_binary(test)?).env("RUST_BACKTRACE", "1").arg("--test-threads=1"))?;
    }
    Ok(())
}

/// Measures.
///
/// # Errors
/// The build or a measurement failed.
pub(crate) fn bench(parts: &[String]) -> Result<()> {
    setup()?;
    let program =
        executable(cargo().args(["bench", "--package", "thread-probe", "--no-run", "--bench", "cost"]), "cost")?;
    succeed(as_root(&program).args(parts))
}

/// Builds one of thread-probe's integration tests.
///
/// # Errors
/// The build failed.
pub(crate) fn test_binary(name: &str) -> Result<PathBuf> {
    executable(cargo().args(["test", "--package", "thread-probe", "--no-run", "--test", name]), name)
}

/// The executable of a target that a cargo command builds, as cargo names it.
///
/// # Errors
/// The build failed.
pub(crate) fn executable(command: &mut Command, target: &str) -> Result<PathBuf> {
    let messages = output(command.args(["--quiet", "--message-format=json"]))?;
    let found = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let is_target = message["target"]["name"] == target;
        message["executable"].as_str().filter(|_| is_target).map(PathBuf::from)
    });
    match found {
        Some(path) => Ok(path),
        None => bail!("cargo built no executable {target}"),
    }
}

/// Lints the programs for the target they are built for.
///
/// # Errors
/// A warning.
pub(crate) fn clippy_ebpf() -> Result<()> {
    setup()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&path));
    succeed(
        cargo()
            .env("PATH", std::env::join_paths(folders)?)
            // For this command alone: a stable compiler that builds core for the BPF target.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\"")
            .args(["clippy", "--package", "thread-probe-ebpf", "--bins", "--features", "programs"])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .args(["--", "--deny", "warnings"]),
    )
}
