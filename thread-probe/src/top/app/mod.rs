//! What the view shows: pure state. Keys and samples change it, a renderer draws it, and nothing in it reads or writes
//! anything.

mod cgroups;
mod column_menu;
mod cursor;
mod export;
mod history;
mod key;
mod keys;
mod line_edit;
mod rows;
mod trend;

use std::{cell::Cell, sync::Arc, time::Duration};

use rustc_hash::FxHashSet;

use self::history::History;
pub use self::{
    column_menu::ColumnMenu,
    cursor::Cursor,
    key::Key,
    keys::{HELP, HelpLine},
    line_edit::LineEdit,
    rows::{Row, RowKey, Subject},
    trend::{Point, Trend},
};
use crate::{
    alerts::view::AlertView,
    limits::{Limit, LimitUse, LimitsReport, Scope},
    model::{Model, OneProcess, Process, Thread},
    top::{
        columns::thread_columns,
        feed::{Request, Sample},
        filter::Filter,
        settings::Settings,
    },
};

/// The times between samples that + and - choose from.
const INTERVALS: [Duration; 8] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// What is on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// All processes.
    #[default]
    Processes,
    /// One process with its threads.
    Process,
    /// All limits.
    Limits,
    /// All alerts.
    Alerts,
}

impl View {
    /// Those that Tab goes through.
    pub const TABS: [Self; 3] = [Self::Processes, Self::Limits, Self::Alerts];

    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Process => "Threads",
            Self::Limits => "Limits",
            Self::Alerts => "Alerts",
        }
    }
}

/// What is in front of the view.
#[derive(Debug, Default)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// What the keys do.
    Help {
        /// Lines scrolled down.
        scroll: u16,
    },
    /// The choice of columns.
    Columns(ColumnMenu),
    /// The filter, being typed.
    Filter(LineEdit),
}

/// What a key asks of who has a terminal, a feed and files.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing but to draw.
    None,
    /// Other samples.
    Request(Request),
    /// To write this JSON to a file, and tell [`App::say`] how it went.
    Export(String),
    /// To stop until the shell brings it back.
    Suspend,
    /// To end.
    Quit,
}

/// The view's state.
#[derive(Debug, Default)]
pub struct App {
    settings: Settings,
    source: String,
    view: View,
    overlay: Overlay,
    /// How far the help can be scrolled: known to who draws.
    help_end: Cell<u16>,
    filter: Filter,
    history: History,
    trend: Trend,
    /// The number of the sample that is shown while paused.
    paused: Option<u64>,
    shown: Option<Arc<Sample>>,
    lost: Option<String>,
    message: Option<String>,
    pid: Option<u32>,
    folded: FxHashSet<RowKey>,
    hides_kernel_threads: bool,
    column_scroll: usize,
    rows: Vec<Row>,
    matches: usize,
    limits: Vec<LimitUse>,
    threads: Vec<usize>,
    processes_cursor: Cursor<RowKey>,
    threads_cursor: Cursor<u32>,
    limits_cursor: Cursor<(Limit, Scope, Arc<str>)>,
    alerts_cursor: Cursor<Arc<str>>,
}

impl App {
    /// Nothing is shown until the first sample. `source` says where samples come from.
    pub fn new(settings: Settings, source: String) -> Self {
        Self { settings, source, ..Self::default() }
    }

    /// The same with a filter.
    pub fn with_filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// The same, with the threads of a process first.
    pub fn with_process(self, pid: u32) -> Self {
        Self { pid: Some(pid), view: View::Process, ..self }
    }

    /// Takes in a sample.
    pub fn on_sample(&mut self, sample: Sample) {
        self.lost = None;
        self.trend.push(&sample.model);
        self.stay_with_a_process_that_ended(&sample.model);
        self.history.push(sample);
        if self.paused.is_none() {
            self.show_latest();
        }
    }

