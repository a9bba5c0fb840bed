//! What is released: a static program, in a package for Debian and in an archive, with checksums.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    build::executable,
    notices,
    setup::{cargo, cargo_deb, output, root, rust_target, setup, succeed},
};

/// More than this, and somebody should look what came in.
const MAX_PROGRAM_BYTES: u64 = 13_000_000;

/// Where a program may run, and the C compiler that the dependencies with C in them (ring, zstd) are built with.
struct Target {
    triple: &'static str,
    compiler: &'static str,
    /// Debian's package with that compiler.
    package: &'static str,
}

const TARGETS: [Target; 2] = [
    Target { triple: "x86_64-unknown-linux-musl", compiler: "musl-gcc", package: "musl-tools" },
    Target {
        triple: "aarch64-unknown-linux-musl",
        compiler: "aarch64-linux-gnu-gcc",
        package: "gcc-aarch64-linux-gnu and libc6-dev-arm64-cross",
    },
];

/// Options of `dist`
#[derive(Args)]
pub(crate) struct Options {
    /// For which target; may be given more than once
    #[arg(long = "target", value_name = "TRIPLE", value_parser = TARGETS.map(|target| target.triple))]
    #[arg(default_value = TARGETS[0].triple)]
    targets: Vec<String>,
}

/// Where everything is put.
pub(crate) fn folder() -> PathBuf {
    root().join("target/dist")
}

/// Makes everything for each target.
///
/// # Errors
/// A tool is missing, a build failed, or the program is too large.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup()?;
    write_documents()?;
    let mut files = Vec::new();
    for target in TARGETS.iter().filter(|target| options.targets.iter().any(|wanted| wanted == target.triple)) {
        let program = build(target)?;
        files.push(archive(target, &program)?);
        files.push(package(target.triple)?);
    }
    write_checksums(&files)
}

/// The package for this host's own kind of machine.
///
/// # Errors
/// As [`run`].
pub(crate) fn host_package() -> Result<PathBuf> {
    setup()?;
    write_documents()?;
    build(&TARGETS[0])?;
    package(TARGETS[0].triple)
}

/// The man pages, completions and notices, afresh: a command that is gone has none.
fn write_documents() -> Result<()> {
    let documents = folder().join("documents");
    if documents.exists() {
        fs::remove_dir_all(&documents)?;
    }
    let example = ["run", "--quiet", "--package", "thread-probe", "--example", "documents", "--"];
    succeed(cargo().args(example).arg(&documents))?;
    // Every target has the same packages in it.
    notices::write(TARGETS[0].triple, &documents.join("notices"))
}

fn build(target: &Target) -> Result<PathBuf> {
    let Target { triple, compiler, package } = target;
    let found = output(Command::new(compiler).arg("--version"));
    found.with_context(|| format!("no C compiler for {triple}: install {package}"))?;
    rust_target(triple)?;
    println!("Building for {triple} (some minutes the first time).");
    let variable = triple.replace('-', "_");
    let prefix = format!("CARGO_TARGET_{}", variable.to_uppercase());
    let mut command = cargo();
    command
        .env(format!("CC_{variable}"), compiler)
        // Rust brings musl and its start-up code along; its own linker needs no more.
        .env(format!("{prefix}_LINKER"), "rust-lld")
        .env(format!("{prefix}_RUSTFLAGS"), format!("{} {SMALLER}", remapped_paths()?))
        // The names of functions are 2 MB. Who profiles the daemon builds it: `cargo build --release` keeps them.
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .args(["build", "--release", "--package", "thread-probe", "--bin", "thread-probe", "--target", triple]);
    let program = executable(&mut command, "thread-probe")?;
    let bytes = fs::metadata(&program)?.len();
    println!("{}: {:.1} MB", program.display(), bytes as f64 / 1e6);
    ensure!(bytes < MAX_PROGRAM_BYTES, "the program is larger than {:.0} MB", MAX_PROGRAM_BYTES as f64 / 1e6);
    Ok(program)
}

/// What is the same is linked once, and the addresses in data that are set at the start are a bitmap, not 24 bytes each.
const SMALLER: &str = "-Clink-arg=--icf=all -Clink-arg=--pack-dyn-relocs=relr";

/// The program says where in the source it panicked: not in whose folders that was built.
fn remapped_paths() -> Result<String> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    // The toolchain's folder may be a link: the compiler names what it leads to.
    let rust = Path::new(sysroot.trim()).join("lib/rustlib/src/rust").canonicalize()?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no home directory")?;
    let folders = [(home, "/cargo"), (root(), "/thread-probe"), (rust, "/rust")];
    let flags = folders.iter().map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()));
    Ok(flags.collect::<Vec<String>>().join(" "))
}

/// An archive of what an installation by hand needs, the same whenever it is made.
fn archive(target: &Target, program: &Path) -> Result<PathBuf> {
    let name = format!("thread-probe-{}-{}", env!("CARGO_PKG_VERSION"), target.triple);
    let content = folder().join(&name);
    if content.exists() {
        fs::remove_dir_all(&content)?;
    }
    fs::create_dir_all(&content)?;
    let (root, documents) = (root(), folder().join("documents"));
    let files =
        ["README.md", "ARCHITECTURE.md", "LICENSE-APACHE", "LICENSE-MIT", "docs", "dashboards", "deploy", "packaging"]
            .map(|file| root.join(file));
    let made = ["man", "completions", "notices"].map(|file| documents.join(file));
    succeed(Command::new("cp").arg("-r").args(files).args(made).arg(program).arg(&content))?;
    let archive = folder().join(format!("{name}.tar.gz"));
    let pack = r#"tar --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+w --mtime="@$3" -c "$1" | gzip -9n >"$2""#;
    let time = commit_time()?;
    let arguments = [name.as_ref(), archive.as_os_str(), time.as_ref()];
    succeed(Command::new("sh").args(["-euc", pack, "sh"]).args(arguments).current_dir(folder()))?;
    fs::remove_dir_all(content)?;
    Ok(archive)
}

fn package(triple: &str) -> Result<PathBuf> {
    let packages = folder().join("package");
    if packages.exists() {
        fs::remove_dir_all(&packages)?;
    }
    let mut command = Command::new(cargo_deb()?);
    command
        .current_dir(root())
        .env("SOURCE_DATE_EPOCH", commit_time()?)
        .args([
            "--quiet",
            "--no-build",
            "--no-strip",
            "--compress-system",
            "--package",
            "thread-probe",
            "--target",
            triple,
        ])
        .arg("--output")
        .arg(&packages);
    succeed(&mut command)?;
    let made = fs::read_dir(&packages)?.next().context("cargo-deb made nothing")??;
    let package = folder().join(made.file_name());
    fs::rename(made.path(), &package)?;
    fs::remove_dir(packages)?;
    Ok(package)
}

/// When what is packed was committed, in seconds since the epoch.
fn commit_time() -> Result<String> {
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))?;
    Ok(time.trim().to_owned())
}

fn write_checksums(files: &[PathBuf]) -> Result<()> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = output(Command::new("sha256sum").args(names).current_dir(folder()))?;
    fs::write(folder().join("SHA256SUMS"), &sums)?;
    for file in files {
        println!("{}: {:.1} MB", file.display(), fs::metadata(file)?.len() as f64 / 1e6);
    }
    Ok(())
}
