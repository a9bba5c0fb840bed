//! The program as its users run it: arguments, exit codes, HTTP over a socket. What needs root says so.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{sys::signal::Signal, unistd::User};
use serde_json::Value;

use crate::support::daemon::{Daemon, PROGRAM};

fn run(args: &[&str]) -> Result<Output> {
    Ok(Command::new(PROGRAM).args(args).stdin(Stdio::null()).output()?)
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether an alert is the one that [`alert`] provokes; others may fire on the host meanwhile.
fn is_provoked(alert: &Value) -> bool {
    alert["alert"] == "CloneFailures" && alert["group"] == "sh"
}

/// The alerts, once there is one of a clone that failed here.
fn alert(daemon: &Daemon) -> Result<Value> {
    let started = Instant::now();
    // In a pid namespace whose first process has ended, fork fails with ENOMEM.
    let failing = ["--pid", "sh", "-c", "/bin/true; /bin/true"];
    ensure!(!Command::new("unshare").args(failing).stderr(Stdio::null()).status()?.success(), "it could fork");
    loop {
        let answer: Value = serde_json::from_str(&daemon.get("/api/v1/alerts")?.1)?;
        if answer["alerts"].as_array().is_some_and(|alerts| alerts.iter().any(is_provoked)) {
            return Ok(answer);
        }
        ensure!(started.elapsed() < Duration::from_secs(20), "no alert: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_usage_error_is_said_and_ends_with_2() -> Result<()> {
    for args in [
        &["--no-such-flag"][..],
        &["serve", "--interval", "soon"],
        &["serve", "--web.listen-address", "nowhere"],
        &["serve", "--web.telemetry-path", "metrics"],
        &["serve", "--group-by", "colour"],
        &["serve", "--max-groups", "0"],
        &["serve", "--alertmanager.url", "localhost:9093"],
        &["serve", "--ebpf-log=maybe"],
        &["serve", "--web.socket", "relative"],
        &["config", "check"],
        &["ps", "--sort", "beauty"],
        &["ps", "--top", "-1"],
        &["ps", "--pid", "abc"],
        &["ps", "--max-groups", "5"],
    ] {
        let output = run(args)?;
        ensure!(output.status.code() == Some(2), "{args:?} ended with {}", output.status);
        let line = stderr_of(&output);
        ensure!(line.starts_with("error: ") && line.lines().count() == 1, "{args:?}: {line}");
    }
    Ok(())
}

#[test]
fn an_address_in_use_is_one_clear_line_and_ends_with_1() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = run(&["serve", "--web.listen-address", &address])?;
    ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
    let line = stderr_of(&output);
    ensure!(line.lines().count() == 1 && line.contains(&address) && line.contains("in use"), "it said {line:?}");
    Ok(())
}

#[test]
fn a_chosen_socket_that_can_not_be_had_is_one_clear_line_and_ends_with_1() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().display().to_string();
    let output = run(&["serve", "--web.listen-address", "127.0.0.1:0", "--web.socket", &path])?;
    let line = stderr_of(&output);
    ensure!(output.status.code() == Some(1) && line.lines().count() == 1, "{}: {line}", output.status);
    ensure!(line.contains(&path) && line.contains("is no socket") && line.contains("--web.socket"), "{line}");
    Ok(())
}

#[test]
fn the_daemon_answers_on_its_socket_and_takes_it_away_at_its_end() -> Result<()> {
    needs_root!();
    let mut daemon = Daemon::start(&[])?;
    let mut stream = UnixStream::connect(daemon.socket())?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    daemon.wait_for_log(&["listening", &daemon.socket().display().to_string()])?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.child.wait()?;
    ensure!(!daemon.socket().exists(), "it left its socket");
    Ok(())
}

#[test]
fn the_socket_is_of_the_user_that_the_daemon_becomes_who_can_take_it_away() -> Result<()> {
    needs_root!();
    let nobody = User::from_name("nobody")?.context("no user nobody")?;
    // It must be open to its new user.
    let parent = tempfile::Builder::new().prefix("thread-probe").tempdir_in("/tmp")?;
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755))?;
    let folder = parent.path().join("new");
    let path = folder.join("probe.sock");
    let mut daemon = Daemon::start(&["--user", "nobody", "--web.socket", &path.display().to_string()])?;
    for (file, mode) in [(&path, 0o660), (&folder, 0o755)] {
        let found = fs::metadata(file)?;
        let owner = (found.uid(), found.gid(), found.mode() & 0o777);
        ensure!(owner == (nobody.uid.as_raw(), nobody.gid.as_raw(), mode), "{}: {owner:?}", file.display());
    }
    ensure!(fs::metadata(parent.path())?.uid() == 0, "a folder that was there was given away");
    daemon.signal(Signal::SIGTERM)?;
    daemon.child.wait()?;
    ensure!(!path.exists(), "it left its socket");
    Ok(())
}

