//! The state of each alert. Pure: the time is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use super::{
    config::{Rule, Rules},
    rules::{Finding, Findings},
};
use crate::{
    model::{
        Model,
        alert::{AlertView, Severity, State, Subject},
    },
    text::dates::unix_seconds,
};

/// Most alerts that are kept, whatever their state.
pub const MAX_ALERTS: usize = 2000;
/// How long a resolved alert is kept: an Alertmanager that was down hears of it when it is back.
pub const KEEP_RESOLVED: Duration = Duration::from_mins(15);

/// One moment on both clocks: durations are measured with the one that is never set, people see the other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The clock that is never set.
    pub instant: Instant,
    /// The clock of people.
    pub time: SystemTime,
}

/// What happened to an alert: it became pending, fires or is resolved. The alert is as it is now.
pub type Transition = AlertView;

/// The alerts.
#[derive(Debug, Default)]
pub struct Engine {
    active: BTreeMap<Key, Active>,
    /// The earliest first.
    resolved: VecDeque<Resolved>,
    suppressed: u64,
}

/// Critical ones come first, so they are admitted first of those that a sample brings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    severity: Severity,
    subject: Subject,
}

/// A pending or firing alert.
#[derive(Clone, Debug)]
struct Active {
    finding: Finding,
    threshold: f64,
    firing: bool,
    since: Now,
    /// Of a firing one whose condition is gone: since when.
    gone_since: Option<Instant>,
    /// Whether the limit that it is about is not there any more, and the summary says so.
    subject_is_gone: bool,
}

#[derive(Debug)]
struct Resolved {
    key: Key,
    was: Active,
    at: Now,
}

/// What became of an active alert.
enum Step {
    Stays,
    Fires,
    IsDropped,
    IsResolved,
}

impl Engine {
    /// Looks at a model with the rules and says which alerts changed their state.
    pub fn evaluate(&mut self, rules: &Rules, model: &Model, now: Now) -> Vec<Transition> {
        let watched = self.active.keys().map(|key| key.subject.clone()).collect();
        let findings = Findings::of(rules, model, watched);
        while self.resolved.front().is_some_and(|oldest| now.instant - oldest.at.instant >= KEEP_RESOLVED) {
            self.resolved.pop_front();
        }
        let mut changed = self.follow_all(rules, &findings, now);
        self.suppressed = 0;
        for severity in [Severity::Critical, Severity::Warning] {
            self.admit_all(severity, rules, &findings, now, &mut changed);
        }
        changed
    }

    /// All alerts: those that fire first, of these the critical ones first.
    pub fn alerts(&self) -> Vec<AlertView> {
        let active = self.active.iter().map(|(key, alert)| alert.view(key, None));
        let resolved = self.resolved.iter().map(|resolved| resolved.was.view(&resolved.key, Some(resolved.at)));
        let mut alerts: Vec<AlertView> = active.chain(resolved).collect();
        // A stable sort: within these they stay by subject, and the resolved by when.
        alerts.sort_by_key(|alert| (alert.state, alert.severity));
        alerts
    }

