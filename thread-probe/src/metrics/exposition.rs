//! Filling the table from a model. Built anew for each sample, so a group that is gone is gone.

use std::{collections::BTreeSet, sync::Arc};

use prometheus::{Encoder as _, TextEncoder, core::Collector as _, process_collector::ProcessCollector, proto};
use thread_probe_ebpf::{
    histogram::{BUCKETS, bucket_of},
    names::CloneFailure,
};

use super::table::{self, Kind, Metric};
use crate::{
    alerts::{notify::NotificationCount, view::State},
    cgroup_owner::Owner,
    ledger::{LIFETIME_BOUNDS_NS, ThreadState},
    limits::Limit,
    model::{Group, Host, Model},
};

/// Powers of two at which an exported histogram of durations has its `le`, in nanoseconds. Each ends an internal
/// bucket, so the exported counts are exact. With +Inf they are 14.
const BOUND_EXPONENTS: [u32; 13] = [10, 12, 14, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30];

const SECONDS_PER_NS: f64 = 1e-9;

/// The text exposition of a model, and of the daemon's own process.
///
/// # Errors
/// The encoder refused a family: a mistake in the table.
pub fn render(model: &Model) -> prometheus::Result<Vec<u8>> {
    let mut families = group_families(&model.groups);
    families.extend(super::limits::families(model));
    families.extend(host_families(model));
    families.extend(alert_families(model));
    families.extend(self_families(model));
    families.extend(ProcessCollector::for_self().collect());
    families.retain(|family| !family.get_metric().is_empty());
    // Growing a megabyte step by step would cost a third of the time.
    let mut text = Vec::with_capacity(BYTES_BESIDE_GROUPS + model.groups.len() * BYTES_PER_GROUP);
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}

/// What a group's series take, with a name of usual length.
const BYTES_PER_GROUP: usize = 4 << 10;
/// What all other series take.
const BYTES_BESIDE_GROUPS: usize = 32 << 10;

pub(super) fn family(metric: Metric, metrics: Vec<proto::Metric>) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}

fn labelled(metric: &Metric, values: &[&str]) -> proto::Metric {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    proto::Metric::from_label(metric.labels.iter().zip(values).map(pair).collect())
}

pub(super) fn value(metric: &Metric, labels: &[&str], value: f64) -> proto::Metric {
    let mut out = labelled(metric, labels);
    match metric.kind {
        Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            out.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            out.set_gauge(gauge);
        }
        Kind::Histogram => debug_assert!(false, "{} is a histogram", metric.name),
    }
    out
}

/// A histogram of the given bounds in nanoseconds and cumulative counts.
fn histogram(
    metric: &Metric,
    labels: &[&str],
    cumulative: impl Iterator<Item = (u64, u64)>,
    count: u64,
    sum_ns: u128,
) -> proto::Metric {
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum_ns as f64 * SECONDS_PER_NS);
    let buckets = cumulative.map(|(bound_ns, below)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound_ns as f64 / 1e9);
        bucket.set_cumulative_count(below);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    let mut out = labelled(metric, labels);
    out.set_histogram(histogram);
    out
}

/// The cumulative counts of internal buckets at each exported bound.
fn at_bounds(buckets: &[u64; BUCKETS]) -> impl Iterator<Item = (u64, u64)> {
    let mut from = 0;
    let mut below = 0;
    BOUND_EXPONENTS.iter().map(move |exponent| {
        let bound_ns = 1u64 << exponent;
        let end = bucket_of(bound_ns) + 1;
        below += buckets[from..end].iter().sum::<u64>();
        from = end;
        (bound_ns, below)
    })
}

fn durations(metric: &Metric, labels: &[&str], buckets: &[u64; BUCKETS], sum_ns: u64) -> proto::Metric {
    histogram(metric, labels, at_bounds(buckets), buckets.iter().sum(), u128::from(sum_ns))
}

