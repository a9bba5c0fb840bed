//! `thread-probe doctor` on this very host, and where something is really missing: a privilege, a namespace, the
//! kernel's types. What needs root says so.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::support::daemon::PROGRAM;

const AS_JSON: [&str; 3] = ["doctor", "--format", "json"];

fn run(program: &str, args: &[&str]) -> Result<Output> {
    Ok(Command::new(program).args(args).stdin(Stdio::null()).output()?)
}

/// Runs it in another namespace, as `unshare` makes it.
fn run_unshared(args: &[&str]) -> Result<Output> {
    run("unshare", &[args, &[PROGRAM], &AS_JSON].concat())
}

fn report(output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn checks(report: &Value) -> impl Iterator<Item = &Value> {
    report["checks"].as_array().into_iter().flatten()
}

fn check<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    checks(report).find(|check| check["check"] == name).with_context(|| format!("no check {name} in {report}"))
}

fn ensure_statuses(report: &Value, expected: &[(&str, &str)]) -> Result<()> {
    for (name, status) in expected {
        let found = check(report, name)?;
        ensure!(found["status"] == *status, "not {status}: {found}");
    }
    for check in checks(report) {
        ensure!((check["status"] == "ok") == check["remedy"].is_null(), "a remedy too many or too few: {check}");
        ensure!(check["found"].as_str().is_some_and(|found| !found.is_empty()), "nothing found: {check}");
    }
    Ok(())
}

/// One line on standard error, and 1.
fn ensure_failed(output: &Output) -> Result<()> {
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && line.lines().count() == 1, "{}: {line}", output.status);
    ensure!(line.contains(" missing: each says what to do"), "{line}");
    Ok(())
}

#[test]
fn where_nothing_is_missing_it_says_so_of_each_check_and_what_the_probe_costs() -> Result<()> {
    needs_root!();
    let output = run(PROGRAM, &AS_JSON)?;
    let report = report(&output)?;
    let of_host = ["kernel", "btf", "lockdown", "capabilities", "user namespace", "pid namespace"];
    let of_programs = ["program scan_tasks", "program sched_switch", "program sched_process_free"];
    let of_test = ["self-test switches", "self-test waits", "self-test histogram", "cost"];
    let ok: Vec<_> = [&of_host[..], &of_programs, &of_test].concat().into_iter().map(|name| (name, "ok")).collect();
    ensure_statuses(&report, &ok)?;
    // Those may be warnings, by the kernel and what is mounted.
    for name in ["config", "cgroups", "program clone", "first process", "self-test threads", "kernel.bpf_stats_enabled"]
    {
        ensure!(
            ["ok", "warning"].iter().any(|status| check(&report, name).is_ok_and(|check| check["status"] == *status))
        );
    }
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let cost = |figure: &str| report["cost"][figure].as_f64().with_context(|| format!("no {figure} in {report}"));
    let product = cost("seconds_per_switch")? * cost("switches_per_second")?;
    ensure!(product > 0.0 && (cost("cpu_ratio")? - product).abs() < 1e-12, "{}", report["cost"]);
    // From 10 ns on, else it was not measured; less than the slowest tool there is.
    ensure!((1e-8..1e-5).contains(&cost("seconds_per_switch_under_load")?), "{}", report["cost"]);
    Ok(())
}

