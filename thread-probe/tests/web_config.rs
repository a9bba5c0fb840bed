//! `--web.config.file`: a real daemon, with certificates made here. What needs root says so.
mod daemon;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, string::Ia5String};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    version::TLS12,
};

use crate::daemon::{Daemon, PROGRAM, skipped};

/// An authority.
struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Ok(Self { certificate, pem, issuer: Issuer::new(params, key) })
    }

    fn issue(&self, names: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::new(Vec::new())?;
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => rcgen::SanType::IpAddress(address),
                Err(_) if name.contains("://") => rcgen::SanType::URI(Ia5String::try_from(*name)?),
                Err(_) => rcgen::SanType::DnsName(Ia5String::try_from(*name)?),
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key })
    }
}

/// A folder with a web configuration and what it names.
struct Files(tempfile::TempDir);

impl Files {
    /// Of a server with a certificate of the authority.
    fn new(authority: &Authority) -> Result<Self> {
        let files = Self(tempfile::tempdir()?);
        files.put(&authority.issue(&["localhost"])?)?;
        files.write("ca.pem", &authority.pem, 0o644)?;
        Ok(files)
    }

    fn put(&self, server: &Identity) -> Result<()> {
        // As those who renew certificates do it: the file is another one.
        self.write("new.key", server.key.serialize_pem(), 0o640)?;
        self.write("new.pem", &server.pem, 0o644)?;
        fs::rename(self.path("new.key"), self.path("server.key"))?;
        Ok(fs::rename(self.path("new.pem"), self.path("server.pem"))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    }

    /// Writes the web configuration; returns its path.
    fn web(&self, content: &str) -> Result<String> {
        self.write("web.yml", content, 0o640)?;
        Ok(self.path("web.yml").display().to_string())
    }

    fn daemon(&self, content: &str, args: &[&str]) -> Result<Daemon> {
        let path = self.web(content)?;
        Daemon::start(&[&["--web.config.file", path.as_str()], args].concat())
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

/// Who asks.
struct Client<'a> {
    trusts: &'a Authority,
    identity: Option<&'a Identity>,
    versions: &'a [&'static SupportedProtocolVersion],
}

struct Answer {
    text: String,
    /// Of the server.
    certificate: Vec<u8>,
}

impl<'a> Client<'a> {
    fn new(trusts: &'a Authority) -> Self {
        Self { trusts, identity: None, versions: ALL_VERSIONS }
    }

    fn config(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.certificate.clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)?
            .with_root_certificates(roots);
        let Some(identity) = self.identity else { return Ok(builder.with_no_client_auth()) };
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).map_err(|error| anyhow::anyhow!(error))?;
        Ok(builder.with_client_auth_cert(vec![identity.certificate.clone()], key)?)
    }

    fn get(&self, daemon: &Daemon, path: &str, user: Option<&str>) -> Result<Answer> {
        let connection = ClientConnection::new(Arc::new(self.config()?), ServerName::try_from("localhost")?)?;
        let mut stream = StreamOwned::new(connection, daemon.connect()?);
        let text = ask(&mut stream, path, user)?;
        let certificate = stream.conn.peer_certificates().and_then(<[_]>::first).context("a certificate")?;
        Ok(Answer { text, certificate: certificate.to_vec() })
    }

    /// Whether it is answered with 200.
    fn is_let_in(&self, daemon: &Daemon) -> bool {
        self.get(daemon, "/metrics", None).is_ok_and(|answer| answer.text.starts_with("HTTP/1.1 200"))
    }
}

/// The whole answer. `user` is with the password, as in `alice:secret`.
fn ask(stream: &mut (impl io::Read + io::Write), path: &str, user: Option<&str>) -> Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")?;
    if let Some(user) = user {
        write!(stream, "Authorization: Basic {}\r\n", BASE64_STANDARD.encode(user))?;
    }
    write!(stream, "\r\n")?;
    stream.flush()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_plainly(daemon: &Daemon, path: &str, user: Option<&str>) -> Result<String> {
    ask(&mut daemon.connect()?, path, user)
}

