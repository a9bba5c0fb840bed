//! What is recorded of a real host, and replayed: by the library, and by the commands as their users run them.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MsFlags, mount, umount},
    sys::signal::Signal,
};
use serde_json::Value;
use thread_probe::{
    config::Config,
    model::Model,
    record::{Recording, Track},
    sampler::Sampler,
};

use crate::support::daemon::{Daemon, PROGRAM};

const RECORDED: &str = "threadprobe_recorded_samples_total";
const LOST: &str = "threadprobe_recording_lost_samples_total";

/// Has threads and processes come and go until it is told to end.
fn churn(is_over: &AtomicBool) {
    while !is_over.load(Relaxed) {
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(3)))).collect();
        let child = Command::new("true").spawn();
        threads.into_iter().for_each(|thread| drop(thread.join()));
        drop(child.and_then(|mut child| child.wait()));
    }
}

#[test]
fn two_hundred_samples_under_churn_are_read_as_they_were_field_by_field() -> Result<()> {
    needs_root!();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.tprec");
    let is_over = AtomicBool::new(false);
    let (sampler, first) = Sampler::start(&Config::default().sampler())?;
    let jsons = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| churn(&is_over));
        }
        let jsons = sample_and_record(sampler, first, &path, 200);
        is_over.store(true, Relaxed);
        jsons
    })?;
    let mut track = Track::open(&path)?;
    ensure!(track.len() == jsons.len());
    let mut looked_into = 0;
    for (number, (model, one)) in jsons.iter().enumerate() {
        let sample = track.sample(number)?;
        ensure!(serde_json::to_string(&sample.model)? == *model, "sample {number} differs");
        ensure!(serde_json::to_string(&sample.looked_into)? == *one, "threads of sample {number} differ");
        looked_into += sample.looked_into.len();
    }
    ensure!(looked_into > 0, "no process did enough for its threads to be kept");
    Ok(())
}

/// The JSON of each sample, and of the processes that were looked into.
fn sample_and_record(mut sampler: Sampler, first: Model, path: &Path, samples: usize) -> Result<Vec<(String, String)>> {
    let mut model = first;
    let mut recording = Recording::create(path)?;
    let mut jsons = Vec::new();
    while jsons.len() < samples {
        let looked_into = sampler.look_into(&model);
        jsons.push((serde_json::to_string(&model)?, serde_json::to_string(&looked_into)?));
        recording.write(Arc::new(model), &looked_into)?;
        sampler.wait(Duration::from_millis(20))?;
        model = sampler.sample()?;
    }
    Ok(jsons)
}

fn record(path: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("record").arg(path).args(more).stdin(Stdio::null());
    command
}

/// Runs a command as somebody who may not load programs.
fn as_nobody(args: &[&str]) -> Result<Output> {
    const NOBODY: u32 = 65534;
    let program = Path::new(PROGRAM);
    Ok(Command::new(program).args(args).uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).output()?)
}

fn text(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// Where everybody may read.
fn open_folder() -> Result<(tempfile::TempDir, PathBuf)> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let path = folder.path().join("a.tprec");
    Ok((folder, path))
}

#[test]
fn who_may_load_nothing_replays_what_root_recorded_in_every_view() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    needs_root!();
    let (_folder, path) = open_folder()?;
    let recorded = record(&path, &["--for", "3s", "--interval", "250ms"]).output()?;
    ensure!(text(&recorded)?.contains("samples in "), "{recorded:?}");
    ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o640, "names of processes are in it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    let name = path.to_str().context("a path")?;

    let lines = text(&as_nobody(&["top", "--batch", "--format", "json", "--replay", name])?)?;
    let samples: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!((8..=13).contains(&samples.len()), "{} samples", samples.len());
    let time = |sample: &Value| sample["time_unix_seconds"].as_f64().unwrap_or(0.0);
    ensure!(samples.windows(2).all(|pair| time(&pair[0]) < time(&pair[1])), "they are in order");

    let last = text(&as_nobody(&["ps", "--format", "json", "--replay", name, "--at", "-0s"])?)?;
    ensure!(serde_json::from_str::<Value>(&last)? == *samples.last().context("a sample")?);
    let back = text(&as_nobody(&["ps", "--format", "json", "--replay", name, "--at", "-1s"])?)?;
    let back = time(&serde_json::from_str(&back)?) - time(samples.last().context("a sample")?);
    ensure!((-1.0..=-0.5).contains(&back), "{back}");
    ensure!(text(&as_nobody(&["limits", "--replay", name])?)?.contains("threads_max"));
    Ok(())
}

#[test]
fn what_can_not_be_replayed_is_said_with_its_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("other.txt");
    fs::write(&other, "a text that is longer than the head of a recording")?;
    for (path, said) in [
        (folder.path().join("none"), "No such file"),
        (other, "no recording of thread-probe"),
        (folder.path().to_owned(), "no recorded sample"),
    ] {
        let output = Command::new(PROGRAM).args(["ps", "--replay"]).arg(&path).output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{output:?}");
        ensure!(error.contains(said) && error.contains(&*path.to_string_lossy()), "{error}");
    }
    let output = Command::new(PROGRAM).args(["ps", "--at", "-1h"]).output()?;
    ensure!(output.status.code() == Some(2), "--at is of a recording: {output:?}");
    Ok(())
}

