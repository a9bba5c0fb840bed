//! When threads are the wrong tool, and what to change: rules on what was measured of a process.

mod rules;

use serde::Serialize;

pub use rules::Rule;

use crate::model::{Model, Process};

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

/// What is taken for known.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// What one switch costs, in seconds.
    pub switch_seconds: f64,
    /// THREAD_SIZE, in bytes; 0 if that is not known.
    pub kernel_stack_bytes: u64,
}

/// What is found of one process, the worst first.
pub fn of_process(process: &Process, costs: Costs) -> Vec<Finding> {
    // Threads of the kernel are as it made them.
    if process.is_kernel_thread {
        return Vec::new();
    }
    let mut findings: Vec<_> = Rule::ALL.into_iter().filter_map(|rule| rule.look_at(process, costs)).collect();
    sort(&mut findings);
    findings
}

/// What is found of those that are chosen, the worst first, at most so many.
pub fn of_many(model: &Model, chosen: impl Fn(&Process) -> bool, costs: Costs, most: usize) -> Vec<Finding> {
    let chosen = model.processes.iter().filter(|process| chosen(process));
    let mut findings: Vec<_> = chosen.flat_map(|process| of_process(process, costs)).collect();
    sort(&mut findings);
    findings.truncate(most);
    findings
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.pid.cmp(&b.pid)));
}
