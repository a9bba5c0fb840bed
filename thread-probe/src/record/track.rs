//! A recording that is read: any sample of it, at any time.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::libc::O_NONBLOCK;
use thiserror::Error;

use super::{
    EXTENSION, LookedInto, Recorded,
    file::head_at,
    fold::{unfold_rates, unfold_totals},
    frame::{FILE_HEAD, Glance, HEAD_BYTES, Head, check_file_head},
    recorder::Sheet,
    stretch::{Failure, Frame, Reader},
};
use crate::model::Model;

/// Why a recording can't be read.
#[derive(Debug, Error)]
pub enum TrackError {
    /// It can't be opened or read.
    #[error("reading {} failed: {error}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else.
    #[error("{}: {reason}", path.display())]
    NoRecording {
        /// What.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no sample in it.
    #[error("{}: there is no recorded sample in it", .0.display())]
    Empty(PathBuf),
    /// A sample is damaged.
    #[error("{} is damaged at byte {at}: {reason}; what is before it can be read", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// At which byte.
        at: u64,
        /// How.
        reason: String,
    },
}

/// The samples of a recording, in the order in which they were taken.
#[derive(Default)]
pub struct Track {
    files: Vec<(PathBuf, File)>,
    entries: Vec<Entry>,
    warnings: Vec<String>,
    /// What is being read, and the number of its first sample.
    stretch: Option<(Reader, usize)>,
    last: Option<(usize, Arc<Recorded>)>,
}

/// What is wanted of a sample.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// What the next one is told from.
    Totals,
    /// All; by the sample before, if it is in the same stretch.
    All(Option<&'a Model>),
}

/// Where a sample is.
#[derive(Clone, Copy, Debug)]
struct Entry {
    head: Head,
    file: usize,
    at: u64,
}

impl Track {
    /// Opens a file, or all recordings in a folder. Of samples only what is at a glance is read.
    ///
    /// # Errors
    /// It can't be read, or there is no sample in it.
    pub fn open(path: &Path) -> Result<Self, TrackError> {
        let failed = |error| TrackError::Read { path: path.to_owned(), error };
        let mut track = Self::default();
        if fs::metadata(path).map_err(failed)?.is_dir() {
            let mut paths = Vec::new();
            for entry in fs::read_dir(path).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if path.extension().is_some_and(|extension| extension == EXTENSION) {
                    paths.push(path);
                }
            }
            // They are named by when they begin.
            paths.sort();
            for path in paths {
                match track.add(&path) {
                    Ok(()) => {}
                    // One that is bad must not hide the others; one that is gone made room.
                    Err(TrackError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => track.warnings.push(error.to_string()),
                }
            }
        } else {
            track.add(path)?;
        }
        if track.entries.is_empty() { Err(TrackError::Empty(path.to_owned())) } else { Ok(track) }
    }

