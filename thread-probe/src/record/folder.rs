//! A folder of recordings: a file an hour, each readable alone, and no more of them than there is room for.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{EXTENSION, LookedInto, Recorder, file::RecordFile};
use crate::{
    model::Model,
    text::dates::{rfc3339, unix_seconds},
};

/// A file is at most this part of the budget: what makes room is a whole one.
const PARTS: u64 = 8;

/// Where a daemon keeps what it samples.
pub struct Folder<M> {
    path: PathBuf,
    budget_bytes: u64,
    recorder: Recorder<M>,
    current: Option<Current>,
    /// Whether the next file may be the last one that is there: after a start, and after what could not be written.
    goes_on: bool,
}

struct Current {
    path: PathBuf,
    file: RecordFile,
    /// Since the Unix epoch.
    hour: u64,
}

/// What a write did besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of all recordings in the folder.
    pub bytes: u64,
    /// Recordings that were removed to make room.
    pub removed: Vec<PathBuf>,
    /// The recording that went on, and how many bytes at its end were no whole sample.
    pub cut: Option<(PathBuf, u64)>,
}

impl<M: AsRef<Model>> Folder<M> {
    /// A folder that is, or will be, there.
    pub fn new(path: PathBuf, budget_bytes: u64) -> Self {
        Self { path, budget_bytes, recorder: Recorder::default(), current: None, goes_on: true }
    }

    /// Takes in a sample that was taken now.
    ///
    /// # Errors
    /// It can't be written, and is lost. The next one is whole.
    pub fn write(&mut self, sample: M, looked_into: &[LookedInto], now: SystemTime) -> io::Result<Written> {
        let outcome = self.try_write(sample, looked_into, now);
        if outcome.is_err() {
            self.recorder.begin();
            self.current = None;
            self.goes_on = true;
        }
        outcome
    }

    fn try_write(&mut self, sample: M, looked_into: &[LookedInto], now: SystemTime) -> io::Result<Written> {
        let hour = unix_seconds(now) as u64 / 3600;
        let mut written = Written::default();
        let is_full = |current: &Current| current.file.bytes() >= self.budget_bytes / PARTS;
        let mut current = match self.current.take() {
            Some(current) if current.hour == hour && !is_full(&current) => current,
            _ => {
                self.recorder.begin();
                self.open(hour, now, &mut written)?
            }
        };
        let bytes = self.recorder.bytes(sample, looked_into)?;
        (written.bytes, written.removed) = make_room(&self.path, &current.path, bytes.len() as u64, self.budget_bytes)?;
        current.file.write(&bytes)?;
        written.bytes += bytes.len() as u64;
        self.current = Some(current);
        Ok(written)
    }

