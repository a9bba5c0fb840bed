//! The number of threads that is planned, against a pool whose threads work and wait for known times.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::{
    errno::Errno,
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use thread_probe::plan::{Input, Inputs, Plan};

const WORK: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_millis(9);
const RUN: Duration = Duration::from_millis(600);

/// What a pool did in a run.
#[derive(Debug)]
struct Done {
    requests: u64,
    cpus: f64,
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Has the calling thread run on one CPU, the last, before all that others do there: their share would be the smaller
/// the more threads the pool has.
fn comes_first() -> nix::Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).ok_or(Errno::EINVAL)?;
    let mut cpus = CpuSet::new();
    cpus.set(last)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)?;
    // SAFETY: it has no preconditions; 0 is the calling thread.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) }).map(drop)
}

/// So many threads that take one request after the other.
fn run(threads: usize) -> Done {
    let (requests, is_over, cpu) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Duration::ZERO));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                if comes_first().is_err() {
                    return;
                }
                let begun = cpu_time();
                while !is_over.load(Relaxed) {
                    let until = cpu_time() + WORK;
                    while cpu_time() < until {}
                    thread::sleep(WAIT);
                    requests.fetch_add(1, Relaxed);
                }
                *cpu.lock().unwrap_or_else(PoisonError::into_inner) += cpu_time().saturating_sub(begun);
            });
        }
        thread::sleep(RUN);
        is_over.store(true, Relaxed);
    });
    let cpu = cpu.into_inner().unwrap_or_else(PoisonError::into_inner);
    Done { requests: requests.into_inner(), cpus: cpu.as_secs_f64() / started.elapsed().as_secs_f64() }
}

#[test]
fn the_planned_number_of_threads_is_where_more_do_no_more() -> Result<()> {
    needs_root!();
    if let Err(error) = thread::scope(|scope| scope.spawn(comes_first).join()).unwrap_or(Err(Errno::EIO)) {
        crate::support::skip(&format!("a pool that comes first is not allowed here: {error}"));
        return Ok(());
    }
    // What it got of its CPU is what counts.
    let runs: Vec<(usize, Done)> = (0..7).map(|power| 1 << power).map(|threads| (threads, run(threads))).collect();
    let cpus = runs.iter().map(|(_, done)| done.cpus).fold(0.0, f64::max);
    let ratio = WAIT.as_secs_f64() / WORK.as_secs_f64();
    let plan = Plan::from(Inputs {
        cpus: Input::given(cpus, "what the pool got"),
        wait_per_work: Some(Input::given(ratio, "known")),
        work_seconds: None,
        rate_per_second: None,
        response_seconds: None,
        bytes_per_thread: Input::assumed(65_536.0, "it does not matter"),
        room: Vec::new(),
        today: None,
    });
    let planned = plan.io_bound_threads.unwrap_or(0) as f64;
    let gains_little = |pair: &&[(usize, Done)]| pair[1].1.requests as f64 <= 1.2 * pair[0].1.requests as f64;
    let knee = runs.windows(2).find(gains_little).map_or(0, |pair| pair[0].0) as f64;
    ensure!((planned / 2.0..=planned * 2.0).contains(&knee), "planned {planned}, the knee is at {knee}: {runs:?}");
    Ok(())
}
