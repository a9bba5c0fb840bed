//! Passwords, checked against their bcrypt hashes by a thread of its own.
//!
//! A check takes some 50 ms of CPU time, by design. So that who guesses can't take the host's CPUs or keep the thread
//! that answers from answering, there is one such thread, which rests after each wrong password for as long as that
//! took it. It has the normal priority: with less, on a busy host nobody would be let in within the time of a scrape.
//! Who waits for it holds a connection, of which there are few. A user whose password was right is not checked again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
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
    credentials: Credentials,
    hash: String,
    /// Whether there is such a user.
    is_known: bool,
    reply: oneshot::Sender<bool>,
}

/// Checks passwords.
pub(super) struct Passwords {
    checks: mpsc::Sender<Check>,
    right: Arc<Right>,
}

/// What was right last.
struct Right {
    /// Of this process.
    key: Key,
    /// By user: a tag of the password, not the password.
    tags: Mutex<HashMap<String, Tag>>,
}

impl Passwords {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self> {
        let key =
            Key::generate(HMAC_SHA256, &SystemRandom::new()).map_err(|_| anyhow!("the kernel has no random bytes"))?;
        let right = Arc::new(Right { key, tags: Mutex::default() });
        // One that waits; the others wait to be this one, in their order, and no longer than their connections last.
        let (checks, mut pending) = mpsc::channel::<Check>(1);
        let remembered = Arc::clone(&right);
        let run = move || {
            while let Some(check) = pending.blocking_recv() {
                check.run(&remembered);
            }
        };
        thread::Builder::new()
            .name("passwords".to_owned())
            .spawn(run)
            .context("starting the thread for passwords failed")?;
        Ok(Self { checks, right })
    }

    /// Whether this is a user with this password. Of a wrong answer nobody can tell whether there is such a user,
    /// neither by what it says nor by the time it takes.
    pub(super) async fn are_right(&self, users: &BTreeMap<String, String>, credentials: Credentials) -> bool {
        let known = users.get(&credentials.user);
        if known.is_some_and(|hash| self.right.has(users, &credentials, hash)) {
            return true;
        }
        let Some(hash) = known.or_else(|| self.another(users, &credentials.user)) else { return false };
        let (reply, outcome) = oneshot::channel();
        let check = Check { hash: hash.clone(), is_known: known.is_some(), credentials, reply };
        self.checks.send(check).await.is_ok() && outcome.await.unwrap_or(false)
    }

    /// The hash of one of the users, for who is none: always the same one, so that its cost does not tell, either.
    fn another<'a>(&self, users: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
        let tag = hmac::sign(&self.right.key, name.as_bytes());
        let number = tag.as_ref().iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte));
        users.values().nth(number.checked_rem(users.len())?)
    }
}

impl Right {
    /// Whether this was right, of those who are users still.
    fn has(&self, users: &BTreeMap<String, String>, credentials: &Credentials, hash: &str) -> bool {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.retain(|user, _| users.contains_key(user));
        let tag = tags.get(&credentials.user);
        tag.is_some_and(|tag| hmac::verify(&self.key, &tag_input(credentials, hash), tag.as_ref()).is_ok())
    }

    fn remember(&self, credentials: Credentials, hash: &str) {
        let tag = hmac::sign(&self.key, &tag_input(&credentials, hash));
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).insert(credentials.user, tag);
    }
}

/// What makes a password right: it, the user and the hash, each where no other could be.
fn tag_input(credentials: &Credentials, hash: &str) -> Vec<u8> {
    let lengths = [credentials.user.len(), hash.len()].map(usize::to_le_bytes);
    [&lengths.concat(), credentials.user.as_bytes(), hash.as_bytes(), &credentials.password].concat()
}

impl Check {
    fn run(self, right: &Right) {
        // Who waited for it is gone.
        if self.reply.is_closed() {
            return;
        }
        let started = Instant::now();
        // The hash is one that was looked at when it was read.
        let is_right = bcrypt::verify(&self.credentials.password, &self.hash).unwrap_or(false) && self.is_known;
        if is_right {
            // Also if who asked gave up meanwhile: the next time it is at once.
            right.remember(self.credentials, &self.hash);
        }
        let took = started.elapsed();
        let _ = self.reply.send(is_right);
        if !is_right {
            thread::sleep(took);
        }
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
        let kept = || passwords.right.tags.lock().unwrap_or_else(PoisonError::into_inner).len();
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
