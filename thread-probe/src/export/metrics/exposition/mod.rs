//! Fills the table of metrics from a model. Built anew for each sample, so a group that is gone is gone.

use std::collections::BTreeSet;

use prometheus::{TextEncoder, core::Collector as _, process_collector::ProcessCollector};
use rustc_hash::FxHashMap;
use thread_probe_ebpf::abi::{
    histogram::{BUCKETS, bucket_of},
    names::CloneFailure,
    time::TimeState,
};

use super::{
    limits,
    table::{self, Metric},
    text::{Exposition, Family, Number},
};
use crate::{
    ledger::{LIFETIME_BOUNDS_NS, ThreadState},
    limits::Limit,
    model::{
        Group, Host, Model, ProbeStatus, RecordingCounts, TakenBy,
        alert::{NotificationCount, State},
    },
};

/// Powers of two at which an exported histogram of durations has its `le`, in nanoseconds. Each ends an internal
/// bucket, so the exported counts are exact. With +Inf they are 14.
const BOUND_EXPONENTS: [u32; 13] = [10, 12, 14, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30];

const NS_PER_SECOND: f64 = 1e9;

/// The text exposition of a model, and of the daemon's own process.
///
/// # Errors
/// The encoder refused what the library says of the process.
pub fn render(model: &Model) -> prometheus::Result<Vec<u8>> {
    let mut out = Exposition::with_capacity(BYTES_BESIDE_GROUPS + model.groups.len() * BYTES_PER_GROUP);
    groups(&mut out, model);
    host_clones(&mut out, &model.host);
    limits::write(&mut out, model);
    host_threads(&mut out, &model.host);
    alerts(&mut out, model);
    probe(&mut out, &model.probe, (&model.version, &model.revision));
    let mut text = out.into_text();
    TextEncoder::new().encode_utf8(&ProcessCollector::for_self().collect(), &mut text)?;
    Ok(text.into_bytes())
}

/// What a group's series take, with a name of usual length.
const BYTES_PER_GROUP: usize = 4 << 10;
/// What all other series take.
const BYTES_BESIDE_GROUPS: usize = 32 << 10;

/// Bounds in nanoseconds as values of `le`.
fn le(bounds_ns: impl IntoIterator<Item = u64>) -> Vec<String> {
    bounds_ns.into_iter().map(|bound_ns| (bound_ns as f64 / 1e9).to_string()).collect()
}

fn le_of_durations() -> Vec<String> {
    le(BOUND_EXPONENTS.map(|exponent| 1 << exponent))
}

/// The cumulative counts of internal buckets at each exported bound.
fn at_bounds(buckets: &[u64; BUCKETS]) -> impl Iterator<Item = u64> {
    let mut from = 0;
    let mut below = 0;
    BOUND_EXPONENTS.iter().map(move |exponent| {
        let end = bucket_of(1 << exponent) + 1;
        below += buckets[from..end].iter().sum::<u64>();
        from = end;
        below
    })
}

fn durations(family: &mut Family<'_>, labels: &[&str], le: &[String], buckets: &[u64; BUCKETS], sum_ns: u64) {
    let cumulative = le.iter().map(String::as_str).zip(at_bounds(buckets));
    family.histogram(labels, cumulative, buckets.iter().sum(), sum_ns as f64 / NS_PER_SECOND);
}

fn groups(out: &mut Exposition, model: &Model) {
    let groups = &model.groups;
    per_group(out, table::PROCESSES, groups, |group| group.processes);
    threads(out, groups);
    per_group(out, table::PROCESSES_CREATED, groups, |group| group.totals.processes_created);
    per_group(out, table::THREADS_CREATED, groups, |group| group.totals.threads_created);
    per_group(out, table::THREADS_EXITED, groups, |group| group.totals.threads_exited);
    switches(out, groups);
    per_group(out, table::SAME_PROCESS, groups, |group| group.totals.same_process_switches);
    waits(out, groups);
    per_group(out, table::CPU, groups, |group| group.raw.counters.cpu_ns as f64 / NS_PER_SECOND);
    times(out, groups);
    taken(out, groups);
    per_group(out, table::BURST, groups, |group| group.cpu_burst_max_seconds);
    per_group(out, table::USABLE_CPUS, groups, |group| group.usable_cpus.cpus);
    blocked(out, model);
    lifetimes(out, groups);
    per_group(out, table::STACK, groups, |group| group.memory.kernel_stack_bytes);
    per_group(out, table::STACK_DEPTH, groups, |group| group.memory.kernel_stack_depth_max_bytes);
    per_group(out, table::KERNEL_MEMORY, groups, |group| group.memory.kernel_memory_bytes);
    group_info(out, groups);
    clone_failures(out, groups);
}

