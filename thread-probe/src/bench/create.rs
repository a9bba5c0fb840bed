//! What it costs to create a thread, and what people do in its place.

use std::{
    io,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use nix::{
    libc,
    sys::wait::waitpid,
    unistd::{ForkResult, fork},
};

use super::{
    observer::Observer,
    repeat::{quantile, until_steady},
    report::{Figure, Part},
};

/// Sizes of stacks, in bytes: what careful programs take, Rust's default, and that of C.
const STACKS_BYTES: [usize; 3] = [64 << 10, 2 << 20, 8 << 20];
/// How many threads there are besides.
const OTHERS: [usize; 3] = [100, 1000, 10_000];
/// Events that make up one repeat.
const EVENTS: usize = 100;
/// What is executed.
const PROGRAM: &str = "/bin/true";

/// One way, of which each event gives a time in seconds.
type Way<'a> = (String, Box<dyn FnMut() -> io::Result<f64> + 'a>);

/// Measures all of them.
pub(super) fn measure(observer: &mut dyn Observer) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (what, mut event) in ways()? {
        if observer.goes_on() {
            figures.push(of_many(what, &mut event, observer)?);
        }
    }
    for others in OTHERS {
        if observer.goes_on() {
            let what = format!("a thread beside {others} others, until it runs");
            let figure = beside(others, || of_many(what.clone(), &mut || until_it_runs(STACKS_BYTES[0]), observer))?;
            figures.push(figure.unwrap_or_else(|error| {
                let problem = format!("{others} threads could not be created: {error}");
                Figure::new(Part::Create, what).with_problem(problem)
            }));
        }
    }
    Ok(figures)
}

fn ways<'a>() -> io::Result<Vec<Way<'a>>> {
    let mut ways: Vec<Way<'a>> = Vec::new();
    for bytes in STACKS_BYTES {
        let stack = format!("a thread with a stack of {} KiB", bytes >> 10);
        ways.push((format!("{stack}, until it runs"), Box::new(move || until_it_runs(bytes))));
        ways.push((format!("{stack}, until it is joined"), Box::new(move || until_joined(bytes))));
    }
    ways.push(("fork, until it is waited for".into(), Box::new(until_forked)));
    ways.push((format!("vfork and exec of {PROGRAM}, until it is waited for"), Box::new(until_executed)));
    ways.push(("a task for a thread that waits for one, until it runs".into(), Box::new(Pool::new()?.into_event())));
    Ok(ways)
}

/// The median of medians, and the 99th percentile of all.
fn of_many(
    what: String,
    event: &mut dyn FnMut() -> io::Result<f64>,
    observer: &mut dyn Observer,
) -> io::Result<Figure> {
    observer.begins(Part::Create, &what);
    let mut all = Vec::new();
    let figure = Figure::new(Part::Create, what);
    let repeated = until_steady(
        || observer.goes_on(),
        || {
            let events = (0..EVENTS).map(|_| event()).collect::<io::Result<Vec<f64>>>()?;
            let median = quantile(&events, 0.5).unwrap_or(0.0);
            all.extend(events);
            Ok(median)
        },
    );
    let figure = match repeated {
        Ok(Some(repeated)) => Figure { p99_seconds: quantile(&all, 0.99), ..figure.with(repeated) },
        Ok(None) => figure.with_problem("it was ended".into()),
        Err(error) => figure.with_problem(error.to_string()),
    };
    observer.has(&figure);
    Ok(figure)
}

fn until_it_runs(stack_bytes: usize) -> io::Result<f64> {
    let started = Instant::now();
    let created = thread::Builder::new().stack_size(stack_bytes).spawn(Instant::now)?;
    let runs = created.join().map_err(|_| io::Error::other("a thread panicked"))?;
    Ok(runs.duration_since(started).as_secs_f64())
}

fn until_joined(stack_bytes: usize) -> io::Result<f64> {
    let started = Instant::now();
    let created = thread::Builder::new().stack_size(stack_bytes).spawn(|| ())?;
    created.join().map_err(|_| io::Error::other("a thread panicked"))?;
    Ok(started.elapsed().as_secs_f64())
}

fn until_forked() -> io::Result<f64> {
    let started = Instant::now();
    // SAFETY: the child does nothing but end.
    match unsafe { fork() }? {
        // SAFETY: it ends this process.
        ForkResult::Child => unsafe { libc::_exit(0) },
        ForkResult::Parent { child } => waitpid(child, None)?,
    };
    Ok(started.elapsed().as_secs_f64())
}

fn until_executed() -> io::Result<f64> {
    let started = Instant::now();
    Command::new(PROGRAM).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    Ok(started.elapsed().as_secs_f64())
}

/// A thread that waits for tasks. It ends when nobody can give it one any more.
struct Pool {
    tasks: mpsc::Sender<()>,
    runs: mpsc::Receiver<Instant>,
}

impl Pool {
    fn new() -> io::Result<Self> {
        let (tasks, given) = mpsc::channel();
        let (told, runs) = mpsc::channel();
        thread::Builder::new().spawn(move || while given.recv().is_ok() && told.send(Instant::now()).is_ok() {})?;
        Ok(Self { tasks, runs })
    }

    fn into_event(self) -> impl FnMut() -> io::Result<f64> {
        move || {
            let started = Instant::now();
            self.tasks.send(()).map_err(io::Error::other)?;
            let runs = self.runs.recv().map_err(io::Error::other)?;
            Ok(runs.duration_since(started).as_secs_f64())
        }
    }
}

/// Does something while there are so many more threads. As an error: not all of them could be created.
fn beside<T>(others: usize, work: impl FnOnce() -> io::Result<T>) -> io::Result<Result<T, io::Error>> {
    let (held, ended) = mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    thread::scope(|scope| {
        let wait = || drop(ended.lock().map(|ended| ended.recv()));
        let builder = || thread::Builder::new().stack_size(STACKS_BYTES[0]);
        let created: io::Result<Vec<_>> = (0..others).map(|_| builder().spawn_scoped(scope, wait)).collect();
        let outcome = match created {
            Ok(_) => work().map(Ok),
            Err(error) => Ok(Err(error)),
        };
        drop(held);
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_before_it_is_joined() -> io::Result<()> {
        let (mut runs, mut joined) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            runs.push(until_it_runs(STACKS_BYTES[0])?);
            joined.push(until_joined(STACKS_BYTES[0])?);
        }
        assert!(runs.iter().chain(&joined).all(|seconds| *seconds > 0.0));
        assert!(quantile(&runs, 0.0) < quantile(&joined, 1.0));
        Ok(())
    }

    #[test]
    fn the_others_are_there_meanwhile_and_gone_afterwards() -> io::Result<()> {
        let threads = || io::Result::Ok(std::fs::read_dir("/proc/self/task")?.count());
        let meanwhile = beside(20, threads)??;
        assert!(meanwhile > 20, "{meanwhile}");
        Ok(())
    }
}
