//! When threads are the wrong tool, and what to change: rules on what was measured of a process.

mod inside;
mod rules;

use std::collections::BTreeMap;

use serde::Serialize;

pub use rules::Rule;

use crate::{
    bench::SwitchCost,
    inspect::{Pool, Runtime},
    model::Process,
};

/// What somebody should look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Which rule found it.
    pub rule: Rule,
    /// Of which process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// How bad it is: 1 is where the rule begins to say something.
    pub weight: f64,
    /// What was measured.
    pub figures: String,
    /// Why that matters.
    pub reason: &'static str,
    /// What to change.
    pub change: String,
}

/// What was read of a process itself.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    /// What it is written in, and libraries with pools.
    pub runtimes: Vec<Runtime>,
    /// Its threads by pool.
    pub pools: Vec<Pool>,
}

/// What is taken for known.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// What one switch costs.
    pub switch: SwitchCost,
    /// THREAD_SIZE, in bytes; 0 if that is not known.
    pub kernel_stack_bytes: u64,
}

/// What is found of one process, the worst first. Without a look inside, the rules on that say nothing.
pub fn of_process(process: &Process, inside: Option<&Inside>, costs: Costs) -> Vec<Finding> {
    // Threads of the kernel are as it made them.
    if process.is_kernel_thread {
        return Vec::new();
    }
    let mut findings: Vec<_> = Rule::ALL.into_iter().filter_map(|rule| rule.look_at(process, inside, costs)).collect();
    sort(&mut findings);
    findings
}

/// What is found of many, the worst first, at most so many findings. What was read of them is by pid.
pub fn of_many(processes: &[&Process], insides: &BTreeMap<u32, Inside>, costs: Costs, most: usize) -> Vec<Finding> {
    let of = |process: &&Process| of_process(process, insides.get(&process.pid), costs);
    let mut findings: Vec<_> = processes.iter().flat_map(of).collect();
    sort(&mut findings);
    findings.truncate(most);
    findings
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.pid.cmp(&b.pid)));
}
