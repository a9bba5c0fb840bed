//! The rows of a process's threads: those of one name are one row, which opens.

use super::App;
use crate::{
    ledger::ThreadState,
    model::{OneProcess, Process, Thread, ThreadCounts, ThreadsOfName, without_numbers},
    top::{
        columns::{SortKey, thread_columns},
        filter::Filter,
    },
};

/// What a row is about, from one sample to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadKey {
    /// A thread, by its tid.
    Thread(u32),
    /// All of a name.
    Name(String),
}

/// A row of the table of threads.
#[derive(Clone, Debug)]
pub struct ThreadRow {
    /// What it is about.
    pub subject: ThreadSubject,
    /// Whether it is below the row of its name.
    pub is_nested: bool,
}

/// What a row shows.
#[derive(Clone, Debug)]
pub enum ThreadSubject {
    /// A thread: its index among those of the process.
    Thread(usize),
    /// All threads of a name, added up as if they were one.
    Name {
        /// What they add up to, with the name in which each number is a #.
        sum: Box<Thread>,
        /// How many, by state.
        threads: ThreadCounts,
        /// Whether they are below, one by one.
        is_open: bool,
    },
}

impl ThreadRow {
    fn key(&self, threads: &[Thread]) -> ThreadKey {
        match &self.subject {
            ThreadSubject::Thread(index) => ThreadKey::Thread(threads.get(*index).map_or(0, |thread| thread.tid)),
            ThreadSubject::Name { sum, .. } => ThreadKey::Name(sum.comm.clone()),
        }
    }
}

/// What the columns of threads are filled from: the busiest state is that of all.
fn as_thread(of_name: &ThreadsOfName) -> Thread {
    let by_state = ThreadState::ALL.into_iter().zip(of_name.threads.by_state());
    let (state, _) = by_state.max_by_key(|(_, count)| *count).unwrap_or((ThreadState::Sleeping, 0));
    Thread {
        tid: 0,
        comm: of_name.name.clone(),
        state,
        start_boottime_seconds: 0.0,
        kernel_stack_depth_bytes: of_name.kernel_stack_depth_max_bytes,
        still_seconds: 0.0,
        syscall: None,
        totals: of_name.totals,
        rates: of_name.rates,
        wait_histogram: of_name.wait_histogram.clone(),
    }
}

/// Whether a filter of processes lets a thread through: it has the name and the rates that it asks for.
fn matches(filter: &Filter, thread: &Thread) -> bool {
    filter.is_empty()
        || filter.matches(&Process {
            pid: thread.tid,
            comm: thread.comm.clone(),
            rates: thread.rates,
            ..Process::default()
        })
}

impl App {
    /// Those that are filtered are shown one by one: the sums are of all.
    pub(super) fn thread_rows_of(&self, one: &OneProcess) -> Vec<ThreadRow> {
        let single = |index| ThreadRow { subject: ThreadSubject::Thread(index), is_nested: false };
        let is_filtered = !self.thread_filter.is_empty();
        let pools = one.threads_by_name.iter().filter(|of_name| of_name.threads.total > 1 && !is_filtered);
        let mut rows: Vec<ThreadRow> = pools.clone().map(|of_name| self.pool(of_name)).collect();
        let pools: Vec<&str> = pools.map(|of_name| of_name.name.as_str()).collect();
        let pool_of = |thread: &Thread| {
            let name = without_numbers(&thread.comm);
            pools.iter().copied().find(|pool| *pool == name)
        };
        let mut nested: Vec<(&str, usize)> = Vec::new();
        for (index, thread) in one.threads.iter().enumerate().filter(|(_, thread)| matches(&self.thread_filter, thread))
        {
            match pool_of(thread) {
                Some(pool) => nested.push((pool, index)),
                None => rows.push(single(index)),
            }
        }
        let mut sorted = Vec::new();
        for row in self.sorted(rows, &one.threads) {
            let open = match &row.subject {
                ThreadSubject::Name { sum, is_open: true, .. } => Some(sum.comm.clone()),
                _ => None,
            };
            sorted.push(row);
            let below = nested.iter().filter(|(pool, _)| Some(*pool) == open.as_deref());
            let below = below.map(|(_, index)| ThreadRow { is_nested: true, ..single(*index) }).collect();
            sorted.extend(self.sorted(below, &one.threads));
        }
        sorted
    }

    fn pool(&self, of_name: &ThreadsOfName) -> ThreadRow {
        let is_open = self.opened.contains(&of_name.name);
        let subject = ThreadSubject::Name { sum: Box::new(as_thread(of_name)), threads: of_name.threads, is_open };
        ThreadRow { subject, is_nested: false }
    }

    fn sorted(&self, rows: Vec<ThreadRow>, threads: &[Thread]) -> Vec<ThreadRow> {
        self.settings.thread_sort.apply(thread_columns(), rows, |column, row| match &row.subject {
            ThreadSubject::Name { sum, .. } => column.sort_key(sum),
            ThreadSubject::Thread(index) => threads.get(*index).map_or(SortKey::None, |thread| column.sort_key(thread)),
        })
    }

    pub(super) fn thread_keys(&self) -> Vec<ThreadKey> {
        let threads = self.one().map_or(&[][..], |one| &one.threads);
        self.threads.iter().map(|row| row.key(threads)).collect()
    }

    /// Opens or closes the name under the cursor.
    pub(super) fn open_name(&mut self) {
        let row = self.threads.get(self.threads_cursor.index());
        if let Some(ThreadRow { subject: ThreadSubject::Name { sum, .. }, .. }) = row {
            let name = sum.comm.clone();
            if !self.opened.remove(&name) {
                self.opened.insert(name);
            }
            self.refresh();
        }
    }

    /// Closes all names, or opens all if none is open.
    pub(super) fn open_all_names(&mut self) {
        if self.opened.is_empty() {
            let names = self.one().map_or(&[][..], |one| &one.threads_by_name);
            self.opened = names.iter().map(|of_name| of_name.name.clone()).collect();
        } else {
            self.opened.clear();
        }
        self.refresh();
    }

    /// The threads in their order, each once.
    pub(super) fn threads_in_order(&self) -> Vec<Thread> {
        let Some(one) = self.one() else { return Vec::new() };
        let all = (0..one.threads.len()).filter(|index| matches(&self.thread_filter, &one.threads[*index]));
        let rows = all.map(|index| ThreadRow { subject: ThreadSubject::Thread(index), is_nested: false }).collect();
        let rows = self.sorted(rows, &one.threads);
        rows.iter().filter_map(|row| self.thread_of(row)).cloned().collect()
    }
}