/// Runs the program as a user without a privilege.
fn run_unprivileged(args: &[&str]) -> Result<Output> {
    if !nix::unistd::geteuid().is_root() {
        return run(args);
    }
    // The program must be readable to its new user.
    let copy = tempfile::Builder::new().prefix("thread-probe").tempdir_in("/tmp")?;
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755))?;
    let path = copy.path().join("thread-probe");
    fs::copy(PROGRAM, &path)?;
    let mut command = Command::new(path);
    Ok(std::os::unix::process::CommandExt::uid(command.args(args).stdin(Stdio::null()), 65534).output()?)
}

#[test]
fn without_privilege_it_says_which_capability_is_missing() -> Result<()> {
    says_what_is_missing(&run_unprivileged(&["ps"])?)?;
    says_what_is_missing(&run_unprivileged(&["limits", "--pid", "1"])?)
}

#[test]
fn the_limits_of_the_host_need_no_privilege_and_what_is_missing_is_said() -> Result<()> {
    let output = run_unprivileged(&["limits", "--window", "1s", "--format", "json"])?;
    let line = stderr_of(&output);
    ensure!(output.status.success() && line.lines().count() == 1 && line.contains("only the host's limits"), "{line}");
    let json: Value = serde_json::from_slice(&output.stdout)?;
    let limits = json["limits"].as_array().context("limits")?;
    let names: Vec<&str> = limits.iter().filter_map(|limit| limit["limit"].as_str()).collect();
    ensure!(names == ["threads_max", "pid_max", "memory"], "{names:?}");
    ensure!(json["incomplete"].as_str().is_some_and(|reason| reason.contains("CAP_BPF")), "{}", json["incomplete"]);
    let threads_max: u64 = fs::read_to_string("/proc/sys/kernel/threads-max")?.trim().parse()?;
    ensure!(limits[0]["max"] == threads_max, "{}", limits[0]);
    let room = limits[2]["headroom_threads"].as_u64().context("threads that memory has room for")?;
    let left = limits[2]["max"].as_u64().unwrap_or(0) - limits[2]["used"].as_u64().unwrap_or(0);
    // A kernel stack of 16 kB and a task_struct of a few more.
    ensure!(room > 0 && (16 << 10..64 << 10).contains(&(left / room)), "{} bytes a thread", left / room);
    Ok(())
}

#[test]
fn limits_prints_those_of_the_host_first_and_all_of_one_process() -> Result<()> {
    needs_root!();
    let table = run(&["limits", "--window", "1s"])?;
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    let first: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).take(4).collect();
    ensure!(first.starts_with(&["threads_max", "pid_max", "memory"]) && first.len() == 4, "{text}");
    ensure!(!text.contains('\u{1b}'), "colours in a pipe: {text:?}");
    let pid = std::process::id().to_string();
    let one = run(&["limits", "--window", "1s", "--format", "json", "--pid", &pid])?;
    let json: Value = serde_json::from_slice(&one.stdout)?;
    let limits = json["limits"].as_array().context("limits")?;
    let own = limits.iter().find(|limit| limit["limit"] == "max_map_count").context("its mappings")?;
    ensure!(own["name"].as_str().is_some_and(|name| name.starts_with(&format!("{pid} ("))), "{own}");
    let room: Vec<u64> = limits.iter().filter_map(|limit| limit["headroom_threads"].as_u64()).collect();
    ensure!(room.is_sorted() && room.len() == limits.len(), "not the nearest first: {room:?}");
    let gone = run(&["limits", "--window", "1s", "--pid", "4194304"])?;
    ensure!(gone.status.code() == Some(1) && stderr_of(&gone).contains("process 4194304"), "{}", stderr_of(&gone));
    Ok(())
}

fn says_what_is_missing(output: &Output) -> Result<()> {
    let line = stderr_of(output);
    ensure!(output.status.code() == Some(1) && line.lines().count() == 1, "{}: {line:?}", output.status);
    ensure!(line.contains("CAP_BPF and CAP_PERFMON missing") && line.contains("run as root"), "it said {line:?}");
    Ok(())
}

