//! `thread-probe ps`: batch output of one sample with rates.

use anyhow::Result;

use crate::{
    cli::{Format, PsOptions},
    config::FileError,
    top::{
        batch::{self, Batch, FIRST_PROCESS_COLUMNS, FIRST_THREAD_COLUMNS},
        choice::ColumnsChoice,
        filter::Filter,
    },
};

/// Takes two samples and prints.
///
/// # Errors
/// What is wrong with the configuration file, what the host lacks, no such process, or standard output that can't be written to.
pub fn ps(options: &PsOptions) -> Result<()> {
    batch::print(&options.try_into()?)
}

impl TryFrom<&PsOptions> for Batch {
    type Error = FileError;

    fn try_from(options: &PsOptions) -> Result<Self, FileError> {
        let columns = ColumnsChoice { process: FIRST_PROCESS_COLUMNS.to_vec(), thread: FIRST_THREAD_COLUMNS.to_vec() };
        Ok(Self {
            url: None,
            config: options.probe.configure()?,
            interval: options.interval,
            samples: Some(1),
            format: options.format,
            sort: options.sort,
            filter: Filter::default(),
            columns: (options.format == Format::Table).then_some(columns),
            top: options.top.unwrap_or(usize::MAX),
            pid: options.pid,
            is_timed: false,
        })
    }
}
