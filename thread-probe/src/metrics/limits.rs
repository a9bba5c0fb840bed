//! The families of the limits.

use prometheus::proto;

use super::{
    exposition::{family, info, single, value},
    table::{self, Metric},
};
use crate::{
    cgroup_owner::Owner,
    limits::{Limit, LimitUse, Scope},
    model::{Group, Model},
};

/// The limits that processes share, and each group's nearest.
pub(super) fn families(model: &Model) -> Vec<proto::MetricFamily> {
    let limits = &model.limits;
    let shared = |scope, limit| Exported::of(model, scope, limit);
    let (cgroups, users) = (shared(Scope::Cgroup, Limit::CgroupPids), shared(Scope::User, Limit::Nproc));
    let host: Vec<&LimitUse> = limits.shared.iter().filter(|limit| limit.scope == Scope::Host).collect();
    let label_of_host = |limit: &LimitUse| limit.limit.label().to_owned();
    let name = |limit: &LimitUse| limit.name.to_string();
    let used = |limit: &LimitUse| Some(limit.used as f64);
    let max = |limit: &LimitUse| Some(limit.max as f64);
    let left_out = [(Scope::Cgroup, cgroups.left_out), (Scope::User, users.left_out)];
    let unreadable = limits.unreadable.iter();
    vec![
        per_limit(table::LIMIT_MAX, &host, label_of_host, max),
        per_limit(table::LIMIT_USED, &host, label_of_host, used),
        per_limit(table::CGROUP_PIDS_MAX, &cgroups.limits, name, max),
        per_limit(table::CGROUP_PIDS_USED, &cgroups.limits, name, used),
        per_limit(table::CGROUP_PIDS_FAILURES, &cgroups.limits, name, |limit| limit.refused.map(|count| count as f64)),
        cgroup_info(&cgroups.limits),
        per_limit(table::USER_THREADS_MAX, &users.limits, name, max),
        per_limit(table::USER_THREADS_USED, &users.limits, name, used),
        headroom_threads(&model.groups),
        headroom_ratio(&model.groups),
        exhaustion(&model.groups),
        family(
            table::LIMITS_LEFT_OUT,
            left_out.map(|(scope, count)| value(&table::LIMITS_LEFT_OUT, &[scope.label()], count as f64)).to_vec(),
        ),
        family(
            table::LIMITS_UNREADABLE,
            unreadable.map(|file| value(&table::LIMITS_UNREADABLE, &[&file.file], file.count as f64)).collect(),
        ),
        single(table::LIMITS_DURATION, limits.duration_seconds),
    ]
}

/// The most endangered limits of a kind, as many as there may be groups, each name once.
struct Exported<'a> {
    limits: Vec<&'a LimitUse>,
    left_out: usize,
}

impl<'a> Exported<'a> {
    fn of(model: &'a Model, scope: Scope, limit: Limit) -> Self {
        let wanted = model.limits.shared.iter().filter(|found| found.scope == scope && found.limit == limit);
        let mut names = rustc_hash::FxHashSet::default();
        // A user may have several limits: the fullest, which is the lowest, comes first.
        let mut limits: Vec<&LimitUse> = wanted.filter(|limit| names.insert(&limit.name)).collect();
        let left_out = limits.len().saturating_sub(model.max_groups);
        limits.truncate(model.max_groups);
        Self { limits, left_out }
    }
}

fn per_limit(
    metric: Metric,
    limits: &[&LimitUse],
    label: impl Fn(&LimitUse) -> String,
    of: impl Fn(&LimitUse) -> Option<f64>,
) -> proto::MetricFamily {
    let series = limits.iter().filter_map(|limit| Some(value(&metric, &[&label(limit)], of(limit)?)));
    family(metric, series.collect())
}

fn cgroup_info(limits: &[&LimitUse]) -> proto::MetricFamily {
    let of_cgroup = |limit: &&LimitUse| info(&table::CGROUP_INFO, &limit.name, &Owner::of(&limit.name));
    family(table::CGROUP_INFO, limits.iter().map(of_cgroup).collect())
}

fn headroom_threads(groups: &[Group]) -> proto::MetricFamily {
    let metric = table::HEADROOM_THREADS;
    let of_group = |group: &Group| {
        let binding = &group.headroom.as_ref()?.binding;
        Some(value(&metric, &[&group.group, binding.limit.label()], binding.headroom_threads as f64))
    };
    family(metric, groups.iter().filter_map(of_group).collect())
}

fn headroom_ratio(groups: &[Group]) -> proto::MetricFamily {
    let metric = table::HEADROOM_RATIO;
    let of_group = |group: &Group| {
        let binding = &group.headroom.as_ref()?.binding;
        // A limit that was lowered below its use has no headroom, not less.
        Some(value(&metric, &[&group.group], (1.0 - binding.used_ratio).max(0.0)))
    };
    family(metric, groups.iter().filter_map(of_group).collect())
}

fn exhaustion(groups: &[Group]) -> proto::MetricFamily {
    let metric = table::EXHAUSTION;
    let of_group = |group: &Group| {
        let first = group.headroom.as_ref()?.first_exhausted.as_ref()?;
        Some(value(&metric, &[&group.group, first.limit.label()], first.exhaustion_seconds?))
    };
    family(metric, groups.iter().filter_map(of_group).collect())
}
