//! Batch output as its users run it. What needs root says so.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::pty::openpty;
use serde_json::Value;

use crate::support::daemon::{Daemon, PROGRAM};

const QUICK: [&str; 4] = ["top", "--batch", "--interval", "200ms"];

fn run(args: &[&str]) -> Result<Output> {
    Ok(Command::new(PROGRAM).args(args).stdin(Stdio::null()).output()?)
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines_of_json(output: &Output) -> Result<Vec<Value>> {
    ensure!(output.status.success(), "it ended with {}: {}", output.status, stderr_of(output));
    output.stdout.split_inclusive(|byte| *byte == b'\n').map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

fn processes(sample: &Value) -> Result<&Vec<Value>> {
    sample["processes"].as_array().context("processes")
}

#[test]
fn what_can_not_be_meant_is_a_usage_error() -> Result<()> {
    let said = [
        (&["--sort", "beauty"][..], "expected one of pid, user"),
        (&["--sort", "cpu:up"], "ascending, descending"),
        (&["--filter", "threads>many"], "threads is compared with a number"),
        (&["--filter", "re:("], "no regular expression"),
        (&["--columns", "pid,beauty"], "no column \"beauty\""),
        (&["--interval", "1ms"], "from 100ms to 1h"),
        (&["--samples", "0"], "0 is not in 1.."),
        (&["--url", "localhost"], "unix:/PATH"),
        (&["--filter", "a", "--pid", "1"], "cannot be used with"),
    ];
    for (args, part) in said {
        let output = run(&[&["top", "--batch"], args].concat())?;
        let line = stderr_of(&output);
        ensure!(output.status.code() == Some(2), "{args:?} ended with {}", output.status);
        ensure!(line.contains(part) && line.lines().count() == 1, "{args:?}: {line}");
    }
    Ok(())
}

#[test]
fn options_that_print_need_batch_in_a_terminal_and_nothing_in_a_pipe() -> Result<()> {
    for args in [&["-n", "1"][..], &["--format", "csv"], &["--top", "1"]] {
        let args = [&["top", "--url", "http://127.0.0.1:1"], args].concat();
        let in_pipe = stderr_of(&run(&args)?);
        ensure!(in_pipe.contains("127.0.0.1:1") && !in_pipe.contains("--batch"), "{args:?}: {in_pipe}");
        let terminal = openpty(None, None)?;
        let output = Command::new(PROGRAM).args(&args).stdin(Stdio::null()).stdout(terminal.slave).output()?;
        let line = stderr_of(&output);
        ensure!(output.status.code() == Some(1) && line.lines().count() == 1, "{args:?}: {}: {line}", output.status);
        ensure!(line.contains(args[3]) && line.contains("add --batch"), "{args:?}: {line}");
    }
    Ok(())
}

#[test]
fn without_a_daemon_at_the_url_it_says_so_and_ends_with_1() -> Result<()> {
    let output = run(&["top", "--batch", "--url", "http://127.0.0.1:1"])?;
    let line = stderr_of(&output);
    ensure!(output.status.code() == Some(1) && line.lines().count() == 1 && line.contains("127.0.0.1:1"), "{line}");
    Ok(())
}

#[test]
fn each_sample_is_a_line_of_json_filtered_sorted_and_of_a_whole_interval() -> Result<()> {
    needs_root!();
    let args = [
        "top",
        "--batch",
        "-d",
        "0.6",
        "-n",
        "2",
        "--format",
        "json",
        "--sort",
        "pid:desc",
        "--filter",
        "pid<100000 !re:^kworker",
        "--top",
        "3",
    ];
    let started = Instant::now();
    let samples = lines_of_json(&run(&args)?)?;
    ensure!(samples.len() == 2, "{} samples", samples.len());
    ensure!(started.elapsed() > Duration::from_millis(1200), "two intervals took {:?}", started.elapsed());
    for sample in &samples {
        let pids: Vec<u64> = processes(sample)?.iter().filter_map(|process| process["pid"].as_u64()).collect();
        ensure!(pids.len() == 3 && pids.is_sorted_by(|a, b| a > b), "{pids:?}");
        let interval = sample["interval_seconds"].as_f64().context("a sample without rates")?;
        ensure!((0.59..5.0).contains(&interval), "{interval}");
    }
    Ok(())
}

/// Batch output of which the first line was read.
fn started(args: &[&str]) -> Result<(Child, BufReader<std::process::ChildStdout>)> {
    let mut child = Command::new(PROGRAM).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut out = BufReader::new(child.stdout.take().context("its output")?);
    ensure!(out.read_line(&mut String::new())? > 0, "{}", stderr_of(&child.wait_with_output()?));
    Ok((child, out))
}

#[test]
fn a_closed_pipe_ends_it_though_the_next_sample_is_far_away() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    let url = format!("unix:{}", daemon.socket().display());
    daemon.second_snapshot(daemon.child.id())?;
    let (mut child, out) = started(&["top", "--batch", "--interval", "1h", "--format", "json", "--url", &url])?;
    let closed = Instant::now();
    drop(out);
    while child.try_wait()?.is_none() && closed.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Not there any more, if all is well.
    let _ = child.kill();
    let status = child.wait()?;
    ensure!(status.code() == Some(0), "{status} after {:?}", closed.elapsed());
    let mut said = String::new();
    child.stderr.take().context("its errors")?.read_to_string(&mut said)?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn the_newest_sample_of_a_daemon_is_printed_at_once() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    daemon.second_snapshot(daemon.child.id())?;
    let (url, pid) = (format!("http://127.0.0.1:{}", daemon.port), daemon.child.id().to_string());
    let args = ["top", "--batch", "-d", "60", "-n", "1", "--format", "csv", "--url", &url, "--pid", &pid];
    let output = run(&args)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.starts_with("time_unix_seconds,tid,state,") && text.contains(&format!(",{pid},")), "{text}");
    Ok(())
}

#[test]
fn a_process_that_is_not_there_or_ends_is_said() -> Result<()> {
    needs_root!();
    let unknown = run(&[&QUICK[..], &["--pid", "4194304"]].concat())?;
    ensure!(unknown.status.code() == Some(1), "it ended with {}", unknown.status);
    ensure!(stderr_of(&unknown).contains("no process 4194304"), "{}", stderr_of(&unknown));
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    let pid = sleeper.id().to_string();
    let (child, mut out) = started(&[&QUICK[..], &["--pid", &pid]].concat())?;
    sleeper.kill()?;
    sleeper.wait()?;
    // Until it ends: it must not be stopped by a closed pipe.
    out.read_to_end(&mut Vec::new())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
    ensure!(stderr_of(&output) == format!("thread-probe: process {pid} has ended\n"), "{}", stderr_of(&output));
    Ok(())
}
