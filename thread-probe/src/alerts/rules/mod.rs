//! What each rule looks at: its figure, for each subject, in words.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use super::{
    config::{Rule, Rules},
    describe::{self, Refused},
};
use crate::{
    limits::{LimitUse, Scope, Unit},
    model::{
        CpuTaken, Group, Model, Process, Rates,
        alert::{AlertName, Severity, Subject},
    },
};

/// Threads of a group that must end in a second before their short lives matter.
const MANY_ENDS_PER_SECOND: f64 = 100.0;
/// The time until a limit is reached whose use does not grow any more: ten years.
const NEVER_SECONDS: f64 = 10.0 * 365.0 * 86_400.0;
/// Threads of a group that have work on average, up to which it does not matter what of it they may not do.
const LITTLE_WORK: f64 = 0.1;
/// Switches of a group in a second up to which hardly anything of it waits: what does is no reason to wake anybody.
const FEW_SWITCHES_PER_SECOND: f64 = 1.0;

/// Voluntary switches of a process from which on it is known how long its threads usually run.
const MANY_SLEEPS: u64 = 100;
/// CPU time between two of them up to which its threads do not compute.
const SHORT_BURST_SECONDS: f64 = 0.1;

impl AlertName {
    /// Its rule.
    pub fn rule(self, rules: &Rules) -> &Rule {
        match self {
            Self::ThreadLimitNear => &rules.limit_use,
            Self::ThreadLimitExhaustionSoon => &rules.exhaustion,
            Self::CloneFailures => &rules.clone_failures,
            Self::RunQueueLatencyHigh => &rules.runqueue_latency,
            Self::CpuThrottled => &rules.cpu_throttled,
            Self::CpuContended => &rules.cpu_contended,
            Self::ThreadsOversubscribed => &rules.oversubscription,
            Self::ThreadStuck => &rules.thread_blocked,
            Self::ThreadSpinning => &rules.cpu_burst,
            Self::KernelStackDeep => &rules.kernel_stack_depth,
            Self::ShortLivedThreads => &rules.short_lived_threads,
            Self::ContextSwitchOverhead => &rules.switch_overhead,
        }
    }

    /// Whether a figure has reached a threshold: is as large, or where less is worse, as small. Nothing at all of what
    /// should not be reaches no threshold, not even one of 0.
    pub fn reaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::ThreadLimitExhaustionSoon => value <= threshold,
            _ => value >= threshold && value > 0.0,
        }
    }

    /// What a figure must no longer reach to count as gone.
    pub fn clear_threshold(self, rule: &Rule, threshold: f64) -> f64 {
        match self {
            Self::ThreadLimitExhaustionSoon => threshold * (1.0 + rule.hysteresis),
            _ => threshold * (1.0 - rule.hysteresis),
        }
    }
}

impl Rule {
    /// From where on it is of this severity; `None` never.
    pub fn threshold(&self, severity: Severity) -> Option<f64> {
        let threshold = match severity {
            Severity::Critical => self.critical,
            Severity::Warning => self.warning,
        };
        threshold.filter(|_| self.enabled)
    }
}

/// A figure, and what a person needs to know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The figure.
    pub value: f64,
    /// What, where and how much.
    pub summary: Arc<str>,
    /// What to do.
    pub advice: Arc<str>,
}

/// The figures of a model that reached a threshold or have yet to come back behind it, and those of subjects that have
/// an alert. All others are most: they cost a comparison each, and no text.
#[derive(Debug)]
pub struct Findings<'a> {
    rules: &'a Rules,
    /// Those that have an alert.
    watched: BTreeSet<Subject>,
    found: BTreeMap<Subject, Finding>,
    /// What is said of limits that have an alert and matter no more.
    calm: BTreeMap<Subject, Finding>,
}

impl<'a> Findings<'a> {
    /// Looks at a model with all rules. `watched` have an alert.
    pub fn of(rules: &'a Rules, model: &Model, watched: BTreeSet<Subject>) -> Self {
        let mut findings = Self { rules, watched, found: BTreeMap::new(), calm: BTreeMap::new() };
        for limit in model.limits.shared.iter().filter(|limit| !is_meant_to_be_full(limit)) {
            findings.limit_use(limit);
            findings.exhaustion(limit, None);
        }
        for group in &model.groups {
            let first_exhausted = group.headroom.as_ref().and_then(|headroom| headroom.first_exhausted.as_ref());
            if let Some(limit) = first_exhausted.filter(|limit| limit.scope == Scope::Process) {
                findings.exhaustion(limit, Some(&group.group));
            }
            findings.clone_failures(group, model);
            if let Some(rates) = &group.rates {
                findings.rates(group, rates, culprits(group, rates, model.probe.tells_throttling));
            }
        }
        findings.kernel_stacks(&model.processes, model.host.thread_cost.stack_bytes);
        for process in &model.processes {
            findings.blocked(process);
            findings.burst(process);
        }
        findings
    }

