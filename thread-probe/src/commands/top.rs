//! `thread-probe top`: interactive, or printed with `--batch` and where nobody looks.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{look, options::TopOptions};
use crate::{
    bench::SwitchCost,
    config::FileError,
    top::{
        app::App,
        batch::{self, Batch, ids_by_default, terminal_width},
        choice::ColumnsChoice,
        columns::{process_columns, thread_columns},
        feed::{Feed, Request},
        interactive,
        settings::{self, Settings},
        signals::Signals,
        terminal,
    },
};

/// Time between samples where none is given.
const INTERVAL: Duration = Duration::from_secs(1);
/// The time over which growth is measured, at most: who looks wants to be told of a leak before ten minutes have
/// passed.
const WINDOW: Duration = Duration::from_mins(1);

/// Shows samples until its user has seen enough; or prints them, with `--batch` and where nobody looks.
///
/// # Errors
/// An option that only prints, what is wrong with the configuration file, what the host lacks, no such process, or
/// standard output that can't be written to.
pub(super) fn top(options: &TopOptions) -> Result<()> {
    if options.batch || !io::stdout().is_terminal() {
        if options.tree.is_some() {
            tracing::warn!("--tree is left out: what is printed is no tree");
        }
        return batch::print(&options.try_into()?);
    }
    refuse_what_is_printed(options)?;
    interactive(options)
}

/// Not by the parser, which does not know where standard output goes.
fn refuse_what_is_printed(options: &TopOptions) -> Result<()> {
    let given =
        [("-n", options.samples.is_some()), ("--format", options.format.is_some()), ("--top", options.top.is_some())];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => {
            bail!("{name} is for samples that are printed, which the interactive view does not: add --batch")
        }
        None => Ok(()),
    }
}

fn interactive(options: &TopOptions) -> Result<()> {
    let mut config = options.configuration.read()?;
    config.limits.window = config.limits.window.min(WINDOW);
    // Before the feed may have a thread.
    let signals = Signals::block().context("blocking signals failed")?;
    let (kept, state_file, warning) = settings::load();
    let settings = chosen(kept, options);
    let request = Request { pid: options.pid, interval: settings.interval };
    // What was recorded may be of another host.
    let (feed, cost) = if let Some(recording) = options.replay.recording() {
        (Feed::replay(&recording, false)?, SwitchCost::default())
    } else {
        let feed = Feed::start(options.daemon(), &config, request)?;
        (feed, look::cost_of_a_switch(options.daemon()))
    };
    let mut app =
        App::new(settings.clone(), feed.source().label()).with_switch_cost(cost).with_timeline(feed.glances());
    if let Some(filter) = &options.filter {
        app = app.with_filter(filter.clone());
    }
    if let Some(pid) = options.pid {
        app = app.with_process(pid);
    }
    if let Some(warning) = warning {
        app.say(warning);
    }
    let app = interactive::run(app, feed, &signals, &terminal::theme())?;
    // It has been seen, and without privileges another user's folder can't be written to, as that of who called sudo.
    // An interval is chosen for what is to be seen now.
    let last = Settings { interval: settings.interval, ..app.settings().clone() };
    if let Some(Err(error)) = state_file.map(|file| file.save(&settings, &last)) {
        tracing::warn!("{error:#}");
    }
    Ok(())
}

impl TryFrom<&TopOptions> for Batch {
    type Error = FileError;

    fn try_from(options: &TopOptions) -> Result<Self, FileError> {
        Ok(Self {
            url: options.daemon().map(str::to_owned),
            recording: options.replay.recording(),
            config: options.configuration.read()?,
            interval: options.interval.unwrap_or(INTERVAL),
            samples: options.samples,
            format: options.format.unwrap_or_default(),
            sort: options.sort.unwrap_or_default(),
            filter: options.filter.clone().unwrap_or_default(),
            columns: options.columns.clone(),
            table: ColumnsChoice {
                process: ids_by_default(process_columns()),
                thread: ids_by_default(thread_columns()),
            },
            width: terminal_width(),
            top: options.top.unwrap_or(usize::MAX),
            pid: options.pid,
            by_name: false,
            is_timed: true,
        })
    }
}

/// What was chosen last, and on top of that what the command line chooses.
fn chosen(kept: Settings, options: &TopOptions) -> Settings {
    let (sort, columns) = (options.sort, options.columns.clone());
    let or_kept = |chosen: Vec<&'static str>, kept| if chosen.is_empty() { kept } else { chosen };
    // A column that both have is meant for the table that is asked for.
    let (process_columns, thread_columns) = match (columns, options.pid) {
        (None, _) => Default::default(),
        (Some(columns), None) => (columns.process, Vec::new()),
        (Some(columns), Some(_)) => (Vec::new(), columns.thread),
    };
    Settings {
        interval: options.interval.unwrap_or(kept.interval),
        process_sort: sort.and_then(|sort| sort.process).unwrap_or(kept.process_sort),
        thread_sort: sort.and_then(|sort| sort.thread).unwrap_or(kept.thread_sort),
        process_columns: or_kept(process_columns, kept.process_columns),
        thread_columns: or_kept(thread_columns, kept.thread_columns),
        tree: options.tree.unwrap_or(kept.tree),
        only_changed: kept.only_changed,
        hide_kernel_threads: kept.hide_kernel_threads,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::options::{Cli, Command};

    fn chosen_by(args: &[&str]) -> Option<Settings> {
        let Command::Top(options) = Cli::try_parse_from([&["thread-probe", "top"], args].concat()).ok()?.command else {
            return None;
        };
        Some(chosen(Settings::default(), &options))
    }

    #[test]
    fn columns_are_those_of_the_table_that_is_asked_for_and_the_other_keeps_its_own() {
        let kept = Settings::default();
        let of_processes = Settings { process_columns: vec!["pid", "comm"], ..kept.clone() };
        assert_eq!(chosen_by(&["--columns", "pid,comm"]), Some(of_processes));
        let of_threads = Settings { thread_columns: vec!["comm", "tid"], ..kept };
        assert_eq!(chosen_by(&["--columns", "comm,tid", "--pid", "1"]), Some(of_threads));
    }
}
