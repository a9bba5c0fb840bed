use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::{
    testing::alert,
    text::dates::{rfc3339, unix_seconds},
};

const QUICK: Timing = Timing {
    resend: Duration::from_millis(100),
    retry: Duration::from_millis(20),
    expiry: Duration::from_mins(4),
    request_timeout: Duration::from_millis(500),
};
/// Nothing is sent unless something changed.
const NO_RESEND: Timing = Timing { resend: Duration::from_hours(1), ..QUICK };
const PATIENCE: Duration = Duration::from_secs(20);

/// What an Alertmanager was asked.
struct Request {
    head: String,
    body: Value,
}

impl Request {
    fn read(stream: &TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        Ok(Self { head, body: serde_json::from_slice(&body)? })
    }

    fn alerts(&self) -> &[Value] {
        self.body.as_array().map_or(&[], Vec::as_slice)
    }
}

/// As much of an Alertmanager as the notifier sees. It ends with the test program.
struct Alertmanager {
    address: SocketAddr,
    requests: mpsc::Receiver<Request>,
}

impl Alertmanager {
    /// Answers the first requests with these statuses, all further ones with 200.
    fn start(address: SocketAddr, statuses: &'static [u16]) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            let mut statuses = statuses.iter();
            for stream in listener.incoming().flatten() {
                let Ok(request) = Request::read(&stream) else { continue };
                let status = statuses.next().unwrap_or(&200);
                let _ = write!(&stream, "HTTP/1.1 {status} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, requests })
    }

    fn anywhere() -> io::Result<Self> {
        Self::start(([127, 0, 0, 1], 0).into(), &[])
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn next(&self) -> Option<Request> {
        self.requests.recv_timeout(PATIENCE).ok()
    }

    /// Whether nothing comes for a while.
    fn is_left_alone(&self) -> bool {
        self.requests.recv_timeout(Duration::from_millis(200)).is_err()
    }
}

fn config(urls: &[String]) -> AlertsConfig {
    AlertsConfig { alertmanager_urls: urls.to_vec(), ..AlertsConfig::default() }
}

fn notifier(timing: Timing, urls: &[String]) -> io::Result<Notifier> {
    let mut notifier = Notifier::new(timing);
    notifier.configure(&config(urls))?;
    Ok(notifier)
}

/// An address that refuses connections.
fn closed_address() -> io::Result<SocketAddr> {
    // Not the address that connections begin from: the port stays closed.
    TcpListener::bind(("127.77.77.77", 0))?.local_addr()
}

fn wait_until(condition: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn an_alert_is_posted_with_its_labels_texts_and_times() -> io::Result<()> {
    let alertmanager = Alertmanager::anywhere()?;
    let mut notifier = Notifier::new(NO_RESEND);
    let labels = [("team", "db"), ("severity", "none"), ("instance", "box")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    // As an `@` and a `/` have to be written in a URL.
    let url = format!("http://me:s%40:cr%2Fet@{}/", alertmanager.address);
    notifier.configure(&AlertsConfig { labels, ..config(&[url]) })?;
    let before = SystemTime::now() + NO_RESEND.expiry;
    notifier.update(&[alert(State::Firing, "/a"), alert(State::Pending, "/b")], true);
    let request = alertmanager.next().ok_or(io::ErrorKind::TimedOut)?;
    assert!(request.head.starts_with("post /api/v2/alerts http/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains("\r\ncontent-type: application/json\r\n"), "{}", request.head);
    let authorization = BASE64_STANDARD.encode("me:s@:cr/et").to_lowercase();
    assert!(request.head.contains(&format!("\r\nauthorization: basic {authorization}\r\n")), "{}", request.head);
    let ends_at = request.body[0]["endsAt"].as_str().unwrap_or_default().to_owned();
    assert!(ends_at >= rfc3339(unix_seconds(before)) && ends_at < rfc3339(unix_seconds(before) + 60.0), "{ends_at}");
    let expected = json!([{
        "labels": {
            "alertname": "ThreadLimitNear", "severity": "critical", "group": "/a", "limit": "cgroup_pids",
            "scope": "cgroup", "team": "db", "instance": "box",
        },
        "annotations": { "summary": "much is used", "description": "raise it" },
        "startsAt": "2024-05-01T12:00:00.000Z",
        "endsAt": ends_at,
    }]);
    assert_eq!(request.body, expected);
    assert!(wait_until(|| notifier.counts().iter().any(|count| count.requests == 1)));
    assert_eq!(&*notifier.counts()[0].alertmanager, format!("http://{}/", alertmanager.address));
    Ok(())
}

#[test]
fn instance_is_the_hosts_name_unless_it_is_configured() -> io::Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    assert_eq!(labels(&AlertsConfig::default()).get("instance").map(String::as_str), Some(host.trim()));
    Ok(())
}

#[test]
fn what_fires_is_told_at_each_change_and_from_time_to_time() -> io::Result<()> {
    let alertmanager = Alertmanager::anywhere()?;
    let notifier = notifier(NO_RESEND, &[alertmanager.url()])?;
    notifier.update(&[alert(State::Firing, "/a")], true);
    assert!(alertmanager.next().is_some_and(|request| request.alerts().len() == 1));
    notifier.update(&[alert(State::Firing, "/a")], false);
    assert!(alertmanager.is_left_alone(), "nothing changed");
    notifier.update(&[alert(State::Firing, "/a"), alert(State::Firing, "/b")], true);
    assert!(alertmanager.next().is_some_and(|request| request.alerts().len() == 2));
    drop(notifier);
    let notifier = self::notifier(QUICK, &[alertmanager.url()])?;
    notifier.update(&[alert(State::Firing, "/a")], true);
    for _ in 0..3 {
        assert!(alertmanager.next().is_some());
    }
    Ok(())
}

#[test]
fn a_resolved_alert_is_told_again_and_again_with_its_end() -> io::Result<()> {
    let alertmanager = Alertmanager::anywhere()?;
    let notifier = notifier(QUICK, &[alertmanager.url()])?;
    notifier.update(&[alert(State::Resolved, "/a")], true);
    for _ in 0..3 {
        let request = alertmanager.next().ok_or(io::ErrorKind::TimedOut)?;
        assert_eq!(request.body[0]["endsAt"], "2024-05-01T12:01:00.500Z");
    }
    notifier.update(&[], false);
    // One may have been on its way.
    let _ = alertmanager.requests.recv_timeout(QUICK.resend);
    assert!(alertmanager.is_left_alone(), "there is nothing to tell");
    Ok(())
}

#[test]
fn an_alertmanager_that_is_down_is_told_the_newest_state_when_it_is_back_and_the_other_at_once() -> io::Result<()> {
    let up = Alertmanager::anywhere()?;
    let address = closed_address()?;
    let notifier = notifier(Timing { retry: QUICK.retry, ..NO_RESEND }, &[format!("http://{address}"), up.url()])?;
    notifier.update(&[alert(State::Firing, "/a")], true);
    assert!(up.next().is_some_and(|request| request.alerts().len() == 1));
    let count = |address: SocketAddr| {
        let name = format!("http://{address}");
        notifier.counts().into_iter().find(|count| *count.alertmanager == *name)
    };
    assert!(wait_until(|| count(address).is_some_and(|count| count.failed >= 2)));
    notifier.update(&[alert(State::Firing, "/a"), alert(State::Firing, "/b")], true);
    assert!(up.next().is_some_and(|request| request.alerts().len() == 2));
    let back = Alertmanager::start(address, &[])?;
    assert!(back.next().is_some_and(|request| request.alerts().len() == 2));
    assert!(back.is_left_alone(), "it was told");
    assert!(wait_until(|| count(address).is_some_and(|count| count.requests == count.failed + 1)));
    assert!(count(up.address).is_some_and(|count| (count.requests, count.failed) == (2, 0)));
    Ok(())
}

#[test]
fn changes_do_not_hurry_what_is_to_be_tried_again_later() -> io::Result<()> {
    let timing = Timing { retry: Duration::from_hours(1), ..NO_RESEND };
    let other = Alertmanager::anywhere()?;
    let notifier = notifier(timing, &[format!("http://{}", closed_address()?), other.url()])?;
    for _ in 0..3 {
        notifier.update(&[alert(State::Firing, "/a")], true);
        // Told after the one that is down would have been.
        assert!(other.next().is_some());
    }
    assert_eq!(notifier.counts().iter().map(|count| count.failed).sum::<u64>(), 1);
    Ok(())
}

#[test]
fn what_is_refused_or_sent_elsewhere_is_a_failure() -> io::Result<()> {
    let alertmanager = Alertmanager::start(([127, 0, 0, 1], 0).into(), &[400, 302, 503])?;
    let notifier = notifier(NO_RESEND, &[alertmanager.url()])?;
    notifier.update(&[alert(State::Firing, "/a")], true);
    for _ in 0..4 {
        assert!(alertmanager.next().is_some());
    }
    assert!(wait_until(|| notifier.counts().iter().all(|count| (count.requests, count.failed) == (4, 3))));
    assert!(alertmanager.is_left_alone());
    Ok(())
}

#[test]
fn a_refusal_is_told_with_what_was_said() -> io::Result<()> {
    let alertmanager = Alertmanager::start(([127, 0, 0, 1], 0).into(), &[400])?;
    let client = Client::new(&alertmanager.url(), PATIENCE);
    assert_eq!(client.post(b"[]"), Err("HTTP status 400: no".to_owned()));
    let refused = Client::new(&format!("http://me:secret@{}", closed_address()?), PATIENCE).post(b"[]");
    assert!(refused.is_err_and(|reason| reason.contains("refused") && !reason.contains("secret")));
    Ok(())
}

#[test]
fn many_alerts_are_several_requests() -> io::Result<()> {
    let alertmanager = Alertmanager::anywhere()?;
    let notifier = notifier(NO_RESEND, &[alertmanager.url()])?;
    let alerts: Vec<AlertView> = (0..1200).map(|index| alert(State::Firing, &format!("/{index}"))).collect();
    notifier.update(&alerts, true);
    let sizes = [(); 3].map(|()| alertmanager.next().map_or(0, |request| request.alerts().len()));
    assert_eq!(sizes, [500, 500, 200]);
    Ok(())
}

#[test]
fn an_alertmanager_that_never_answers_holds_up_nobody() -> io::Result<()> {
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let other = Alertmanager::anywhere()?;
    let notifier = notifier(NO_RESEND, &[format!("http://{}", silent.local_addr()?), other.url()])?;
    let started = Instant::now();
    for _ in 0..100 {
        notifier.update(&[alert(State::Firing, "/a")], true);
    }
    assert!(started.elapsed() < NO_RESEND.request_timeout, "it took {:?}", started.elapsed());
    assert!(other.next().is_some(), "after the time that the silent one has");
    let (started, silent) = (Instant::now(), silent.accept()?);
    drop(notifier);
    assert!(started.elapsed() < NO_RESEND.request_timeout, "it waited {:?}", started.elapsed());
    drop(silent);
    Ok(())
}

#[test]
fn a_reload_starts_the_thread_with_the_first_url_and_leaves_who_is_gone_alone() -> io::Result<()> {
    let (first, second) = (Alertmanager::anywhere()?, Alertmanager::anywhere()?);
    let mut notifier = notifier(NO_RESEND, &[])?;
    notifier.update(&[alert(State::Firing, "/a")], true);
    assert!(!notifier.thread_started && notifier.counts().is_empty());
    notifier.configure(&config(&[first.url()]))?;
    assert!(notifier.thread_started && first.next().is_some());
    notifier.configure(&config(&[second.url()]))?;
    assert!(second.next().is_some(), "it has yet to hear of what fires");
    notifier.update(&[alert(State::Firing, "/b")], true);
    assert!(second.next().is_some());
    assert!(first.is_left_alone());
    assert_eq!(notifier.counts().iter().map(|count| &*count.alertmanager).collect::<Vec<_>>(), [second.url()]);
    Ok(())
}

#[test]
fn an_alert_never_ends_before_it_starts() -> serde_json::Result<()> {
    let stepped_back = AlertView { resolved_at: Some(1.0), ..alert(State::Resolved, "/a") };
    let alerts = [stepped_back, alert(State::Firing, "/a")];
    for body in payload::bodies(&alerts, &BTreeMap::new(), SystemTime::UNIX_EPOCH) {
        let posted: Value = serde_json::from_slice(&body?)?;
        assert_eq!((&posted[0]["startsAt"], &posted[1]["startsAt"]), (&posted[0]["endsAt"], &posted[1]["endsAt"]));
    }
    Ok(())
}
