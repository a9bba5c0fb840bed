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
mod moment_edit;
mod mouse;
mod node;
mod rows;
mod threads;
mod timeline;
mod travel;
mod trend;
mod view;
mod within;

use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

use rustc_hash::FxHashSet;

use self::history::History;
pub use self::{
    column_menu::ColumnMenu,
    cursor::Cursor,
    key::Key,
    keys::{HELP, HelpLine},
    line_edit::LineEdit,
    moment_edit::MomentEdit,
    mouse::{Target, Targets},
    rows::{Row, RowKey, Rows, Subject},
    threads::{ThreadKey, ThreadRow, ThreadSubject},
    timeline::{Column as TimelineColumn, Timeline},
    trend::{Point, Trend},
    view::{Action, Overlay, View},
    within::Within,
};
use crate::{
    advice::{self, Costs, Finding},
    bench::SwitchCost,
    limits::{Limit, LimitUse, Scope},
    model::{Model, OneProcess, Process, Thread, alert::AlertView},
    record::Glance,
    top::{
        columns::Sort,
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
    Duration::from_mins(1),
];

/// So many are told of a host: who has more to mend begins with these.
const MOST_FINDINGS: usize = 50;

/// The view's state.
#[derive(Debug, Default)]
pub struct App {
    settings: Settings,
    source: String,
    view: View,
    overlay: Overlay,
    /// How far the help, or the advice, can be scrolled: known to who draws.
    scroll_end: Cell<u16>,
    switch_cost: SwitchCost,
    findings: Vec<Finding>,
    targets: Targets,
    filter: Filter,
    history: History,
    trend: Trend,
    timeline: Timeline,
    /// The number of the sample that is shown while paused.
    paused: Option<u64>,
    shown: Option<Arc<Sample>>,
    lost: Option<String>,
    message: Option<String>,
    pid: Option<u32>,
    /// The last sample with the process that is looked at, once it has ended.
    ended: Option<Arc<Sample>>,
    /// The names whose threads are shown one by one.
    opened: FxHashSet<String>,
    thread_filter: Filter,
    within: Option<Within>,
    folded: FxHashSet<RowKey>,
    column_scroll: usize,
    /// Whether rows say where the time goes, in place of the columns.
    shows_time: bool,
    rows: Rows,
    limits: Vec<LimitUse>,
    threads: Vec<ThreadRow>,
    processes_cursor: Cursor<RowKey>,
    threads_cursor: Cursor<ThreadKey>,
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

    /// The same, with what one switch costs on the host that is looked at.
    pub fn with_switch_cost(self, switch_cost: SwitchCost) -> Self {
        Self { switch_cost, ..self }
    }

    /// The same, of a recording.
    pub fn with_timeline(self, glances: Vec<Glance>) -> Self {
        Self { timeline: Timeline::new(glances), ..self }
    }

    /// Takes in a sample.
    pub fn on_sample(&mut self, sample: Sample) {
        self.lost = None;
        if !self.timeline.is_empty() {
            self.trend = Trend::of(self.timeline.until(sample.model.time_unix_seconds));
            self.shown = Some(Arc::new(sample));
            return self.refresh();
        }
        self.trend.push(&sample.model);
        self.keep_a_process_that_ended(&sample.model);
        self.history.push(sample);
        if self.paused.is_none() {
            self.show_latest();
        }
    }

    /// Who looks at a process wants to know how it was when it ended; all else goes on.
    fn keep_a_process_that_ended(&mut self, now: &Model) {
        let Some(pid) = self.pid.filter(|_| self.ended.is_none()) else { return };
        let Some((_, last)) = self.history.latest() else { return };
        let start = |model: &Model| find(model, pid).map(|process| process.start_boottime_seconds);
        if start(&last.model).is_some_and(|before| start(now) != Some(before)) {
            self.ended = Some(Arc::clone(last));
        }
    }

    /// The sample that the view of one process is drawn from: the one that is shown or, if it has ended by then, the
    /// last one with it.
    fn sample_of_one(&self) -> Option<&Arc<Sample>> {
        let shown = self.shown.as_ref()?;
        self.ended
            .as_ref()
            .filter(|ended| ended.model.time_unix_seconds < shown.model.time_unix_seconds)
            .or(Some(shown))
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
        // Who came from a limit looks for all that it holds for.
        let settings = match &self.within {
            Some(within) => Settings {
                process_sort: within.sort,
                only_changed: false,
                hide_kernel_threads: false,
                ..self.settings.clone()
            },
            None => self.settings.clone(),
        };
        let is_wanted = |process: &Process| {
            self.filter.matches(process) && self.within.as_ref().is_none_or(|within| within.holds(process))
        };
        self.rows = rows::rows(processes, &settings, is_wanted, |key| self.folded.contains(key));
        self.processes_cursor.follow(&self.row_keys());
        self.limits = sample.model.all_limits();
        self.limits_cursor.follow(&self.limit_keys());
        self.alerts_cursor.follow(&self.alert_keys());
        self.threads = self.one().map_or_else(Vec::new, |one| self.thread_rows_of(one));
        self.threads_cursor.follow(&self.thread_keys());
        self.findings = self.findings_of(&sample.model);
    }

    fn findings_of(&self, model: &Model) -> Vec<Finding> {
        let is_chosen = |process: &&Process| self.view != View::Process || self.pid == Some(process.pid);
        let chosen: Vec<_> = model.processes.iter().filter(is_chosen).collect();
        let kernel_stack_bytes = model.host.thread_cost.stack_bytes;
        let costs = Costs { switch: self.switch_cost, kernel_stack_bytes };
        advice::of_many(&chosen, &BTreeMap::new(), costs, MOST_FINDINGS)
    }

    fn row_keys(&self) -> Vec<RowKey> {
        let processes = self.model().map_or(&[][..], |model| &model.processes);
        self.rows.rows.iter().map(|row| row.key(processes)).collect()
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

fn find(model: &Model, pid: u32) -> Option<&Process> {
    model.processes.iter().find(|process| process.pid == pid)
}

/// What a sample has of a process: one that was taken before it was asked for may have another's threads.
fn one_of(sample: &Sample, pid: u32) -> Option<&OneProcess> {
    // The first thread stays until the last one has ended.
    sample.one.as_ref().filter(|one| one.threads.iter().any(|thread| thread.tid == pid))
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

    /// The help, or the advice, can be scrolled so many lines down, as drawn last.
    pub fn set_scroll_end(&self, lines: u16) {
        self.scroll_end.set(lines);
    }

    /// What to change, the worst first: of the process that is looked at, else of the host.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What can be clicked, as drawn last.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Columns, order and the like.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the processes that are shown have in common, if Enter on a limit or an alert led to them.
    pub fn within(&self) -> Option<&Within> {
        self.within.as_ref()
    }

    /// How processes are sorted.
    pub fn process_sort(&self) -> Sort {
        self.within.as_ref().map_or(self.settings.process_sort, |within| within.sort)
    }

    /// How long ago the process that is looked at was seen last, in seconds; `None` while it lives.
    pub fn ended_seconds(&self) -> Option<f64> {
        let of_one = self.sample_of_one()?;
        let shown = self.shown.as_ref()?;
        (!Arc::ptr_eq(of_one, shown)).then_some(shown.model.time_unix_seconds - of_one.model.time_unix_seconds)
    }

    /// The filter in force, as it was typed; empty for none.
    pub fn filter_text(&self) -> &str {
        self.filter.text()
    }

    /// Why there are no new samples, if there are none.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// A message for the user.
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

    /// The recording that is shown; empty if none is.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The rows of the table of processes.
    pub fn rows(&self) -> &[Row] {
        &self.rows.rows
    }

    /// How many processes the filter lets through, folded ones included.
    pub fn matches(&self) -> usize {
        self.rows.matches
    }

    /// How many are not shown because they did nothing.
    pub fn idle(&self) -> usize {
        self.rows.idle
    }

    /// Its cursor.
    pub fn processes_cursor(&self) -> &Cursor<RowKey> {
        &self.processes_cursor
    }

    /// How many columns are scrolled out to the left, besides those that stay.
    pub fn column_scroll(&self) -> usize {
        self.column_scroll
    }

    /// Whether rows say where the time goes, in place of the columns.
    pub fn shows_time(&self) -> bool {
        self.shows_time
    }

    /// The pid of the process that the view of one is about.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// That process, as it was last if it has ended; `None` if it was never seen.
    pub fn process(&self) -> Option<&Process> {
        find(&self.sample_of_one()?.model, self.pid?)
    }

    /// More of it; `None` before the first sample with it.
    pub fn one(&self) -> Option<&OneProcess> {
        self.process()?;
        one_of(self.sample_of_one()?, self.pid?)
    }

    /// Its arguments, where they are known.
    pub fn command_line(&self) -> Option<&str> {
        self.process()?;
        self.sample_of_one()?.command_line.as_deref()
    }

    /// The rows of its threads.
    pub fn thread_rows(&self) -> &[ThreadRow] {
        &self.threads
    }

    /// What the cells of such a row are taken from.
    pub fn thread_of<'a>(&'a self, row: &'a ThreadRow) -> Option<&'a Thread> {
        match &row.subject {
            ThreadSubject::Name { sum, .. } => Some(sum),
            ThreadSubject::Thread(index) => self.one()?.threads.get(*index),
        }
    }

    /// The filter of threads, as it was typed; empty for none.
    pub fn thread_filter_text(&self) -> &str {
        self.thread_filter.text()
    }

    /// Their cursor.
    pub fn threads_cursor(&self) -> &Cursor<ThreadKey> {
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