#[test]
fn a_recording_that_is_there_is_not_written_over() -> Result<()> {
    needs_root!();
    let (_folder, path) = open_folder()?;
    fs::write(&path, "mine")?;
    let output = record(&path, &["--for", "1s"]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && error.contains("exists"), "{output:?}");
    ensure!(fs::read(&path)? == b"mine");
    Ok(())
}

#[test]
fn who_may_not_record_leaves_no_file_behind() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    needs_root!();
    let (folder, path) = open_folder()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    let output = as_nobody(&["record", path.to_str().context("a path")?, "--for", "1s"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(!path.exists(), "the next try would be told that it is there");
    Ok(())
}

#[test]
fn who_is_killed_while_it_records_loses_the_last_sample_at_most() -> Result<()> {
    needs_root!();
    for times in 0..8 {
        let (_folder, path) = open_folder()?;
        let mut child = record(&path, &["--interval", "100ms"]).spawn()?;
        let begun = Instant::now();
        while Track::open(&path).map_or(0, |track| track.len()) < 2 + times {
            ensure!(begun.elapsed() < Duration::from_secs(30), "nothing is recorded");
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(13 * times as u64));
        child.kill()?;
        child.wait()?;
        let whole = Track::open(&path)?.len();
        let (recording, cut_bytes) = Recording::<Arc<_>>::go_on(&path)?;
        drop(recording);
        let mut track = Track::open(&path)?;
        ensure!(track.len() >= whole && track.len() >= 2 + times, "{} samples, {cut_bytes} bytes cut", track.len());
        for number in 0..track.len() {
            track.sample(number)?;
        }
    }
    Ok(())
}

/// Mounted until it is dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Result<Self> {
        let (folder, options) = (tempfile::tempdir()?, format!("size={size}"));
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(&*options))
            .context("mounting a tmpfs")?;
        Ok(Self(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount(self.0.path());
    }
}

/// A daemon that keeps a sample every 100 ms in a folder.
fn keeping(folder: &Path) -> Result<Daemon> {
    let folder = folder.to_str().context("a path")?;
    Daemon::start_configured(&["--interval", "100ms", "--record.interval", "100ms", "--record.dir", folder])
}

#[test]
fn a_daemon_that_is_killed_goes_on_where_it_was_and_no_sample_is_lost() -> Result<()> {
    needs_root!();
    let folder = tempfile::tempdir()?;
    let records = folder.path().join("made/by/it");
    let daemon = keeping(&records)?;
    daemon.wait_until("five samples are kept", |daemon| Ok(daemon.metric(RECORDED)? >= 5.0))?;
    drop(daemon);
    let before = Track::open(&records)?.len();
    let daemon = keeping(&records)?;
    daemon.wait_until("two samples are kept", |daemon| Ok(daemon.metric(RECORDED)? >= 2.0))?;
    ensure!(daemon.metric(LOST)? == 0.0);
    daemon.signal(Signal::SIGTERM)?;
    let mut track = Track::open(&records)?;
    ensure!(
        track.len() >= before + 2 && track.warnings().is_empty(),
        "{} of {before}: {:?}",
        track.len(),
        track.warnings()
    );
    for number in 0..track.len() {
        track.sample(number)?;
    }
    let files = fs::read_dir(&records)?.count();
    ensure!(files <= 2, "{files} files: one, or two if the hour has just begun");
    Ok(())
}

#[test]
fn a_full_disk_costs_the_samples_that_it_refuses_and_sampling_goes_on() -> Result<()> {
    needs_root!();
    let disk = Tmpfs::mount("256k")?;
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 200 << 10])?;
    let daemon = keeping(disk.0.path())?;
    daemon.wait_for_log(&["WARN", "recording to", "No space left", "samples are lost until it succeeds"])?;
    daemon.wait_until("lost samples are counted", |daemon| Ok(daemon.metric(LOST)? > 8.0))?;
    let files = fs::read_dir(disk.0.path())?.count();
    ensure!(files <= 3, "{files} files: the ballast, and one recording, or two if the hour has just begun");
    fs::remove_file(&ballast)?;
    daemon.wait_for_log(&["INFO", "recording to", "succeeds again"])?;
    let kept = daemon.metric(RECORDED)?;
    daemon.wait_until("more samples are kept", |daemon| Ok(daemon.metric(RECORDED)? > kept))?;
    drop(daemon);
    let mut track = Track::open(disk.0.path())?;
    for number in 0..track.len() {
        track.sample(number)?;
    }
    Ok(())
}

#[test]
fn a_disk_that_is_full_is_said_and_what_is_on_it_can_be_replayed() -> Result<()> {
    needs_root!();
    let disk = Tmpfs::mount("96k")?;
    let path = disk.0.path().join("a.tprec");
    let output = record(&path, &["--for", "60s", "--interval", "100ms"]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && error.contains("No space left"), "{output:?}");
    ensure!(error.contains("a.tprec"), "{error}");
    let mut track = Track::open(&path)?;
    ensure!(track.len() > 1 && track.warnings().is_empty(), "{:?}", track.warnings());
    track.sample(track.len() - 1)?;
    Ok(())
}
