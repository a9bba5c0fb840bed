//! What follows from the rest of a sample, and from the one before, is not recorded: rates follow from totals, a group's
//! totals from those of its processes, who took how much from how much they had taken. Recorded is by how much it is off,
//! which is nothing, mostly; so what is read is what was there, to the bit.
//!
//! How it follows is therefore part of the format. Another formula, in [`Rates::between`] too, is another version of it,
//! and the old one must stay for old files.

use std::{collections::BTreeMap, sync::Arc};

use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::{histogram::BUCKETS, time::TimeState};

use crate::model::{
    Activity, CpuTaken, Group, IntervalWaits, Model, Process, Rates, TakenBy, Times, histogram, histogram_counts,
};

/// A number of seconds is not one of nanoseconds: none that a probe has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inexact;

/// The whole nanoseconds that a number of seconds was made of, to the bit.
pub(super) fn nanoseconds(seconds: f64) -> Option<i64> {
    const MOST: f64 = 9e18;
    let about = (seconds * 1e9).round();
    // It was rounded twice, so that it may be the one beside.
    let candidates = [about, about.next_up().round(), about.next_down().round()];
    // As a whole number: 0 has no sign then.
    let mut whole = candidates.into_iter().filter(|ns| ns.abs() < MOST).map(|ns| ns as i64);
    whole.find(|ns| (*ns as f64 / 1e9).to_bits() == seconds.to_bits())
}

fn exact(seconds: f64) -> Result<i64, Inexact> {
    nanoseconds(seconds).ok_or(Inexact)
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Takes away what follows.
    Fold,
    /// Puts it back.
    Unfold,
}

impl Way {
    fn seconds(self, value: &mut f64, follows_ns: i64) -> Result<(), Inexact> {
        let ns = match self {
            Self::Fold => exact(*value)?.wrapping_sub(follows_ns),
            Self::Unfold => exact(*value)?.wrapping_add(follows_ns),
        };
        let seconds = ns as f64 / 1e9;
        if self == Self::Fold && nanoseconds(seconds) != Some(ns) {
            return Err(Inexact);
        }
        *value = seconds;
        Ok(())
    }

    fn count(self, value: &mut u64, follows: u64) {
        *value = match self {
            Self::Fold => value.wrapping_sub(follows),
            Self::Unfold => value.wrapping_add(follows),
        };
    }
}

/// Takes away what follows. `before` is the sample before, as it was.
///
/// # Errors
/// Something would not be put back to the bit. Then the sample is to be recorded as it is.
pub(super) fn fold(model: &mut Model, before: Option<&Model>) -> Result<(), Inexact> {
    rates(Way::Fold, model, before)?;
    sums(Way::Fold, model)?;
    model.processes.iter_mut().try_for_each(|process| times(Way::Fold, &mut process.totals))
}

/// Puts back what follows from the sample alone: all totals.
///
/// # Errors
/// It was not made by [`fold`].
pub(super) fn unfold_totals(model: &mut Model) -> Result<(), Inexact> {
    model.processes.iter_mut().try_for_each(|process| times(Way::Unfold, &mut process.totals))?;
    sums(Way::Unfold, model)
}

/// Puts back the rest. Of the sample before, which is the one that it was folded by, only the totals count.
///
/// # Errors
/// It was not made by [`fold`].
pub(super) fn unfold_rates(model: &mut Model, before: Option<&Model>) -> Result<(), Inexact> {
    rates(Way::Unfold, model, before)
}

fn rates(way: Way, model: &mut Model, before: Option<&Model>) -> Result<(), Inexact> {
    let earlier = before.map(Earlier::of);
    if let Some(earlier) = earlier.as_ref().filter(|_| way == Way::Unfold) {
        waits(way, model, earlier);
    }
    // Where there was no interval nothing was taken in it.
    let seconds = model.interval_seconds.unwrap_or(1.0);
    bursts(model);
    let nothing = CpuTaken::default();
    for process in &mut model.processes {
        let was = earlier.as_ref().map(|earlier| earlier.process(process));
        if let Some(was) = was.filter(|_| process.rates.is_some()) {
            rates_of_process(process, was, seconds);
        }
        taken(way, &mut process.cpu_taken, was.map(|was| was.map_or(&nothing, |was| &was.cpu_taken)), seconds)?;
    }
    for group in &mut model.groups {
        let was = earlier.as_ref().map(|earlier| earlier.group(&group.group));
        if let Some(was) = was.filter(|_| group.rates.is_some()) {
            rates_of_group(group, was, seconds);
        }
        taken(way, &mut group.cpu_taken, was.map(|was| was.map_or(&nothing, |was| &was.cpu_taken)), seconds)?;
    }
    if let Some(before) = before {
        rates_of_host(model, before, seconds);
    }
    if let Some(earlier) = earlier.as_ref().filter(|_| way == Way::Fold) {
        waits(way, model, earlier);
    }
    Ok(())
}

