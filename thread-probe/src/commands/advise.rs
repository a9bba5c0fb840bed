//! `thread-probe advise`: what to change.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::Result;
use serde::Serialize;

use super::{look, output};
use crate::{
    advice::{self, Costs, Finding, Inside, Rule},
    commands::options::AdviseOptions,
    export::json,
    inspect::{self, Inspection},
    model::OneProcess,
    text::human,
};

/// Of a whole host so many are told: who has more to mend begins with these.
const MOST: usize = 8;

/// Of JSON.
const MAX_BYTES: usize = 4000;

/// How many processes are looked into, if none is chosen: to read the symbols of a large one takes a tenth of a second.
const MOST_LOOKED_INTO: usize = 32;

/// What is printed; as JSON just so.
#[derive(Serialize)]
struct Printed {
    /// The worst first.
    findings: Vec<Finding>,
    /// What was looked at.
    checked: Vec<Rule>,
    /// Of how many processes.
    processes: usize,
    /// Of how many of them what can be read of a process was read as well: runtimes, stacks.
    looked_into: usize,
}

impl Printed {
    /// Leaves out the least of what does not fit: what reads the JSON may have little room.
    fn fit(&mut self) -> Result<()> {
        while self.findings.len() > 1 && json::to_vec(self)?.len() > MAX_BYTES {
            self.findings.pop();
        }
        Ok(())
    }
}

/// Looks, and prints what is found.
///
/// # Errors
/// Nothing of that name, what the host lacks, no daemon, or standard output that can't be written to.
pub(super) fn advise(options: &AdviseOptions) -> Result<()> {
    // First: a probe of its own gives up the privilege to look at others.
    let looked_into = look_into(options);
    let sample = look::sample(&options.look, options.pid)?;
    let model = &sample.model;
    let chosen = look::chosen(model, options.whose())?;
    let costs = Costs {
        switch: look::cost_of_a_switch(options.look.url.as_deref()),
        kernel_stack_bytes: model.host.thread_cost.stack_bytes,
    };
    let insides = insides(looked_into, sample.one.as_ref());
    let findings = advice::of_many(&chosen, &insides, costs, MOST);
    let looked_into = chosen.iter().filter(|process| insides.contains_key(&process.pid)).count();
    let is_checked = |rule: &Rule| looked_into > 0 || !rule.needs_a_look_inside();
    let checked = Rule::ALL.into_iter().filter(is_checked).collect();
    let mut printed = Printed { findings, checked, processes: chosen.len(), looked_into };
    printed.fit()?;
    output::print_as(options.look.format, &printed, |out| write(out, &printed))
}

/// Of the process that is chosen, else of those with the most threads. What may not be read is left out, and counted.
fn look_into(options: &AdviseOptions) -> BTreeMap<u32, Inspection> {
    match options.pid {
        _ if !look::is_here(options.look.url.as_deref()) => BTreeMap::new(),
        Some(pid) => inspect::inspect(pid).ok().map(|inspection| (pid, inspection)).into_iter().collect(),
        None => inspect::inspect_largest(MOST_LOOKED_INTO),
    }
}

/// With what the pools do, of the one process of which that is known.
fn insides(looked_into: BTreeMap<u32, Inspection>, one: Option<&OneProcess>) -> BTreeMap<u32, Inside> {
    let inside = |(pid, inspection): (u32, Inspection)| {
        let pools = match one {
            Some(one) => inspect::pools(pid, &one.threads, &inspection),
            None => inspect::pools_at_rest(pid, &inspection),
        };
        (pid, Inside { runtimes: inspection.runtimes, pools })
    };
    looked_into.into_iter().map(inside).collect()
}

fn write(out: &mut impl Write, printed: &Printed) -> io::Result<()> {
    for (index, finding) in printed.findings.iter().enumerate() {
        let Finding { rule, pid, comm, figures, reason, change, .. } = finding;
        writeln!(out, "{}. {} {pid}: {figures}", index + 1, human::plain(comm))?;
        writeln!(out, "   {}: {reason}", rule.label().replace('_', " "))?;
        writeln!(out, "   -> {change}\n")?;
    }
    let checked: Vec<_> = printed.checked.iter().map(|rule| rule.label().replace('_', " ")).collect();
    let checked = checked.join(", ");
    let looked_at = human::counted(printed.processes as u64, "process");
    let verdict = match printed.findings.len() {
        0 => "Nothing wrong".to_owned(),
        MOST => format!("The {MOST} worst"),
        some => human::counted(some as u64, "finding"),
    };
    let into = printed.looked_into;
    writeln!(out, "{verdict} in {looked_at}, {into} of them looked into. Checked: {checked}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_fits_and_the_worst_is_always_told() -> Result<()> {
        let finding = |weight, length| Finding {
            rule: Rule::Throttled,
            pid: 1,
            comm: "a".to_owned(),
            weight,
            figures: "x".repeat(length),
            reason: Rule::Throttled.reason(),
            change: String::new(),
        };
        let of = |findings| Printed { findings, checked: Rule::ALL.to_vec(), processes: 1, looked_into: 1 };
        let mut many = of((0..8).map(|index| finding(f64::from(8 - index), 700)).collect());
        many.fit()?;
        let weights: Vec<_> = many.findings.iter().map(|finding| finding.weight).collect();
        assert!((2..8).contains(&weights.len()) && weights[0] == 8.0, "{weights:?}");
        assert!(json::to_vec(&many)?.len() <= MAX_BYTES);
        let mut few = of((0..8).map(|index| finding(f64::from(index), 50)).collect());
        few.fit()?;
        assert_eq!(few.findings.len(), 8);
        let mut huge = of(vec![finding(1.0, 10_000)]);
        huge.fit()?;
        assert_eq!(huge.findings.len(), 1);
        Ok(())
    }
}
