//! What each key does.

use super::{Action, App, ColumnMenu, INTERVALS, Key, LineEdit, Overlay, Subject, View, within::Target};
use crate::top::{
    columns::{Column, Sort, find, process_columns, thread_columns},
    filter::Filter,
    settings::Tree,
};

/// A line of the help.
#[derive(Clone, Copy, Debug)]
pub struct HelpLine {
    /// The keys.
    pub keys: &'static str,
    /// What they do.
    pub what: &'static str,
}

/// Rows that a notch of a mouse's wheel moves by.
const WHEEL_ROWS: isize = 3;

const fn help(keys: &'static str, what: &'static str) -> HelpLine {
    HelpLine { keys, what }
}

/// All keys.
pub const HELP: [HelpLine; 25] = [
    help("↑ ↓ PgUp PgDn Home End", "move (also j k g G)"),
    help("Enter", "threads of a process; processes of a limit or an alert; open a name, fold a cgroup"),
    help("Esc", "back; close what is open; drop the filter"),
    help("Tab, 1 2 3", "processes, limits, alerts"),
    help(
        "/",
        "filter, of threads where they are: substring, user:NAME, group:NAME, re:PATTERN, threads>100, wait>5%, !TERM",
    ),
    help("< >", "sort by the column to the left or right"),
    help("r", "reverse the order"),
    help("c", "choose columns, move them, sort by any"),
    help("← →", "scroll columns (also h l); while paused, and in a recording: step through what was"),
    help("[ ]", "while paused: a minute back or forward"),
    help("{ } : n N x X", "in a recording: ten samples back or forward; to a time; to the next or last alert, or loss"),
    help("t", "tree by cgroup, by parent, none"),
    help("o O", "fold or unfold, a name of threads, too; all"),
    help("a", "advice: what to change, of the process that is shown or of the host"),
    help("w", "where the time goes, or the columns"),
    help("i", "show or hide processes that did nothing"),
    help("K", "show or hide kernel threads"),
    help("Space", "pause, go on"),
    help("+ -", "longer or shorter interval"),
    help("e", "export what is on the screen as JSON, into a file in the current folder"),
    help(
        "mouse",
        "click: choose, again: open; a heading: sort; the wheel moves; with Shift the terminal's own selection",
    ),
    help("F1 ?", "this help"),
    help("Ctrl-L", "draw anew"),
    help("Ctrl-Z", "stop; fg brings it back"),
    help("q F10 Ctrl-C", "quit"),
];

impl App {
    /// Takes in a key. What it asks for besides is returned.
    pub fn on_key(&mut self, key: Key) -> Action {
        self.message = None;
        if key == Key::Ctrl('c') {
            return Action::Quit;
        }
        if key == Key::Ctrl('z') {
            return Action::Suspend;
        }
        match std::mem::take(&mut self.overlay) {
            Overlay::None => self.on_view_key(key),
            Overlay::Help { scroll } => self.on_scroll_key(key, scroll, |scroll| Overlay::Help { scroll }),
            Overlay::Advice { scroll } => self.on_scroll_key(key, scroll, |scroll| Overlay::Advice { scroll }),
            Overlay::Columns(menu) => self.on_menu_key(key, menu),
            Overlay::Filter(line) => self.on_filter_key(key, line),
            Overlay::Moment(edit) => self.on_moment_key(key, edit),
        }
    }

    fn on_view_key(&mut self, key: Key) -> Action {
        if let Some(action) = self.on_replay_key(key) {
            return action;
        }
        match key {
            Key::Char('q') | Key::F(10) => return Action::Quit,
            Key::Char('e') => return self.export(),
            Key::Char('+' | '=') => return self.change_interval(1),
            Key::Char('-') => return self.change_interval(-1),
            Key::Enter => return self.enter(),
            Key::Esc | Key::Backspace => return self.back(),
            Key::Tab => return self.next_tab(1),
            Key::BackTab => return self.next_tab(View::TABS.len() - 1),
            Key::Char('1') => return self.show(View::Processes),
            Key::Char('2') => return self.show(View::Limits),
            Key::Char('3') => return self.show(View::Alerts),
            Key::Char('?') | Key::F(1) => self.overlay = Overlay::Help { scroll: 0 },
            Key::Char('a') => self.overlay = Overlay::Advice { scroll: 0 },
            Key::Char('/') => self.overlay = Overlay::Filter(LineEdit::new(self.filter_in_force())),
            Key::Char('c') => self.open_menu(),
            Key::Char(' ') => self.toggle_pause(),
            Key::Char('[') => self.step_seconds(-60.0),
            Key::Char(']') => self.step_seconds(60.0),
            Key::Click(column, row) => return self.click((column, row)),
            _ if self.on_movement(key) => {}
            _ => self.on_table_key(key),
        }
        Action::None
    }

