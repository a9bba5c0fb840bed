//! Which processes are shown, in what order, below what.

use rustc_hash::FxHashMap;

use crate::{
    model::Process,
    top::{
        columns::{Sort, attention, process_columns},
        settings::{Settings, Tree},
    },
};

use super::{cgroups::CgroupTree, node::Node};

/// What a row is about, from one sample to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// A process: its pid and the bits of when it started.
    Process(u32, u64),
    /// A cgroup, by its path.
    Cgroup(String),
}

impl RowKey {
    /// That of a process.
    pub fn of(process: &Process) -> Self {
        Self::Process(process.pid, process.start_boottime_seconds.to_bits())
    }
}

/// A row of the table of processes.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub subject: Subject,
    /// How deep it is nested.
    pub depth: usize,
    /// Whether something is nested in it; all of that is hidden if it is folded.
    pub has_children: bool,
    /// Whether it is folded.
    pub is_folded: bool,
}

/// What a row shows.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A process: its index in the model.
    Process(usize),
    /// A cgroup: what is in it and below, added up as if it were a process, with its path as the name.
    Cgroup(Box<Process>),
}

impl Row {
    /// What its cells are taken from.
    pub fn process<'a>(&'a self, processes: &'a [Process]) -> Option<&'a Process> {
        match &self.subject {
            Subject::Process(index) => processes.get(*index),
            Subject::Cgroup(sum) => Some(sum),
        }
    }

    /// What it is about.
    pub fn key(&self, processes: &[Process]) -> RowKey {
        match &self.subject {
            Subject::Cgroup(sum) => RowKey::Cgroup(sum.comm.clone()),
            Subject::Process(_) => self.process(processes).map_or(RowKey::Process(0, 0), RowKey::of),
        }
    }
}

/// The rows of a sample.
#[derive(Debug, Default)]
pub struct Rows {
    /// They, from the top down.
    pub rows: Vec<Row>,
    /// How many processes were asked for: of those some may be folded, and others be there because these are below
    /// them.
    pub matches: usize,
    /// How many more there would be if those that did nothing were shown.
    pub idle: usize,
}

/// The rows of those processes that `is_wanted` holds for and that the settings do not hide.
pub(super) fn rows(
    processes: &[Process],
    settings: &Settings,
    is_wanted: impl Fn(&Process) -> bool,
    is_folded: impl Fn(&RowKey) -> bool,
) -> Rows {
    let is_shown =
        |process: &Process| !(settings.hide_kernel_threads && process.is_kernel_thread) && is_wanted(process);
    let is_hidden = |process: &Process| settings.only_changed && is_idle(process) && attention(process) == 0;
    let (idle, shown): (Vec<usize>, Vec<usize>) = (0..processes.len())
        .filter(|index| is_shown(&processes[*index]))
        .partition(|index| is_hidden(&processes[*index]));
    let (sort, matches) = (settings.process_sort, shown.len());
    let rows = match settings.tree {
        Tree::None => sort
            .apply(process_columns(), shown, |column, index| column.sort_key(&processes[*index]))
            .into_iter()
            .map(flat)
            .collect(),
        Tree::Parent => {
            let (roots, children) = by_parent(processes, &shown);
            Nesting { processes, cgroups: &[], children, sort, is_folded }.rows(roots)
        }
        Tree::Cgroup => {
            let CgroupTree { cgroups, roots, children } = CgroupTree::new(processes, &shown);
            Nesting { processes, cgroups: &cgroups, children, sort, is_folded }.rows(roots)
        }
    };
    Rows { rows, matches, idle: idle.len() }
}

fn flat(index: usize) -> Row {
    Row { subject: Subject::Process(index), depth: 0, has_children: false, is_folded: false }
}

/// Nothing of it switched, began or ended in the interval.
fn is_idle(process: &Process) -> bool {
    process.rates.is_some_and(|rates| {
        let events = [
            rates.switches_per_second,
            rates.cpu_ratio,
            rates.threads_created_per_second,
            rates.processes_created_per_second,
            rates.threads_exited_per_second,
            rates.clone_failures_per_second,
        ];
        events.iter().all(|rate| *rate == 0.0)
    })
}

