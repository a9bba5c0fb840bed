//! What is taken over when the files change, and what is not.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    root::web_config::{
        client::{Client, ask_plainly},
        files::{Authority, Files, HASH, TLS},
        logged,
    },
    support::daemon::Daemon,
};

#[test]
fn a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let files = Files::new(&authority)?;
    let daemon = files.daemon(TLS, &[])?;
    let client = Client::new(&authority);
    let renewed = authority.issue(&["localhost"])?;
    files.put(&renewed)?;
    let serves_renewed =
        |daemon: &Daemon| Ok(client.get(daemon, "/healthz", None)?.certificate == *renewed.certificate);
    daemon.wait_until("the renewed certificate", serves_renewed)?;
    files.write("server.pem", "-----BEGIN CERTIFICATE-----\nbroken\n", 0o644)?;
    daemon.wait_until("what is wrong with the broken one", |daemon| {
        ensure!(serves_renewed(daemon)?, "the broken one is served");
        Ok(logged(daemon, "the web configuration stays as it was")? > 0)
    })?;
    daemon.wait_for_log(&["ERROR", "web.yml:2:14: tls_server_config.cert_file", "server.pem"])?;
    // It is looked at once a second: a second line would be there by then.
    std::thread::sleep(Duration::from_millis(1200));
    ensure!(serves_renewed(&daemon)? && logged(&daemon, "stays as it was")? == 1, "it is said again and again");
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_until("the same on SIGHUP", |daemon| Ok(logged(daemon, "stays as it was")? == 2))?;
    let again = authority.issue(&["localhost"])?;
    files.put(&again)?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_until("the one after it", |daemon| {
        Ok(client.get(daemon, "/healthz", None)?.certificate == *again.certificate)
    })?;
    ensure!(logged(&daemon, "no file to reload")? == 0, "there is one");
    Ok(())
}

#[test]
fn users_that_change_are_taken_over() -> Result<()> {
    needs_root!();
    let files = Files::new(&Authority::new()?)?;
    let daemon = files.daemon(&format!("basic_auth_users:\n  alice: {HASH}\n"), &[])?;
    ensure!(ask_plainly(&daemon, "/healthz", Some("alice:secret"))?.starts_with("HTTP/1.1 200"), "alice");
    files.web(&format!("basic_auth_users:\n  bob: {HASH}\n"))?;
    daemon.wait_until("bob", |daemon| {
        Ok(ask_plainly(daemon, "/healthz", Some("bob:secret"))?.starts_with("HTTP/1.1 200"))
    })?;
    ensure!(ask_plainly(&daemon, "/healthz", Some("alice:secret"))?.starts_with("HTTP/1.1 401"), "alice is still in");
    Ok(())
}

#[test]
fn a_file_that_is_emptied_opens_nothing_unless_that_is_meant() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let files = Files::new(&authority)?;
    let users = format!("basic_auth_users:\n  alice: {HASH}\n");
    let daemon = files.daemon(&format!("{TLS}{users}"), &["--web.listen-address", "0.0.0.0:0"])?;
    // As an editor, cp or a shell does it: the same file, empty until something is written, and that only in part.
    let states = [("", "TLS and passwords"), ("basic_auth_users:\n", "TLS and passwords"), (TLS, "passwords")];
    for (number, (content, lost)) in states.into_iter().enumerate() {
        files.web(content)?;
        daemon.wait_until("what is lost", |daemon| {
            let answer = Client::new(&authority).get(daemon, "/metrics", None)?.text;
            ensure!(answer.starts_with("HTTP/1.1 401"), "{content:?}: {answer}");
            Ok(logged(daemon, "asks no more")? == number + 1)
        })?;
        daemon.wait_for_log(&["ERROR", &format!("asks no more for {lost}; if that is meant, send SIGHUP")])?;
    }
    let answer = Client::new(&authority).get(&daemon, "/healthz", Some("alice:secret"))?.text;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    ensure!(logged(&daemon, "asks no more")? == 3 && logged(&daemon, "WARN")? == 0, "it is said again and again");
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_until("what is meant", |_| Ok(Client::new(&authority).is_let_in(&daemon)))?;
    daemon.wait_for_log(&["WARN", "anybody who reaches 0.0.0.0:0 can read"])
}
