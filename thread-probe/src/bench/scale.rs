//! What more threads than CPUs get done: the work and the switches of a second at 1 thread, and at so many for each CPU.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    sys::resource::{UsageWho, getrusage},
    unistd::Pid,
};

use super::{
    observer::Observer,
    repeat::until_steady,
    report::{Figure, Part},
};
use crate::text::{human, named::named};

/// How long each number of threads works.
const RUN: Duration = Duration::from_millis(100);
/// Threads for each CPU.
const A_CPU: [usize; 5] = [1, 2, 4, 10, 100];
/// What a thread does between two looks at the time: some microseconds.
const STEPS: u64 = 4096;
/// How long a thread sleeps where it sleeps.
const NAP: Duration = Duration::from_millis(1);

named! {
    /// What the threads do.
    pub enum Load {
        /// They only work.
        Cpu = "that only work",
        /// Half of the work is done with a lock that all share.
        Lock = "that do half of their work under one lock",
        /// After each bit of work they sleep for a millisecond.
        Sleep = "that work a little and sleep for a millisecond",
    }
}

/// What was done in a second.
#[derive(Clone, Copy, Debug)]
struct Done {
    work: f64,
    switches: f64,
}

/// Measures each load at each number of threads, against what one thread does.
pub(super) fn measure(observer: &mut dyn Observer) -> io::Result<Vec<Figure>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).count().max(1);
    let mut figures = Vec::new();
    for load in Load::ALL {
        let mut alone = None;
        let mut numbers = vec![1];
        numbers.extend(A_CPU.map(|a_cpu| a_cpu * cpus).iter().filter(|number| **number > 1));
        for threads in numbers {
            if !observer.goes_on() {
                return Ok(figures);
            }
            let figure = of_number(load, threads, &mut alone, observer);
            observer.has(&figure);
            figures.push(figure);
        }
    }
    Ok(figures)
}

/// `alone` is what one thread got done, which comes first.
fn of_number(load: Load, threads: usize, alone: &mut Option<f64>, observer: &mut dyn Observer) -> Figure {
    let what = format!("{} {}", human::counted(threads as u64, "thread"), load.label());
    observer.begins(Part::Scale, &what);
    let mut switches = Vec::new();
    let repeated = until_steady(
        || observer.goes_on(),
        || {
            let done = work(load, threads, RUN)?;
            switches.push(done.switches);
            Ok(done.work)
        },
    );
    let figure = Figure::new(Part::Scale, what);
    match repeated {
        Ok(Some(repeated)) => {
            if threads == 1 {
                *alone = Some(repeated.median);
            }
            match *alone {
                Some(alone) => figure.scaled(repeated, alone, &switches),
                None => figure.with_problem("nothing is known of one thread".into()),
            }
        }
        Ok(None) => figure.with_problem("it was ended".into()),
        Err(error) => figure.with_problem(error.to_string()),
    }
}

/// Has so many threads work at once, for a time.
fn work(load: Load, threads: usize, length: Duration) -> io::Result<Done> {
    let (done, is_over, lock) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(0));
    let worker = || {
        let mut own = 0;
        while !is_over.load(Relaxed) {
            own = steps(own);
            match load {
                Load::Cpu => {}
                Load::Lock => {
                    let mut shared = lock.lock().unwrap_or_else(PoisonError::into_inner);
                    *shared = steps(*shared);
                }
                Load::Sleep => thread::sleep(NAP),
            }
            done.fetch_add(1, Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            let created = thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, worker);
            created.inspect_err(|_| is_over.store(true, Relaxed))?;
        }
        let now = || io::Result::Ok((done.load(Relaxed), switches()?));
        let started = Instant::now();
        let before = now();
        thread::sleep(length);
        let (seconds, after) = (started.elapsed().as_secs_f64(), now());
        // Before anything else may fail: nobody would end.
        is_over.store(true, Relaxed);
        let (before, after) = (before?, after?);
        let a_second = |before: u64, after: u64| (after - before) as f64 / seconds;
        Ok(Done { work: a_second(before.0, after.0), switches: a_second(before.1, after.1) })
    })
}

/// Work that no compiler leaves out.
fn steps(seed: u64) -> u64 {
    (0..STEPS).fold(seed | 1, |number, _| std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005) + 1))
}

/// Of this process, those of threads that are there included.
fn switches() -> io::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.voluntary_context_switches() + usage.involuntary_context_switches()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_sleep_get_more_done_the_more_they_are() -> io::Result<()> {
        let done = |threads| work(Load::Sleep, threads, RUN);
        let (few, many) = (done(1)?, done(8)?);
        assert!(many.work > 2.0 * few.work, "{many:?} after {few:?}");
        assert!(many.switches >= many.work / 2.0, "each sleep is a switch: {many:?}");
        Ok(())
    }

    #[test]
    fn work_with_a_lock_ends() -> io::Result<()> {
        assert!(work(Load::Lock, 4, RUN)?.work > 0.0);
        Ok(())
    }
}
