//! What is advised and planned for a real process, as its users ask.

use std::{
    process::{Command, Output, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::support::daemon::PROGRAM;

fn run(args: &[&str]) -> Result<Output> {
    Ok(Command::new(PROGRAM).args(args).stdin(Stdio::null()).output()?)
}

fn json(args: &[&str]) -> Result<Value> {
    let output = run(args)?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Does something while this process has so many more threads that wait.
fn beside<T>(threads: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (is_over, changed) = (Mutex::new(false), Condvar::new());
    let end = || {
        *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            let wait = || {
                let guard = is_over.lock().unwrap_or_else(PoisonError::into_inner);
                drop(changed.wait_while(guard, |is_over| !*is_over));
            };
            let created = thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, wait);
            created.inspect_err(|_| end())?;
        }
        let outcome = work();
        end();
        outcome
    })
}

#[test]
fn threads_by_the_thousand_that_wait_are_found_and_planned_for() -> Result<()> {
    needs_root!();
    let pid = std::process::id().to_string();
    let (advice, plan) = beside(1_100, || {
        let advice = json(&["advise", &pid, "--window", "1s", "--format", "json"])?;
        Ok((advice, json(&["plan", "--pid", &pid, "--window", "1s", "--format", "json"])?))
    })?;
    let findings = advice["findings"].as_array().context("findings")?;
    let rules: Vec<_> = findings.iter().filter_map(|finding| finding["rule"].as_str()).collect();
    ensure!(rules.contains(&"many_threads") && rules.contains(&"mostly_waiting"), "{advice}");
    ensure!(advice["processes"] == 1 && advice["checked"].as_array().is_some_and(|all| all.len() >= 10), "{advice}");
    let threads = plan["inputs"]["today"]["threads"].as_u64().unwrap_or(0);
    ensure!(threads > 1_100, "{plan}");
    let room = plan["inputs"]["room"].as_array().context("room")?;
    let least = room.iter().filter_map(|room| room["threads"].as_u64()).min();
    ensure!(room.len() > 2 && plan["most_threads"]["threads"].as_u64() == least, "{plan}");
    ensure!(least > Some(threads), "{plan}");
    Ok(())
}

#[test]
fn who_does_nothing_gets_no_advice_and_who_is_not_there_an_error() -> Result<()> {
    needs_root!();
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    let advice = json(&["advise", &sleeper.id().to_string(), "--window", "1s", "--format", "json"]);
    sleeper.kill()?;
    sleeper.wait()?;
    let advice = advice?;
    ensure!(advice["findings"].as_array().is_some_and(Vec::is_empty) && advice["processes"] == 1, "{advice}");
    for args in [&["advise", "4194304"][..], &["plan", "--pid", "4194304"], &["advise", "--group", "no such group"]] {
        let output = run(&[args, &["--window", "1s"]].concat())?;
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && line.contains("no process"), "{args:?}: {line}");
    }
    Ok(())
}

#[test]
fn what_is_planned_by_hand_needs_nothing() -> Result<()> {
    let by_hand = ["plan", "--cpus", "2", "--wait-ms", "9", "--work-ms", "1", "--ram", "1G", "--format", "json"];
    let plan = json(&by_hand)?;
    ensure!(plan["cpu_bound_threads"] == 2 && plan["io_bound_threads"] == 20, "{plan}");
    ensure!(plan["most_threads"]["limit"] == "memory", "{plan}");
    for (args, part) in [
        (&["--wait-ms", "5"][..], "--work-ms"),
        (&["--rate", "5"], "--response-ms"),
        (&["--cpus", "0"], "above 0"),
        (&["--ram", "5x"], "2G"),
        (&["--pid", "1", "--group", "a"], "cannot be used with"),
    ] {
        let output = run(&[&["plan"], args].concat())?;
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && line.contains(part) && line.lines().count() == 1, "{args:?}: {line}");
    }
    Ok(())
}
