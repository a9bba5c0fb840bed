//! What it costs to switch from one thread or process to another.

use std::{
    io,
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    sys::{
        prctl::set_pdeathsig,
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
        wait::waitpid,
    },
    time::{ClockId, clock_gettime},
    unistd::{ForkResult, fork},
};

use super::{
    observer::Observer,
    pass::{Channel, Via},
    place::{Place, pinned, places},
    repeat::until_steady,
    report::{Figure, Part},
    shared::Mapping,
};

/// The figure that is what one switch costs.
pub(super) const COST: &str = "threads, same CPU, futex";

/// What one run takes, about.
const RUN_SECONDS: f64 = 0.02;
/// Rounds before anything is counted.
const WARM_UP: u64 = 200;
/// Of the time on one CPU, what neither side had, at most. Switches don't tell: whom a side wakes may preempt it.
const OTHERS_RATIO: f64 = 0.01;
/// What each side touches at its turn, where it touches anything: as much as the first level of cache has, and more.
const WORKING_SETS_BYTES: [usize; 2] = [32 << 10, 1 << 20];

/// What all figures are of.
#[cfg(test)]
pub(super) fn names() -> io::Result<Vec<String>> {
    Ok(pairs()?.iter().map(ToString::to_string).collect())
}

/// Two sides that take turns.
#[derive(Clone)]
struct Pair {
    are_processes: bool,
    via: Via,
    place: Place,
    touched_bytes: usize,
}

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// By the clock.
    seconds: f64,
    /// CPU time of both sides.
    cpu_seconds: f64,
    /// Of both sides, as the kernel counted them.
    switches: u64,
}

/// Measures all pairs that this host has.
pub(super) fn measure(observer: &mut dyn Observer) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for pair in pairs()? {
        if !observer.goes_on() {
            break;
        }
        let what = pair.to_string();
        observer.begins(Part::Switch, &what);
        let figure = measure_one(&pair, observer)?;
        observer.has(&figure);
        figures.push(figure);
    }
    Ok(figures)
}

/// Each way on one CPU; one way where the two touch memory, and where they have a CPU each.
fn pairs() -> io::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for place in places()? {
        for are_processes in [false, true] {
            let pair = |via, touched_bytes| Pair { are_processes, via, place: place.clone(), touched_bytes };
            if place.cpus[0] == place.cpus[1] {
                pairs.extend(Via::ALL.map(|via| pair(via, 0)));
                pairs.extend(WORKING_SETS_BYTES.map(|bytes| pair(Via::Futex, bytes)));
            } else {
                pairs.push(pair(Via::Futex, 0));
            }
        }
    }
    Ok(pairs)
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = if self.are_processes { "processes" } else { "threads" };
        write!(f, "{who}, {}, {}", self.place.name, self.via.label())?;
        match self.touched_bytes {
            0 => Ok(()),
            bytes => write!(f, ", touching {} KiB", bytes >> 10),
        }
    }
}

/// The figure of a pair, or why there is none.
fn measure_one(pair: &Pair, observer: &mut dyn Observer) -> io::Result<Figure> {
    let figure = Figure::new(Part::Switch, pair.to_string());
    let trial = run(pair, WARM_UP)?;
    let rounds = (WARM_UP as f64 * RUN_SECONDS / trial.seconds.max(1e-9)) as u64;
    let rounds = rounds.clamp(WARM_UP, 1000 * WARM_UP);
    let mut all = Run::default();
    let repeated = until_steady(
        || observer.goes_on(),
        || {
            let run = quiet_run(pair, rounds)?;
            all.seconds += run.seconds;
            all.cpu_seconds += run.cpu_seconds;
            all.switches += run.switches;
            let calls_seconds = 2.0 * rounds as f64 * alone(pair, rounds)?;
            // Where each has a CPU, a switch is to or from an idle one: what counts is how long a turn takes to arrive.
            let turns = if pair.is_on_one_cpu() { run.switches } else { 2 * rounds };
            Ok((run.seconds - calls_seconds) / turns.max(1) as f64)
        },
    )?;
    let Some(repeated) = repeated else { return Ok(figure.with_problem("it was ended".into())) };
    let figure = figure.with(repeated).counted(all.switches);
    if pair.is_on_one_cpu() && all.others_ratio() > OTHERS_RATIO {
        let percent = all.others_ratio() * 100.0;
        return Ok(figure.with_problem(format!("something else had this CPU for {percent:.0} % of the time")));
    }
    Ok(figure)
}

/// The first run that others left alone, or the quietest of a few.
fn quiet_run(pair: &Pair, rounds: u64) -> io::Result<Run> {
    const TRIES: usize = 5;
    let mut quietest = run(pair, rounds)?;
    for _ in 1..TRIES {
        if !pair.is_on_one_cpu() || quietest.others_ratio() <= OTHERS_RATIO {
            break;
        }
        let next = run(pair, rounds)?;
        if next.others_ratio() < quietest.others_ratio() {
            quietest = next;
        }
    }
    Ok(quietest)
}

