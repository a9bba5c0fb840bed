//! Samples that are kept: written as they come, and read again at any time, on any machine.
//!
//! A sample is a value as JSON has it ([`value`]). Of each only what changed is written ([`delta`]), and of that what
//! does not follow from the rest ([`fold`]); what is left is compressed ([`stretch`]) and lies in a file with a length
//! and a checksum ([`frame`]).

mod delta;
mod file;
mod fold;
mod folder;
mod frame;
mod read_value;
mod recorder;
mod stretch;
mod track;
mod value;

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use self::file::{Continued, RecordFile};
pub use self::{
    folder::{Folder, Written, recordings},
    frame::Glance,
    recorder::{Recorder, to_look_into},
    track::{Track, TrackError},
};
use crate::model::{Model, OneProcess};

/// The ending of a recording's name.
pub const EXTENSION: &str = "tprec";

/// What is kept of a sample.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// All of the host.
    pub model: Model,
    /// More of processes that did much.
    pub looked_into: Vec<LookedInto>,
}

/// More of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookedInto {
    /// Which.
    pub pid: u32,
    /// What was seen in it.
    pub one: OneProcess,
}

/// A recording into one file.
pub struct Recording<M> {
    recorder: Recorder<M>,
    file: RecordFile,
}

impl<M: AsRef<Model>> Recording<M> {
    /// Into a new file.
    ///
    /// # Errors
    /// There is one of that name, or it can't be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { recorder: Recorder::default(), file: RecordFile::create(path)? })
    }

    /// Into the file that there is. What is no whole sample at its end, as a crash leaves it, is cut; of how many bytes
    /// is told.
    ///
    /// # Errors
    /// It is no recording, or can't be written.
    pub fn go_on(path: &Path) -> io::Result<(Self, u64)> {
        let Continued { file, cut_bytes } = RecordFile::go_on(path)?;
        Ok((Self { recorder: Recorder::default(), file }, cut_bytes))
    }

    /// Takes in a sample.
    ///
    /// # Errors
    /// It can't be written. The next one may be.
    pub fn write(&mut self, sample: M, looked_into: &[LookedInto]) -> io::Result<()> {
        let bytes = self.recorder.bytes(sample, looked_into)?;
        // Whoever reads on needs what is lost.
        self.file.write(&bytes).inspect_err(|_| self.recorder.begin())
    }

    /// How large the file is.
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }
}

#[cfg(test)]
mod tests;
