//! When threads are the wrong tool, and what to change: rules on what was measured of a process.

mod found;
mod inside;
mod rules;
pub mod words;

use std::collections::BTreeMap;

pub use self::{
    found::{Costs, Inside},
    rules::{Finding, Rule},
};
use crate::model::Process;

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