#[test]
fn the_table_has_a_line_for_each_check_and_no_colour_in_a_pipe() -> Result<()> {
    let output = run(PROGRAM, &["doctor"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["kernel", "btf", "capabilities", "cgroups"] {
        let is_of = |line: &str| line.split_whitespace().nth(1) == Some(name);
        ensure!(text.lines().filter(|line| is_of(line)).count() == 1, "{name}: {text}");
    }
    ensure!(!text.contains('\u{1b}') && text.lines().last().is_some_and(|line| line.contains(" ok, ")), "{text}");
    Ok(())
}

#[test]
fn without_privilege_it_says_what_is_missing_and_still_what_anyone_may_know() -> Result<()> {
    // The program must be readable to its new user.
    let copy = tempfile::Builder::new().prefix("thread-probe").tempdir_in("/tmp")?;
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755))?;
    let path = copy.path().join("thread-probe");
    fs::copy(PROGRAM, &path)?;
    let run_as_nobody = |args: &[&str]| {
        let mut command = Command::new(&path);
        command.args(AS_JSON).args(args).stdin(Stdio::null());
        if nix::unistd::geteuid().is_root() {
            command.uid(65534);
        }
        command.output()
    };
    // A configuration for root names a user to become, which nobody else can.
    let output = run_as_nobody(&["--user", "root"])?;
    ensure_failed(&output)?;
    let of_another = report(&output)?;
    let expected = [("kernel", "ok"), ("capabilities", "missing"), ("privileges", "missing"), ("programs", "unknown")];
    ensure_statuses(&of_another, &expected)?;
    let output = run_as_nobody(&[])?;
    ensure_failed(&output)?;
    let report = report(&output)?;
    let expected = [
        ("kernel", "ok"),
        ("btf", "ok"),
        ("capabilities", "missing"),
        ("programs", "unknown"),
        ("self-test", "unknown"),
    ];
    ensure_statuses(&report, &expected)?;
    let capabilities = check(&report, "capabilities")?;
    ensure!(capabilities["found"] == "CAP_BPF and CAP_PERFMON missing", "{capabilities}");
    ensure!(report["cost"].is_null(), "a cost that nobody measured: {}", report["cost"]);
    Ok(())
}

#[test]
fn a_user_that_does_not_exist_is_a_line_and_nothing_is_loaded() -> Result<()> {
    needs_root!();
    let output = run(PROGRAM, &[&AS_JSON[..], &["--user", "no-such-user"]].concat())?;
    ensure_failed(&output)?;
    let report = report(&output)?;
    let expected = [
        ("kernel", "ok"),
        ("capabilities", "ok"),
        ("privileges", "missing"),
        ("programs", "unknown"),
        ("self-test", "unknown"),
    ];
    ensure_statuses(&report, &expected)?;
    let privileges = check(&report, "privileges")?;
    ensure!(privileges["found"] == "no user \"no-such-user\" on this host", "{privileges}");
    Ok(())
}

#[test]
fn in_a_pid_namespace_of_its_own_the_hosts_is_missing() -> Result<()> {
    needs_root!();
    let output = run_unshared(&["--pid", "--fork", "--mount-proc"])?;
    ensure_failed(&output)?;
    let report = report(&output)?;
    ensure_statuses(&report, &[("pid namespace", "missing"), ("program scan_tasks", "ok"), ("self-test", "unknown")])?;
    let remedy = check(&report, "pid namespace")?["remedy"].clone();
    ensure!(remedy.as_str().is_some_and(|remedy| remedy.contains("hostPID: true")), "{remedy}");
    Ok(())
}

#[test]
fn in_a_user_namespace_of_its_own_the_hosts_is_missing() -> Result<()> {
    needs_root!();
    let output = run_unshared(&["--user", "--map-root-user"])?;
    ensure_failed(&output)?;
    let expected =
        [("capabilities", "ok"), ("user namespace", "missing"), ("programs", "missing"), ("self-test", "unknown")];
    ensure_statuses(&report(&output)?, &expected)
}

#[test]
fn without_the_kernels_types_they_are_missing_and_nothing_is_loaded() -> Result<()> {
    needs_root!();
    let empty = tempfile::tempdir()?;
    let masked = format!("mount --bind {} /sys/kernel/btf && exec \"$@\"", empty.path().display());
    let output = run_unshared(&["--mount", "sh", "-c", &masked, "sh"])?;
    ensure_failed(&output)?;
    let report = report(&output)?;
    ensure_statuses(
        &report,
        &[("kernel", "ok"), ("btf", "missing"), ("programs", "unknown"), ("self-test", "unknown")],
    )?;
    ensure!(check(&report, "btf")?["found"].as_str().is_some_and(|found| found.contains("vmlinux")), "{report}");
    Ok(())
}
