//! A guest: busybox, programs with the libraries they need, and a script, packed as an initramfs.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::setup::{output, succeed};

/// Mounts what a system has, runs /test with its output on the second and third serial port and its status on the
/// fourth, and turns the machine off. `stty raw` keeps the ports from changing a byte.
const INIT: &str = r"#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
for port in 1 2 3; do stty -F /dev/ttyS$port raw; done
/test </dev/null >/dev/ttyS1 2>/dev/ttyS2
echo $? >/dev/ttyS3
sync
reboot -f
";

/// Unpacks a system into memory, puts what is added to it in place, and starts its own init.
const SYSTEM_INIT: &str = r"#!/bin/sh
mount -t tmpfs -o size=80% tmpfs /root
tar -xf /system.tar -C /root
cp -a /added/. /root
exec switch_root /root /sbin/init
";

/// Packs a guest that starts the system in the archive `tar`, with files added: where, with which mode, and what.
///
/// # Errors
/// A tool is missing.
pub(crate) fn pack_system(folder: &Path, archive: &Path, tar: &Path, added: &[(&str, u32, &[u8])]) -> Result<()> {
    prepare(folder)?;
    write_executable(&folder.join("init"), SYSTEM_INIT)?;
    fs::hard_link(tar, folder.join("system.tar")).with_context(|| format!("linking {}", tar.display()))?;
    for (path, mode, content) in added {
        let target = folder.join("added").join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().context("it has a parent")?)?;
        fs::write(&target, content)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(*mode))?;
    }
    // Not compressed: an emulated machine takes longer to undo that than to copy.
    let pack = "find . | cpio --quiet -o -H newc --owner=0:0 >\"$1\"";
    succeed(Command::new("sh").args(["-euc", pack, "sh"]).arg(archive).current_dir(folder))
}

/// An empty guest with busybox.
fn prepare(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    for part in ["bin", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(folder.join(part))?;
    }
    install_busybox(folder)
}

/// Packs a guest that runs `script` into `archive`.
///
/// # Errors
/// A tool is missing.
pub(crate) fn pack(folder: &Path, archive: &Path, programs: &[(&Path, &str)], script: &str) -> Result<()> {
    prepare(folder)?;
    let mut libraries = BTreeSet::new();
    for (program, name) in programs {
        let target = folder.join("bin").join(name);
        fs::copy(program, &target).with_context(|| format!("copying {}", program.display()))?;
        // Debug information is most of a test program, and of the guest's memory.
        succeed(Command::new("strip").arg(&target))?;
        libraries.extend(libraries_of(program)?);
    }
    for library in libraries {
        let target = folder.join(library.strip_prefix("/")?);
        fs::create_dir_all(target.parent().context("it has a parent")?)?;
        fs::copy(&library, &target)?;
    }
    write_executable(&folder.join("init"), INIT)?;
    write_executable(&folder.join("test"), &format!("#!/bin/sh\n{script}"))?;
    let pack = "find . | cpio --quiet -o -H newc | gzip -1 >\"$1\"";
    succeed(Command::new("sh").args(["-euc", pack, "sh"]).arg(archive).current_dir(folder))
}

fn install_busybox(folder: &Path) -> Result<()> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists());
    let busybox = busybox.context("no busybox: install busybox-static")?;
    ensure!(libraries_of(busybox)?.is_empty(), "busybox is not static: install busybox-static");
    fs::copy(busybox, folder.join("bin/busybox"))?;
    for name in output(Command::new(busybox).arg("--list"))?.lines() {
        symlink("busybox", folder.join("bin").join(name)).ok();
    }
    Ok(())
}

/// The libraries that the dynamic linker would load, and itself.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    // ldd fails on a static program.
    let Ok(lines) = output(Command::new("ldd").arg(program)) else { return Ok(Vec::new()) };
    let path_in = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(lines.lines().filter_map(path_in).collect())
}

fn write_executable(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