impl Run {
    /// Of the time on one CPU, what neither side had.
    fn others_ratio(&self) -> f64 {
        1.0 - self.cpu_seconds / self.seconds.max(1e-9)
    }
}

impl Pair {
    fn is_on_one_cpu(&self) -> bool {
        self.place.cpus[0] == self.place.cpus[1]
    }
}

/// Has both sides take so many turns. The first one is the calling thread.
fn run(pair: &Pair, rounds: u64) -> io::Result<Run> {
    let (channel, mapping) = (Channel::new(pair.via)?, Mapping::new(pair.touched_bytes)?);
    let (channel, mapping) = (&channel, &mapping);
    let play = |side: usize| {
        pinned(pair.place.cpus[side], || {
            take_turns(side, channel, mapping, WARM_UP)?;
            let (switches, cpu) = (switches()?, cpu_time()?);
            let started = Instant::now();
            take_turns(side, channel, mapping, rounds)?;
            let seconds = started.elapsed().as_secs_f64();
            Ok((seconds, self::switches()? - switches, cpu_time()?.saturating_sub(cpu)))
        })
    };
    let other = || {
        let (_, switches, cpu) = play(1)?;
        mapping.switches.store(switches, Relaxed);
        mapping.cpu_ns.store(cpu.as_nanos() as u64, Relaxed);
        Ok(())
    };
    let (seconds, switches, cpu) =
        if pair.are_processes { beside_a_process(other, || play(0)) } else { beside_a_thread(other, || play(0)) }?;
    let cpu = cpu + Duration::from_nanos(mapping.cpu_ns.load(Relaxed));
    let switches = switches + mapping.switches.load(Relaxed);
    Ok(Run { seconds, cpu_seconds: cpu.as_secs_f64(), switches })
}

/// Does one thing in a thread of its own while the other is done here.
fn beside_a_thread<T>(
    there: impl FnOnce() -> io::Result<()> + Send,
    here: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, there)?;
        let outcome = here();
        other.join().map_err(|_| io::Error::other("the other side panicked"))??;
        outcome
    })
}

/// Does one thing in a process of its own while the other is done here. That process ends with this thread.
fn beside_a_process<T>(there: impl FnOnce() -> io::Result<()>, here: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // SAFETY: the child makes system calls and touches its memory, allocates nothing, and ends without returning.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let outcome = set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from).and_then(|()| there());
            // SAFETY: it ends this process.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        ForkResult::Parent { child } => {
            let outcome = here();
            if outcome.is_err() {
                // It waits for a turn that nobody gives it.
                kill(child, Signal::SIGKILL)?;
            }
            waitpid(child, None)?;
            outcome
        }
    }
}

fn take_turns(side: usize, channel: &Channel, mapping: &Mapping, rounds: u64) -> io::Result<()> {
    for _ in 0..rounds {
        if side == 0 {
            channel.give(mapping, 1)?;
            channel.take(mapping, 0)?;
            mapping.touch(0);
        } else {
            channel.take(mapping, 1)?;
            mapping.touch(1);
            channel.give(mapping, 0)?;
        }
    }
    Ok(())
}

/// Of the calling thread, of both kinds.
fn switches() -> io::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    Ok((usage.voluntary_context_switches() + usage.involuntary_context_switches()) as u64)
}

/// Of the calling thread.
fn cpu_time() -> io::Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?))
}

/// What one side's turn takes without the switch: the system calls and the memory that it touches, in seconds.
fn alone(pair: &Pair, rounds: u64) -> io::Result<f64> {
    let (channel, mapping) = (Channel::new(pair.via)?, Mapping::new(pair.touched_bytes)?);
    let turn = || {
        channel.give_and_take_alone(&mapping)?;
        mapping.touch(0);
        io::Result::Ok(())
    };
    pinned(pair.place.cpus[0], || {
        (0..WARM_UP).try_for_each(|_| turn())?;
        let started = Instant::now();
        (0..rounds).try_for_each(|_| turn())?;
        Ok(started.elapsed().as_secs_f64() / rounds as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(are_processes: bool, via: Via) -> io::Result<Pair> {
        let place = places()?.into_iter().next().ok_or_else(|| io::Error::other("no CPU"))?;
        Ok(Pair { are_processes, via, place, touched_bytes: 4096 })
    }

    #[test]
    fn on_one_cpu_each_turn_is_a_switch_at_least() -> io::Result<()> {
        const ROUNDS: u64 = 2000;
        for are_processes in [false, true] {
            for via in [Via::Futex, Via::Pipe, Via::Eventfd] {
                let run = run(&pair(are_processes, via)?, ROUNDS)?;
                // Something else may run in between, and a side that is preempted as it has given its turn switches
                // once more.
                assert!((2 * ROUNDS - 2..=4 * ROUNDS).contains(&run.switches), "{via:?}: {run:?}");
                assert!(run.cpu_seconds > 0.0 && run.cpu_seconds < run.seconds * 1.01, "{via:?}: {run:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_turn_alone_makes_no_switch_of_its_own() -> io::Result<()> {
        for via in Via::ALL {
            assert!(alone(&pair(false, via)?, 1000)? > 0.0);
        }
        Ok(())
    }
}