    fn on_table_key(&mut self, key: Key) {
        match key {
            Key::Left if self.paused.is_some() => self.step(-1),
            Key::Right if self.paused.is_some() => self.step(1),
            Key::Left | Key::Char('h') => self.column_scroll = self.column_scroll.saturating_sub(1),
            Key::Right | Key::Char('l') => self.scroll_columns(),
            Key::Char('<' | ',') => self.sort_by_neighbour(-1),
            Key::Char('>' | '.') => self.sort_by_neighbour(1),
            Key::Char('r') => self.reverse(),
            Key::Char('w') => self.shows_time = !self.shows_time,
            Key::Char('t') => {
                self.settings.tree = match self.settings.tree {
                    Tree::None => Tree::Cgroup,
                    Tree::Cgroup => Tree::Parent,
                    Tree::Parent => Tree::None,
                };
                self.refresh();
            }
            Key::Char('o') if self.view == View::Process => self.open_name(),
            Key::Char('O') if self.view == View::Process => self.open_all_names(),
            Key::Char('o') => self.fold(),
            Key::Char('O') => self.fold_all(),
            Key::Char('K') => {
                self.settings.hide_kernel_threads = !self.settings.hide_kernel_threads;
                self.refresh();
            }
            Key::Char('i') => {
                self.settings.only_changed = !self.settings.only_changed;
                self.refresh();
            }
            _ => {}
        }
    }

    /// Moves the cursor of the view; whether the key was one that does.
    fn on_movement(&mut self, key: Key) -> bool {
        let page = match self.view {
            View::Processes => self.processes_cursor.page(),
            View::Process => self.threads_cursor.page(),
            View::Limits => self.limits_cursor.page(),
            View::Alerts => self.alerts_cursor.page(),
        };
        let page = isize::try_from(page).unwrap_or(isize::MAX);
        let rows = match key {
            Key::Up | Key::Char('k') => -1,
            Key::Down | Key::Char('j') => 1,
            Key::WheelUp => -WHEEL_ROWS,
            Key::WheelDown => WHEEL_ROWS,
            Key::PageUp | Key::Ctrl('b') => -page,
            Key::PageDown | Key::Ctrl('f') => page,
            Key::Home | Key::Char('g') => isize::MIN,
            Key::End | Key::Char('G') => isize::MAX,
            _ => return false,
        };
        self.go(rows);
        true
    }

    /// Moves the cursor of the view so many rows down, or up.
    pub(super) fn go(&mut self, rows: isize) {
        match self.view {
            View::Processes => self.processes_cursor.go(&self.row_keys(), rows),
            View::Process => self.threads_cursor.go(&self.thread_keys(), rows),
            View::Limits => self.limits_cursor.go(&self.limit_keys(), rows),
            View::Alerts => self.alerts_cursor.go(&self.alert_keys(), rows),
        }
    }

    pub(super) fn show(&mut self, view: View) -> Action {
        self.view = view;
        self.column_scroll = 0;
        self.within = None;
        self.ended = None;
        let pid = self.pid.take();
        self.refresh();
        if pid.is_some() { Action::Request(self.request()) } else { Action::None }
    }

    fn next_tab(&mut self, by: usize) -> Action {
        let here = View::TABS.iter().position(|view| *view == self.view).unwrap_or(0);
        self.show(View::TABS[(here + by) % View::TABS.len()])
    }

    fn back(&mut self) -> Action {
        match self.view {
            View::Processes | View::Process if !self.filter_in_force().is_empty() => {
                self.set_filter(Filter::default());
                Action::None
            }
            View::Processes => match self.within.take() {
                Some(within) => self.show(within.from),
                None => Action::None,
            },
            View::Process if self.within.is_some() => {
                let within = self.within.take();
                let action = self.show(View::Processes);
                self.within = within;
                self.refresh();
                action
            }
            View::Process | View::Limits | View::Alerts => self.show(View::Processes),
        }
    }

