//! The thread that keeps samples: sampling never waits for a disk. What it can't take in time is lost, counted and said.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use nix::unistd::{User, chown};

use crate::{
    config::RecordConfig,
    export::server::Published,
    model::RecordingCounts,
    os::priority,
    record::{Folder, LookedInto, Written},
    sampler::Sampler,
};

/// Samples that may wait for the disk.
const PENDING: usize = 8;

/// What the sampling thread hands its samples to.
pub(super) struct Recording {
    config: RecordConfig,
    last: Option<Instant>,
    samples: SyncSender<Kept>,
    counts: Arc<Counts>,
}

struct Kept {
    sample: Published,
    looked_into: Vec<LookedInto>,
    at: SystemTime,
}

#[derive(Default)]
struct Counts {
    samples: AtomicU64,
    lost: AtomicU64,
    bytes: AtomicU64,
}

/// Makes the folder, for the user that the daemon will be. That it can't be is said, and tried again with each sample.
pub(super) fn make_folder(path: &Path, user: Option<&User>) {
    // Those above it are for everybody to go through, and one that is there stays whose it is.
    let made = fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fs::DirBuilder::new().mode(0o750).create(path))
        .and_then(|()| match user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid)).map_err(Into::into),
            None => Ok(()),
        });
    if let Err(error) = made.or_else(|error| if path.is_dir() { Ok(()) } else { Err(error) }) {
        tracing::warn!("record.dir: making {} failed: {error}", path.display());
    }
}

impl Recording {
    /// Starts the thread, if samples are to be kept.
    ///
    /// # Errors
    /// The host refuses a thread.
    pub(super) fn start(config: &RecordConfig, nice: i32) -> Result<Option<Self>> {
        let Some(dir) = config.dir.clone() else { return Ok(None) };
        let (samples, kept) = mpsc::sync_channel(PENDING);
        tracing::info!(folder = %dir.display(), budget_bytes = config.budget_bytes, "recording");
        let counts = Arc::<Counts>::default();
        let (folder, counted) = (Folder::new(dir.clone(), config.budget_bytes), Arc::clone(&counts));
        let run = move || {
            priority::lower(nice);
            keep(folder, &dir, &kept, &counted);
        };
        thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(run)
            .context("starting the recording thread failed")?;
        Ok(Some(Self { config: config.clone(), last: None, samples, counts }))
    }

    /// What was kept and what was lost so far.
    pub(super) fn counts(&self) -> RecordingCounts {
        RecordingCounts {
            samples: self.counts.samples.load(Relaxed),
            lost_samples: self.counts.lost.load(Relaxed),
            bytes: self.counts.bytes.load(Relaxed),
        }
    }

    /// Hands on a sample, if one is due.
    pub(super) fn keep(&mut self, sample: &Published, sampler: &Sampler) {
        let now = Instant::now();
        // A sample that comes a little early is the one that is meant.
        let is_due = |last: Instant| now - last + self.config.interval / 10 >= self.config.interval;
        if !self.last.is_none_or(is_due) {
            return;
        }
        self.last = Some(now);
        let looked_into = sampler.look_into(sample.model());
        let kept = Kept { sample: sample.clone(), looked_into, at: SystemTime::now() };
        match self.samples.try_send(kept) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counts.lost.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Writes what comes, until nobody samples any more.
fn keep(mut folder: Folder<Published>, path: &Path, kept: &Receiver<Kept>, counts: &Counts) {
    let mut is_failing = false;
    while let Ok(Kept { sample, looked_into, at }) = kept.recv() {
        match folder.write(sample, &looked_into, at) {
            Ok(written) => {
                counts.samples.fetch_add(1, Relaxed);
                counts.bytes.store(written.bytes, Relaxed);
                say(&written);
                if std::mem::take(&mut is_failing) {
                    tracing::info!("recording to {} succeeds again", path.display());
                }
            }
            Err(error) => {
                counts.lost.fetch_add(1, Relaxed);
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(
                        "recording to {} failed: {error}; samples are lost until it succeeds",
                        path.display()
                    );
                }
            }
        }
    }
}

fn say(written: &Written) {
    if let Some((path, bytes)) = &written.cut {
        tracing::warn!("{}: its last {bytes} bytes were no whole sample, and are cut", path.display());
    }
    for path in &written.removed {
        tracing::debug!("{}: removed to make room (record.budget)", path.display());
    }
}
