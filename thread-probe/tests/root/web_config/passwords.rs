//! Passwords: who is let in, and what who guesses can do.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    root::web_config::{
        client::{ask, ask_plainly},
        files::{Authority, Files, HASH, TLS},
        stderr_of,
    },
    support::daemon::PROGRAM,
};

#[test]
fn whatever_is_asked_for_needs_a_password_but_on_the_socket() -> Result<()> {
    needs_root!();
    let content = format!(
        "basic_auth_users:\n  alice: {HASH}\nhttp_server_config:\n  headers:\n    X-Content-Type-Options: nosniff\n"
    );
    let daemon = Files::new(&Authority::new()?)?.daemon(&content, &[])?;
    for path in ["/", "/metrics", "/healthz", "/api/v1/snapshot", "/api/v1/alerts", "/nothing"] {
        for user in [None, Some("alice:wrong"), Some("alice:"), Some("bob:secret"), Some(":")] {
            let answer = ask_plainly(&daemon, path, user)?;
            ensure!(answer.starts_with("HTTP/1.1 401"), "{path}, {user:?}: {answer}");
            ensure!(answer.contains("www-authenticate: Basic realm=\"thread-probe\""), "{answer}");
            ensure!(answer.contains("x-content-type-options: nosniff"), "{answer}");
        }
        let status = if path == "/nothing" { "HTTP/1.1 404" } else { "HTTP/1.1 200" };
        let answer = ask_plainly(&daemon, path, Some("alice:secret"))?;
        ensure!(answer.starts_with(status) && answer.contains("x-content-type-options: nosniff"), "{path}: {answer}");
    }
    let on_socket = ask(&mut UnixStream::connect(daemon.socket())?, "/metrics", None)?;
    ensure!(on_socket.starts_with("HTTP/1.1 200"), "{on_socket}");
    Ok(())
}

#[test]
fn who_was_let_in_is_answered_at_once_while_others_guess() -> Result<()> {
    needs_root!();
    // As `htpasswd -nBC 10` makes them, of "secret": 50 ms and more.
    let hash = bcrypt::hash("secret", 10).map_err(|error| anyhow::anyhow!("{error}"))?;
    let daemon = Files::new(&Authority::new()?)?.daemon(&format!("basic_auth_users:\n  alice: {hash}\n"), &[])?;
    ensure!(ask_plainly(&daemon, "/metrics", Some("alice:secret"))?.starts_with("HTTP/1.1 200"), "alice");
    let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (daemon, stop, refused) = (&daemon, &stop, &refused);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let user = format!("{}:{number}", ["alice", "mallory"][number % 2]);
                    let answer = ask_plainly(daemon, "/metrics", Some(&user)).unwrap_or_default();
                    refused.fetch_add(usize::from(answer.starts_with("HTTP/1.1 401")), Ordering::Relaxed);
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            let answer = ask_plainly(&daemon, "/metrics", Some("alice:secret")).unwrap_or_default();
            times.push((asked.elapsed(), answer.starts_with("HTTP/1.1 200")));
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let refused = refused.into_inner();
    let longest = times.iter().map(|(time, _)| *time).max().unwrap_or_default();
    let _ = writeln!(io::stderr(), "{} answers, the slowest after {longest:?}; {refused} guesses refused", times.len());
    ensure!(times.iter().all(|(_, is_let_in)| *is_let_in), "not let in");
    ensure!(longest < Duration::from_secs(1), "it waited {longest:?}");
    ensure!(refused > 0, "no guess was refused");
    Ok(())
}

#[test]
fn top_asks_over_https_with_the_password_of_its_url() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let files = Files::new(&authority)?;
    let hash = bcrypt::hash("a:b@/%", 4).map_err(|error| anyhow::anyhow!("{error}"))?;
    let daemon = files.daemon(&format!("{TLS}basic_auth_users:\n  alice: {hash}\n"), &[])?;
    let top = |user: &str| {
        let url = format!("https://{user}@localhost:{}", daemon.port);
        let mut command = Command::new(PROGRAM);
        let command = command.args(["top", "--batch", "-n", "1", "--format", "json"]).stdin(Stdio::null());
        command.env("THREAD_PROBE_URL", url).env("SSL_CERT_FILE", files.path("ca.pem")).output()
    };
    let good = top("alice:a%3Ab%40%2F%25")?;
    ensure!(good.status.success() && good.stdout.starts_with(b"{"), "{}", stderr_of(&good));
    let bad = stderr_of(&top("alice:wrong")?);
    ensure!(bad.contains("401") && !bad.contains("wrong"), "{bad}");
    Ok(())
}