type Children = FxHashMap<Node, Vec<Node>>;

/// Those that are shown, and whatever they are below.
fn by_parent(processes: &[Process], shown: &[usize]) -> (Vec<Node>, Children) {
    let by_pid: FxHashMap<u32, usize> = processes.iter().enumerate().map(|(index, p)| (p.pid, index)).collect();
    let parent = |index: usize| by_pid.get(&processes[index].parent_pid).copied().filter(|parent| *parent != index);
    let (mut roots, mut children) = (Vec::new(), Children::default());
    let mut is_in = vec![false; processes.len()];
    for index in shown {
        let mut index = *index;
        while !is_in[index] {
            is_in[index] = true;
            let Some(parent) = parent(index) else {
                roots.push(Node::Process(index));
                break;
            };
            children.entry(Node::Process(parent)).or_default().push(Node::Process(index));
            index = parent;
        }
    }
    (roots, children)
}

/// A tree on its way to rows.
struct Nesting<'a, F> {
    processes: &'a [Process],
    cgroups: &'a [Process],
    children: Children,
    sort: Sort,
    is_folded: F,
}

impl<F: Fn(&RowKey) -> bool> Nesting<'_, F> {
    fn process(&self, node: Node) -> &Process {
        match node {
            Node::Process(index) => &self.processes[index],
            Node::Cgroup(number) => &self.cgroups[number],
        }
    }

    fn sorted(&self, nodes: Vec<Node>) -> Vec<Node> {
        self.sort.apply(process_columns(), nodes, |column, node| column.sort_key(self.process(*node)))
    }

    /// Depth first; not by recursion, as processes may be nested deeper than the stack.
    fn rows(mut self, roots: Vec<Node>) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut pending: Vec<(Node, usize)> = self.sorted(roots).into_iter().rev().map(|node| (node, 0)).collect();
        while let Some((node, depth)) = pending.pop() {
            let children = self.children.remove(&node).unwrap_or_default();
            let subject = match node {
                Node::Process(index) => Subject::Process(index),
                Node::Cgroup(number) => Subject::Cgroup(Box::new(self.cgroups[number].clone())),
            };
            let mut row = Row { subject, depth, has_children: !children.is_empty(), is_folded: false };
            row.is_folded = row.has_children && (self.is_folded)(&row.key(self.processes));
            if !row.is_folded {
                pending.extend(self.sorted(children).into_iter().rev().map(|node| (node, depth + 1)));
            }
            rows.push(row);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::{Headroom, Limit, Scope},
        model::Rates,
        testing::{limit_use, process},
        top::{columns::Direction, filter::Filter},
    };

    /// A process below another, in a cgroup, that switches so often a second.
    fn busy(pid: u32, parent_pid: u32, cgroup: &str, switches_per_second: f64) -> Process {
        let rates = Some(Rates { switches_per_second, ..Rates::default() });
        let threads = crate::model::ThreadCounts { total: 2, ..Default::default() };
        Process { parent_pid, rates, threads, cgroup: Some(cgroup.into()), ..process(pid, &format!("p{pid}")) }
    }

    fn sample() -> Vec<Process> {
        vec![
            busy(1, 0, "/init", 1.0),
            busy(2, 1, "/a/b", 5.0),
            busy(3, 1, "/a", 9.0),
            busy(4, 2, "/a/b", 0.0),
            busy(5, 2, "/a/b", 7.0),
        ]
    }

    /// What did nothing, too, and sorted by switches.
    fn everything() -> Settings {
        Settings { only_changed: false, process_sort: Sort::default(), ..Settings::default() }
    }

    fn shown(settings: &Settings, filter: &str, folded: &[RowKey]) -> Vec<String> {
        let processes = sample();
        let filter = Filter::parse(filter).unwrap_or_default();
        let Rows { rows, .. } =
            rows(&processes, settings, |process| filter.matches(process), |key| folded.contains(key));
        let name = |row: &Row| row.process(&processes).map(|process| process.comm.clone()).unwrap_or_default();
        rows.iter().map(|row| format!("{}{}", "  ".repeat(row.depth), name(row))).collect()
    }

    #[test]
    fn without_a_tree_the_busiest_comes_first_and_the_other_way_round_last() {
        let mut settings = everything();
        assert_eq!(shown(&settings, "", &[]), ["p3", "p5", "p2", "p1", "p4"]);
        settings.process_sort.direction = Direction::Ascending;
        assert_eq!(shown(&settings, "", &[]), ["p4", "p1", "p2", "p5", "p3"]);
        settings.only_changed = true;
        assert_eq!(shown(&settings, "", &[]), ["p1", "p2", "p5", "p3"]);
    }

    #[test]
    fn who_needs_attention_is_on_top_then_who_switches_and_the_idle_are_counted() {
        let mut processes = sample();
        let limit = |scope, used| limit_use((Limit::CgroupPids, scope), "/a", used, 100);
        let near = |limit| Some(Headroom { binding: limit, first_exhausted: None });
        processes[3].headroom = near(limit(Scope::Cgroup, 95));
        processes[0].headroom = near(limit(Scope::Cgroup, 85));
        // Everybody's limit is nobody's trouble.
        processes[4].headroom = near(limit(Scope::Host, 99));
        processes.push(busy(6, 2, "/a/b", 0.0));
        let shown = |settings: &Settings| {
            let Rows { rows, matches, idle } = rows(&processes, settings, |_| true, |_| false);
            let pids: Vec<_> = rows.iter().filter_map(|row| row.process(&processes)).map(|p| p.pid).collect();
            (pids, matches, idle)
        };
        assert_eq!(shown(&Settings::default()), (vec![4, 1, 3, 5, 2], 5, 1));
        assert_eq!(shown(&Settings { only_changed: false, ..Settings::default() }), (vec![4, 1, 3, 5, 2, 6], 6, 0));
    }

    #[test]
    fn below_their_parents_siblings_are_sorted_and_what_is_filtered_keeps_its_ancestors() {
        let settings = Settings { tree: Tree::Parent, ..everything() };
        assert_eq!(shown(&settings, "", &[]), ["p1", "  p3", "  p2", "    p5", "    p4"]);
        assert_eq!(shown(&settings, "p4", &[]), ["p1", "  p2", "    p4"]);
        let second = RowKey::of(&sample()[1]);
        assert_eq!(shown(&settings, "", &[second]), ["p1", "  p3", "  p2"]);
    }

    #[test]
    fn below_cgroups_each_cgroup_has_the_sum_of_what_is_in_it() {
        let settings = Settings { tree: Tree::Cgroup, ..everything() };
        let all = ["/a", "  /a/b", "    p5", "    p2", "    p4", "  p3", "/init", "  p1"];
        assert_eq!(shown(&settings, "", &[]), all);
        assert_eq!(shown(&settings, "", &[RowKey::Cgroup("/a/b".to_owned())])[..3], ["/a", "  /a/b", "  p3"]);
        let processes = sample();
        let Rows { rows, .. } = rows(&processes, &settings, |_| true, |_| false);
        let sum = rows[0].process(&processes).map(|sum| (sum.threads.total, sum.rates.map(|r| r.switches_per_second)));
        assert_eq!(sum, Some((8, Some(21.0))));
    }

    #[test]
    fn processes_that_are_their_own_ancestors_end_nothing() {
        let processes = [busy(1, 2, "/", 1.0), busy(2, 1, "/", 1.0), busy(3, 3, "/", 1.0)];
        let settings = Settings { tree: Tree::Parent, ..Settings::default() };
        let Rows { rows, .. } = rows(&processes, &settings, |_| true, |_| false);
        assert_eq!(rows.len(), 1);
    }
}
