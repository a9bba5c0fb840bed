//! Processes below their cgroups, each cgroup with the sum of what is in it and below.

use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::histogram::BUCKETS;

use crate::model::{Process, Rates, quantile_seconds};

use super::node::Node;

/// Where kernel threads are shown: they are in the root cgroup, and no limit holds for them.
const KERNEL_THREADS: &str = "kernel threads";
/// Where processes are shown whose cgroup is not known: they ended, or it could not be read.
const UNKNOWN: &str = "cgroup not known";

/// The cgroups of some processes.
#[derive(Default)]
pub(super) struct CgroupTree {
    /// Each as if it were a process, by its number.
    pub(super) cgroups: Vec<Process>,
    /// Those at the top.
    pub(super) roots: Vec<Node>,
    /// What is in each.
    pub(super) children: FxHashMap<Node, Vec<Node>>,
}

impl CgroupTree {
    /// Of the processes with these indices.
    pub(super) fn new(processes: &[Process], shown: &[usize]) -> Self {
        let mut tree = Self::default();
        let mut numbers = FxHashMap::default();
        let mut waits: Vec<[u64; BUCKETS]> = Vec::new();
        for index in shown {
            let process = &processes[*index];
            let path = match &process.cgroup {
                Some(path) => path,
                None if process.is_kernel_thread => KERNEL_THREADS,
                None => UNKNOWN,
            };
            let mut child = Node::Process(*index);
            // From the lowest up: one that is there already has its place, and the process adds to all above.
            for path in and_ancestors(path) {
                let known = numbers.get(path).copied();
                let number = known.unwrap_or(tree.cgroups.len());
                if known.is_none() {
                    numbers.insert(path, number);
                    tree.cgroups.push(nothing(path, process));
                    waits.push([0; BUCKETS]);
                }
                process.interval_waits.add_to(&mut waits[number]);
                add(&mut tree.cgroups[number], process);
                tree.place(child, Node::Cgroup(number));
                child = if known.is_none() { Node::Cgroup(number) } else { PLACED };
            }
            if child != PLACED {
                tree.roots.push(child);
            }
        }
        for (cgroup, waits) in tree.cgroups.iter_mut().zip(&waits) {
            if let Some(rates) = &mut cgroup.rates {
                rates.wait_p50_seconds = quantile_seconds(waits, 0.5);
                rates.wait_p99_seconds = quantile_seconds(waits, 0.99);
            }
        }
        tree
    }

    fn place(&mut self, child: Node, parent: Node) {
        if child != PLACED {
            self.children.entry(parent).or_default().push(child);
        }
    }
}

/// No node: what has its place already.
const PLACED: Node = Node::Process(usize::MAX);

/// `/a/b`, `/a`; the root only of what is in it.
fn and_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        let (above, _) = path.rsplit_once('/')?;
        (!above.is_empty()).then_some(above)
    })
}

/// A cgroup with nothing in it.
fn nothing(path: &str, process: &Process) -> Process {
    Process {
        comm: path.to_owned(),
        cgroup: Some(path.into()),
        is_kernel_thread: process.is_kernel_thread,
        rates: process.rates.map(|_| Rates::default()),
        ..Process::default()
    }
}

fn add(sum: &mut Process, process: &Process) {
    sum.threads.include(&process.threads);
    sum.cpu_taken.include(&process.cpu_taken);
    sum.totals.clone_failures.include(&process.totals.clone_failures);
    sum.memory.kernel_stack_bytes += process.memory.kernel_stack_bytes;
    sum.memory.kernel_memory_bytes += process.memory.kernel_memory_bytes;
    let depth = &mut sum.memory.kernel_stack_depth_max_bytes;
    *depth = (*depth).max(process.memory.kernel_stack_depth_max_bytes);
    if let (Some(sum), Some(rates)) = (&mut sum.rates, &process.rates) {
        add_rates(sum, rates);
    }
    match (&mut sum.headroom, &process.headroom) {
        (Some(sum), Some(headroom)) => sum.include(headroom),
        (None, headroom) => sum.headroom.clone_from(headroom),
        (Some(_), None) => {}
    }
}