    /// Who looks at a process wants to know how it was when it ended.
    fn stay_with_a_process_that_ended(&mut self, now: &Model) {
        let Some(pid) = self.pid.filter(|_| self.paused.is_none() && self.process().is_some()) else { return };
        if now.processes.iter().all(|process| process.pid != pid) {
            self.paused = self.history.latest().map(|(number, _)| number);
            self.say(format!("process {pid} has ended: this is how it was last; Space goes on"));
        }
    }

    /// The connection is dead, and why.
    pub fn on_lost(&mut self, reason: String) {
        self.lost = Some(reason);
    }

    /// Tells the user something, until the next key.
    pub fn say(&mut self, message: String) {
        self.message = Some(message);
    }

    /// What is to be asked for.
    pub fn request(&self) -> Request {
        Request { pid: self.pid, interval: self.settings.interval }
    }

    fn show_latest(&mut self) {
        self.shown = self.history.latest().map(|(_, sample)| Arc::clone(sample));
        self.refresh();
    }

    /// Makes the lists anew: the sample, the settings or the filter have changed.
    fn refresh(&mut self) {
        let Some(sample) = self.shown.clone() else { return };
        let processes = &sample.model.processes;
        (self.rows, self.matches) =
            rows::rows(processes, &self.settings, (&self.filter, self.hides_kernel_threads), |key| {
                self.folded.contains(key)
            });
        self.processes_cursor.follow(&self.row_keys());
        self.limits = all_limits(&sample.model);
        self.limits_cursor.follow(&self.limit_keys());
        self.alerts_cursor.follow(&self.alert_keys());
        let one = self.pid.and_then(|pid| one_of(&sample, pid));
        self.threads = one.map_or_else(Vec::new, |one| self.sorted_threads(&one.threads));
        self.threads_cursor.follow(&self.thread_keys());
    }

    fn sorted_threads(&self, threads: &[Thread]) -> Vec<usize> {
        let all = (0..threads.len()).collect();
        self.settings.thread_sort.apply(thread_columns(), all, |column, index| column.sort_key(&threads[*index]))
    }

    fn row_keys(&self) -> Vec<RowKey> {
        let processes = self.model().map_or(&[][..], |model| &model.processes);
        self.rows.iter().map(|row| row.key(processes)).collect()
    }

    fn thread_keys(&self) -> Vec<u32> {
        self.threads().map(|thread| thread.tid).collect()
    }

    fn limit_keys(&self) -> Vec<(Limit, Scope, Arc<str>)> {
        self.limits.iter().map(|limit| (limit.limit, limit.scope, Arc::clone(&limit.name))).collect()
    }

    fn alert_keys(&self) -> Vec<Arc<str>> {
        let key = |alert: &AlertView| {
            let (name, severity) = (alert.alert.label(), alert.severity.label());
            Arc::from(format!("{name} {severity} {} {:?} {:?}", alert.group, alert.limit, alert.scope))
        };
        self.alerts().iter().map(key).collect()
    }
}

/// What a sample has of a process: one that was taken before it was asked for may have another's threads.
fn one_of(sample: &Sample, pid: u32) -> Option<&OneProcess> {
    // The first thread stays until the last one has ended.
    sample.one.as_ref().filter(|one| one.threads.iter().any(|thread| thread.tid == pid))
}

/// Those that processes share and, of those that are a process's own, each that binds one or will.
fn all_limits(model: &Model) -> Vec<LimitUse> {
    let mut limits = model.limits.shared.clone();
    for headroom in model.processes.iter().filter_map(|process| process.headroom.as_ref()) {
        let nearest = [Some(&headroom.binding), headroom.first_exhausted.as_ref()];
        let mut own: Vec<_> = nearest.into_iter().flatten().filter(|limit| limit.scope == Scope::Process).collect();
        own.dedup_by_key(|limit| limit.limit);
        limits.extend(own.into_iter().cloned());
    }
    LimitsReport::sort(&mut limits);
    limits
}

/// What a renderer draws.
impl App {
    /// Where samples come from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What is on the screen.
    pub fn view(&self) -> View {
        self.view
    }