    /// The figures, by subject.
    pub fn iter(&self) -> impl Iterator<Item = (&Subject, &Finding)> {
        self.found.iter()
    }

    /// The figure of a subject, unless it is far from every threshold or gone.
    pub fn get(&self, subject: &Subject) -> Option<&Finding> {
        self.found.get(subject)
    }

    /// What there is to say of a limit that has an alert and is far from every threshold; `None` if it is gone.
    pub fn calm(&self, subject: &Subject) -> Option<&Finding> {
        self.calm.get(subject)
    }

    /// Whether it matters to any severity.
    fn matters(&self, alert: AlertName, value: f64) -> bool {
        let rule = alert.rule(self.rules);
        let thresholds = [Severity::Critical, Severity::Warning].into_iter().filter_map(|of| rule.threshold(of));
        thresholds.into_iter().any(|threshold| alert.reaches(value, alert.clear_threshold(rule, threshold)))
    }

    /// Of two figures of one subject the worse counts: a user may have several limits.
    fn add(&mut self, subject: Subject, value: f64, (summary, advice): (String, String)) {
        if self.get(&subject).is_some_and(|known| subject.alert.reaches(known.value, value)) {
            return;
        }
        self.found.insert(subject, Finding { value, summary: summary.into(), advice: advice.into() });
    }

    fn limit_use(&mut self, limit: &LimitUse) {
        let (alert, value) = (AlertName::ThreadLimitNear, limit.used_ratio);
        if self.matters(alert, value) {
            self.add(of_limit(alert, limit, None), value, describe::limit_use(limit));
        } else {
            self.add_calm(|| of_limit(alert, limit, None), value, || describe::limit_use(limit));
        }
    }

    fn add_calm(&mut self, subject: impl Fn() -> Subject, value: f64, text: impl Fn() -> (String, String)) {
        if self.watched.is_empty() {
            return;
        }
        let subject = subject();
        if self.watched.contains(&subject) {
            let (summary, advice) = text();
            self.calm.insert(subject, Finding { value, summary: summary.into(), advice: advice.into() });
        }
    }

    /// `group` is that of the process whose limit it is; the others are limits of a subject of their own.
    fn exhaustion(&mut self, limit: &LimitUse, group: Option<&Arc<str>>) {
        let alert = AlertName::ThreadLimitExhaustionSoon;
        if let Some(value) = limit.exhaustion_seconds.filter(|seconds| self.matters(alert, *seconds)) {
            self.add(of_limit(alert, limit, group), value, describe::exhaustion(limit));
        } else {
            let value = limit.exhaustion_seconds.unwrap_or(NEVER_SECONDS);
            self.add_calm(|| of_limit(alert, limit, group), value, || describe::exhaustion(limit));
        }
    }

    fn clone_failures(&mut self, group: &Group, model: &Model) {
        let Some(seconds) = model.interval_seconds else { return };
        let alert = AlertName::CloneFailures;
        for (limit, failed) in group.interval_clone_failures.iter() {
            let value = failed as f64 / seconds;
            if self.matters(alert, value) {
                let by_cgroup = group.clone_refused_by.of(limit);
                let text = describe::clone_failures(&group.group, Refused { limit, failed, by_cgroup }, seconds);
                self.add(Subject { limit: Some(limit), ..of_group(alert, &group.group) }, value, text);
            }
        }
    }

    fn rates(&mut self, group: &Group, rates: &Rates, taken: &CpuTaken) {
        self.cpu_time(group, rates, taken);
        let group = &group.group;
        let (alert, waits) = (AlertName::RunQueueLatencyHigh, rates.wait_p99_seconds);
        let waits = waits.filter(|_| rates.switches_per_second > FEW_SWITCHES_PER_SECOND);
        if let Some(value) = waits.filter(|wait| self.matters(alert, *wait)) {
            self.add(of_group(alert, group), value, describe::runqueue_latency(group, value, (rates, taken)));
        }
        let (alert, value) = (AlertName::ShortLivedThreads, rates.short_lived_ratio);
        if rates.threads_exited_per_second > MANY_ENDS_PER_SECOND && self.matters(alert, value) {
            self.add(of_group(alert, group), value, describe::short_lived_threads(group, rates));
        }
        let cost = self.rules.switch_cost;
        let (alert, value) = (AlertName::ContextSwitchOverhead, rates.switches_per_second * cost.each().as_secs_f64());
        if self.matters(alert, value) {
            let text = describe::switch_overhead(group, rates, value, cost);
            self.add(of_group(alert, group), value, text);
        }
    }