/// A group's longest burst is that of one of its processes, if that has not ended; the host's is that of a group. Both
/// ways, as those of processes stay.
fn bursts(model: &mut Model) {
    let mut longest: FxHashMap<&str, Option<f64>> = FxHashMap::default();
    for process in &model.processes {
        let burst = process.rates.and_then(|rates| rates.burst_max_seconds);
        let longest = longest.entry(&process.group).or_default();
        *longest = longer(*longest, burst);
    }
    let of_host = longest.values().fold(None, |longest, burst| longer(longest, *burst));
    for group in &mut model.groups {
        if let (Some(rates), Some(longest)) = (&mut group.rates, longest.get(&*group.group)) {
            differ_or_none(&mut rates.burst_max_seconds, *longest);
        }
    }
    if let Some(rates) = &mut model.host.rates {
        differ_or_none(&mut rates.burst_max_seconds, of_host);
    }
}

fn longer(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    if one.unwrap_or(0.0) < other.unwrap_or(0.0) { other } else { one }
}

/// The sample before, for who looks for something in it.
struct Earlier<'a> {
    processes: FxHashMap<(u32, u64), &'a Process>,
    groups: FxHashMap<&'a str, &'a Group>,
}

impl<'a> Earlier<'a> {
    fn of(model: &'a Model) -> Self {
        Self {
            processes: model.processes.iter().map(|process| (identity(process), process)).collect(),
            groups: model.groups.iter().map(|group| (&*group.group, group)).collect(),
        }
    }

    fn process(&self, process: &Process) -> Option<&'a Process> {
        self.processes.get(&identity(process)).copied()
    }

    fn group(&self, name: &str) -> Option<&'a Group> {
        self.groups.get(name).copied()
    }

    fn waits_of_group(&self, name: &str) -> [u64; BUCKETS] {
        self.group(name).map_or([0; BUCKETS], |group| histogram_counts(&group.wait_histogram))
    }
}

fn identity(process: &Process) -> (u32, u64) {
    (process.pid, process.start_boottime_seconds.to_bits())
}

/// The same number twice gives what was there before.
fn differ(value: &mut f64, follows: f64) {
    *value = f64::from_bits(value.to_bits() ^ follows.to_bits());
}

/// The same for what may be none. As it follows is a 0.
fn differ_or_none(value: &mut Option<f64>, follows: Option<f64>) {
    /// What no number is told from.
    const NONE: f64 = f64::from_bits(u64::MAX);
    let is_same = |value: f64| value.to_bits() == 0;
    *value = match (*value, follows) {
        (None, None) => Some(0.0),
        (Some(value), None) if is_same(value) => None,
        (None, Some(_)) => None,
        (Some(mut value), follows) => {
            differ(&mut value, follows.unwrap_or(NONE));
            Some(value)
        }
    };
}

/// Both ways.
fn differ_in_rates(rates: &mut Option<Rates>, follows: &Rates) {
    let Some(rates) = rates else { return };
    let Rates {
        switches_per_second,
        voluntary_switches_per_second,
        involuntary_switches_per_second,
        runs_per_second,
        same_process_ratio,
        cpu_ratio,
        wait_ratio,
        wait_p50_seconds,
        wait_p99_seconds,
        wait_max_seconds,
        threads_created_per_second,
        processes_created_per_second,
        threads_exited_per_second,
        short_lived_ratio: _,
        clone_failures_per_second,
        time_ratio,
        burst_max_seconds: _,
    } = rates;
    differ(switches_per_second, follows.switches_per_second);
    differ(voluntary_switches_per_second, follows.voluntary_switches_per_second);
    differ(involuntary_switches_per_second, follows.involuntary_switches_per_second);
    differ(runs_per_second, follows.runs_per_second);
    differ(same_process_ratio, follows.same_process_ratio);
    differ(cpu_ratio, follows.cpu_ratio);
    differ(wait_ratio, follows.wait_ratio);
    differ_or_none(wait_p50_seconds, follows.wait_p50_seconds);
    differ_or_none(wait_p99_seconds, follows.wait_p99_seconds);
    differ_or_none(wait_max_seconds, follows.wait_max_seconds);
    differ(threads_created_per_second, follows.threads_created_per_second);
    differ(processes_created_per_second, follows.processes_created_per_second);
    differ(threads_exited_per_second, follows.threads_exited_per_second);
    differ(clone_failures_per_second, follows.clone_failures_per_second);
    *time_ratio = Times::of(time_ratio.iter().map(|(state, mut ratio)| {
        differ(&mut ratio, follows.time_ratio.get(state));
        (state, ratio)
    }));
}