    fn add(&mut self, path: &Path) -> Result<(), TrackError> {
        let failed = |error| TrackError::Read { path: path.to_owned(), error };
        let no_recording = |reason: &str| TrackError::NoRecording { path: path.to_owned(), reason: reason.to_owned() };
        // Opening a pipe would wait for its other end.
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(no_recording("it is not a regular file"));
        }
        let (mut head, length) = ([0; FILE_HEAD.len()], metadata.len());
        if length < head.len() as u64 {
            return Err(no_recording("it is no recording of thread-probe"));
        }
        file.read_exact_at(&mut head, 0).map_err(failed)?;
        check_file_head(&head).map_err(|reason| no_recording(&reason.to_string()))?;
        let mut at = head.len() as u64;
        while let Some((head, end)) = head_at(&file, at, length).map_err(failed)? {
            self.entries.push(Entry { head, file: self.files.len(), at });
            at = end;
        }
        if at < length {
            self.warnings.push(format!("{}: its last {} bytes are no whole sample", path.display(), length - at));
        }
        self.files.push((path.to_owned(), file));
        Ok(())
    }

    /// What of it could not be read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many samples there are: one at the least.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All samples at a glance.
    pub fn glances(&self) -> impl DoubleEndedIterator<Item = &Glance> + ExactSizeIterator {
        self.entries.iter().map(|entry| &entry.head.glance)
    }

    /// Where in its file each sample ends.
    #[cfg(test)]
    pub(super) fn ends(&self) -> impl Iterator<Item = usize> {
        self.entries.iter().map(|entry| entry.at as usize + HEAD_BYTES + entry.head.bytes as usize)
    }

    /// When the last one was taken, in seconds since the Unix epoch.
    pub fn end_unix_seconds(&self) -> f64 {
        self.entries.last().map_or(0.0, |entry| entry.head.glance.time_unix_seconds)
    }

    /// The first sample that was not taken before a time, or the last one.
    pub fn at(&self, unix_seconds: f64) -> usize {
        let found = self.glances().position(|glance| glance.time_unix_seconds >= unix_seconds);
        found.unwrap_or(self.entries.len().saturating_sub(1))
    }

    /// A sample, by its number.
    ///
    /// # Errors
    /// It is damaged, or can't be read.
    pub fn sample(&mut self, number: usize) -> Result<Arc<Recorded>, TrackError> {
        if let Some((_, last)) = self.last.as_ref().filter(|(last, _)| *last == number) {
            return Ok(Arc::clone(last));
        }
        let first = self.first_of(number)?;
        let before = match &self.last {
            _ if number == first => None,
            Some((last, sample)) if last + 1 == number => Some(Arc::clone(sample)),
            _ => Some(Arc::new(self.read(number - 1, first, Wanted::Totals)?)),
        };
        let sample = Arc::new(self.read(number, first, Wanted::All(before.as_deref().map(|before| &before.model)))?);
        self.last = Some((number, Arc::clone(&sample)));
        Ok(sample)
    }

    /// Where the stretch begins that a sample is in.
    fn first_of(&self, number: usize) -> Result<usize, TrackError> {
        let found = self.entries.get(..=number).and_then(|until| until.iter().rposition(|entry| entry.head.is_first));
        let file = self.entries.get(number).map(|entry| entry.file);
        let found = found.filter(|first| Some(self.entries[*first].file) == file);
        found.ok_or_else(|| self.damaged(number, "it begins in the middle"))
    }

    fn read(&mut self, number: usize, first: usize, wanted: Wanted<'_>) -> Result<Recorded, TrackError> {
        let (mut reader, first) = match self.stretch.take() {
            Some(stretch) if stretch.1 == first => stretch,
            _ => (Reader::default(), first),
        };
        while first + reader.len() <= number {
            self.take_in(&mut reader, first)?;
        }
        let sample = unfolded(&mut reader, number - first, wanted).map_err(|reason| self.damaged(number, &reason))?;
        self.stretch = Some((reader, first));
        Ok(sample)
    }

    fn take_in(&self, reader: &mut Reader, first: usize) -> Result<(), TrackError> {
        let number = first + reader.len();
        let Entry { head, file, at } = self.entries[number];
        let (path, file) = &self.files[file];
        let mut bytes = vec![0; head.bytes as usize];
        file.read_exact_at(&mut bytes, at + HEAD_BYTES as u64)
            .map_err(|error| TrackError::Read { path: path.clone(), error })?;
        if !head.is_of(&bytes) {
            return Err(self.damaged(number, "it is not what was written"));
        }
        let frame = Frame { is_first: head.is_first, plain_bytes: head.plain_bytes, bytes };
        reader.push(&frame).map_err(|failure| self.damaged(number, &failure.to_string()))
    }

    fn damaged(&self, number: usize, reason: &str) -> TrackError {
        let entry = self.entries.get(number);
        let path = entry.map_or_else(PathBuf::new, |entry| self.files[entry.file].0.clone());
        TrackError::Damaged { path, at: entry.map_or(0, |entry| entry.at), reason: reason.to_owned() }
    }
}

fn unfolded(reader: &mut Reader, number: usize, wanted: Wanted<'_>) -> Result<Recorded, String> {
    let sheet: Sheet<Model, Vec<LookedInto>> = reader.sample(number).map_err(|failure: Failure| failure.to_string())?;
    let Sheet { is_folded, mut model, looked_into } = sheet;
    if is_folded {
        let wrong = |_| "its numbers make no sense".to_owned();
        unfold_totals(&mut model).map_err(wrong)?;
        if let Wanted::All(before) = wanted {
            unfold_rates(&mut model, before).map_err(wrong)?;
        }
    }
    Ok(Recorded { model, looked_into })
}
