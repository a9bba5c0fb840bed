//! Names of users, looked up where it may take long: NSS may ask the network.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{Uid, User};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::os::priority;

/// How long a name counts before it is looked up again; until then, and for as long as that takes, it is the old one.
const FRESH: Duration = Duration::from_mins(10);
/// How long all lookups of a sample together may hold it up. Users whose names take longer are numbers until they are
/// there.
const PATIENCE: Duration = Duration::from_millis(100);
/// The same of the first sample, for which nobody waits yet: a group that is named by a number keeps that name.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// How many lookups may wait.
const QUEUE: usize = 256;

/// Remembers the names of the users of the last two samples.
#[derive(Default)]
pub struct UserNames {
    known: FxHashMap<u32, Known>,
    sample: u64,
    lookups: Option<Lookups>,
    /// How long this sample was held up.
    waited: Duration,
}

struct Known {
    name: Arc<str>,
    looked_up: Instant,
    used_in: u64,
}

/// The thread that looks up, and what it was asked and has not answered.
struct Lookups {
    questions: mpsc::SyncSender<u32>,
    answers: mpsc::Receiver<(u32, Option<Arc<str>>)>,
    open: FxHashSet<u32>,
}

impl UserNames {
    /// From now on looks up in a thread of its own; until then the caller waits. A thread keeps the privileges that it
    /// was started with, so this is called once they were given up.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn look_up_aside(&mut self) -> io::Result<()> {
        self.look_up_with(look_up)
    }

    fn look_up_with(&mut self, look_up: impl Fn(u32) -> Option<Arc<str>> + Send + 'static) -> io::Result<()> {
        let (questions, asked) = mpsc::sync_channel(QUEUE);
        let (answer, answers) = mpsc::channel();
        thread::Builder::new().name("user-names".into()).spawn(move || {
            priority::lower(0);
            // It ends with who asks.
            for uid in asked {
                let _ = answer.send((uid, look_up(uid)));
            }
        })?;
        self.lookups = Some(Lookups { questions, answers, open: FxHashSet::default() });
        Ok(())
    }

    /// The user's name, or the number where there is none, or none yet.
    pub fn get(&mut self, uid: u32) -> Arc<str> {
        let is_fresh = self.known.get(&uid).is_some_and(|known| known.looked_up.elapsed() < FRESH);
        if !is_fresh {
            self.ask(uid);
        }
        match self.known.get_mut(&uid) {
            Some(known) => {
                known.used_in = self.sample;
                Arc::clone(&known.name)
            }
            None => Arc::from(uid.to_string()),
        }
    }

    /// Forgets who was in neither of the last two samples.
    pub fn finish_sample(&mut self) {
        self.waited = Duration::ZERO;
        self.sample += 1;
        let oldest = self.sample.saturating_sub(2);
        self.known.retain(|_, known| known.used_in >= oldest);
    }

    fn ask(&mut self, uid: u32) {
        let Some(lookups) = &mut self.lookups else {
            let name = look_up(uid);
            return self.learn(uid, name);
        };
        // Where there is no room for the question, the next sample asks again.
        let is_new = !lookups.open.contains(&uid) && lookups.questions.try_send(uid).is_ok();
        if is_new {
            lookups.open.insert(uid);
        }
        // Who has a name keeps it until there is a newer one.
        let must_wait = is_new && !self.known.contains_key(&uid);
        let of_sample = if self.sample == 0 { FIRST_PATIENCE } else { PATIENCE };
        let patience = if must_wait { of_sample.saturating_sub(self.waited) } else { Duration::ZERO };
        let began = Instant::now();
        let mut answered = Vec::new();
        while let Ok((of, name)) = lookups.answers.recv_timeout(patience.saturating_sub(began.elapsed())) {
            lookups.open.remove(&of);
            answered.push((of, name));
            if of == uid {
                break;
            }
        }
        self.waited += began.elapsed();
        answered.into_iter().for_each(|(of, name)| self.learn(of, name));
    }

    /// Who has no name is a number, unless there was one: it may be that it just can't be looked up.
    fn learn(&mut self, uid: u32, name: Option<Arc<str>>) {
        let before = || self.known.get(&uid).map(|known| Arc::clone(&known.name));
        let name = name.or_else(before).unwrap_or_else(|| Arc::from(uid.to_string()));
        self.known.insert(uid, Known { name, looked_up: Instant::now(), used_in: self.sample });
    }
}

fn look_up(uid: u32) -> Option<Arc<str>> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| Arc::from(user.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names from a directory that is as slow as it likes: it answers when it is let.
    fn slow() -> io::Result<(UserNames, mpsc::Sender<()>)> {
        let (answer, wait) = mpsc::channel::<()>();
        let mut names = UserNames::default();
        names.look_up_with(move |uid| {
            wait.recv().ok()?;
            Some(Arc::from(format!("user{uid}")))
        })?;
        Ok((names, answer))
    }

    #[test]
    fn a_directory_that_does_not_answer_holds_a_sample_up_once_and_briefly() -> io::Result<()> {
        let (mut names, answer) = slow()?;
        names.finish_sample();
        let began = Instant::now();
        for uid in 0..200 {
            assert_eq!(&*names.get(uid), uid.to_string());
        }
        let took = began.elapsed();
        assert!((PATIENCE..20 * PATIENCE).contains(&took), "{took:?}");
        names.finish_sample();
        assert_eq!(names.lookups.as_ref().map(|lookups| lookups.open.len()), Some(200), "asked once each");
        // It answers at last, after it was given up.
        (0..200).for_each(|_| answer.send(()).unwrap_or_default());
        let named = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(10));
            &*names.get(0) == "user0"
        });
        assert!(named, "{}", names.get(0));
        Ok(())
    }

    #[test]
    fn a_name_that_comes_in_time_is_there_at_once_and_forgotten_when_nobody_is_it() -> io::Result<()> {
        let (mut names, answer) = slow()?;
        (0..2).for_each(|_| answer.send(()).unwrap_or_default());
        assert_eq!((&*names.get(7), &*names.get(7)), ("user7", "user7"));
        (0..3).for_each(|_| names.finish_sample());
        assert!(names.known.is_empty());
        assert_eq!(&*names.get(8), "user8");
        Ok(())
    }

    #[test]
    fn without_a_thread_it_waits_and_who_has_no_name_is_a_number() {
        let mut names = UserNames::default();
        assert_eq!((&*names.get(0), &*names.get(4_000_000_000)), ("root", "4000000000"));
    }
}
