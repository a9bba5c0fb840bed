//! `thread-probe advise`: what to change.

use std::io::{self, Write};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::look;
use crate::{
    advice::{self, Costs, Finding, Rule},
    alerts::config::SwitchCost,
    commands::options::{AdviseOptions, TableOrJson},
    export::json,
    model::Process,
    text::human,
};

/// Of a whole host so many are told: who has more to mend begins with these.
const MOST: usize = 8;

/// What is printed; as JSON just so.
#[derive(Serialize)]
struct Printed {
    /// The worst first.
    findings: Vec<Finding>,
    /// What was looked at.
    checked: [Rule; Rule::ALL.len()],
    /// Of how many processes.
    processes: usize,
}

/// Looks, and prints what is found.
///
/// # Errors
/// Nothing of that name, what the host lacks, no daemon, or standard output that can't be written to.
pub(super) fn advise(options: &AdviseOptions) -> Result<()> {
    let config = options.configuration.read()?;
    let sample = look::sample(options.url.as_deref(), &config, options.pid, options.window)?;
    let model = &sample.model;
    let chosen = |process: &Process| {
        !process.is_kernel_thread
            && options.pid.is_none_or(|pid| pid == process.pid)
            && options.group.as_deref().is_none_or(|group| group == &*process.group)
    };
    let processes = model.processes.iter().filter(|process| chosen(process)).count();
    if processes == 0 {
        match (options.pid, &options.group) {
            (Some(pid), _) => {
                bail!("no process {pid}: it does not exist, ended, is a kernel thread, or is hidden from eBPF")
            }
            (None, group) => {
                let group = human::plain(group.as_deref().unwrap_or_default()).into_owned();
                bail!("no process in group {group}: `thread-probe ps --columns group` shows the groups")
            }
        }
    }
    let costs = Costs {
        switch_seconds: SwitchCost::Measured(None).looked_up().each().as_secs_f64(),
        kernel_stack_bytes: model.host.thread_cost.stack_bytes,
    };
    let findings = advice::of_many(model, chosen, costs, MOST);
    let printed = Printed { findings, checked: Rule::ALL, processes };
    let mut out = io::stdout().lock();
    let written = match options.format {
        TableOrJson::Json => json::write(&mut out, &printed).map_err(io::Error::from).and_then(|()| writeln!(out)),
        TableOrJson::Table => write(&mut out, &printed),
    };
    match written.and_then(|()| out.flush()) {
        // The reader has seen enough, as with `| head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("writing to standard output failed"),
    }
}

fn write(out: &mut impl Write, printed: &Printed) -> io::Result<()> {
    for (index, finding) in printed.findings.iter().enumerate() {
        let Finding { rule, pid, comm, figures, reason, change, .. } = finding;
        writeln!(out, "{}. {} {pid}: {figures}", index + 1, human::plain(comm))?;
        writeln!(out, "   {}: {reason}", rule.label().replace('_', " "))?;
        writeln!(out, "   -> {change}\n")?;
    }
    let checked = printed.checked.map(|rule| rule.label().replace('_', " ")).join(", ");
    let looked_at = human::counted(printed.processes as u64, "process");
    let verdict = match printed.findings.len() {
        0 => "Nothing wrong".to_owned(),
        MOST => format!("The {MOST} worst"),
        some => human::counted(some as u64, "finding"),
    };
    writeln!(out, "{verdict} in {looked_at}. Checked: {checked}.")
}