/// One family with one value a group.
fn per_group<N: Into<Number>>(out: &mut Exposition, metric: Metric, groups: &[Group], of: impl Fn(&Group) -> N) {
    let mut family = out.family(metric);
    for group in groups {
        family.value(&[&group.group], of(group));
    }
}

fn threads(out: &mut Exposition, groups: &[Group]) {
    let mut family = out.family(table::THREADS);
    for group in groups {
        for (state, count) in ThreadState::ALL.iter().zip(group.threads.by_state()) {
            family.value(&[&group.group, state.label()], count);
        }
    }
}

fn switches(out: &mut Exposition, groups: &[Group]) {
    let mut family = out.family(table::SWITCHES);
    for Group { group, raw, .. } in groups {
        family.value(&[group, "voluntary"], raw.counters.voluntary_switches);
        family.value(&[group, "involuntary"], raw.counters.involuntary_switches);
    }
}

fn waits(out: &mut Exposition, groups: &[Group]) {
    let le = le_of_durations();
    let mut family = out.family(table::WAIT);
    for Group { group, raw, .. } in groups {
        durations(&mut family, &[group], &le, raw.waits.buckets(), raw.waited_ns);
    }
}

fn taken(out: &mut Exposition, groups: &[Group]) {
    let mut family = out.family(table::TAKEN);
    for Group { group, cpu_taken, .. } in groups {
        for TakenBy { by, seconds, .. } in cpu_taken.iter().filter(|taken| taken.seconds > 0.0) {
            family.value(&[group, by], *seconds);
        }
    }
}

fn blocked(out: &mut Exposition, model: &Model) {
    let mut longest: FxHashMap<&str, f64> = FxHashMap::default();
    for process in &model.processes {
        if let Some(blocked) = &process.longest_blocked {
            let seconds = longest.entry(&process.group).or_default();
            *seconds = seconds.max(blocked.seconds);
        }
    }
    per_group(out, table::BLOCKED, &model.groups, |group| longest.get(&*group.group).copied().unwrap_or(0.0));
}

fn times(out: &mut Exposition, groups: &[Group]) {
    let mut family = out.family(table::TIME);
    for Group { group, raw, .. } in groups {
        for (state, ns) in TimeState::ALL.into_iter().zip(raw.counters.time_ns).filter(|(_, ns)| *ns != 0) {
            family.value(&[group, state.label()], ns as f64 / NS_PER_SECOND);
        }
    }
}

fn lifetimes(out: &mut Exposition, groups: &[Group]) {
    let le = le(LIFETIME_BOUNDS_NS);
    let mut family = out.family(table::LIFETIME);
    for group in groups.iter().filter(|group| group.totals.threads_exited != 0) {
        let totals = &group.raw;
        let mut below = 0;
        let cumulative = le.iter().zip(totals.lifetimes).map(|(le, count)| {
            below += count;
            (le.as_str(), below)
        });
        let sum = totals.lifetimes_ns as f64 / NS_PER_SECOND;
        family.histogram(&[&group.group], cumulative, totals.lifetimes.iter().sum(), sum);
    }
}

fn group_info(out: &mut Exposition, groups: &[Group]) {
    let mut family = out.family(table::GROUP_INFO);
    for group in groups {
        if let Some(owner) = &group.owner {
            limits::info(&mut family, &group.group, owner);
        }
    }
}

/// Those of a group once there was one: twelve series each would be many. Those of the host are there from the start,
/// so that the first failure is an increase.
fn clone_failures(out: &mut Exposition, groups: &[Group]) {
    let mut family = out.family(table::CLONE_FAILURES);
    for group in groups {
        let counts = CloneFailure::ALL.iter().zip(group.raw.clone_failures);
        for (failure, count) in counts.filter(|(_, count)| *count != 0) {
            let [errno, limit] = failure_labels(*failure);
            family.value(&[&group.group, errno, limit], count);
        }
    }
}