fn rates_of_process(process: &mut Process, was: Option<&Process>, seconds: f64) {
    let mut waits = [0; BUCKETS];
    process.interval_waits.add_to(&mut waits);
    let nothing = Activity::default();
    let follows = Rates::between(was.map_or(&nothing, |was| &was.totals), &process.totals, &waits, seconds);
    differ_in_rates(&mut process.rates, &follows);
    let was_ns = was.map_or(0.0, |was| was.children_cpu_seconds);
    let grown_ns = nanoseconds(process.children_cpu_seconds).zip(nanoseconds(was_ns));
    let children = grown_ns.map(|(now, before)| now.wrapping_sub(before) as f64 / 1e9 / seconds);
    differ_or_none(&mut process.children_cpu_ratio, children);
    differ_or_none(&mut process.oversubscription, process.usable_cpus.oversubscription(Some(&follows)));
}

fn rates_of_group(group: &mut Group, was: Option<&Group>, seconds: f64) {
    let nothing = Activity::default();
    let before = was.map_or(&[][..], |was| &was.wait_histogram);
    let waits = grown(&histogram_counts(before), &histogram_counts(&group.wait_histogram));
    let follows = Rates::between(was.map_or(&nothing, |was| &was.totals), &group.totals, &waits, seconds);
    differ_in_rates(&mut group.rates, &follows);
    differ_or_none(&mut group.oversubscription, group.usable_cpus.oversubscription(Some(&follows)));
}

fn rates_of_host(model: &mut Model, before: &Model, seconds: f64) {
    let host = &mut model.host;
    let waits = grown(&histogram_counts(&before.host.wait_histogram), &histogram_counts(&host.wait_histogram));
    let follows = Rates::between(&before.host.totals, &host.totals, &waits, seconds);
    differ_in_rates(&mut host.rates, &follows);
}

fn grown(before: &[u64; BUCKETS], now: &[u64; BUCKETS]) -> [u64; BUCKETS] {
    std::array::from_fn(|bucket| now[bucket].wrapping_sub(before[bucket]))
}

/// The waits of one process of each group follow from the group's and from those of its others: of the one that was put
/// on a CPU most often.
fn waits(way: Way, model: &mut Model, earlier: &Earlier<'_>) {
    let mut of_groups: FxHashMap<&str, OfGroup> = FxHashMap::default();
    for group in &model.groups {
        let waits = grown(&earlier.waits_of_group(&group.group), &histogram_counts(&group.wait_histogram));
        of_groups.insert(&group.group, OfGroup { waits, foremost: None });
    }
    for (index, process) in model.processes.iter().enumerate() {
        let Some(group) = of_groups.get_mut(&*process.group) else { continue };
        let was = earlier.process(process).map_or(0, |was| was.totals.runs);
        let runs = process.totals.runs.wrapping_sub(was);
        let other = match group.foremost {
            Some((most, _)) if most >= runs => Some(index),
            _ => group.foremost.replace((runs, index)).map(|(_, before)| before),
        };
        if let Some(other) = other {
            group.waits = grown(&counts(&model.processes[other].interval_waits), &group.waits);
        }
    }
    let foremost: Vec<_> = of_groups.into_values().filter_map(|of| Some((of.foremost?.1, of.waits))).collect();
    for (index, follows) in foremost {
        let waits = &mut model.processes[index].interval_waits;
        let mut counts = counts(waits);
        counts.iter_mut().zip(follows).for_each(|(count, follows)| way.count(count, follows));
        *waits = IntervalWaits::new(&counts);
    }
}

struct OfGroup {
    /// Those in the interval; in the end without those of its other processes.
    waits: [u64; BUCKETS],
    /// How often it was put on a CPU in the interval, and where it is.
    foremost: Option<(u64, usize)>,
}

fn counts(waits: &IntervalWaits) -> [u64; BUCKETS] {
    let mut counts = [0; BUCKETS];
    waits.add_to(&mut counts);
    counts
}