    /// Conditions that held at the last evaluation and are no alerts, as there were too many.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    fn follow_all(&mut self, rules: &Rules, findings: &Findings<'_>, now: Now) -> Vec<Transition> {
        let mut changed = Vec::new();
        let Self { active, resolved, .. } = self;
        active.retain(|key, alert| {
            match alert.follow(rules, key, findings, now) {
                Step::Stays => {}
                Step::Fires => {
                    resolved.retain(|before| before.key != *key);
                    changed.push(alert.view(key, None));
                }
                Step::IsDropped => return false,
                Step::IsResolved => {
                    changed.push(alert.view(key, Some(now)));
                    resolved.push_back(Resolved { key: key.clone(), was: alert.clone(), at: now });
                    return false;
                }
            }
            true
        });
        changed
    }

    fn admit_all(
        &mut self,
        severity: Severity,
        rules: &Rules,
        findings: &Findings<'_>,
        now: Now,
        changed: &mut Vec<Transition>,
    ) {
        for (subject, finding) in findings.iter() {
            let rule = subject.alert.rule(rules);
            let reached = rule.threshold(severity).filter(|limit| subject.alert.reaches(finding.value, *limit));
            let Some(threshold) = reached else { continue };
            let key = Key { severity, subject: subject.clone() };
            if self.active.contains_key(&key) {
                continue;
            }
            let firing = rule.hold.is_zero();
            if firing {
                self.resolved.retain(|before| before.key != key);
            }
            if !self.has_room() {
                self.suppressed += 1;
                continue;
            }
            let alert = Active {
                finding: finding.clone(),
                threshold,
                firing,
                since: now,
                gone_since: None,
                subject_is_gone: false,
            };
            changed.push(alert.view(&key, None));
            self.active.insert(key, alert);
        }
    }

    /// The earliest resolved alert gives way: an Alertmanager that was not told lets it expire.
    fn has_room(&mut self) -> bool {
        self.active.len() + self.resolved.len() < MAX_ALERTS || self.resolved.pop_front().is_some()
    }
}

impl Active {
    fn follow(&mut self, rules: &Rules, key: &Key, findings: &Findings<'_>, now: Now) -> Step {
        let alert = key.subject.alert;
        let rule = alert.rule(rules);
        let Some(threshold) = rule.threshold(key.severity) else {
            return if self.firing { Step::IsResolved } else { Step::IsDropped };
        };
        let wanted = if self.firing { alert.clear_threshold(rule, threshold) } else { threshold };
        let finding = findings.get(&key.subject);
        if let Some(finding) = finding.filter(|finding| alert.reaches(finding.value, wanted)) {
            self.finding = finding.clone();
            self.threshold = threshold;
            self.subject_is_gone = false;
            return self.holds(rule, now);
        }
        self.tell_calm(&key.subject, finding.or_else(|| findings.calm(&key.subject)));
        self.is_gone(rule, now)
    }

    /// Tells how it is now that the condition holds no more. Others than shared limits tell how it was last: a rate of
    /// 0 says nothing.
    fn tell_calm(&mut self, subject: &Subject, finding: Option<&Finding>) {
        match finding {
            Some(finding) => {
                self.finding = finding.clone();
                self.subject_is_gone = false;
            }
            None if subject.is_always_told() && !self.subject_is_gone => {
                self.subject_is_gone = true;
                self.finding.summary = format!("gone: {}", self.finding.summary).into();
                self.finding.advice = "nothing: what it was about is not there any more".into();
            }
            None => {}
        }
    }

    fn holds(&mut self, rule: &Rule, now: Now) -> Step {
        self.gone_since = None;
        if self.firing || now.instant - self.since.instant < rule.hold {
            return Step::Stays;
        }
        self.firing = true;
        self.since = now;
        Step::Fires
    }

    fn is_gone(&mut self, rule: &Rule, now: Now) -> Step {
        if !self.firing {
            return Step::IsDropped;
        }
        let gone_since = *self.gone_since.get_or_insert(now.instant);
        if now.instant - gone_since >= rule.keep_firing { Step::IsResolved } else { Step::Stays }
    }

    fn view(&self, key: &Key, resolved: Option<Now>) -> AlertView {
        let subject = &key.subject;
        AlertView {
            alert: subject.alert,
            severity: key.severity,
            state: match resolved {
                Some(_) => State::Resolved,
                None if self.firing => State::Firing,
                None => State::Pending,
            },
            group: subject.group.clone(),
            limit: subject.limit,
            scope: subject.scope,
            value: self.finding.value,
            threshold: self.threshold,
            summary: self.finding.summary.clone(),
            advice: self.finding.advice.clone(),
            since: unix_seconds(self.since.time),
            resolved_at: resolved.map(|at| unix_seconds(at.time)),
        }
    }
}

#[cfg(test)]
mod tests;
