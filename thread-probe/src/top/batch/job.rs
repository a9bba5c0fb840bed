//! What is to be printed, and how.

use std::time::Duration;

use clap::ValueEnum;

use crate::{
    config::Config,
    top::{
        choice::{ColumnsChoice, SortChoice},
        columns::Sort,
        feed::Recording,
        filter::Filter,
    },
};

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    #[default]
    Table,
    /// The JSON of /api/v1/snapshot
    Json,
    /// Comma-separated values, with a header
    Csv,
}

/// What is to be printed.
pub(crate) struct Batch {
    /// The daemon to ask.
    pub(crate) url: Option<String>,
    /// What was recorded, in place of a daemon or a probe.
    pub(crate) recording: Option<Recording>,
    /// Of a probe of its own.
    pub(crate) config: Config,
    /// Time between samples.
    pub(crate) interval: Duration,
    /// How many samples; without it, all that come.
    pub(crate) samples: Option<u64>,
    /// How each is printed.
    pub(crate) format: Format,
    /// What comes first.
    pub(crate) sort: SortChoice,
    /// Which processes.
    pub(crate) filter: Filter,
    /// The columns that were chosen.
    pub(crate) columns: Option<ColumnsChoice>,
    /// Those of a table if none were.
    pub(crate) table: ColumnsChoice,
    /// Characters of a line of the terminal, if it is printed to one.
    pub(crate) width: Option<u16>,
    /// How many rows.
    pub(crate) top: usize,
    /// The process of which the threads are printed.
    pub(crate) pid: Option<u32>,
    /// Whether those of a name are one row.
    pub(crate) by_name: bool,
    /// Whether each sample says when it was taken.
    pub(crate) is_timed: bool,
}

impl Batch {
    /// Names have columns of threads and some of processes.
    pub(super) fn sort_of_names(&self) -> Option<Sort> {
        self.sort.thread.or(self.sort.process)
    }
}
