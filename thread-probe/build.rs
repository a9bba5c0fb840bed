//! Compiles the eBPF programs into the daemon, with the linker that `cargo xtask setup` installs.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};
use aya_build::{Package, Toolchain};

/// The toolchain of rust-toolchain.toml: the nested build must not pick another.
const TOOLCHAIN: &str = "1.95.0";

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().context("the package is in a workspace")?;
    let programs = workspace.join("thread-probe-ebpf");
    let tools = workspace.join("target/tools/bin");
    println!("cargo::rerun-if-changed={}", tools.join("bpf-linker").display());

    let path = search_path(&tools)?;
    if !env::split_paths(&path).any(|folder| folder.join("bpf-linker").is_file()) {
        println!("cargo::error=the eBPF programs need bpf-linker, which is not there: run `cargo xtask setup`");
        return Ok(());
    }
    if !has_rust_src() {
        println!("cargo::error=the eBPF programs need the toolchain's component rust-src: run `cargo xtask setup`");
        return Ok(());
    }
    // SAFETY: a build script has one thread. RUSTC_BOOTSTRAP lets the pinned stable compiler build `core` for the BPF
    // target; it is set here so that it reaches the nested build and nothing else.
    unsafe {
        env::set_var("PATH", path);
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // What the nested cargo prints arrives as warnings: let it be warnings only.
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    println!("cargo::rustc-env=THREAD_PROBE_REVISION={}", revision(workspace));
    let package = Package {
        name: "thread-probe-ebpf",
        root_dir: programs.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", programs.display()))?,
        no_default_features: false,
        features: &["programs"],
    };
    aya_build::build_ebpf([package], Toolchain::Custom(TOOLCHAIN)).context("the eBPF programs did not build")
}

/// The commit that a release is built from; a package's build may set it. Of other builds it is not told: a commit
/// would build everything again.
fn revision(workspace: &Path) -> String {
    println!("cargo::rerun-if-env-changed=THREAD_PROBE_REVISION");
    if let Ok(given) = env::var("THREAD_PROBE_REVISION") {
        return given;
    }
    if env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        return "development".to_owned();
    }
    for file in [".git/HEAD", ".git/index"] {
        println!("cargo::rerun-if-changed={}", workspace.join(file).display());
    }
    let mut git = Command::new("git");
    git.current_dir(workspace).args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    let described = git.output().ok().filter(|output| output.status.success());
    let described = described.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    described.unwrap_or_else(|| "unknown".to_owned())
}

/// Whether the sources of `core` are there, with the compiler that cargo uses.
fn has_rust_src() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot =
        Command::new(rustc).args(["--print", "sysroot"]).output().map(|output| output.stdout).unwrap_or_default();
    Path::new(String::from_utf8_lossy(&sysroot).trim()).join("lib/rustlib/src/rust/library/core").exists()
}

fn search_path(tools: &Path) -> Result<OsString> {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools.to_path_buf()).chain(env::split_paths(&inherited));
    env::join_paths(folders).context("the workspace's path has a colon in it")
}