    /// What of the time in which its threads had work they did not get a CPU.
    fn cpu_time(&mut self, of: &Group, rates: &Rates, taken: &CpuTaken) {
        let Group { group, usable_cpus, .. } = of;
        let work = rates.cpu_work();
        if work.wanted <= LITTLE_WORK {
            return;
        }
        let alert = AlertName::ThreadsOversubscribed;
        if let Some(value) = of.oversubscription.filter(|value| self.matters(alert, *value)) {
            self.add(of_group(alert, group), value, describe::oversubscription(group, value, work, usable_cpus));
        }
        let (alert, value) = (AlertName::CpuThrottled, work.throttled / work.wanted);
        if self.matters(alert, value) {
            self.add(of_group(alert, group), value, describe::cpu_throttled(group, work, usable_cpus));
        }
        let (alert, value) = (AlertName::CpuContended, work.contended / work.wanted);
        if self.matters(alert, value) {
            self.add(of_group(alert, group), value, describe::cpu_contended(group, work, taken));
        }
    }

    /// The longest uninterruptible sleep of each group.
    fn blocked(&mut self, process: &Process) {
        let alert = AlertName::ThreadStuck;
        if let Some(blocked) = process.longest_blocked.as_ref().filter(|of| self.matters(alert, of.seconds)) {
            self.add(of_group(alert, &process.group), blocked.seconds, describe::blocked(process, blocked));
        }
    }

    /// The longest burst of each group, of processes whose threads slept after little CPU time before: others compute.
    fn burst(&mut self, process: &Process) {
        let alert = AlertName::ThreadSpinning;
        let value = process.rates.and_then(|rates| rates.burst_max_seconds);
        let Some(value) = value.filter(|value| self.matters(alert, *value)) else { return };
        let totals = &process.totals;
        let usual = (totals.cpu_seconds - value).max(0.0) / totals.voluntary_switches.max(1) as f64;
        if totals.voluntary_switches >= MANY_SLEEPS && usual <= SHORT_BURST_SECONDS {
            self.add(of_group(alert, &process.group), value, describe::burst(process, value, usual));
        }
    }

    /// The deepest stack of each group.
    fn kernel_stacks(&mut self, processes: &[Process], stack_bytes: u64) {
        let alert = AlertName::KernelStackDeep;
        for process in processes {
            let value = process.memory.kernel_stack_depth_max_bytes as f64 / stack_bytes as f64;
            let subject = || of_group(alert, &process.group);
            if self.matters(alert, value) {
                self.add(subject(), value, describe::kernel_stack_depth(process, stack_bytes));
            }
        }
    }
}

/// Who took the CPU from a group, for its alerts: nobody where it may have been its own quota that nothing is known of.
fn culprits<'a>(group: &'a Group, rates: &Rates, tells_throttling: bool) -> &'a CpuTaken {
    static NOBODY: LazyLock<CpuTaken> = LazyLock::new(CpuTaken::default);
    let knows_quota = tells_throttling && rates.time_ratio.total() > 0.0;
    if knows_quota || group.usable_cpus.quota_set_by.is_none() { &group.cpu_taken } else { &NOBODY }
}

/// Whether it allows one thread: such is set (`TasksMax=1`, `LimitNPROC=1`) so that a service creates none.
fn is_meant_to_be_full(limit: &LimitUse) -> bool {
    limit.unit == Unit::Threads && limit.max <= 1
}

fn of_group(alert: AlertName, group: &Arc<str>) -> Subject {
    Subject { alert, group: Arc::clone(group), limit: None, scope: None }
}

fn of_limit(alert: AlertName, limit: &LimitUse, group: Option<&Arc<str>>) -> Subject {
    let group = group.cloned().unwrap_or_else(|| owner(limit));
    Subject { alert, group, limit: Some(limit.limit), scope: Some(limit.scope) }
}

/// The label `group` of a limit that is not a group's.
fn owner(limit: &LimitUse) -> Arc<str> {
    match limit.scope {
        Scope::Host => "host".into(),
        Scope::PidNamespace => format!("pid namespace {}", limit.name).into(),
        Scope::Cgroup => Arc::clone(&limit.name),
        Scope::User => format!("user {}", limit.name).into(),
        Scope::Process => format!("process {}", limit.name).into(),
    }
}

#[cfg(test)]
mod tests;