fn run(args: &[&str]) -> Result<Output> {
    Ok(Command::new(PROGRAM).args(args).stdin(Stdio::null()).output()?)
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How often a line has been logged.
fn logged(daemon: &Daemon, part: &str) -> Result<usize> {
    Ok(fs::read_to_string(&daemon.log)?.lines().filter(|line| line.contains(part)).count())
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_its_field() -> Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let files = Files::new(&authority)?;
    files.write("open.key", authority.issue(&["a"])?.key.serialize_pem(), 0o644)?;
    files.write("group.key", authority.issue(&["a"])?.key.serialize_pem(), 0o660)?;
    files.write("other.key", other.issue(&["a"])?.key.serialize_pem(), 0o600)?;
    let tls = |more: &str| format!("{TLS}  {more}\n");
    let pair = |cert: &str, key: &str| format!("tls_server_config:\n  cert_file: {cert}\n  key_file: {key}\n");
    let client = |more: &str| tls(&format!("client_auth_type: RequireAndVerifyClientCert\n  {more}"));
    for (content, place, said) in [
        ("basic_auth_user: {}\n".to_owned(), "1:1", "unknown field"),
        (tls("certfile: a"), "4:3", "unknown field"),
        ("\u{1}garbage\n".to_owned(), "1:1", ""),
        ("- a\n- b\n".to_owned(), "1:1", ""),
        ("rate_limit:\n  burst: 1\n".to_owned(), "2:3", "rate_limit: not supported"),
        ("tls_server_config:\n  cert_file: server.pem\n".to_owned(), "2:3", "key_file is missing"),
        (tls("cert: |\n    x"), "5:5", "tls_server_config.cert: there is cert_file, too"),
        (pair("none.pem", "server.key"), "2:14", "none.pem failed: No such file"),
        (pair("server.key", "server.key"), "2:14", "has no certificate"),
        (pair("server.pem", "server.pem"), "3:13", "(mode 0644): chmod 640"),
        (pair("server.pem", "open.key"), "3:13", "(mode 0644): chmod 640"),
        (pair("server.pem", "group.key"), "3:13", "(mode 0660): chmod 640"),
        (pair("server.pem", "other.key"), "3:13", "can't be used with the certificate"),
        (pair("server.pem", "web.yml"), "3:13", "has no private key"),
        (tls("min_version: TLS11"), "4:16", "tls_server_config.min_version: TLS 1.0 and 1.1"),
        (tls("min_version: TLS13\n  max_version: TLS12"), "5:16", "must not be less than min_version"),
        (tls("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"), "4:19", "tls_server_config.cipher_suites"),
        (tls("curve_preferences: [CurveP521]"), "4:23", "there are X25519, CurveP256 and CurveP384"),
        (tls("client_ca_file: ca.pem"), "4:19", "set client_auth_type"),
        (tls("client_auth_type: RequireAndVerifyClientCert"), "4:21", "needs client_ca_file"),
        (tls("client_auth_type: RequireAnyClientCert"), "4:21", "proves nothing"),
        (tls("client_auth_type: Sometimes"), "4:21", "must be NoClientCert"),
        (tls("client_allowed_sans: [a]"), "4:25", "needs client_auth_type"),
        (client("client_ca_file: ca.pem\n  client_allowed_sans: [a@b]"), "6:25", "e-mail"),
        (client("client_ca_file: server.key"), "5:19", "has no certificate"),
        ("http_server_config:\n  http2: true\n".to_owned(), "2:10", "HTTP/2 is not supported"),
        ("http_server_config:\n  headers:\n    X-A: b\n".to_owned(), "3:10", "those that can are"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: maybe\n".to_owned(), "3:22", "deny or sameorigin"),
        ("basic_auth_users:\n  alice: secret\n".to_owned(), "2:10", "basic_auth_users.alice: not a bcrypt hash"),
        (format!("basic_auth_users:\n  a: {}\n", HASH.replace("$04$", "$18$")), "2:6", "the cost of the hash is 18"),
    ] {
        let path = files.web(&content)?;
        for args in [&["config", "check", "--web.config.file"][..], &["serve", "--web.config.file"]] {
            let output = run(&[args, &[&path]].concat())?;
            let line = stderr_of(&output);
            ensure!(output.status.code() == Some(1) && line.lines().count() == 1, "{content}: {line}");
            ensure!(line.starts_with(&format!("thread-probe: {path}:{place}: ")), "{content}: not at {place}: {line}");
            ensure!(line.contains(said), "{content}: {line}");
        }
    }
    Ok(())
}

/// Of "secret", and as cheap as there are.
const HASH: &str = "$2y$04$eC4Iu6wOWpSttUX.7Io0w.PzqLKLMc0NAVp2KhkJVChuEgoZvFoFO";

#[test]
fn config_check_reads_the_web_configuration_that_the_file_names() -> Result<()> {
    let files = Files::new(&Authority::new()?)?;
    let web = files.web(&format!(
        "{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n  min_version: TLS12\n  \
         cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP256, X25519]\n\
         http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: ''\n\
         basic_auth_users:\n  alice: {HASH}\n"
    ))?;
    files.write("probe.toml", format!("[web]\nconfig_file = '{web}'\n"), 0o644)?;
    let file = files.path("probe.toml").display().to_string();
    let good = run(&["config", "check", &file])?;
    ensure!(good.status.success(), "{}", stderr_of(&good));
    files.web("nonsense: 1\n")?;
    let bad = run(&["config", "check", &file])?;
    ensure!(bad.status.code() == Some(1) && stderr_of(&bad).contains("web.yml:1:1"), "{}", stderr_of(&bad));
    files.write("probe.toml", "[web]\nconfig_file = 'web.yml'\n", 0o644)?;
    let relative = stderr_of(&run(&["config", "check", &file])?);
    ensure!(relative.contains("web.config_file: must begin with /"), "{relative}");
    Ok(())
}

#[test]
fn https_is_answered_and_http_is_told_so_and_the_socket_needs_neither() -> Result<()> {
    if skipped("https_is_answered_and_http_is_told_so_and_the_socket_needs_neither") {
        return Ok(());
    }
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
    if skipped("a_client_needs_a_certificate_of_the_authority_and_with_an_allowed_name") {
        return Ok(());
    }
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
    if skipped("a_client_that_has_only_an_older_version_is_refused") {
        return Ok(());
    }
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
fn whatever_is_asked_for_needs_a_password_but_on_the_socket() -> Result<()> {
    if skipped("whatever_is_asked_for_needs_a_password_but_on_the_socket") {
        return Ok(());
    }
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
fn a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not() -> Result<()> {
    if skipped("a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not") {
        return Ok(());
    }
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
    if skipped("users_that_change_are_taken_over") {
        return Ok(());
    }
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
fn files_that_the_new_user_can_not_read_are_said_at_the_start() -> Result<()> {
    if skipped("files_that_the_new_user_can_not_read_are_said_at_the_start") {
        return Ok(());
    }
    let authority = Authority::new()?;
    let files = Files::new(&authority)?;
    // What is in it can't even be seen then.
    fs::set_permissions(files.0.path(), fs::Permissions::from_mode(0o700))?;
    let daemon = files.daemon(TLS, &["--user", "nobody"])?;
    daemon.wait_for_log(&["WARN", "now that privileges are dropped", "will need a restart", "Permission denied"])?;
    // By then its files are looked at once more.
    std::thread::sleep(Duration::from_millis(1200));
    ensure!(Client::new(&authority).is_let_in(&daemon), "what was read before is not served");
    ensure!(logged(&daemon, "web configuration")? == 1, "it is said twice: {}", fs::read_to_string(&daemon.log)?);
    Ok(())
}

#[test]
fn who_listens_beyond_loopback_without_authentication_is_warned_once() -> Result<()> {
    if skipped("who_listens_beyond_loopback_without_authentication_is_warned_once") {
        return Ok(());
    }
    let warning = "anybody who reaches 0.0.0.0:0 can read";
    let beyond = ["--web.listen-address", "0.0.0.0:0"];
    ensure!(logged(&Daemon::start(&beyond)?, warning)? == 1, "no warning");
    let files = Files::new(&Authority::new()?)?;
    let users = format!("basic_auth_users:\n  alice: {HASH}\n");
    let daemon = files.daemon(&users, &beyond)?;
    ensure!(logged(&daemon, warning)? == 0 && logged(&daemon, "in clear text")? == 1, "not of the passwords");
    let daemon = files.daemon(&format!("{TLS}{users}"), &beyond)?;
    ensure!(logged(&daemon, "WARN")? == 0, "{}", fs::read_to_string(&daemon.log)?);
    Ok(())
}

#[test]
fn who_does_not_finish_a_handshake_keeps_nobody_waiting_and_is_sent_away() -> Result<()> {
    if skipped("who_does_not_finish_a_handshake_keeps_nobody_waiting_and_is_sent_away") {
        return Ok(());
    }
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

#[test]
fn who_was_let_in_is_answered_at_once_while_others_guess() -> Result<()> {
    if skipped("who_was_let_in_is_answered_at_once_while_others_guess") {
        return Ok(());
    }
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
    if skipped("top_asks_over_https_with_the_password_of_its_url") {
        return Ok(());
    }
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