fn lifetimes(group: &Group) -> proto::Metric {
    let totals = &group.raw;
    let mut below = 0;
    let cumulative = LIFETIME_BOUNDS_NS.iter().zip(totals.lifetimes).map(|(bound, count)| {
        below += count;
        (*bound, below)
    });
    let count = totals.lifetimes.iter().sum();
    histogram(&table::LIFETIME, &[&group.group], cumulative, count, totals.lifetimes_ns)
}

/// One family with one value a group.
fn per_group(metric: Metric, groups: &[Group], of: impl Fn(&Group) -> f64) -> proto::MetricFamily {
    family(metric, groups.iter().map(|group| value(&metric, &[&group.group], of(group))).collect())
}

fn group_families(groups: &[Group]) -> Vec<proto::MetricFamily> {
    let waits = groups
        .iter()
        .map(|group| durations(&table::WAIT, &[&group.group], group.raw.waits.buckets(), group.raw.waited_ns));
    let with_ended = groups.iter().filter(|group| group.totals.threads_exited != 0);
    vec![
        per_group(table::PROCESSES, groups, |group| group.processes as f64),
        threads(groups),
        per_group(table::PROCESSES_CREATED, groups, |group| group.totals.processes_created as f64),
        per_group(table::THREADS_CREATED, groups, |group| group.totals.threads_created as f64),
        per_group(table::THREADS_EXITED, groups, |group| group.totals.threads_exited as f64),
        switches(groups),
        per_group(table::SAME_PROCESS, groups, |group| group.totals.same_process_switches as f64),
        family(table::WAIT, waits.collect()),
        per_group(table::CPU, groups, |group| group.totals.cpu_seconds),
        family(table::LIFETIME, with_ended.map(lifetimes).collect()),
        per_group(table::STACK, groups, |group| group.memory.kernel_stack_bytes as f64),
        per_group(table::STACK_DEPTH, groups, |group| group.memory.kernel_stack_depth_max_bytes as f64),
        per_group(table::KERNEL_MEMORY, groups, |group| group.memory.kernel_memory_bytes as f64),
        group_info(groups),
        clone_failures(groups),
    ]
}

/// What the name of a group or cgroup stands for.
pub(super) fn info(metric: &Metric, name: &str, owner: &Owner) -> proto::Metric {
    let label = |part: &Option<Arc<str>>| part.clone().unwrap_or_default();
    value(metric, &[name, &label(&owner.unit), &label(&owner.container), &label(&owner.pod)], 1.0)
}

fn group_info(groups: &[Group]) -> proto::MetricFamily {
    let of_group = |group: &Group| Some(info(&table::GROUP_INFO, &group.group, group.owner.as_ref()?));
    family(table::GROUP_INFO, groups.iter().filter_map(of_group).collect())
}

fn threads(groups: &[Group]) -> proto::MetricFamily {
    let of_group = |group: &Group| {
        let by_state = ThreadState::ALL.iter().zip(group.threads.by_state());
        by_state
            .map(|(state, count)| value(&table::THREADS, &[&group.group, state.label()], count as f64))
            .collect::<Vec<_>>()
    };
    family(table::THREADS, groups.iter().flat_map(of_group).collect())
}

fn switches(groups: &[Group]) -> proto::MetricFamily {
    let of_group = |group: &Group| {
        let kinds =
            [("voluntary", group.totals.voluntary_switches), ("involuntary", group.totals.involuntary_switches)];
        kinds.map(|(kind, count)| value(&table::SWITCHES, &[&group.group, kind], count as f64))
    };
    family(table::SWITCHES, groups.iter().flat_map(of_group).collect())
}

/// Those of a group once there was one: twelve series each would be many. Those of the host are there from the start,
/// so that the first failure is an increase.
fn clone_failures(groups: &[Group]) -> proto::MetricFamily {
    let of_group = |group: &Group| {
        let counts = CloneFailure::ALL.iter().zip(group.raw.counters.clone_failures);
        counts
            .filter(|(_, count)| *count != 0)
            .map(|(failure, count)| {
                let [errno, limit] = failure_labels(*failure);
                value(&table::CLONE_FAILURES, &[&group.group, errno, limit], count as f64)
            })
            .collect::<Vec<_>>()
    };
    family(table::CLONE_FAILURES, groups.iter().flat_map(of_group).collect())
}

