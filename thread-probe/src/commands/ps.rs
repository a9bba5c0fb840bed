//! `thread-probe ps`: batch output of one sample with rates.

use anyhow::Result;

use crate::{
    commands::options::PsOptions,
    config::FileError,
    top::{
        batch::{self, Batch, PS_PROCESS_COLUMNS},
        choice::ColumnsChoice,
        columns::thread_columns,
        feed::Recording,
    },
};

/// Takes two samples and prints.
///
/// # Errors
/// What is wrong with the configuration file, what the host lacks, no such process, or standard output that can't be
/// written to.
pub(super) fn ps(options: &PsOptions) -> Result<()> {
    batch::print(&options.try_into()?)
}

impl TryFrom<&PsOptions> for Batch {
    type Error = FileError;

    fn try_from(options: &PsOptions) -> Result<Self, FileError> {
        Ok(Self {
            url: options.url.clone().filter(|url| !url.is_empty()),
            recording: options.replay.recording().map(Recording::or_at_its_end),
            config: options.configuration.read()?,
            interval: options.interval,
            samples: Some(1),
            format: options.format,
            sort: options.sort,
            filter: options.filter.clone().unwrap_or_default(),
            columns: options.columns.clone(),
            table: ColumnsChoice {
                process: PS_PROCESS_COLUMNS.to_vec(),
                thread: batch::ids_by_default(thread_columns()),
            },
            width: batch::terminal_width(),
            top: options.top.unwrap_or(usize::MAX),
            pid: options.pid,
            by_name: options.by_name,
            is_timed: false,
        })
    }
}
