//! The invariants of the design, on the running kernel, with workloads whose truth is known.
//!
//! They need root (or the capabilities the probe needs); without, every one is reported as skipped. `cargo xtask vm`
//! runs them on stock kernels. Each workload is this very program in another role: see `roles`.
#![expect(clippy::print_stdout, reason = "a test program")]

#[macro_use]
#[allow(dead_code, unused_macros, reason = "each test program uses a part of it")]
mod support;

mod kernel {
    mod churn;
    pub(crate) mod limits;
    pub(crate) mod probe;
    pub(crate) mod roles;
    pub(crate) mod states;
    pub(crate) mod taken;
    pub(crate) mod tests;
    pub(crate) mod time;
    mod workload;
}

use std::process::ExitCode;

use anyhow::Context as _;
use libtest_mimic::{Arguments, Trial};

use crate::kernel::{limits, probe, roles, states, taken, tests, time};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(roles::ROLE) {
        return roles::play(&args.collect::<Vec<_>>());
    }
    let mut arguments = Arguments::from_args();
    // One probe watches all of them, and the host's own counters are part of what is compared.
    arguments.test_threads = Some(1);
    let refusal = probe::refusal();
    if let Some(reason) = &refusal {
        println!("\n*** THE KERNEL TESTS ARE SKIPPED: {reason}\n*** run `cargo xtask test` as root, or with sudo\n");
    }
    let own_machine = std::env::var_os(OWN_MACHINE).is_some();
    let trial = |(name, test): &(&'static str, tests::Test), is_ignored| {
        let (name, test) = (*name, *test);
        Trial::test(name, move || run(name, test).map_err(|error| format!("{error:#}").into()))
            .with_ignored_flag(is_ignored)
    };
    let here = tests::ALL
        .iter()
        .chain(limits::ALL)
        .chain(time::ALL)
        .chain(taken::ALL)
        .chain(states::ALL)
        .map(|test| trial(test, refusal.is_some()));
    let elsewhere = limits::NEED_OWN_MACHINE.iter().map(|test| trial(test, refusal.is_some() || !own_machine));
    libtest_mimic::run(&arguments, here.chain(elsewhere).collect()).exit_code()
}

/// Set in machines that are the tests' own: there they may take from every process what it needs to create threads.
const OWN_MACHINE: &str = "THREAD_PROBE_OWN_MACHINE";

/// How often a test may run where the kernel hides what it compares with. One in ten meets that here.
const ATTEMPTS: u32 = 5;

/// Runs a test: once, and all it proves has to hold to the digit. On a kernel that hides its first process nothing is
/// traced while a thread of that process is current, be it in a soft interrupt that frees others; before Linux 6.2 a
/// thread's storage is out of reach while another operation on storage is interrupted on that CPU, and the programs
/// count that. A test that met one of these is repeated, said so, and has to hold within [`ATTEMPTS`].
fn run(name: &str, test: tests::Test) -> anyhow::Result<()> {
    let mut lost_before = probe::lost_of_storage()?;
    let mut outcome = test();
    for attempt in 2..=ATTEMPTS {
        let Err(error) = &outcome else { break };
        let Some(excuse) = probe::excuse(lost_before)? else { break };
        println!("{name}: {excuse}; attempt {attempt}, after: {error:#}");
        // What the last attempt started ends, and is seen to.
        std::thread::sleep(std::time::Duration::from_secs(1));
        lost_before = probe::lost_of_storage()?;
        outcome = test();
    }
    let lost = probe::lost_of_storage()?;
    outcome.with_context(|| format!("storage was out of reach {} times meanwhile", lost - lost_before))
}
