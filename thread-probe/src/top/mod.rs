//! `thread-probe top`: the ad-hoc view.

pub mod app;
pub(crate) mod batch;
pub mod choice;
pub mod columns;
pub mod feed;
pub mod filter;
pub mod settings;

use std::io::{self, IsTerminal as _};

use anyhow::{Result, bail};

use crate::cli::TopOptions;

/// Shows samples until its user has seen enough; or prints them, with `--batch` and where nobody looks.
///
/// # Errors
/// What is wrong with the configuration file, what the host lacks, no such process, or standard output that can't be written to.
pub fn top(options: &TopOptions) -> Result<()> {
    if options.batch || !io::stdout().is_terminal() {
        return batch::print(&options.try_into()?);
    }
    interactive(options)
}

fn interactive(_options: &TopOptions) -> Result<()> {
    bail!("there is no interactive view yet: use --batch")
}