    /// The threads of the process under the cursor; a cgroup is folded, a name opened, a limit or an alert leads to its
    /// processes.
    pub(super) fn enter(&mut self) -> Action {
        let target = match self.view {
            View::Processes => return self.enter_row(),
            View::Process => {
                self.open_name();
                return Action::None;
            }
            View::Limits => self.limits.get(self.limits_cursor.index()).map(Target::of_limit),
            View::Alerts => self.alerts().get(self.alerts_cursor.index()).map(Target::of_alert),
        };
        match target {
            Some(Target::Process(pid)) => self.enter_process(pid),
            Some(Target::Within(within)) => {
                self.view = View::Processes;
                self.column_scroll = 0;
                self.filter = Filter::default();
                self.within = Some(within);
                self.processes_cursor = Default::default();
                self.refresh();
                Action::None
            }
            None => Action::None,
        }
    }

    fn enter_row(&mut self) -> Action {
        let Some(row) = self.rows.rows.get(self.processes_cursor.index()) else { return Action::None };
        if matches!(row.subject, Subject::Cgroup(_)) {
            self.fold();
            return Action::None;
        }
        match self.model().and_then(|model| row.process(&model.processes)).map(|process| process.pid) {
            Some(pid) => self.enter_process(pid),
            None => Action::None,
        }
    }

    fn enter_process(&mut self, pid: u32) -> Action {
        self.pid = Some(pid);
        self.ended = None;
        self.opened.clear();
        self.thread_filter = Filter::default();
        self.view = View::Process;
        self.column_scroll = 0;
        self.threads_cursor = Default::default();
        self.refresh();
        Action::Request(self.request())
    }

    fn fold(&mut self) {
        let keys = self.row_keys();
        let index = self.processes_cursor.index();
        if let (Some(row), Some(key)) = (self.rows.rows.get(index), keys.get(index))
            && row.has_children
            && !self.folded.remove(key)
        {
            self.folded.insert(key.clone());
        }
        self.refresh();
    }

    /// Folds all, or unfolds all if anything that is shown is folded.
    fn fold_all(&mut self) {
        if self.rows.rows.iter().any(|row| row.is_folded) {
            self.folded.clear();
        } else {
            let keys = self.row_keys();
            let with_children = self.rows.rows.iter().zip(keys).filter(|(row, _)| row.has_children);
            self.folded = with_children.map(|(_, key)| key).collect();
        }
        self.refresh();
    }

    fn change_interval(&mut self, by: isize) -> Action {
        let now = self.settings.interval;
        let longer = INTERVALS.iter().find(|interval| **interval > now);
        let shorter = INTERVALS.iter().rev().find(|interval| **interval < now);
        let Some(interval) = (if by > 0 { longer } else { shorter }) else { return Action::None };
        self.settings.interval = *interval;
        Action::Request(self.request())
    }

    fn toggle_pause(&mut self) {
        if self.paused.take().is_none() {
            self.paused = self.history.latest().map(|(number, _)| number);
        } else {
            self.show_latest();
        }
    }

    fn step(&mut self, samples: isize) {
        let Some(paused) = self.paused else { return };
        let found = self.history.step(paused, samples).map(|(number, sample)| (number, sample.clone()));
        self.show_past(found);
    }

    fn step_seconds(&mut self, seconds: f64) {
        let Some(paused) = self.paused else { return };
        let found = self.history.step_seconds(paused, seconds).map(|(number, sample)| (number, sample.clone()));
        self.show_past(found);
    }

    fn show_past(&mut self, found: Option<(u64, std::sync::Arc<crate::top::feed::Sample>)>) {
        let Some((number, sample)) = found else { return };
        self.paused = Some(number);
        self.shown = Some(sample);
        self.refresh();
    }

    /// That of threads in the view of a process.
    fn filter_in_force(&self) -> &Filter {
        if self.view == View::Process { &self.thread_filter } else { &self.filter }
    }

    fn set_filter(&mut self, filter: Filter) {
        if self.view == View::Process {
            self.thread_filter = filter;
        } else {
            self.filter = filter;
        }
        self.refresh();
    }
}

/// Columns and order.
impl App {
    fn shown_columns(&self) -> &[&'static str] {
        if self.view == View::Process { &self.settings.thread_columns } else { &self.settings.process_columns }
    }

    fn sort(&self) -> Sort {
        if self.view == View::Process { self.settings.thread_sort } else { self.process_sort() }
    }

