//! `thread-probe top --batch`, and `ps`: samples printed one after the other.

mod job;
mod print;

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _, Stdout, Write as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use self::job::Format;
use self::print::Printer;
pub(crate) use self::{job::Batch, print::PS_PROCESS_COLUMNS};
use super::{
    columns::Column,
    feed::{Feed, Request, Sample, Source, Update},
    terminal,
};
use crate::model::{Loss, Model};

/// How often it looks whether anybody still reads.
const READER_CHECK: Duration = Duration::from_millis(250);

/// Those that a table has by default.
pub(crate) fn ids_by_default<T>(columns: &'static [Column<T>]) -> Vec<&'static str> {
    columns.iter().filter(|column| column.is_default).map(|column| column.id).collect()
}

/// The width of standard output, if it is a terminal.
pub(crate) fn terminal_width() -> Option<u16> {
    let is_terminal = io::stdout().is_terminal();
    is_terminal.then(terminal::size).and_then(Result::ok).map(|(columns, _)| columns)
}

/// Prints samples, from the first with rates on, until there are enough or nobody reads them.
///
/// # Errors
/// What the host lacks, no daemon, no such process or one that ended, or standard output that can't be written to.
pub(crate) fn print(batch: &Batch) -> Result<()> {
    let mut printer = Printer::new(batch)?;
    let request = Request { pid: batch.pid, interval: batch.interval };
    let mut input = Input::start(batch, request)?;
    let mut out = io::stdout();
    let mut left = batch.samples;
    while left != Some(0) {
        let Some(sample) = input.next(&out)? else { return Ok(()) };
        let text = printer.print(sample)?;
        left = left.map(|left| left - 1);
        if left == Some(0) {
            // Detaches the programs before the last is printed: a pager that is slow to read must not keep them.
            input.feed = None;
        }
        match out.write_all(&text).and_then(|()| out.flush()) {
            // The reader has seen enough, as with `| head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome.context("writing to standard output failed")?,
        }
    }
    Ok(())
}

/// Samples with rates, and warnings of what they lack.
struct Input {
    /// `None` after the last.
    feed: Option<Feed>,
    has_sample: bool,
    warned: BTreeSet<String>,
}

impl Input {
    fn start(batch: &Batch, request: Request) -> Result<Self> {
        let feed = match &batch.recording {
            Some(recording) => {
                let mut feed = Feed::replay(recording, true)?;
                feed.request(request);
                feed
            }
            None => Feed::start_evenly(batch.url.as_deref(), &batch.config, request)?,
        };
        Ok(Self { feed: Some(feed), has_sample: false, warned: BTreeSet::new() })
    }

    /// The next one; `None` once nobody reads what is printed.
    fn next(&mut self, out: &Stdout) -> Result<Option<Sample>> {
        while let Some(feed) = &mut self.feed {
            match feed.next(Instant::now() + READER_CHECK)? {
                Some(Update::Sample(sample)) if sample.model.interval_seconds.is_some() => {
                    self.has_sample = true;
                    self.warn_of_losses(&sample.model);
                    return Ok(Some(*sample));
                }
                Some(Update::Sample(_)) => {}
                // A daemon may come back.
                Some(Update::Over) if self.has_sample => break,
                Some(Update::Over) => bail!("there is no sample with rates from there on"),
                // What is damaged stays so.
                Some(Update::Lost(reason)) if matches!(feed.source(), Source::Recording(_)) => bail!(reason),
                Some(Update::Lost(reason)) if self.has_sample && *feed.source() != Source::Own => {
                    tracing::warn!("{reason}; trying again");
                }
                Some(Update::Lost(reason)) => bail!(reason),
                None if is_closed(out) => break,
                None => {}
            }
        }
        Ok(None)
    }

    /// Says what of the samples may be too low, of each reason once. A wait that is missing in a histogram is not worth
    /// a line.
    fn warn_of_losses(&mut self, model: &Model) {
        let lacks_counts = |reason: &str| Loss::named(reason).is_some_and(|loss| loss.lacks_counts);
        for lost in model.probe.lost.iter().filter(|lost| lost.count > 0 && lacks_counts(&lost.reason)) {
            if self.warned.insert(lost.reason.to_string()) {
                tracing::warn!(reason = &*lost.reason, count = lost.count, "lost: some counts are too low");
            }
        }
    }
}

/// Whether the other end of a pipe or terminal is gone.
fn is_closed(out: &Stdout) -> bool {
    let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let is_ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    is_ready && fds[0].revents().is_some_and(|events| events.intersects(gone))
}