#[test]
fn a_user_that_does_not_exist_is_refused_by_name() -> Result<()> {
    let output = run(&["ps", "--user", "no-such-user"])?;
    ensure!(
        output.status.code() == Some(1) && stderr_of(&output).contains("\"no-such-user\""),
        "{}",
        stderr_of(&output)
    );
    Ok(())
}

#[test]
fn config_check_says_ok_or_what_is_wrong_and_where() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("thread-probe.toml");
    let file = path.display().to_string();
    fs::write(&path, "[groups]\nmax = 7\n")?;
    let good = run(&["config", "check", &file])?;
    ensure!(good.status.success() && String::from_utf8_lossy(&good.stdout) == format!("{file}: ok\n"), "{good:?}");
    let shown = run(&["config", "show", "--config", &file])?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(text.contains("max = 7\n") && text.contains("interval = \"5s\"\n"), "{text}");
    fs::write(&path, text)?;
    ensure!(run(&["config", "check", &file])?.status.success(), "what was shown is refused");
    fs::write(&path, "interval = \"5s\"\n[groups]\nby = \"colour\"\n")?;
    for command in [&["config", "check", &file][..], &["config", "show", "--config", &file], &["ps", "--config", &file]]
    {
        let bad = run(command)?;
        let said = format!(
            "thread-probe: {file}:3:6: groups.by: must be one of comm, exe, cgroup, unit, container, pod, user, pid\n"
        );
        ensure!(bad.status.code() == Some(1) && stderr_of(&bad) == said, "{command:?}: {}", stderr_of(&bad));
    }
    Ok(())
}

const RELOADED: &str = "threadprobe_config_last_reload_successful";
const RELOADED_AT: &str = "threadprobe_config_last_reload_success_timestamp_seconds";

#[test]
fn sighup_takes_over_what_can_change_and_names_what_can_not_and_a_bad_file_changes_nothing() -> Result<()> {
    needs_root!();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("thread-probe.toml");
    fs::write(&path, "interval = '1h'\n")?;
    let daemon = Daemon::start_configured(&["--config", &path.display().to_string()])?;
    let started_at = daemon.metric(RELOADED_AT)?;
    ensure!(daemon.metric(RELOADED)? == 1.0 && started_at > 1.7e9, "at start: {started_at}");
    fs::write(&path, "interval = '100ms'\n[groups]\nby = 'exe'\nmax = 1\n")?;
    daemon.signal(Signal::SIGHUP)?;
    // The next sample would be due in an hour.
    daemon.wait_until("a newer file", |daemon| Ok(daemon.metric(RELOADED_AT)? > started_at))?;
    daemon.wait_for_log(&["INFO", "reloaded", "changed=interval, groups.max"])?;
    daemon.wait_for_log(&["WARN", "key=\"groups.by\"", "restart"])?;
    let reloaded_at = daemon.metric(RELOADED_AT)?;
    fs::write(&path, "interval = '1h'\nintervall = 1\n")?;
    daemon.signal(Signal::SIGHUP)?;
    // It still samples every 100 ms: that makes the metric change.
    daemon.wait_for_metric(RELOADED, 0.0)?;
    daemon.wait_for_log(&["ERROR", "stays as it was", "thread-probe.toml:2:1: unknown key \"intervall\""])?;
    ensure!(daemon.metric(RELOADED_AT)? == reloaded_at, "a bad file counts as success");
    let snapshot: Value = serde_json::from_str(&daemon.get("/api/v1/snapshot")?.1)?;
    ensure!(snapshot["group_by"] == "comm", "grouped by {}", snapshot["group_by"]);
    fs::write(&path, "")?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_for_log(&["INFO", "reloaded", "changed=interval, groups.max"])?;
    Ok(())
}

#[test]
fn sighup_without_a_file_is_said_and_does_not_end_the_daemon() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_for_log(&["WARN", "no file to reload", "--config"])?;
    ensure!(daemon.get("/healthz")?.0.contains("200"), "it no longer answers");
    Ok(())
}

