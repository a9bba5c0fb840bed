//! The kernel tests on Debian's stock kernels, in machines that QEMU emulates: no KVM is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{
    build::{release_binary, test_binary},
    initramfs,
    kernels::{Apt, SERIES, Series},
    setup::{output, root, setup},
};

/// An emulated kernel runs some thirty times slower: what takes seconds here takes minutes there.
const TIMEOUT: Duration = Duration::from_mins(15);
const QEMU: &str = "qemu-system-x86_64";

/// Options of `vm`
#[derive(Args)]
pub(crate) struct Options {
    /// Only the kernels of this series; may be given more than once
    #[arg(long = "kernel", value_name = "SERIES", value_parser = SERIES.map(|series| series.name))]
    kernels: Vec<String>,
    /// Only the tests whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
}

/// Runs the tests on each kernel.
///
/// # Errors
/// A test failed on one of them.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup()?;
    let qemu = Qemu::find()?;
    let apt = Apt::update()?;
    let programs = [(test_binary("kernel")?, "kernel-tests"), (release_binary()?, "thread-probe")];
    let wanted = |series: &Series| match options.kernels.is_empty() {
        true => !series.is_by_name_only,
        false => options.kernels.iter().any(|name| name == series.name),
    };
    let mut failed = Vec::new();
    for series in SERIES.into_iter().filter(wanted) {
        let outcome = apt.kernel(series).and_then(|kernel| test(series, &kernel, &qemu, &programs, &options.filter));
        if let Err(error) = outcome {
            println!("Linux {}: FAILED: {error:#}\n", series.name);
            failed.push(series.name);
        }
    }
    ensure!(failed.is_empty(), "failed on Linux {}", failed.join(", "));
    Ok(())
}

fn test(series: Series, kernel: &Path, qemu: &Qemu, programs: &[(PathBuf, &str)], filter: &str) -> Result<()> {
    println!("Linux {}: {}", series.name, kernel.display());
    let folder = root().join("target/vm/guests").join(series.name);
    fs::create_dir_all(&folder)?;
    let script = if series.is_too_old {
        "thread-probe ps\n".to_owned()
    } else {
        format!("THREAD_PROBE_OWN_MACHINE=1 kernel-tests --color=never '{filter}'\n")
    };
    let programs: Vec<(&Path, &str)> = programs.iter().map(|(path, name)| (path.as_path(), *name)).collect();
    let archive = folder.join("initramfs.gz");
    initramfs::pack(&folder.join("root"), &archive, &programs, &script)?;
    let started = Instant::now();
    let guest = qemu.boot(&Machine { kernel, initramfs: &archive, memory_mib: 1024, arguments: "" }, &folder)?;
    println!("{}", guest.stdout.trim_end());
    if series.is_too_old {
        expect_refusal(series, &guest)?;
    } else {
        expect_success(&guest)?;
    }
    println!("Linux {}: as expected, in {:.0} s\n", series.name, started.elapsed().as_secs_f64());
    Ok(())
}

fn expect_success(guest: &Guest) -> Result<()> {
    ensure!(guest.status == 0, "the tests ended with {}: {}", guest.status, guest.stderr.trim());
    Ok(())
}

fn expect_refusal(series: Series, guest: &Guest) -> Result<()> {
    println!("{}", guest.stderr.trim_end());
    let line = guest.stderr.trim();
    let is_clear = line.lines().count() == 1
        && line.starts_with(&format!("thread-probe: Linux {}", series.version))
        && line.contains("is too old");
    ensure!(guest.status == 1 && is_clear, "it must be refused in one line with status 1, not {}", guest.status);
    Ok(())
}

/// What is booted.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) memory_mib: u32,
    /// Further arguments of the kernel.
    pub(crate) arguments: &'a str,
}

/// What a guest left behind.
pub(crate) struct Guest {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// QEMU, and what its version needs.
pub(crate) struct Qemu {
    cpu: &'static str,
}

impl Qemu {
    /// The one that is installed.
    ///
    /// # Errors
    /// None is.
    pub(crate) fn find() -> Result<Self> {
        let version = output(Command::new(QEMU).arg("--version"))
            .context("no QEMU: install qemu-system-x86 (on bookworm from bookworm-backports)")?;
        let major = version.split_whitespace().find_map(|word| word.split('.').next()?.parse::<u32>().ok());
        // Before 8 the emulation of cmpxchg16b crashes guests at random.
        Ok(Self { cpu: if major.is_some_and(|major| major < 8) { "max,-cx16" } else { "max" } })
    }

    /// Boots a guest, waits until it turns itself off, and reads its serial ports.
    ///
    /// # Errors
    /// It died before it had said how it went.
    pub(crate) fn boot(&self, machine: &Machine<'_>, folder: &Path) -> Result<Guest> {
        let ports = ["kernel.log", "stdout", "stderr", "status"].map(|name| folder.join(name));
        let mut command = Command::new(QEMU);
        command
            .args(["-machine", "q35", "-accel", "tcg,thread=single", "-cpu", self.cpu, "-smp", "2"])
            .args(["-m", &machine.memory_mib.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(machine.kernel)
            .arg("-initrd")
            .arg(machine.initramfs)
            .args(["-append", &format!("console=ttyS0 panic=-1 loglevel=5 8250.nr_uarts=4 {}", machine.arguments)]);
        for port in &ports {
            fs::write(port, "")?;
            command.arg("-serial").arg(format!("file:{}", port.display()));
        }
        wait(&mut command)?;
        let [log, stdout, stderr, status] = ports.map(|port| fs::read_to_string(port).unwrap_or_default());
        let Ok(status) = status.trim().parse() else {
            let end: Vec<&str> = log.lines().rev().take(25).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            bail!("the guest died; its tests said:\n{stdout}{stderr}\nand its kernel last:\n{}", end.join("\n"));
        };
        Ok(Guest { status, stdout, stderr })
    }
}

fn wait(command: &mut Command) -> Result<()> {
    let mut child = command.stdin(Stdio::null()).spawn().context("starting QEMU")?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "QEMU ended with {status}");
            return Ok(());
        }
        if started.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            println!("the guest did not end within {} minutes and was stopped", TIMEOUT.as_secs() / 60);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