/// Shares are weighted by what they are shares of. Quantiles can't be added up: they come of the waits themselves. The
/// longest wait can.
fn add_rates(sum: &mut Rates, more: &Rates) {
    let weighted = |a: f64, of_a: f64, b: f64, of_b: f64| {
        let of_both = of_a + of_b;
        if of_both > 0.0 { (a * of_a + b * of_b) / of_both } else { 0.0 }
    };
    sum.same_process_ratio =
        weighted(sum.same_process_ratio, sum.runs_per_second, more.same_process_ratio, more.runs_per_second);
    sum.short_lived_ratio = weighted(
        sum.short_lived_ratio,
        sum.threads_exited_per_second,
        more.short_lived_ratio,
        more.threads_exited_per_second,
    );
    let longer = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
    sum.wait_max_seconds = longer(sum.wait_max_seconds, more.wait_max_seconds);
    sum.burst_max_seconds = longer(sum.burst_max_seconds, more.burst_max_seconds);
    sum.runs_per_second += more.runs_per_second;
    sum.switches_per_second += more.switches_per_second;
    sum.voluntary_switches_per_second += more.voluntary_switches_per_second;
    sum.involuntary_switches_per_second += more.involuntary_switches_per_second;
    sum.cpu_ratio += more.cpu_ratio;
    sum.time_ratio.include(&more.time_ratio);
    sum.wait_ratio += more.wait_ratio;
    sum.threads_created_per_second += more.threads_created_per_second;
    sum.processes_created_per_second += more.processes_created_per_second;
    sum.threads_exited_per_second += more.threads_exited_per_second;
    sum.clone_failures_per_second += more.clone_failures_per_second;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::process;

    #[test]
    fn a_path_is_below_all_that_begin_it_but_not_below_the_root() {
        assert_eq!(and_ancestors("/a/b").collect::<Vec<_>>(), ["/a/b", "/a"]);
        assert_eq!(and_ancestors("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(and_ancestors(UNKNOWN).collect::<Vec<_>>(), [UNKNOWN]);
    }

    #[test]
    fn quantiles_of_a_cgroup_are_those_of_all_waits_in_it() -> anyhow::Result<()> {
        let process = |pid, cgroup: &str, waits: &str| -> anyhow::Result<_> {
            Ok(Process {
                cgroup: Some(cgroup.into()),
                rates: Some(Rates::default()),
                interval_waits: serde_json::from_str(waits)?,
                ..process(pid, "p")
            })
        };
        // 98 of about 1 us, then 1 of 16.8 ms and 1 of 134 ms, each in a process of its own.
        let processes = [
            process(1, "/a", "[[1024,98]]")?,
            process(2, "/a/b", "[[16777216,1]]")?,
            process(3, "/a/c", "[[134217728,1]]")?,
        ];
        let tree = CgroupTree::new(&processes, &[0, 1, 2]);
        let of = |path: &str| {
            tree.cgroups.iter().find(|cgroup| cgroup.comm == path).and_then(|cgroup| cgroup.rates).unwrap_or_default()
        };
        let near = |seconds: Option<f64>, to: f64| seconds.is_some_and(|seconds| (seconds / to - 1.0).abs() < 0.13);
        let all = of("/a");
        assert!(near(all.wait_p50_seconds, 1e-6) && near(all.wait_p99_seconds, 16.8e-3), "{all:?}");
        assert_eq!(of("/a/b").wait_p50_seconds, of("/a/b").wait_p99_seconds);
        Ok(())
    }

    #[test]
    fn shares_are_weighted_by_what_they_are_shares_of() {
        // A share of runs: how often either switched away says nothing of it.
        let rates = |switches_per_second, runs_per_second, same_process_ratio| Rates {
            switches_per_second,
            runs_per_second,
            same_process_ratio,
            ..Rates::default()
        };
        let mut sum = rates(1.0, 30.0, 0.5);
        add_rates(&mut sum, &rates(99.0, 10.0, 0.1));
        assert_eq!((sum.runs_per_second, sum.same_process_ratio), (40.0, 0.4));
    }
}