    /// The last recording if one is to go on and it is of this hour; else a new one.
    fn open(&mut self, hour: u64, now: SystemTime, written: &mut Written) -> io::Result<Current> {
        let last = if std::mem::take(&mut self.goes_on) { recordings(&self.path)?.pop() } else { None };
        if let Some((path, _)) = last.filter(|(path, _)| name_of(path).starts_with(&hour_name(hour))) {
            // One that is damaged, or that another daemon writes to, is left alone.
            if let Ok(continued) = RecordFile::go_on(&path) {
                written.cut = (continued.cut_bytes > 0).then(|| (path.clone(), continued.cut_bytes));
                return Ok(Current { path, file: continued.file, hour });
            }
        }
        // With milliseconds, so that no two have one name, and without what a shell would want quoted.
        let name = rfc3339(unix_seconds(now)).replace(':', "-");
        let path = self.path.join(format!("{name}.{EXTENSION}"));
        let file = RecordFile::create(&path)?;
        // Whatever the umask: who is in the daemon's group may look.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640))?;
        Ok(Current { path, file, hour })
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the names of an hour begin with.
fn hour_name(hour: u64) -> String {
    let begin = rfc3339((hour * 3600) as f64);
    begin.get(..13).unwrap_or_default().to_owned()
}

/// The recordings in a folder with their sizes, the oldest first.
///
/// # Errors
/// It can't be read.
pub fn recordings(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            // One that is gone by now takes no room.
            found.extend(entry.metadata().ok().filter(fs::Metadata::is_file).map(|metadata| (path, metadata.len())));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the oldest, but for the one that is written to, until there is room. How many bytes are left, and what is gone.
fn make_room(folder: &Path, current: &Path, needed: u64, budget: u64) -> io::Result<(u64, Vec<PathBuf>)> {
    let all = recordings(folder)?;
    let mut bytes: u64 = all.iter().map(|(_, bytes)| bytes).sum();
    let mut removed = Vec::new();
    for (path, size) in all.into_iter().filter(|(path, _)| path != current) {
        if bytes + needed <= budget {
            break;
        }
        fs::remove_file(&path)?;
        bytes -= size;
        removed.push(path);
    }
    Ok((bytes, removed))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use anyhow::Result;

    use super::*;
    use crate::{record::Track, testing::empty_model};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn sample(seconds: u64) -> Arc<Model> {
        let mut model = empty_model();
        model.time_unix_seconds = seconds as f64;
        Arc::new(model)
    }

    fn names(folder: &Path) -> io::Result<Vec<String>> {
        Ok(recordings(folder)?.iter().map(|(path, _)| name_of(path)).collect())
    }

    #[test]
    fn an_hour_has_a_file_that_a_restart_goes_on_with_and_the_next_hour_another() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let write = |seconds: &[u64]| -> io::Result<Written> {
            let mut records = Folder::new(folder.path().to_owned(), 64 << 20);
            let each = seconds.iter().map(|seconds| records.write(sample(*seconds), &[], at(*seconds)));
            each.last().unwrap_or_else(|| Ok(Written::default()))
        };
        write(&[3600, 3605])?;
        write(&[3700])?;
        write(&[7200])?;
        assert_eq!(names(folder.path())?, ["1970-01-01T01-00-00.000Z.tprec", "1970-01-01T02-00-00.000Z.tprec"]);
        let mut track = Track::open(folder.path())?;
        let times: Vec<f64> =
            (0..track.len()).map(|number| track.sample(number).map_or(0.0, |s| s.model.time_unix_seconds)).collect();
        assert_eq!(times, [3600.0, 3605.0, 3700.0, 7200.0]);
        // A crash in the middle of a sample.
        let last = folder.path().join("1970-01-01T02-00-00.000Z.tprec");
        let length = fs::metadata(&last)?.len();
        fs::OpenOptions::new().write(true).open(&last)?.set_len(length - 3)?;
        let written = write(&[7210])?;
        assert!(written.cut.is_some_and(|(path, bytes)| path == last && bytes > 3));
        assert_eq!(Track::open(folder.path())?.len(), 4);
        Ok(())
    }

    #[test]
    fn two_daemons_write_to_files_of_their_own() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut daemons = [(); 2].map(|()| Folder::new(folder.path().to_owned(), 64 << 20));
        for seconds in [10, 11, 12] {
            for (daemon, records) in daemons.iter_mut().enumerate() {
                let now = at(seconds) + Duration::from_millis(daemon as u64);
                assert_eq!(records.write(sample(seconds), &[], now)?.cut, None);
            }
        }
        let mut track = Track::open(folder.path())?;
        assert_eq!((names(folder.path())?.len(), track.len()), (2, 6));
        for number in 0..6 {
            track.sample(number)?;
        }
        Ok(())
    }

    #[test]
    fn a_clock_that_jumps_back_loses_nothing() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut records = Folder::new(folder.path().to_owned(), 64 << 20);
        for seconds in [10_000, 10_005, 2_000, 2_005, 20_000] {
            records.write(sample(seconds), &[], at(seconds))?;
        }
        let mut track = Track::open(folder.path())?;
        assert_eq!(track.len(), 5);
        for number in 0..5 {
            track.sample(number)?;
        }
        Ok(())
    }

    #[test]
    fn the_oldest_make_room_and_at_no_time_is_there_more_than_the_budget() -> Result<()> {
        const BUDGET: u64 = 60_000;
        let folder = tempfile::tempdir()?;
        let mut records = Folder::new(folder.path().to_owned(), BUDGET);
        let mut removed = 0;
        for number in 0..400 {
            let mut model = empty_model();
            // Processes that nobody has seen before, each time: nothing of it is as it was.
            let process = |pid: u32| {
                crate::testing::process(
                    1000 * number + pid,
                    &format!("{:x}", u64::from(number + pid).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                )
            };
            model.processes = (0..20).map(process).collect();
            model.time_unix_seconds = f64::from(number) * 60.0;
            let written = records.write(Arc::new(model), &[], at(u64::from(number) * 60))?;
            let all: u64 = recordings(folder.path())?.iter().map(|(_, bytes)| bytes).sum();
            assert!(all <= BUDGET && all == written.bytes, "{all} bytes, {written:?}");
            removed += written.removed.len();
        }
        assert!(removed > 3, "{removed}");
        let mut track = Track::open(folder.path())?;
        let last = track.len() - 1;
        assert_eq!(track.sample(last)?.model.time_unix_seconds, 399.0 * 60.0);
        track.sample(0)?;
        Ok(())
    }

    #[test]
    fn where_nothing_can_be_written_each_sample_is_lost_until_it_can() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("records");
        let mut records = Folder::new(path.clone(), 64 << 20);
        assert!(records.write(sample(1), &[], at(1)).is_err());
        fs::create_dir(&path)?;
        records.write(sample(2), &[], at(2))?;
        assert_eq!(Track::open(&path)?.len(), 1);
        Ok(())
    }
}