#[test]
fn the_daemon_keeps_no_privilege_makes_no_further_thread_and_ends_within_a_second() -> Result<()> {
    needs_root!();
    let mut daemon = Daemon::start(&["--user", "nobody"])?;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        ensure!(daemon.field(set)?.chars().all(|digit| digit == '0'), "{set} is {}", daemon.field(set)?);
    }
    ensure!(daemon.field("NoNewPrivs")? == "1", "it may gain privileges");
    ensure!(daemon.field("Uid")?.split_whitespace().all(|uid| uid == "65534"), "uid {}", daemon.field("Uid")?);
    let (status, body) = daemon.get("/metrics")?;
    ensure!(status.contains("200") && body.contains("threadprobe_host_threads"), "{status}");
    let pid = daemon.child.id();
    let snapshot = daemon.second_snapshot(pid)?;
    ensure!(snapshot["threads"].as_array().is_some_and(|threads| threads.len() == 3), "{}", snapshot["threads"]);
    // Its own record says whether it created a thread or process since it was ready.
    let created = |snapshot: &Value| {
        let itself = snapshot["processes"].as_array().and_then(|all| all.iter().find(|process| process["pid"] == pid));
        itself.map(|process| {
            let totals = &process["totals"];
            (totals["threads_created"].as_u64(), totals["processes_created"].as_u64())
        })
    };
    let before = created(&snapshot);
    for _ in 0..10 {
        daemon.get("/metrics")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = created(&daemon.second_snapshot(pid)?);
    ensure!(before.is_some() && before == after, "threads and processes created: {before:?}, then {after:?}");
    let started = Instant::now();
    daemon.signal(Signal::SIGTERM)?;
    let status = daemon.child.wait()?;
    ensure!(status.code() == Some(0), "it ended with {status}");
    ensure!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    Ok(())
}

#[test]
fn a_clone_that_fails_is_an_alert_in_json_metrics_and_log() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    let answer = alert(&daemon)?;
    let alerts = answer["alerts"].as_array().into_iter().flatten();
    let alert = alerts.into_iter().find(|alert| is_provoked(alert));
    let alert = alert.with_context(|| format!("a failed clone of sh in {answer}"))?;
    ensure!(alert["state"] == "firing" && alert["severity"] == "warning", "{alert}");
    let summary = alert["summary"].as_str().unwrap_or_default().to_owned();
    ensure!(summary.contains(" of sh failed in ") && summary.ends_with("no limit was exhausted"), "{summary}");
    let series = "\nthreadprobe_alert_firing{alert=\"CloneFailures\",severity=\"warning\",group=\"sh\"} 1\n";
    ensure!(daemon.get("/metrics")?.1.contains(series), "not in the metrics");
    daemon.wait_for_log(&[" WARN ", &summary])
}

#[test]
fn slow_and_broken_clients_do_not_stop_others() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    // More than it holds at a time, each with half a request.
    let half_open: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = daemon.connect()?;
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: ")?;
            Ok(stream)
        })
        .collect::<Result<_>>()?;
    let started = Instant::now();
    ensure!(daemon.get("/metrics")?.0.contains("200"), "not answered");
    ensure!(started.elapsed() < Duration::from_secs(1), "answered only after {:?}", started.elapsed());
    drop(half_open);
    let mut endless = daemon.connect()?;
    let refused = endless_head(&mut endless);
    ensure!(refused.is_err() || read_all(&mut endless).contains("431"), "a head without end was read");
    let mut garbage = daemon.connect()?;
    garbage.write_all(b"\x16\x03\x01 nonsense\r\n\r\n")?;
    ensure!(!read_all(&mut garbage).contains("200"), "garbage was answered");
    ensure!(daemon.get("/healthz")?.0.contains("200"), "it no longer answers");
    Ok(())
}

fn endless_head(stream: &mut TcpStream) -> io::Result<()> {
    write!(stream, "GET /metrics HTTP/1.1\r\n")?;
    for index in 0..20_000 {
        write!(stream, "X-{index}: {}\r\n", "a".repeat(100))?;
    }
    Ok(())
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset has said what it had to say.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn ps_prints_a_table_json_and_csv_and_stops_at_a_closed_pipe() -> Result<()> {
    needs_root!();
    let quick = ["ps", "--interval", "200ms", "--sort", "threads", "--top", "3"];
    let table = run(&quick)?;
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    ensure!(table.status.success() && text.lines().count() == 4 && text.contains("VOL/s"), "{text}");
    let json: Value = serde_json::from_slice(&run(&[&quick[..], &["--format", "json"]].concat())?.stdout)?;
    ensure!(json["processes"].as_array().is_some_and(|all| all.len() == 3), "other than 3 processes");
    let csv = run(&[&quick[..], &["--format", "csv"]].concat())?;
    ensure!(String::from_utf8_lossy(&csv.stdout).starts_with("pid,user,threads,"), "no header");
    let pid = std::process::id().to_string();
    let threads = run(&["ps", "--interval", "200ms", "--pid", &pid])?;
    ensure!(String::from_utf8_lossy(&threads.stdout).contains(&pid), "its main thread is missing");
    let gone = run(&["ps", "--interval", "200ms", "--pid", "4194304"])?;
    ensure!(gone.status.code() == Some(1) && stderr_of(&gone).contains("no process 4194304"), "{}", stderr_of(&gone));
    let closed = Command::new("sh")
        .arg("-c")
        .arg(format!("{PROGRAM} ps --interval 200ms --format json | head -c 1"))
        .output()?;
    ensure!(closed.status.success() && closed.stderr.is_empty(), "{}", stderr_of(&closed));
    Ok(())
}

/// Every path in a JSON value, as docs/api.md writes them: `a.b`, `a[].b`. `...` of histograms and maps included.
fn paths(value: &Value, prefix: &str, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                found.insert(path.clone());
                paths(field, &path, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                paths(item, &format!("{prefix}[]"), found);
            }
        }
        _ => {}
    }
}

