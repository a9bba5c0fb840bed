//! TLS and client certificates.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio_rustls::rustls::version::TLS12;

use crate::{
    root::web_config::{
        client::{Client, ask, ask_plainly},
        files::{Authority, Files, Identity, TLS},
    },
    support::daemon::Daemon,
};

#[test]
fn https_is_answered_and_http_is_told_so_and_the_socket_needs_neither() -> Result<()> {
    needs_root!();
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let daemon = Files::new(&authority)?.daemon(TLS, &[])?;
    for path in ["/", "/metrics", "/healthz", "/api/v1/snapshot"] {
        let answer = Client::new(&authority).get(&daemon, path, None)?;
        ensure!(answer.text.starts_with("HTTP/1.1 200"), "{path}: {}", answer.text);
    }
    let refused = Client::new(&other).get(&daemon, "/", None).err().context("another authority was trusted")?;
    ensure!(format!("{refused:#}").contains("invalid peer certificate"), "{refused:#}");
    let told = ask_plainly(&daemon, "/metrics", None)?;
    ensure!(told.starts_with("HTTP/1.1 400") && told.contains("HTTP request to an HTTPS server"), "{told}");
    let on_socket = ask(&mut UnixStream::connect(daemon.socket())?, "/metrics", None)?;
    ensure!(on_socket.starts_with("HTTP/1.1 200"), "{on_socket}");
    Ok(())
}

#[test]
fn a_client_needs_a_certificate_of_the_authority_and_with_an_allowed_name() -> Result<()> {
    needs_root!();
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let files = Files::new(&authority)?;
    let required = format!("{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n");
    let daemon = files.daemon(&required, &[])?;
    let lets_in =
        |daemon: &Daemon, identity: Option<&Identity>| Client { identity, ..Client::new(&authority) }.is_let_in(daemon);
    let (plain, foreign) = (authority.issue(&["scraper"])?, other.issue(&["scraper"])?);
    ensure!(!lets_in(&daemon, None), "without a certificate");
    ensure!(!lets_in(&daemon, Some(&foreign)), "with one of another authority");
    ensure!(lets_in(&daemon, Some(&plain)), "it was refused: {}", fs::read_to_string(&daemon.log)?);
    drop(daemon);
    let sans = "  client_allowed_sans: [prometheus.example, 'spiffe://example/prometheus', 10.0.0.9]\n";
    let daemon = files.daemon(&format!("{required}{sans}"), &[])?;
    ensure!(!lets_in(&daemon, Some(&plain)), "with another name");
    for name in ["prometheus.example", "spiffe://example/prometheus", "10.0.0.9"] {
        ensure!(lets_in(&daemon, Some(&authority.issue(&["a", name])?)), "{name} was refused");
    }
    drop(daemon);
    let if_given = required.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven");
    let daemon = files.daemon(&if_given, &[])?;
    ensure!(lets_in(&daemon, None) && lets_in(&daemon, Some(&plain)), "if given");
    ensure!(!lets_in(&daemon, Some(&foreign)), "with one of another authority, though none is needed");
    Ok(())
}

#[test]
fn a_client_that_has_only_an_older_version_is_refused() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let files = Files::new(&authority)?;
    let old = Client { versions: &[&TLS12], ..Client::new(&authority) };
    let daemon = files.daemon(TLS, &[])?;
    ensure!(old.is_let_in(&daemon), "TLS 1.2 is the default minimum");
    drop(daemon);
    let daemon = files.daemon(&format!("{TLS}  min_version: TLS13\n"), &[])?;
    ensure!(!old.is_let_in(&daemon) && Client::new(&authority).is_let_in(&daemon), "TLS 1.2 or not 1.3");
    Ok(())
}

#[test]
fn who_does_not_finish_a_handshake_keeps_nobody_waiting_and_is_sent_away() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let daemon = Files::new(&authority)?.daemon(TLS, &[])?;
    let opened = Instant::now();
    // Nothing, and the beginning of a handshake; more of them than there may be connections.
    let begin = |number: usize| -> Result<TcpStream> {
        let mut stream = daemon.connect()?;
        stream.write_all(&[22, 3, 1, 2, 0, 1][..6 * (number % 2)])?;
        Ok(stream)
    };
    let mut idle = (0..80).map(begin).collect::<Result<Vec<_>>>()?;
    let asked = Instant::now();
    ensure!(Client::new(&authority).is_let_in(&daemon), "it is not answered");
    ensure!(asked.elapsed() < Duration::from_secs(2), "it waited {:?}", asked.elapsed());
    for stream in &mut idle {
        // Closed: an end, an alert and an end, or a reset. A timeout is of another kind.
        let outcome = stream.read_to_end(&mut Vec::new());
        ensure!(outcome.err().is_none_or(|error| error.kind() == io::ErrorKind::ConnectionReset), "it is still open");
    }
    ensure!(opened.elapsed() < Duration::from_secs(15), "they were open for {:?}", opened.elapsed());
    Ok(())
}
