//! What was read of a process.

use std::{collections::BTreeMap, io, path::PathBuf};

use super::{runtimes::Runtime, threads::UserThread};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Where its executable is, as it sees it.
    pub executable: PathBuf,
    /// What it is written in, and the libraries with pools of their own; empty where nothing is known.
    pub runtimes: Vec<Runtime>,
    /// Its threads, by tid.
    pub threads: BTreeMap<u32, UserThread>,
    /// The function and file that threads began in, by its address.
    pub(super) entries: BTreeMap<u64, Entry>,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
}

/// What a thread began with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Name of the file.
    pub(super) file: String,
    /// Its function, where a symbol names it.
    pub(super) function: Option<String>,
}

impl Inspection {
    /// The value, or a note of why there is none.
    pub(super) fn noted<T>(&mut self, what: &str, read: io::Result<T>) -> Option<T> {
        read.inspect_err(|error| self.unreadable.push(format!("{what}: {error}"))).ok()
    }

    /// What a thread began with, as `function (file)`, or the file alone.
    pub fn began_with(&self, tid: u32) -> Option<String> {
        let entry = self.entries.get(&self.threads.get(&tid)?.entry?)?;
        Some(match &entry.function {
            Some(function) => format!("{function} ({})", entry.file),
            None => entry.file.clone(),
        })
    }
}
