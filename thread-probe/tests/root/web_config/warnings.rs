//! What is warned of at the start.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    root::web_config::{
        client::Client,
        files::{Authority, Files, HASH, TLS},
        logged,
    },
    support::daemon::Daemon,
};

#[test]
fn files_that_the_new_user_can_not_read_are_said_at_the_start() -> Result<()> {
    needs_root!();
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
    needs_root!();
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
