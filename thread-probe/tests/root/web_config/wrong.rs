//! What is wrong with a file, and where.

use anyhow::{Result, ensure};

use crate::root::web_config::{
    files::{Authority, Files, HASH, TLS},
    run, stderr_of,
};

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
