//! What the build needs besides cargo, installed once: only here, and said before it is done.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// It links against rustc's own LLVM, so its version goes with rust-toolchain.toml's.
const BPF_LINKER_VERSION: &str = "0.10.4";
const BPF_LINKER_FEATURES: &str = "rust-llvm-22";
const CARGO_DEB_VERSION: &str = "3.8.0";

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    // Cargo's of this run, not of the build: a checkout may be copied with what was built in it.
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// Where tools are installed.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// A cargo command in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end.
///
/// # Errors
/// It could not be started, or did not succeed.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

/// What a command prints.
///
/// # Errors
/// It could not be started, or did not succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Installs what is missing.
///
/// # Errors
/// An installation failed; it has said why.
pub(crate) fn setup() -> Result<()> {
    rust_src()?;
    bpf_linker()
}

fn rust_src() -> Result<()> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    if Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").exists() {
        return Ok(());
    }
    println!(
        "Adding the component rust-src to the toolchain: the eBPF programs are built with their own core library."
    );
    succeed(Command::new("rustup").args(["component", "add", "rust-src"]).current_dir(root()))
}

fn bpf_linker() -> Result<()> {
    install("bpf-linker", BPF_LINKER_VERSION, &["--no-default-features", "--features", BPF_LINKER_FEATURES])
}

/// Installs what packages are made with, if it is missing.
///
/// # Errors
/// The installation failed; it has said why.
pub(crate) fn cargo_deb() -> Result<PathBuf> {
    // Its default features are for debug information and a compressor of its own.
    install("cargo-deb", CARGO_DEB_VERSION, &["--no-default-features"])?;
    Ok(tools().join("bin/cargo-deb"))
}

/// Adds a target to the toolchain, if it is missing.
///
/// # Errors
/// rustup failed; it has said why.
pub(crate) fn rust_target(target: &str) -> Result<()> {
    let installed = output(Command::new("rustup").args(["target", "list", "--installed"]).current_dir(root()))?;
    if installed.lines().any(|line| line == target) {
        return Ok(());
    }
    println!("Adding the target {target} to the toolchain.");
    succeed(Command::new("rustup").args(["target", "add", target]).current_dir(root()))
}

fn install(tool: &str, version: &str, features: &[&str]) -> Result<()> {
    let installed = output(Command::new(tools().join("bin").join(tool)).arg("--version")).unwrap_or_default();
    if installed.trim().ends_with(version) {
        return Ok(());
    }
    println!("Installing {tool} {version} into {} (some minutes).", tools().display());
    // Not RUSTFLAGS and the like: they are meant for the project, not for its tools.
    succeed(
        cargo()
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            .args(["install", tool, "--locked", "--version", version])
            .args(features)
            .arg("--root")
            .arg(tools()),
    )
}
