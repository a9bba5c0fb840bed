//! Where `top` gets its samples: a real daemon over HTTP and over its socket, and a probe of its own. Needs root.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use capctl::caps::CapState;
use serde_json::Value;
use thread_probe::{
    config::{Config, WebConfig},
    model::{Model, OneProcess},
    top::feed::{Address, Feed, Request, Sample, Source, Update},
};

use crate::support::daemon::{Daemon, free_port};

const PATIENCE: Duration = Duration::from_secs(20);
const QUICK: Request = Request { pid: None, interval: Duration::from_millis(100) };

fn next(feed: &mut Feed) -> Result<Sample> {
    match feed.next(Instant::now() + PATIENCE)?.context("no sample within 20 s")? {
        Update::Sample(sample) => Ok(*sample),
        Update::Lost(reason) => bail!("lost: {reason}"),
        Update::Over => bail!("it is over"),
    }
}

fn lost(feed: &mut Feed) -> Result<String> {
    loop {
        if let Update::Lost(reason) = feed.next(Instant::now() + PATIENCE)?.context("nothing lost within 20 s")? {
            return Ok(reason);
        }
    }
}

/// The first sample for which this holds.
fn wait_for(feed: &mut Feed, what: &str, holds: impl Fn(&Sample) -> bool) -> Result<Sample> {
    let started = Instant::now();
    loop {
        let sample = next(feed)?;
        if holds(&sample) {
            return Ok(sample);
        }
        ensure!(started.elapsed() < PATIENCE, "{what}: not within 20 s");
    }
}

fn threads(sample: &Sample) -> usize {
    sample.one.as_ref().map_or(0, |one| one.threads.len())
}

fn start(url: &str) -> Result<Feed> {
    Feed::start(Some(url), &Config::default(), QUICK)
}

#[test]
fn each_sample_of_a_daemon_comes_once_over_http_and_over_its_socket() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    let port = daemon.port;
    for (url, label) in [
        (format!("http://me:secret@127.0.0.1:{port}/"), format!("http://127.0.0.1:{port}/")),
        (format!("unix:{}", daemon.socket().display()), daemon.socket().display().to_string()),
    ] {
        let mut feed = start(&url)?;
        ensure!(feed.source().label() == label, "{}", feed.source().label());
        wait_for(&mut feed, "rates", |sample| sample.model.host.rates.is_some())?;
        let started = Instant::now();
        let times: Vec<f64> = (0..4).map(|_| Ok(next(&mut feed)?.model.time_unix_seconds)).collect::<Result<_>>()?;
        ensure!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        // The daemon takes one each 200 ms, and is asked each 250 ms at most.
        ensure!(started.elapsed() > Duration::from_millis(700), "4 samples in {:?}", started.elapsed());
    }
    Ok(())
}

#[test]
fn more_of_a_process_comes_at_once_and_none_of_one_that_is_not_there() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start_configured(&["--interval", "1h"])?;
    let mut feed = start(&format!("unix:{}", daemon.socket().display()))?;
    let first = next(&mut feed)?;
    ensure!(first.one.is_none(), "nobody asked for a process");
    feed.request(Request { pid: Some(daemon.child.id()), ..QUICK });
    let one = next(&mut feed)?;
    ensure!(one.model.time_unix_seconds == first.model.time_unix_seconds, "another sample");
    ensure!(one.one.as_ref().is_some_and(|one| !one.applicable_limits.is_empty()) && threads(&one) > 0, "no threads");
    feed.request(Request { pid: Some(4_194_304), ..QUICK });
    ensure!(next(&mut feed)?.one.is_none(), "there is such a process");
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_is_told_and_samples_go_on_when_another_listens_there() -> Result<()> {
    needs_root!();
    let mut daemon = Daemon::start(&[])?;
    let path = daemon.socket().display().to_string();
    let mut feed = start(&format!("unix:{path}"))?;
    let version = next(&mut feed)?.model.version;
    daemon.child.kill()?;
    daemon.child.wait()?;
    let said = lost(&mut feed)?;
    ensure!(said.starts_with(&format!("{path}: ")) && said.lines().count() == 1, "{said}");
    let _other = Daemon::start(&["--web.socket", &path])?;
    let started = Instant::now();
    while !matches!(feed.next(Instant::now() + PATIENCE)?, Some(Update::Sample(again)) if again.model.version == version)
    {
        ensure!(started.elapsed() < PATIENCE, "no sample of the other");
    }
    Ok(())
}

