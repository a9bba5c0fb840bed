//! What a workload does: this program in another role. Each reports facts it knows of itself, a line each, and waits
//! for a line on its standard input before it goes on.

mod life;
mod limits;
mod time;

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};

pub(crate) use limits::CREATED_BEFORE_NPROC;

/// The first argument that makes this program a workload.
pub(crate) const ROLE: &str = "workload";

/// Plays a role.
pub(crate) fn play(args: &[String]) -> ExitCode {
    let name = args.first().map_or("", String::as_str);
    let number = |index: usize| args.get(index).and_then(|arg| arg.parse().ok()).unwrap_or(0);
    let outcome = rename(name.as_bytes()).and_then(|()| match name {
        "tp-threads" => life::threads(number(1)),
        "tp-switches" => life::switches(number(1)),
        "tp-sleeper" => report(&[]).and_then(|()| wait_for_line()),
        "tp-short" => life::short_threads(number(1)),
        "tp-pingpong" => life::pingpong_threads(number(1)),
        "tp-pingproc" => life::pingpong_processes(number(1)),
        "tp-churn" => life::churn(number(1), number(2)),
        "tp-spinners" => life::spin(number(1)),
        "tp-crowd" => life::crowd(number(1)),
        "tp-nproc" => limits::beyond_nproc(number(1)),
        "tp-user-ns" => limits::fill_user_namespace(number(1)),
        "tp-root-nproc" => limits::root_beyond_nproc(number(1)),
        "tp-fill" => report(&[]).and_then(|()| wait_for_line()).and_then(|()| limits::fill(number(1))),
        "tp-deadline" => limits::deadline_task(),
        "tp-mappings" => limits::map_until_refused(),
        "tp-address-space" => limits::fill_address_space(number(1), number(2), number(3)),
        "tp-leak" => limits::leak(number(1)),
        "tp-pid-namespace" => limits::fill_pid_namespace(number(1)),
        "tp-memory" => limits::fill_memory(number(1)),
        "tp-exec" => life::exec_from_thread(),
        // What tp-exec becomes: its usage goes on across the exec.
        "tp-execd" => life::report_usage_when_asked(),
        "tp-zombie" => life::zombie_leader(),
        "tp-time" => time::spend(),
        "tp-contend" => time::contend(),
        "tp-spin" => time::spin(),
        "tp-nice-0" | "tp-nice-5" | "tp-nice-10" => time::spin_pinned(number(1)),
        "tp-bursts" => time::run_in_bursts(number(1)),
        "tp-vfork" => time::wait_in_vfork(number(1)),
        "tp-policy" => time::run_in_bursts_by_policy(number(1)),
        "tp-disk" => time::write_to_disk(args.get(1).map_or("", String::as_str)),
        "tp-fault" => time::fault(),
        "tp-compat" => time::poll_as_32_bit_programs(),
        "tp-compat-once" => time::poll_as_a_32_bit_program(),
        "tp-hog" => time::hog(number(1)),
        "tp-io-uring" => life::io_uring_worker(),
        "tp-hostile" => rename(b"a\"b\\c\nd\xffe").and_then(|()| report(&[])).and_then(|()| wait_for_line()),
        other => bail!("no workload {other:?}"),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "workload {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Changes the comm of this thread; a process's is that of its main thread.
fn rename(name: &[u8]) -> Result<()> {
    std::fs::write("/proc/thread-self/comm", name).context("renaming")
}

fn report(facts: &[u64]) -> Result<()> {
    let line: Vec<String> = facts.iter().map(u64::to_string).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", line.join(" "))?;
    Ok(out.flush()?)
}

fn wait_for_line() -> Result<()> {
    let mut byte = [0];
    // Unbuffered: one byte is one line.
    let _ = io::stdin().lock().read(&mut byte)?;
    Ok(())
}

/// Reports `voluntary involuntary` so far.
fn report_usage() -> Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    report(&[usage.voluntary_context_switches() as u64, usage.involuntary_context_switches() as u64])
}