/// How much was taken in the interval follows from how much was by its end; and who took most from that. What is folded
/// is in the order of names. Without a sample before, nothing follows.
fn taken(way: Way, taken: &mut CpuTaken, was: Option<&CpuTaken>, seconds: f64) -> Result<(), Inexact> {
    let ratio_of = |ns: i64| ns as f64 / 1e9 / seconds;
    let mut parts = std::mem::take(taken).into_parts();
    for part in &mut parts {
        let follows_ns = match was {
            None => 0,
            Some(was) => {
                let was = was.iter().find(|was| was.by == part.by).map_or(0.0, |was| was.seconds);
                exact(part.seconds)?.wrapping_sub(exact(was)?)
            }
        };
        if way == Way::Fold {
            let ns = (part.ratio * seconds * 1e9).round() as i64;
            if ratio_of(ns).to_bits() != part.ratio.to_bits() {
                return Err(Inexact);
            }
            part.ratio = ns as f64 / 1e9;
        }
        way.seconds(&mut part.ratio, follows_ns)?;
        if way == Way::Unfold {
            part.ratio = ratio_of(exact(part.ratio)?);
        }
    }
    *taken = match way {
        Way::Fold => {
            parts.sort_by(|a, b| a.by.cmp(&b.by));
            CpuTaken::unsorted(parts)
        }
        Way::Unfold => parts.into_iter().collect(),
    };
    Ok(())
}

/// Totals that are added up, in nanoseconds.
#[derive(Default)]
struct Sum {
    counts: [u64; COUNTS],
    wait_ns: i64,
    cpu_ns: i64,
    time_ns: [i64; TimeState::ALL.len()],
}

const COUNTS: usize = 7;

fn counts_of(totals: &mut Activity) -> [&mut u64; COUNTS] {
    [
        &mut totals.voluntary_switches,
        &mut totals.involuntary_switches,
        &mut totals.same_process_switches,
        &mut totals.runs,
        &mut totals.threads_created,
        &mut totals.processes_created,
        &mut totals.threads_exited,
    ]
}

impl Sum {
    fn add(&mut self, totals: &Activity) -> Result<(), Inexact> {
        let mut totals = *totals;
        self.counts.iter_mut().zip(counts_of(&mut totals)).for_each(|(sum, count)| *sum = sum.wrapping_add(*count));
        self.wait_ns = self.wait_ns.wrapping_add(exact(totals.wait_seconds)?);
        self.cpu_ns = self.cpu_ns.wrapping_add(exact(totals.cpu_seconds)?);
        for (state, seconds) in totals.time_seconds.iter() {
            let sum = &mut self.time_ns[state as usize];
            *sum = sum.wrapping_add(exact(seconds)?);
        }
        Ok(())
    }

    fn of(&self, way: Way, totals: &mut Activity) -> Result<(), Inexact> {
        counts_of(totals).into_iter().zip(self.counts).for_each(|(count, sum)| way.count(count, sum));
        way.seconds(&mut totals.wait_seconds, self.wait_ns)?;
        way.seconds(&mut totals.cpu_seconds, self.cpu_ns)?;
        let mut time_seconds = Vec::with_capacity(self.time_ns.len());
        for (state, mut seconds) in totals.time_seconds.iter() {
            way.seconds(&mut seconds, self.time_ns[state as usize])?;
            time_seconds.push((state, seconds));
        }
        totals.time_seconds = Times::of(time_seconds);
        Ok(())
    }
}

/// A group's totals follow from those of its processes but for what has ended, the host's from those of its groups.
fn sums(way: Way, model: &mut Model) -> Result<(), Inexact> {
    match way {
        Way::Fold => sum_of_host(way, model).and_then(|()| sums_of_groups(way, model)),
        Way::Unfold => sums_of_groups(way, model).and_then(|()| sum_of_host(way, model)),
    }
}

fn sum_of_host(way: Way, model: &mut Model) -> Result<(), Inexact> {
    let (mut sum, mut waits) = (Sum::default(), [0_u64; BUCKETS]);
    for group in &model.groups {
        sum.add(&group.totals)?;
        let of_group = histogram_counts(&group.wait_histogram);
        waits.iter_mut().zip(of_group).for_each(|(sum, count)| *sum = sum.wrapping_add(count));
    }
    sum.of(way, &mut model.host.totals)?;
    let mut counts = histogram_counts(&model.host.wait_histogram);
    counts.iter_mut().zip(waits).for_each(|(count, sum)| way.count(count, sum));
    model.host.wait_histogram = histogram(&counts);
    Ok(())
}