#[test]
fn what_is_no_thread_probe_is_said_without_the_password() -> Result<()> {
    let port = free_port()?;
    let mut nobody = start(&format!("http://me:secret@127.0.0.1:{port}"))?;
    let said = lost(&mut nobody)?;
    ensure!(said.starts_with(&format!("http://127.0.0.1:{port}: ")) && said.contains("refused"), "{said}");
    let again = nobody.next(Instant::now() + Duration::from_millis(1500))?;
    ensure!(again.is_none(), "the same was said again");
    needs_root!();
    let daemon = Daemon::start(&[])?;
    let said = lost(&mut start(&format!("http://127.0.0.1:{}/elsewhere", daemon.port))?)?;
    ensure!(said.contains("/elsewhere: what answers is no thread-probe"), "{said}");
    Ok(())
}

/// Runs on a thread of its own: privileges are each thread's own, and given up for good.
fn on_a_thread(test: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| scope.spawn(test).join().map_err(|_| anyhow!("it panicked"))?)
}

#[test]
fn its_own_probe_has_rates_soon_and_answers_at_once() -> Result<()> {
    needs_root!();
    on_a_thread(|| {
        let hour = Request { pid: None, interval: Duration::from_hours(1) };
        let mut feed = Feed::start(None, &Config::default(), hour)?;
        ensure!(*feed.source() == Source::Own, "from {}", feed.source().label());
        ensure!(next(&mut feed)?.model.host.rates.is_none(), "rates in the first sample");
        let second = next(&mut feed)?.model;
        ensure!(second.interval_seconds.is_some_and(|seconds| seconds < 2.0), "{:?} s", second.interval_seconds);
        let pid = std::process::id();
        for (asked, is_there) in [(pid, true), (4_194_304, false)] {
            let started = Instant::now();
            feed.request(Request { pid: Some(asked), ..hour });
            let one = next(&mut feed)?;
            ensure!(started.elapsed() < Duration::from_millis(500), "answered after {:?}", started.elapsed());
            ensure!((threads(&one) > 0) == is_there, "{} threads of {asked}", threads(&one));
        }
        feed.request(Request { pid: Some(pid), ..QUICK });
        let third =
            wait_for(&mut feed, "a later sample", |one| one.model.time_unix_seconds > second.time_unix_seconds)?;
        ensure!(threads(&third) > 0, "its threads are missing");
        feed.request(hour);
        thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        drop(feed);
        ensure!(started.elapsed() < Duration::from_secs(1), "it took {:?} to end", started.elapsed());
        Ok(())
    })
}

#[test]
fn who_may_not_load_programs_gets_the_daemons_samples_or_is_told_both_ways() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config =
        |socket| Config { web: WebConfig { socket: Some(socket), ..WebConfig::default() }, ..Config::default() };
    let (nowhere, left, closed) =
        (folder.path().join("none.sock"), folder.path().join("left.sock"), folder.path().join("closed.sock"));
    // Dropping a listener leaves its file.
    drop(UnixListener::bind(&left)?);
    let _listener = UnixListener::bind(&closed)?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000))?;
    let start = |config: &Config| {
        CapState::empty().set_current()?;
        Feed::start(None, config, QUICK)
    };
    for (path, what, way) in [
        (nowhere, "there is no ", "start thread-probe serve"),
        (left, "none listens at ", "start it again"),
        (closed, "who is not in its group may not ask it", "or thread-probe top --url http://127.0.0.1:10420"),
    ] {
        on_a_thread(|| {
            let said = start(&config(path.clone())).err().context("it started")?.to_string();
            for part in ["run as root", what, &path.display().to_string(), way, "--url"] {
                ensure!(said.contains(part), "{part:?} is not in {said}");
            }
            ensure!(said.lines().count() == 1, "{said}");
            Ok(())
        })?;
    }
    needs_root!();
    let daemon = Daemon::start(&[])?;
    on_a_thread(|| {
        let mut feed = start(&config(daemon.socket()))?;
        let wanted = Source::Daemon(Address::Socket(daemon.socket()));
        ensure!(*feed.source() == wanted, "from {}", feed.source().label());
        next(&mut feed).map(drop)
    })
}

#[test]
fn a_model_that_went_through_json_is_the_same_in_all_that_json_carries() -> Result<()> {
    needs_root!();
    let daemon = Daemon::start(&[])?;
    let pid = std::process::id();
    daemon.second_snapshot(pid)?;
    let (_, body) = daemon.get(&format!("/api/v1/snapshot?pid={pid}"))?;
    let (model, one): (Model, OneProcess) = (serde_json::from_str(&body)?, serde_json::from_str(&body)?);
    let mut carried: Value = serde_json::to_value(model)?;
    for (name, field) in serde_json::to_value(one)?.as_object().context("an object")? {
        carried[name.as_str()] = field.clone();
    }
    let sent: Value = serde_json::from_str(&body)?;
    ensure!(carried == sent, "{carried:#} is not {sent:#}");
    Ok(())
}