/// The paths that docs/api.md describes: the first cell of each row of its tables, below the prefix of their section.
fn documented() -> Result<std::collections::BTreeSet<String>> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md"))?;
    let cells =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(cell, _)| cell.to_owned()));
    Ok(cells.collect())
}

/// What an object that stands in several places is described as once.
const SHARED: [(&str, &[&str]); 9] = [
    ("Owner", &["processes[].owner"]),
    (
        "LimitUse",
        &["limits.shared[]", "applicable_limits[]", "groups[].headroom.binding", "processes[].headroom.binding"],
    ),
    ("ThreadCounts", &["host.threads", "groups[].threads", "processes[].threads", "threads_by_name[].threads"]),
    (
        "Activity",
        &["host.totals", "groups[].totals", "processes[].totals", "threads[].totals", "threads_by_name[].totals"],
    ),
    ("Rates", &["host.rates", "groups[].rates", "processes[].rates", "threads[].rates", "threads_by_name[].rates"]),
    ("Taken", &["groups[].cpu_taken[]", "processes[].cpu_taken[]"]),
    ("Usable", &["groups[].usable_cpus", "processes[].usable_cpus"]),
    ("Memory", &["groups[].memory", "processes[].memory"]),
    (
        "Bucket",
        &[
            "host.wait_histogram[]",
            "host.clone_duration_histogram[]",
            "groups[].wait_histogram[]",
            "threads[].wait_histogram[]",
            "threads_by_name[].wait_histogram[]",
            "process_wait_histogram[]",
            "thread_lifetime_histogram[]",
        ],
    ),
];

#[test]
fn every_field_of_the_snapshot_is_documented_and_every_documented_one_is_there() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    // The first clone it sees may be this one.
    std::thread::spawn(|| {}).join().map_err(|_| anyhow::anyhow!("the thread panicked"))?;
    // A fifth of all threads of the host: so limits have somebody to name.
    let load = fs::read_to_string("/proc/loadavg")?;
    let all: usize = load.split(['/', ' ']).nth(4).context("threads")?.parse()?;
    for _ in 0..all / 4 {
        std::thread::spawn(|| std::thread::sleep(Duration::from_mins(1)));
    }
    alert(&daemon)?;
    let mut actual = std::collections::BTreeSet::new();
    paths(&daemon.second_snapshot(std::process::id())?, "", &mut actual);
    // Times have the names of states, in a table of their own.
    actual.retain(|path| !["time_seconds.", "time_ratio."].iter().any(|times| path.contains(times)));
    let mut described = std::collections::BTreeSet::new();
    for path in documented()? {
        let shared =
            SHARED.iter().find_map(|(name, places)| Some((path.strip_prefix(name)?.strip_prefix('.')?, places)));
        match shared {
            Some((field, places)) => described.extend(places.iter().map(|place| format!("{place}.{field}"))),
            None => {
                described.insert(path);
            }
        }
    }
    let missing: Vec<_> = actual.difference(&described).collect();
    // Empty on a healthy host.
    let empty = [
        "limits.unreadable[]",
        "cpu_quotas[]",
        "cpu_takers[]",
        "processes[].cpu_taken",
        "processes[].longest_blocked.",
    ];
    let is_always_there = |path: &&String| !empty.iter().any(|empty| path.starts_with(empty));
    let extra: Vec<_> = described.difference(&actual).filter(is_always_there).collect();
    ensure!(missing.is_empty() && extra.is_empty(), "not in docs/api.md: {missing:?}; only there: {extra:?}");
    Ok(())
}