/// errno and limit; the latter is empty, which is as none, where no limit refuses with that errno.
fn failure_labels(failure: CloneFailure) -> [&'static str; 2] {
    [failure.errno().label(), Limit::of(failure).map_or("", Limit::label)]
}

fn host_clones(out: &mut Exposition, host: &Host) {
    let mut family = out.family(table::HOST_CLONE_FAILURES);
    for (failure, count) in CloneFailure::ALL.iter().zip(host.raw.clone_failures) {
        family.value(&failure_labels(*failure), count);
    }
    let (buckets, sum_ns) = (&host.raw.clone_duration_buckets, host.raw.clone_duration_sum_ns);
    durations(&mut out.family(table::CLONE_DURATION), &[], &le_of_durations(), buckets, sum_ns);
}

fn host_threads(out: &mut Exposition, host: &Host) {
    out.single(table::HOST_THREADS, host.threads.total);
    out.single(table::HOST_CPUS, host.cpus);
    let mut family = out.family(table::HOST_RUNNABLE);
    // Without a ledger of time, and in the first sample, nobody knows.
    if let Some(rates) = host.rates.filter(|rates| rates.time_ratio.total() > 0.0) {
        family.value(&[], rates.cpu_work().wanted);
    }
    let mut family = out.family(table::HOST_PRESSURE);
    if let Some(seconds) = host.cpu_pressure_seconds {
        family.value(&[], seconds);
    }
    let cost = &host.thread_cost;
    let mut family = out.family(table::THREAD_COST);
    family.value(&["stack"], cost.stack_bytes);
    family.value(&["task_struct"], cost.task_struct_bytes);
    family.value(&["probe"], cost.probe_bytes);
}

/// Alerts that differ in nothing but limit or scope are one series.
fn alerts(out: &mut Exposition, model: &Model) {
    let firing = model.alerts.iter().filter(|alert| alert.state == State::Firing);
    let labels: BTreeSet<_> =
        firing.map(|alert| [alert.alert.label(), alert.severity.label(), &*alert.group]).collect();
    let mut family = out.family(table::ALERT_FIRING);
    for labels in &labels {
        family.value(labels, 1_u64);
    }
    out.single(table::ALERTS_SUPPRESSED, model.alerts_suppressed);
    requests(out, table::NOTIFICATIONS, &model.notifications, |count| count.requests);
    requests(out, table::NOTIFICATIONS_FAILED, &model.notifications, |count| count.failed);
    recording(out, model.recording);
}

fn recording(out: &mut Exposition, counts: Option<RecordingCounts>) {
    let Some(RecordingCounts { samples, lost_samples, bytes }) = counts else { return };
    out.single(table::RECORDED_SAMPLES, samples);
    out.single(table::RECORDING_LOST_SAMPLES, lost_samples);
    out.single(table::RECORDING_BYTES, bytes);
}

fn requests(out: &mut Exposition, metric: Metric, counts: &[NotificationCount], of: fn(&NotificationCount) -> u64) {
    let mut family = out.family(metric);
    for count in counts {
        family.value(&[&count.alertmanager], of(count));
    }
}

fn probe(out: &mut Exposition, probe: &ProbeStatus, (version, revision): (&str, &str)) {
    out.family(table::BUILD_INFO).value(&[version, revision], 1_u64);
    let mut family = out.family(table::PROGRAM_ATTACHED);
    for program in probe.programs.iter() {
        family.value(&[&program.program, program.source.label()], u64::from(program.is_attached()));
    }
    out.single(table::SAMPLE_DURATION, probe.sample_duration_seconds);
    out.single(table::SAMPLE_THREADS, probe.sample_threads);
    out.single(table::TELLS_THROTTLING, u64::from(probe.tells_throttling));
    let mut family = out.family(table::LOST);
    for lost in &probe.lost {
        family.value(&[&lost.reason], lost.count);
    }
    out.single(table::GROUPS_DROPPED, probe.groups_dropped);
    out.single(table::CONFIG_RELOADED, u64::from(probe.config.last_reload_successful));
    out.single(table::CONFIG_RELOADED_AT, probe.config.last_reload_success_unix_seconds);
}

#[cfg(test)]
mod tests;