fn host_clone_failures(host: &Host) -> proto::MetricFamily {
    let counts = CloneFailure::ALL.iter().zip(host.raw.clone_failures);
    let metric = table::HOST_CLONE_FAILURES;
    family(metric, counts.map(|(failure, count)| value(&metric, &failure_labels(*failure), count as f64)).collect())
}

/// errno and limit; the latter is empty, which is as none, where no limit refuses with that errno.
fn failure_labels(failure: CloneFailure) -> [&'static str; 2] {
    [failure.errno().label(), Limit::of(failure).map_or("", Limit::label)]
}

fn host_families(model: &Model) -> Vec<proto::MetricFamily> {
    let host = &model.host;
    let cost = &host.thread_cost;
    let parts = [("stack", cost.stack_bytes), ("task_struct", cost.task_struct_bytes), ("probe", cost.probe_bytes)];
    vec![
        family(
            table::CLONE_DURATION,
            vec![durations(
                &table::CLONE_DURATION,
                &[],
                &host.raw.clone_duration_buckets,
                host.raw.clone_duration_sum_ns,
            )],
        ),
        host_clone_failures(host),
        single(table::HOST_THREADS, host.threads.total as f64),
        family(
            table::THREAD_COST,
            parts.iter().map(|(part, bytes)| value(&table::THREAD_COST, &[part], *bytes as f64)).collect(),
        ),
    ]
}

pub(super) fn single(metric: Metric, number: f64) -> proto::MetricFamily {
    family(metric, vec![value(&metric, &[], number)])
}

/// Alerts that differ in nothing but limit or scope are one series.
fn alert_families(model: &Model) -> Vec<proto::MetricFamily> {
    let firing = model.alerts.iter().filter(|alert| alert.state == State::Firing);
    let labels: BTreeSet<_> =
        firing.map(|alert| [alert.alert.label(), alert.severity.label(), &*alert.group]).collect();
    let requests = |metric: &Metric, of: fn(&NotificationCount) -> u64| {
        let counts = model.notifications.iter();
        counts.map(|count| value(metric, &[&count.alertmanager], of(count) as f64)).collect()
    };
    vec![
        family(table::ALERT_FIRING, labels.iter().map(|labels| value(&table::ALERT_FIRING, labels, 1.0)).collect()),
        single(table::ALERTS_SUPPRESSED, model.alerts_suppressed as f64),
        family(table::NOTIFICATIONS, requests(&table::NOTIFICATIONS, |count| count.requests)),
        family(table::NOTIFICATIONS_FAILED, requests(&table::NOTIFICATIONS_FAILED, |count| count.failed)),
    ]
}

fn self_families(model: &Model) -> Vec<proto::MetricFamily> {
    let probe = &model.probe;
    let attached = probe.programs.iter().map(|program| {
        let labels = [&*program.program, program.source.label()];
        value(&table::PROGRAM_ATTACHED, &labels, f64::from(u8::from(program.is_attached())))
    });
    let lost = probe.lost.iter().map(|lost| value(&table::LOST, &[&lost.reason], lost.count as f64));
    vec![
        family(table::BUILD_INFO, vec![value(&table::BUILD_INFO, &[&model.version], 1.0)]),
        family(table::PROGRAM_ATTACHED, attached.collect()),
        single(table::SAMPLE_DURATION, probe.sample_duration_seconds),
        single(table::SAMPLE_THREADS, probe.sample_threads as f64),
        family(table::LOST, lost.collect()),
        single(table::GROUPS_DROPPED, probe.groups_dropped as f64),
        single(table::CONFIG_RELOADED, f64::from(u8::from(probe.config.last_reload_successful))),
        single(table::CONFIG_RELOADED_AT, probe.config.last_reload_success_unix_seconds),
    ]
}

#[cfg(test)]
mod tests;