    fn set_sort(&mut self, sort: Sort) {
        if self.view == View::Process {
            self.settings.thread_sort = sort;
        } else if let Some(within) = &mut self.within {
            within.sort = sort;
        } else {
            self.settings.process_sort = sort;
        }
        self.refresh();
    }

    /// Sorts by a column, in the direction that suits it; the other way round if it is sorted by it already.
    pub(super) fn sort_by(&mut self, id: &'static str) {
        fn direction<T: Default>(columns: &[Column<T>], id: &str) -> Option<crate::top::columns::Direction> {
            find(columns, id).map(|column| column.direction(&T::default()))
        }
        let now = self.sort();
        if now.column == id {
            return self.reverse();
        }
        let direction =
            if self.view == View::Process { direction(thread_columns(), id) } else { direction(process_columns(), id) };
        self.set_sort(Sort { column: id, direction: direction.unwrap_or(now.direction) });
    }

    fn sort_by_neighbour(&mut self, by: isize) {
        let columns = self.shown_columns();
        let here = columns.iter().position(|id| *id == self.sort().column);
        let there = here.map_or(0, |here| here.saturating_add_signed(by));
        if let Some(id) = columns.get(there).copied()
            && Some(there) != here
        {
            self.sort_by(id);
        }
    }

    fn reverse(&mut self) {
        let now = self.sort();
        self.set_sort(Sort { direction: now.direction.reversed(), ..now });
    }

    fn scroll_columns(&mut self) {
        let last = self.shown_columns().len().saturating_sub(1);
        self.column_scroll = (self.column_scroll + 1).min(last);
    }

    fn open_menu(&mut self) {
        if matches!(self.view, View::Processes | View::Process) {
            let of_threads = self.view == View::Process;
            self.overlay = Overlay::Columns(ColumnMenu::new(of_threads, self.shown_columns(), self.sort().column));
        }
    }

    fn on_menu_key(&mut self, key: Key, mut menu: ColumnMenu) -> Action {
        match key {
            Key::Esc | Key::Char('q' | 'c') => return Action::None,
            Key::Enter => {
                if let Some(entry) = menu.entries.get(menu.cursor) {
                    self.sort_by(entry.id);
                }
                return Action::None;
            }
            Key::Up | Key::Char('k') | Key::WheelUp => menu.go(-1),
            Key::Down | Key::Char('j') | Key::WheelDown => menu.go(1),
            Key::Home | Key::Char('g') => menu.go(isize::MIN),
            Key::End | Key::Char('G') => menu.go(isize::MAX),
            Key::Char(' ') => menu.toggle(),
            Key::Left | Key::Char('h' | '-') => menu.shift(-1),
            Key::Right | Key::Char('l' | '+') => menu.shift(1),
            _ => {}
        }
        if menu.of_threads {
            self.settings.thread_columns = menu.shown();
        } else {
            self.settings.process_columns = menu.shown();
        }
        self.overlay = Overlay::Columns(menu);
        Action::None
    }
}

/// What is open in front of the view.
impl App {
    fn on_scroll_key(&mut self, key: Key, scroll: u16, overlay: fn(u16) -> Overlay) -> Action {
        let last = self.scroll_end.get();
        let scroll = match key {
            Key::Down | Key::Char('j') | Key::WheelDown => (scroll + 1).min(last),
            Key::Up | Key::Char('k') | Key::WheelUp => scroll.min(last).saturating_sub(1),
            Key::PageDown => (scroll + 10).min(last),
            Key::PageUp => scroll.min(last).saturating_sub(10),
            Key::Home => 0,
            Key::End => last,
            _ => return Action::None,
        };
        self.overlay = overlay(scroll);
        Action::None
    }

    /// The filter holds while it is typed, as long as it is one. Esc goes back to the one before.
    fn on_filter_key(&mut self, key: Key, mut line: LineEdit) -> Action {
        match key {
            Key::Esc => {
                self.set_filter(line.before);
                return Action::None;
            }
            Key::Char(c) => line.insert(c),
            Key::Backspace => line.backspace(),
            Key::Ctrl('w') => line.delete_word(),
            Key::Ctrl('u') => line.clear(),
            _ => {}
        }
        match Filter::parse(line.text.trim()) {
            Ok(filter) => {
                line.error = None;
                self.set_filter(filter);
                if key == Key::Enter {
                    return Action::None;
                }
            }
            Err(error) => {
                line.error = Some(error);
                self.set_filter(line.before.clone());
            }
        }
        self.overlay = Overlay::Filter(line);
        Action::None
    }
}