fn sums_of_groups(way: Way, model: &mut Model) -> Result<(), Inexact> {
    let mut of_groups: FxHashMap<&str, (Sum, TakenNs)> = FxHashMap::default();
    for process in &model.processes {
        let (sum, taken_ns) = of_groups.entry(&process.group).or_default();
        sum.add(&process.totals)?;
        for part in process.cpu_taken.iter() {
            add_part(taken_ns, part)?;
        }
    }
    for group in &mut model.groups {
        let Some((sum, follows_ns)) = of_groups.remove(&*group.group) else { continue };
        sum.of(way, &mut group.totals)?;
        let own = std::mem::take(&mut group.cpu_taken).into_parts();
        let (mut taken_ns, rest) = match way {
            Way::Fold => (TakenNs::new(), follows_ns),
            Way::Unfold => (follows_ns, TakenNs::new()),
        };
        own.iter().try_for_each(|part| add_part(&mut taken_ns, part))?;
        for (by, [total, interval]) in rest {
            let part = taken_ns.entry(by).or_default();
            *part = [part[0].wrapping_sub(total), part[1].wrapping_sub(interval)];
        }
        // What is the same of both is not there.
        let parts = taken_ns.into_iter().filter(|(_, ns)| *ns != [0, 0]);
        let part = |(by, [total, interval]): (Arc<str>, [i64; 2])| TakenBy {
            by,
            seconds: total as f64 / 1e9,
            ratio: interval as f64 / 1e9,
        };
        group.cpu_taken = CpuTaken::unsorted(parts.map(part).collect());
    }
    Ok(())
}

/// What each took, by the end and in the interval, in nanoseconds.
type TakenNs = BTreeMap<Arc<str>, [i64; 2]>;

/// Adds what one took, by the end and in the interval.
fn add_part(to: &mut TakenNs, part: &TakenBy) -> Result<(), Inexact> {
    let sum = to.entry(Arc::clone(&part.by)).or_default();
    *sum = [sum[0].wrapping_add(exact(part.seconds)?), sum[1].wrapping_add(exact(part.ratio)?)];
    Ok(())
}

/// The states of which one, the longest, stands for the sum of all: that grows by the interval for each thread.
fn may_stand_for_all(state: TimeState) -> bool {
    !matches!(state, TimeState::Running | TimeState::WaitWakeup | TimeState::WaitPreempted | TimeState::Throttled)
}

/// Of several the first.
fn longest(time_ns: &[i64; TimeState::ALL.len()]) -> Option<TimeState> {
    let states = TimeState::ALL.into_iter().rev().filter(|state| may_stand_for_all(*state));
    states.max_by_key(|state| time_ns[*state as usize])
}

/// Where time went, less what is told twice: on a CPU as CPU time, waiting for one as waits.
fn times(way: Way, totals: &mut Activity) -> Result<(), Inexact> {
    let mut time_ns = [0; TimeState::ALL.len()];
    for (state, seconds) in totals.time_seconds.iter() {
        time_ns[state as usize] = exact(seconds)?;
    }
    let Some(longest) = longest(&time_ns).filter(|_| time_ns.iter().any(|ns| *ns != 0)) else { return Ok(()) };
    let waiting = |time_ns: &[i64]| {
        let of = |state: TimeState| time_ns[state as usize];
        of(TimeState::WaitWakeup).wrapping_add(of(TimeState::Throttled))
    };
    let (cpu_ns, wait_ns) = (exact(totals.cpu_seconds)?, exact(totals.wait_seconds)?);
    let all = |time_ns: &[i64]| time_ns.iter().fold(0_i64, |sum, ns| sum.wrapping_add(*ns));
    let (running, preempted) = (TimeState::Running as usize, TimeState::WaitPreempted as usize);
    if way == Way::Fold {
        if time_ns.iter().any(|ns| *ns < 0) {
            return Err(Inexact);
        }
        let sum = all(&time_ns);
        time_ns[running] = time_ns[running].wrapping_sub(cpu_ns);
        time_ns[preempted] = time_ns[preempted].wrapping_add(waiting(&time_ns)).wrapping_sub(wait_ns);
        time_ns[longest as usize] = sum;
    } else {
        time_ns[running] = time_ns[running].wrapping_add(cpu_ns);
        time_ns[preempted] = time_ns[preempted].wrapping_add(wait_ns).wrapping_sub(waiting(&time_ns));
        let sum = time_ns[longest as usize];
        time_ns[longest as usize] = 0;
        time_ns[longest as usize] = sum.wrapping_sub(all(&time_ns));
    }
    let seconds = |state: TimeState| (state, time_ns[state as usize] as f64 / 1e9);
    totals.time_seconds = Times::of(TimeState::ALL.into_iter().map(seconds));
    let is_exact = |(state, seconds): (TimeState, f64)| nanoseconds(seconds) == Some(time_ns[state as usize]);
    if totals.time_seconds.iter().all(is_exact) { Ok(()) } else { Err(Inexact) }
}
