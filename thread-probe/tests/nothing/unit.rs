//! The systemd unit, as systemd itself judges it, and what the package says of itself. The unit's tests need
//! systemd-analyze, but no systemd that runs.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Result, ensure};

/// Ten times the exposure level that is allowed.
const THRESHOLD: &str = "--threshold=15";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// What systemd-analyze says of the unit, after a change to its text; `None`, and said, where there is none.
fn analyze(test: &str, args: &[&str], change: impl FnOnce(String) -> String) -> Result<Option<Output>> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        // Not println, which the test harness swallows when a test passes.
        writeln!(io::stderr(), "*** SKIPPED: {test}: needs systemd-analyze: install systemd")?;
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join("thread-probe.service");
    // systemd-analyze looks whether the program is there: this one is not installed.
    let text = fs::read_to_string(packaging().join("thread-probe.service"))?;
    fs::write(&unit, change(text.replace("/usr/bin/thread-probe", env!("CARGO_BIN_EXE_thread-probe"))))?;
    Ok(Some(Command::new("systemd-analyze").args(args).arg(&unit).output()?))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() -> Result<()> {
    let name = "systemd_has_nothing_to_say_against_the_unit";
    let args = ["verify", "--man=no"];
    let Some(good) = analyze(name, &args, |unit| unit)? else { return Ok(()) };
    ensure!(good.status.success() && said(&good).is_empty(), "{}", said(&good));
    let Some(bad) = analyze(name, &args, |unit| unit.replace("ProtectHome=", "ProtectHouse="))? else { return Ok(()) };
    ensure!(said(&bad).contains("ProtectHouse"), "a mistake is not found: {}", said(&bad));
    Ok(())
}

#[test]
fn the_sandbox_leaves_an_exposure_of_one_and_a_half_at_most() -> Result<()> {
    let name = "the_sandbox_leaves_an_exposure_of_one_and_a_half_at_most";
    let args = ["security", "--offline=true", THRESHOLD];
    let Some(good) = analyze(name, &args, |unit| unit)? else { return Ok(()) };
    ensure!(good.status.success(), "{}", said(&good));
    let Some(bad) = analyze(name, &args, |unit| unit.replace("IPAddressDeny=any", ""))? else { return Ok(()) };
    ensure!(!bad.status.success(), "the threshold allows more: {}", said(&bad));
    Ok(())
}

#[test]
fn the_configuration_that_is_installed_is_the_one_the_unit_names() -> Result<()> {
    let unit = fs::read_to_string(packaging().join("thread-probe.service"))?;
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))?;
    ensure!(manifest.contains("\"etc/thread-probe/config.toml\""));
    ensure!(unit.matches("/etc/thread-probe/config.toml").count() == 2, "ExecStart and ExecReload");
    Ok(())
}

#[test]
fn the_packages_changelog_begins_with_this_version() -> Result<()> {
    let changelog = fs::read_to_string(packaging().join("changelog"))?;
    let newest = concat!("thread-probe (", env!("CARGO_PKG_VERSION"), "-1) ");
    ensure!(changelog.starts_with(newest), "no entry for {newest}");
    Ok(())
}
