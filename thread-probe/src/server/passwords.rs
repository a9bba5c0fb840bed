//! Passwords, checked against their bcrypt hashes by a thread of its own.
//!
//! A check takes some 50 ms of CPU time, by design. So that who guesses can't take the host's CPUs or keep the thread
//! that answers from answering, there is one such thread, at the lowest priority, which rests after each wrong password
//! for as long as that took it. Who waits for it holds a connection, of which there are few. A user whose password was
//! right is not checked again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use nix::libc;
use ring::{
    hmac::{self, HMAC_SHA256, Key, Tag},
    rand::SystemRandom,
};
use tokio::sync::{mpsc, oneshot};

/// A user and the password that was sent.
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: Vec<u8>,
}

/// What the thread is to do.
struct Check {
    password: Vec<u8>,
    hash: String,
    reply: oneshot::Sender<bool>,
}

/// Checks passwords.
pub(super) struct Passwords {
    checks: mpsc::Sender<Check>,
    key: Key,
    /// By user, what was right last: a tag of it, not the password.
    right: Mutex<HashMap<String, Tag>>,
}

impl Passwords {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self> {
        let key =
            Key::generate(HMAC_SHA256, &SystemRandom::new()).map_err(|_| anyhow!("the kernel has no random bytes"))?;
        // One that waits; the others wait to be this one, in their order, and no longer than their connections last.
        let (checks, mut pending) = mpsc::channel::<Check>(1);
        let run = move || {
            lower_priority();
            while let Some(check) = pending.blocking_recv() {
                check.run();
            }
        };
        thread::Builder::new()
            .name("passwords".to_owned())
            .spawn(run)
            .context("starting the thread for passwords failed")?;
        Ok(Self { checks, key, right: Mutex::default() })
    }

    /// Whether this is a user with this password. Of a wrong answer nobody can tell whether there is such a user, neither
    /// by what it says nor by the time it takes.
    pub(super) async fn are_right(&self, users: &BTreeMap<String, String>, credentials: Credentials) -> bool {
        let known = users.get(&credentials.user);
        let Some(hash) = known.or_else(|| self.another(users, &credentials.user)) else { return false };
        let tag_input = tag_input(&credentials, hash);
        if known.is_some() && self.was_right(&credentials.user, &tag_input) {
            return true;
        }
        let (reply, outcome) = oneshot::channel();
        let check = Check { password: credentials.password, hash: hash.clone(), reply };
        if self.checks.send(check).await.is_err() || !outcome.await.unwrap_or(false) || known.is_none() {
            return false;
        }
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.retain(|user, _| users.contains_key(user));
        right.insert(credentials.user, hmac::sign(&self.key, &tag_input));
        true
    }

    fn was_right(&self, user: &str, tag_input: &[u8]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(user).is_some_and(|tag| hmac::verify(&self.key, tag_input, tag.as_ref()).is_ok())
    }

    /// The hash of one of the users, for who is none: always the same one, so that its cost does not tell, either.
    fn another<'a>(&self, users: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
        let tag = hmac::sign(&self.key, name.as_bytes());
        let number = tag.as_ref().iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte));
        users.values().nth(number.checked_rem(users.len())?)
    }
}

/// What makes a password right: it, the user and the hash, each where no other could be.
fn tag_input(credentials: &Credentials, hash: &str) -> Vec<u8> {
    let lengths = [credentials.user.len(), hash.len()].map(usize::to_le_bytes);
    [&lengths.concat(), credentials.user.as_bytes(), hash.as_bytes(), &credentials.password].concat()
}

impl Check {
    fn run(self) {
        // Who waited for it is gone.
        if self.reply.is_closed() {
            return;
        }
        let started = Instant::now();
        // The hash is one that was looked at when it was read.
        let is_right = bcrypt::verify(&self.password, &self.hash).unwrap_or(false);
        let _ = self.reply.send(is_right);
        if !is_right {
            thread::sleep(started.elapsed());
        }
    }
}

/// Of this thread alone: on Linux each has its own.
fn lower_priority() {
    const LOWEST: libc::c_int = 19;
    // SAFETY: the call takes numbers only; 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) } != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "passwords are checked at normal priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the password "right".
    fn users(names: &[&str]) -> BTreeMap<String, String> {
        let hash = bcrypt::hash("right", 4).unwrap_or_default();
        names.iter().map(|name| ((*name).to_owned(), hash.clone())).collect()
    }

    fn ask(passwords: &Passwords, users: &BTreeMap<String, String>, user: &str, password: &str) -> Option<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
        let credentials = Credentials { user: user.to_owned(), password: password.into() };
        Some(runtime.block_on(passwords.are_right(users, credentials)))
    }

    #[test]
    fn only_a_known_user_with_the_right_password_is_let_in() -> Result<()> {
        let (passwords, users) = (Passwords::start()?, users(&["alice", "bob"]));
        for (user, password, is_right) in [
            ("alice", "right", true),
            ("alice", "wrong", false),
            ("alice", "", false),
            ("bob", "right", true),
            ("carol", "right", false),
            ("", "right", false),
        ] {
            // The second time what was right is known to be.
            for _ in 0..2 {
                assert_eq!(ask(&passwords, &users, user, password), Some(is_right), "{user}: {password}");
            }
        }
        assert_eq!(ask(&passwords, &BTreeMap::new(), "alice", "right"), Some(false));
        Ok(())
    }

    #[test]
    fn what_was_right_once_is_not_so_for_another_hash_or_a_user_who_is_gone() -> Result<()> {
        let (passwords, before) = (Passwords::start()?, users(&["alice"]));
        assert_eq!(ask(&passwords, &before, "alice", "right"), Some(true));
        let changed = BTreeMap::from([("alice".to_owned(), bcrypt::hash("other", 4).unwrap_or_default())]);
        assert_eq!(ask(&passwords, &changed, "alice", "right"), Some(false));
        assert_eq!(ask(&passwords, &users(&["bob"]), "alice", "right"), Some(false));
        Ok(())
    }

    #[test]
    fn what_is_kept_has_one_entry_a_user() -> Result<()> {
        let (passwords, all) = (Passwords::start()?, users(&["alice", "bob"]));
        for user in ["alice", "bob", "carol", "alice"] {
            ask(&passwords, &all, user, "right");
            ask(&passwords, &all, user, "wrong");
        }
        let kept = || passwords.right.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert_eq!(kept(), 2);
        ask(&passwords, &users(&["dora"]), "dora", "right");
        assert_eq!(kept(), 1);
        Ok(())
    }

    #[test]
    fn where_one_part_ends_and_the_next_begins_can_not_be_moved() {
        let input = |user: &str, password: &str, hash| {
            tag_input(&Credentials { user: user.to_owned(), password: password.into() }, hash)
        };
        assert_ne!(input("a", "c", "bb"), input("ab", "c", "b"));
        assert_ne!(input("a", "bc", "b"), input("a", "c", "bb"));
    }
}