    /// What is in front of it.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// The help can be scrolled so many lines down, as drawn last.
    pub fn set_help_end(&self, lines: u16) {
        self.help_end.set(lines);
    }

    /// Columns, order and the like.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether kernel threads are left out.
    pub fn hides_kernel_threads(&self) -> bool {
        self.hides_kernel_threads
    }

    /// The filter in force, as it was typed; empty for none.
    pub fn filter_text(&self) -> &str {
        self.filter.text()
    }

    /// Why there are no new samples, if there are none.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// What the user is to be told.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The sample that is shown; `None` before the first.
    pub fn model(&self) -> Option<&Model> {
        self.shown.as_ref().map(|sample| &sample.model)
    }

    /// While paused: how many seconds before the newest sample the one that is shown was taken.
    pub fn paused_seconds(&self) -> Option<f64> {
        self.paused?;
        let (_, latest) = self.history.latest()?;
        Some(latest.model.time_unix_seconds - self.model()?.time_unix_seconds)
    }

    /// The header's figures over time.
    pub fn trend(&self) -> &Trend {
        &self.trend
    }

    /// The rows of the table of processes.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many processes the filter lets through, folded ones included.
    pub fn matches(&self) -> usize {
        self.matches
    }

    /// Its cursor.
    pub fn processes_cursor(&self) -> &Cursor<RowKey> {
        &self.processes_cursor
    }

    /// How many columns are scrolled out to the left, besides those that stay.
    pub fn column_scroll(&self) -> usize {
        self.column_scroll
    }

    /// The pid of the process that the view of one is about.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// That process; `None` once it has ended.
    pub fn process(&self) -> Option<&Process> {
        let pid = self.pid?;
        self.model()?.processes.iter().find(|process| process.pid == pid)
    }

    /// More of it; `None` before the first sample with it, and once it has ended.
    pub fn one(&self) -> Option<&OneProcess> {
        self.process()?;
        one_of(self.shown.as_ref()?, self.pid?)
    }

    /// Its arguments, where they are known.
    pub fn command_line(&self) -> Option<&str> {
        self.process()?;
        self.shown.as_ref()?.command_line.as_deref()
    }

    /// Its threads, as they are sorted.
    pub fn threads(&self) -> impl ExactSizeIterator<Item = &Thread> {
        let threads = self.shown.as_ref().and_then(|sample| sample.one.as_ref()).map_or(&[][..], |one| &one.threads);
        self.threads.iter().map(|index| &threads[*index])
    }

    /// Their cursor.
    pub fn threads_cursor(&self) -> &Cursor<u32> {
        &self.threads_cursor
    }

    /// All limits: those of the host first, then the most endangered.
    pub fn limits(&self) -> &[LimitUse] {
        &self.limits
    }

    /// Their cursor.
    pub fn limits_cursor(&self) -> &Cursor<(Limit, Scope, Arc<str>)> {
        &self.limits_cursor
    }

    /// The limits of the header: the most endangered of all first, then the host's.
    pub fn gauges(&self) -> impl Iterator<Item = &LimitUse> {
        // A limit of nothing, of which nothing is used, is no danger.
        let known = self.limits.iter().filter(|limit| !limit.used_ratio.is_nan());
        let nearest = known.max_by(|a, b| a.used_ratio.total_cmp(&b.used_ratio));
        let is_nearest = move |limit: &LimitUse| nearest.is_some_and(|nearest| std::ptr::eq(nearest, limit));
        let of_host = self.limits.iter().filter(|limit| limit.scope == Scope::Host);
        nearest.into_iter().chain(of_host.filter(move |limit| !is_nearest(limit)))
    }

    /// The alerts, those that fire first.
    pub fn alerts(&self) -> &[AlertView] {
        self.model().map_or(&[], |model| &model.alerts)
    }

    /// Their cursor.
    pub fn alerts_cursor(&self) -> &Cursor<Arc<str>> {
        &self.alerts_cursor
    }
}

#[cfg(test)]
mod tests;
