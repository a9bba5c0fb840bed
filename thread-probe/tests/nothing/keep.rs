//! What `top` keeps between runs, in a pseudo-terminal: without root, and without a daemon.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use nix::pty::{Winsize, openpty};
use thread_probe::top::settings::Settings;

/// How it ends, and what it says on standard error, when these keys are typed.
fn run(state_home: &Path, args: &[&str], keys: &str) -> Result<Output> {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None)?;
    let child = Command::new(env!("CARGO_BIN_EXE_thread-probe"))
        .args(["top", "--url", "unix:/nowhere"])
        .args(args)
        .env("XDG_STATE_HOME", state_home)
        .stdin(terminal.slave.try_clone()?)
        .stdout(terminal.slave)
        .stderr(Stdio::piped())
        .spawn()?;
    let mut terminal = File::from(terminal.master);
    // When it draws, it has its keys.
    let mut drawn = [0; 4096];
    ensure!(terminal.read(&mut drawn)? > 0, "it drew nothing");
    terminal.write_all(keys.as_bytes())?;
    // Its other end is gone once it has ended, which is an error.
    while terminal.read(&mut drawn).is_ok_and(|length| length > 0) {}
    Ok(child.wait_with_output()?)
}

#[test]
fn what_the_command_line_chose_is_for_once_and_what_keys_changed_is_kept() -> Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("thread-probe/top.toml");
    fs::create_dir(home.path().join("thread-probe"))?;
    fs::write(&path, "interval = '7s'\n[threads]\ncolumns = ['tid', 'comm']\n")?;
    let args = ["--sort", "cpu", "--columns", "pid,comm", "--interval", "3", "--tree", "cgroup"];
    let output = run(home.path(), &args, "iq")?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let kept = Settings::from_toml(&fs::read_to_string(&path)?).map_err(|error| anyhow!(error))?;
    let interval = Duration::from_secs(7);
    let wanted = Settings { interval, only_changed: false, thread_columns: vec!["tid", "comm"], ..Settings::default() };
    ensure!(kept == wanted, "{kept:?} is not {wanted:?}");
    Ok(())
}

#[test]
fn settings_that_can_not_be_kept_are_a_warning_and_no_failure() -> Result<()> {
    // Where nobody makes a folder, root included.
    let output = run(Path::new("/proc"), &[], "iq")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(0), "it ended with {}: {said}", output.status);
    ensure!(said.contains("WARN") && said.contains("/proc/thread-probe/top.toml"), "{said}");
    ensure!(said.lines().count() == 1 && said.matches("keeping the settings").count() == 1, "{said}");
    Ok(())
}
