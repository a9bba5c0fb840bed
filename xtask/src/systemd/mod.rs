//! The package on real systems: Debian with systemd as its init, in machines that QEMU emulates.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    dist, initramfs,
    kernels::{Apt, KEYRING, SERIES, Series, mirror},
    setup::{output, root, succeed},
    vm::{Machine, Qemu},
};

/// The releases, each with its own kernel.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
/// The system twice, as an archive and unpacked, until the first init is gone; and room to work.
const MEMORY_MIB: u32 = 2048;
/// What the guest runs.
const SCRIPT: &str = include_str!("guest.sh");
const UNIT: &str = include_str!("guest.service");
/// What a shell is busy with, here and in the guest, to tell how much slower that is.
const LOOP: &str = "time -p for ((i = 0; i < 200000; i++)); do :; done";

/// Options of `vm-systemd`
#[derive(Args)]
pub(crate) struct Options {
    /// Only this release of Debian; may be given more than once
    #[arg(long = "suite", value_name = "SUITE", value_parser = SUITES)]
    suites: Vec<String>,
    /// This package, instead of one that is built first
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
}

/// Installs the package on each system, and sees it serve and go.
///
/// # Errors
/// Something did not go as it should on one of them.
pub(crate) fn run(options: &Options) -> Result<()> {
    let qemu = Qemu::find()?;
    let apt = Apt::update()?;
    let package = match &options.package {
        Some(package) => package.clone(),
        None => dist::host_package()?,
    };
    let package = fs::read(&package).with_context(|| format!("reading {}", package.display()))?;
    let loop_seconds = loop_seconds_here()?;
    let wanted = |suite: &str| options.suites.is_empty() || options.suites.iter().any(|wanted| wanted == suite);
    let mut failed = Vec::new();
    let is_tested = |series: &Series| SUITES.contains(&series.suite) && !series.is_by_name_only && wanted(series.suite);
    for series in SERIES.into_iter().filter(is_tested) {
        let outcome = apt.kernel(series).and_then(|kernel| test(series, &kernel, &qemu, &package, loop_seconds));
        if let Err(error) = outcome {
            println!("Debian {}: FAILED: {error:#}\n", series.suite);
            failed.push(series.suite);
        }
    }
    ensure!(failed.is_empty(), "failed on Debian {}", failed.join(", "));
    Ok(())
}

fn test(series: Series, kernel: &Path, qemu: &Qemu, package: &[u8], loop_seconds: f64) -> Result<()> {
    println!("Debian {} on {}", series.suite, kernel.display());
    let system = system(series.suite)?;
    let folder = root().join("target/vm/guests").join(series.suite);
    fs::create_dir_all(&folder)?;
    let facts = format!("LOOP_SECONDS_THERE={loop_seconds}\nLOOP='{LOOP}'\n");
    let archive = folder.join("initramfs");
    let added: [(&str, u32, &[u8]); 4] = [
        ("/test/run", 0o755, SCRIPT.as_bytes()),
        ("/test/facts", 0o644, facts.as_bytes()),
        ("/test/thread-probe.deb", 0o644, package),
        ("/etc/systemd/system/guest.service", 0o644, UNIT.as_bytes()),
    ];
    initramfs::pack_system(&folder.join("root"), &archive, &system, &added)?;
    let started = Instant::now();
    let machine =
        Machine { kernel, initramfs: &archive, memory_mib: MEMORY_MIB, arguments: "systemd.unit=guest.service" };
    let guest = qemu.boot(&machine, &folder)?;
    println!("{}", guest.stdout.trim_end());
    ensure!(guest.status == 0, "it ended with {}: {}", guest.status, guest.stderr.trim());
    println!("Debian {}: as expected, in {:.0} s\n", series.suite, started.elapsed().as_secs_f64());
    Ok(())
}

/// The smallest Debian with systemd, as an archive. It is made once: remove it to have a newer one.
fn system(suite: &str) -> Result<PathBuf> {
    let archive = root().join("target/vm/systems").join(format!("{suite}.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    fs::create_dir_all(archive.parent().context("it has a parent")?)?;
    let mirror = mirror()?;
    println!("Making Debian {suite} from {mirror} (some 20 s).");
    let unfinished = archive.with_extension("unfinished.tar");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=essential", "--include=systemd-sysv,passwd"]);
    for left_out in ["doc", "locale", "man"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{left_out}/*"));
    }
    // They are for the packages of the system alone: of ours, all is to be there.
    command.arg("--customize-hook=rm \"$1\"/etc/dpkg/dpkg.cfg.d/*mmdebstrap*");
    command.arg(suite).arg(&unfinished).arg(format!("deb [signed-by={KEYRING}] {mirror} {suite} main"));
    succeed(&mut command).context("making a Debian takes mmdebstrap: install it")?;
    fs::rename(unfinished, &archive)?;
    Ok(archive)
}

/// CPU time, as whatever else runs here does not count; the guest tells time that passed, in which it does.
fn loop_seconds_here() -> Result<f64> {
    let command = format!("{{ {LOOP}; }} 2>&1");
    let said = output(Command::new("bash").args(["-c", &command]))?;
    let seconds = said.lines().find_map(|line| line.strip_prefix("user ")).context("bash told no time")?;
    Ok(seconds.trim().parse()?)
}
