//! The metrics of limits.

use super::{
    table::{self, Metric},
    text::{Exposition, Family, Number},
};
use crate::{
    limits::{Limit, LimitUse, Quota, Scope, Unit},
    model::{Group, Model},
    names::owner::Owner,
};

/// The limits that processes share, and each group's nearest.
pub(super) fn write(out: &mut Exposition, model: &Model) {
    let limits = &model.limits;
    let host: Vec<&LimitUse> = limits.shared.iter().filter(|limit| limit.scope == Scope::Host).collect();
    let (of_bytes, of_threads): (Vec<_>, Vec<_>) = host.into_iter().partition(|limit| limit.unit == Unit::Bytes);
    per_limit(out, table::LIMIT_MAX_THREADS, &of_threads, label, max);
    per_limit(out, table::LIMIT_USED_THREADS, &of_threads, label, used);
    per_limit(out, table::LIMIT_MAX_BYTES, &of_bytes, label, max);
    per_limit(out, table::LIMIT_USED_BYTES, &of_bytes, label, used);
    let cgroups = Exported::of(model, Scope::Cgroup, Limit::CgroupPids);
    per_limit(out, table::CGROUP_PIDS_MAX, &cgroups.limits, name, max);
    per_limit(out, table::CGROUP_PIDS_USED, &cgroups.limits, name, used);
    per_limit(out, table::CGROUP_PIDS_FAILURES, &cgroups.limits, name, |limit| limit.refused);
    cgroup_info(out, &cgroups.limits);
    let left_out_quotas = quotas(out, model);
    let users = Exported::of(model, Scope::User, Limit::Nproc);
    per_limit(out, table::USER_THREADS_MAX, &users.limits, name, max);
    per_limit(out, table::USER_THREADS_USED, &users.limits, name, used);
    headroom(out, &model.groups);
    exhaustion(out, &model.groups);
    let mut family = out.family(table::LIMITS_LEFT_OUT);
    family.value(&[Scope::Cgroup.label()], cgroups.left_out);
    family.value(&["cpu_quota"], left_out_quotas);
    family.value(&[Scope::User.label()], users.left_out);
    let mut family = out.family(table::LIMITS_UNREADABLE);
    for unreadable in &limits.unreadable {
        family.value(&[&unreadable.file], unreadable.count);
    }
    out.single(table::LIMITS_DURATION, limits.duration_seconds);
}

/// The most endangered limits of a kind, as many as there may be groups, each name once.
struct Exported<'a> {
    limits: Vec<&'a LimitUse>,
    left_out: u64,
}

impl<'a> Exported<'a> {
    fn of(model: &'a Model, scope: Scope, limit: Limit) -> Self {
        let wanted = model.limits.shared.iter().filter(|found| found.scope == scope && found.limit == limit);
        let mut names = rustc_hash::FxHashSet::default();
        // A user may have several limits: the fullest, which is the lowest, comes first.
        let mut limits: Vec<&LimitUse> = wanted.filter(|limit| names.insert(&limit.name)).collect();
        let left_out = limits.len().saturating_sub(model.max_groups) as u64;
        limits.truncate(model.max_groups);
        Self { limits, left_out }
    }
}

/// The quotas that took most, as many as there may be groups. Returns how many are left out.
fn quotas(out: &mut Exposition, model: &Model) -> u64 {
    let mut quotas: Vec<&Quota> = model.cpu_quotas.iter().collect();
    quotas.sort_by(|a, b| b.throttled_seconds.total_cmp(&a.throttled_seconds));
    let left_out = quotas.len().saturating_sub(model.max_groups) as u64;
    quotas.truncate(model.max_groups);
    per_quota(out, table::CPU_QUOTA, &quotas, |quota| quota.cpus);
    per_quota(out, table::CPU_PERIODS, &quotas, |quota| quota.periods);
    per_quota(out, table::CPU_THROTTLED_PERIODS, &quotas, |quota| quota.throttled_periods);
    per_quota(out, table::CPU_THROTTLED, &quotas, |quota| quota.throttled_seconds);
    left_out
}

fn per_quota<N: Into<Number>>(out: &mut Exposition, metric: Metric, quotas: &[&Quota], of: impl Fn(&Quota) -> N) {
    let mut family = out.family(metric);
    for quota in quotas {
        family.value(&[&quota.cgroup], of(quota));
    }
}

fn label(limit: &LimitUse) -> &str {
    limit.limit.label()
}

fn name(limit: &LimitUse) -> &str {
    &limit.name
}

fn used(limit: &LimitUse) -> Option<u64> {
    Some(limit.used)
}

fn max(limit: &LimitUse) -> Option<u64> {
    Some(limit.max)
}

fn per_limit(
    out: &mut Exposition,
    metric: Metric,
    limits: &[&LimitUse],
    label: impl Fn(&LimitUse) -> &str,
    of: impl Fn(&LimitUse) -> Option<u64>,
) {
    let mut family = out.family(metric);
    for limit in limits {
        if let Some(number) = of(limit) {
            family.value(&[label(limit)], number);
        }
    }
}

fn cgroup_info(out: &mut Exposition, limits: &[&LimitUse]) {
    let mut family = out.family(table::CGROUP_INFO);
    for limit in limits {
        info(&mut family, &limit.name, &Owner::of(&limit.name));
    }
}

fn headroom(out: &mut Exposition, groups: &[Group]) {
    let with_limit = || groups.iter().filter_map(|group| Some((&*group.group, &group.headroom.as_ref()?.binding)));
    let mut family = out.family(table::HEADROOM_THREADS);
    for (group, binding) in with_limit() {
        family.value(&[group, binding.limit.label()], binding.headroom_threads);
    }
    let mut family = out.family(table::HEADROOM_RATIO);
    for (group, binding) in with_limit() {
        // A limit that was lowered below its use has no headroom, not less.
        family.value(&[group], (1.0 - binding.used_ratio).max(0.0));
    }
}

fn exhaustion(out: &mut Exposition, groups: &[Group]) {
    let mut family = out.family(table::EXHAUSTION);
    for group in groups {
        let first = group.headroom.as_ref().and_then(|headroom| headroom.first_exhausted.as_ref());
        if let Some((limit, seconds)) = first.and_then(|first| Some((first.limit, first.exhaustion_seconds?))) {
            family.value(&[&group.group, limit.label()], seconds);
        }
    }
}

/// What the name of a group or cgroup stands for.
pub(super) fn info(family: &mut Family<'_>, name: &str, owner: &Owner) {
    let [unit, container, pod] =
        [&owner.unit, &owner.container, &owner.pod].map(|part| part.as_deref().unwrap_or_default());
    family.value(&[name, unit, container, pod], 1_u64);
}
