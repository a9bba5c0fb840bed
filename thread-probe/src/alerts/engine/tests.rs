use proptest::prelude::*;

use super::*;
use crate::{
    limits::{Limit, LimitUse, Scope},
    model::alert::AlertName,
    testing::{empty_model, limit_use},
};

/// An engine with its clock and a model whose limits are what a test says.
struct Bench {
    engine: Engine,
    rules: Rules,
    model: Model,
    now: Now,
}

impl Bench {
    fn new(rule: Rule) -> Self {
        let rules = Rules { limit_use: rule, exhaustion: rule, ..Rules::default() };
        let now = Now { instant: Instant::now(), time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) };
        Self { engine: Engine::default(), rules, model: empty_model(), now }
    }

    fn evaluate(&mut self, after_seconds: u64, limits: Vec<LimitUse>) -> Vec<Transition> {
        let after = Duration::from_secs(after_seconds);
        self.now = Now { instant: self.now.instant + after, time: self.now.time + after };
        self.model.limits.shared = limits;
        self.engine.evaluate(&self.rules, &self.model, self.now)
    }

    /// The states of the alerts after a sample in which this much of the host's limit is in use.
    fn states(&mut self, after_seconds: u64, used_percent: u64) -> Vec<State> {
        self.evaluate(after_seconds, vec![of_host(used_percent)]);
        self.engine.alerts().iter().map(|alert| alert.state).collect()
    }
}

fn of_host(used_percent: u64) -> LimitUse {
    limit_use((Limit::ThreadsMax, Scope::Host), "host", used_percent, 100)
}

const SECOND: Duration = Duration::from_secs(1);

/// A warning at 80 %, gone below 76 %.
fn rule(hold_s: u32, keep_firing_s: u32) -> Rule {
    Rule {
        enabled: true,
        warning: Some(0.8),
        critical: None,
        hold: hold_s * SECOND,
        keep_firing: keep_firing_s * SECOND,
        hysteresis: 0.05,
    }
}

#[test]
fn an_alert_is_pending_then_fires_then_is_resolved_then_forgotten() {
    let mut bench = Bench::new(rule(10, 20));
    assert_eq!(bench.states(0, 79), []);
    assert_eq!(bench.states(5, 85), [State::Pending]);
    assert_eq!(bench.states(5, 85), [State::Pending]);
    assert_eq!(bench.states(5, 85), [State::Firing]);
    assert_eq!(bench.states(5, 77), [State::Firing], "not below 76 %");
    assert_eq!(bench.states(5, 70), [State::Firing]);
    assert_eq!(bench.states(19, 70), [State::Firing]);
    assert_eq!(bench.states(1, 70), [State::Resolved]);
    assert_eq!(bench.states(KEEP_RESOLVED.as_secs() - 1, 70), [State::Resolved]);
    assert_eq!(bench.states(1, 70), []);
}

#[test]
fn what_is_said_is_what_changed_with_its_times_and_of_what_is_gone_how_it_was() {
    let mut bench = Bench::new(rule(10, 20));
    let said = |changed: &[Transition]| -> Vec<_> {
        changed.iter().map(|alert| (alert.state, alert.since, alert.resolved_at, alert.value)).collect()
    };
    assert_eq!(said(&bench.evaluate(1, vec![of_host(85)])), [(State::Pending, 1_000_001.0, None, 0.85)]);
    assert_eq!(said(&bench.evaluate(1, vec![of_host(90)])), []);
    assert_eq!(said(&bench.evaluate(9, vec![of_host(95)])), [(State::Firing, 1_000_011.0, None, 0.95)]);
    assert_eq!(said(&bench.evaluate(1, Vec::new())), [], "the subject is gone");
    let resolved = bench.evaluate(20, Vec::new());
    assert_eq!(said(&resolved), [(State::Resolved, 1_000_011.0, Some(1_000_032.0), 0.95)]);
    assert_eq!(&*resolved[0].summary, "gone: 95 of 100 threads of the host used (95 %)");
}

#[test]
fn an_alert_on_a_limit_that_came_back_tells_the_figure_of_now() {
    let mut bench = Bench::new(rule(0, 20));
    bench.evaluate(1, vec![of_host(95)]);
    let told = |bench: &Bench| {
        bench.engine.alerts().first().map(|alert| (alert.state, alert.value, alert.summary.to_string()))
    };
    bench.evaluate(1, vec![of_host(10)]);
    let now = |state| Some((state, 0.1, "10 of 100 threads of the host used (10 %)".to_owned()));
    assert_eq!(told(&bench), now(State::Firing));
    bench.evaluate(20, vec![of_host(10)]);
    assert_eq!(told(&bench), now(State::Resolved));
}

#[test]
fn a_pending_alert_whose_condition_goes_is_dropped() {
    let mut bench = Bench::new(rule(10, 20));
    assert_eq!(bench.states(0, 85), [State::Pending]);
    assert_eq!(bench.states(9, 79), [], "hysteresis is for what fires");
    assert_eq!(bench.states(1, 85), [State::Pending], "it starts anew");
}

#[test]
fn warning_and_critical_are_alerts_of_their_own() {
    let mut bench = Bench::new(Rule { critical: Some(0.9), ..rule(0, 0) });
    bench.evaluate(0, vec![of_host(95)]);
    let severities: Vec<_> = bench.engine.alerts().iter().map(|alert| alert.severity).collect();
    assert_eq!(severities, [Severity::Critical, Severity::Warning]);
    let changed = bench.evaluate(1, vec![of_host(84)]);
    assert_eq!(
        changed.iter().map(|alert| (alert.severity, alert.state)).collect::<Vec<_>>(),
        [(Severity::Critical, State::Resolved)]
    );
}

#[test]
fn a_rule_that_is_turned_off_resolves_its_alerts_at_once() {
    for off in [Rule { enabled: false, ..rule(0, 60) }, Rule { warning: None, ..rule(0, 60) }] {
        let mut bench = Bench::new(rule(0, 60));
        assert_eq!(bench.states(0, 85), [State::Firing]);
        bench.rules.limit_use = off;
        assert_eq!(bench.states(1, 85), [State::Resolved]);
    }
}

#[test]
fn a_threshold_that_is_raised_lets_what_fires_go_after_its_time() {
    let mut bench = Bench::new(rule(0, 60));
    assert_eq!(bench.states(0, 85), [State::Firing]);
    bench.rules.limit_use.warning = Some(0.95);
    assert_eq!(bench.states(1, 85), [State::Firing]);
    assert_eq!(bench.states(60, 85), [State::Resolved]);
}

#[test]
fn an_alert_that_fires_again_is_no_longer_resolved_but_a_pending_one_still_is() {
    let mut bench = Bench::new(rule(10, 0));
    bench.states(0, 85);
    bench.states(10, 85);
    assert_eq!(bench.states(1, 10), [State::Resolved]);
    assert_eq!(bench.states(1, 85), [State::Pending, State::Resolved]);
    assert_eq!(bench.states(10, 85), [State::Firing]);
}

#[test]
fn a_step_of_the_wall_clock_changes_no_duration() {
    let mut bench = Bench::new(rule(10, 10));
    assert_eq!(bench.states(0, 85), [State::Pending]);
    bench.now.time += Duration::from_hours(24);
    assert_eq!(bench.states(5, 85), [State::Pending]);
    bench.now.time -= Duration::from_hours(48);
    assert_eq!(bench.states(5, 85), [State::Firing]);
}

#[test]
fn an_exhaustion_that_is_no_longer_foreseen_is_gone() {
    let mut bench = Bench::new(rule(0, 10));
    bench.rules.exhaustion.warning = Some(3600.0);
    let foreseen = |seconds| vec![LimitUse { exhaustion_seconds: seconds, ..of_host(10) }];
    assert_eq!(bench.evaluate(0, foreseen(Some(3700.0))), []);
    let fires = bench.evaluate(1, foreseen(Some(3500.0)));
    assert_eq!((fires[0].alert, fires[0].state), (AlertName::ThreadLimitExhaustionSoon, State::Firing));
    assert_eq!(bench.evaluate(100, foreseen(Some(3700.0))), [], "not above 3,780 s");
    assert_eq!(bench.evaluate(1, foreseen(None)), []);
    assert_eq!(bench.evaluate(10, foreseen(None))[0].state, State::Resolved);
}

#[test]
fn with_no_room_resolved_alerts_give_way_and_critical_ones_come_first() {
    let many = |from: usize, used| -> Vec<_> {
        let name = |index| format!("/{index}");
        (from..from + MAX_ALERTS)
            .map(|index| limit_use((Limit::CgroupPids, Scope::Cgroup), &name(index), used, 100))
            .collect()
    };
    let mut bench = Bench::new(rule(0, 0));
    assert_eq!(bench.evaluate(0, many(0, 85)).len(), MAX_ALERTS);
    assert_eq!(bench.engine.suppressed(), 0);
    let changed = bench.evaluate(1, many(MAX_ALERTS, 85));
    assert_eq!(changed.len(), 2 * MAX_ALERTS, "all were resolved, and all others fire");
    assert!(bench.engine.alerts().iter().all(|alert| alert.state == State::Firing));
    bench.evaluate(1, Vec::new());
    bench.rules.limit_use.critical = Some(0.9);
    bench.evaluate(1, many(0, 95));
    assert!(bench.engine.alerts().iter().all(|alert| alert.severity == Severity::Critical));
    assert_eq!(bench.engine.suppressed(), MAX_ALERTS as u64);
}

/// Seconds since the evaluation before, and the figure in hundredths of the threshold, if there is one.
type Sample = (u64, Option<u64>);

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    // Mostly near the threshold, where it matters.
    let figure = prop_oneof![Just(None), (85u64..115).prop_map(Some), (0u64..300).prop_map(Some)];
    prop::collection::vec((0u64..40, figure), 1..60)
}

/// How long, in seconds, a condition has held at the last of some evaluations without a break; `None` if it does not.
fn held_for(history: &[(u64, Option<u64>)], holds: impl Fn(Option<u64>) -> bool) -> Option<u64> {
    let (last, _) = history.last()?;
    let run = history.iter().rev().take_while(|(_, figure)| holds(*figure));
    run.last().map(|(first, _)| last - first)
}

/// Feeds one alert, warning at a threshold of 100 with a hysteresis of 5 %, and holds each transition to its condition.
fn holds_its_times(below: bool, hold: u32, keep_firing: u32, samples: &[Sample]) -> Result<(), TestCaseError> {
    let mut bench = Bench::new(Rule { warning: Some(100.0), ..rule(hold, keep_firing) });
    let off = Rule { enabled: false, ..rule(0, 0) };
    *(if below { &mut bench.rules.limit_use } else { &mut bench.rules.exhaustion }) = off;
    let reaches = move |threshold: u64| {
        move |figure: Option<u64>| figure.is_some_and(|x| if below { x <= threshold } else { x >= threshold })
    };
    let mut history = Vec::new();
    let (mut seconds, mut firing) = (0, false);
    for (after, figure) in samples {
        seconds += after;
        history.push((seconds, *figure));
        let number = figure.map(|figure| figure as f64);
        let limit = LimitUse { used_ratio: number.unwrap_or(0.0), exhaustion_seconds: number, ..of_host(0) };
        let states: Vec<State> = bench.evaluate(*after, vec![limit]).iter().map(|alert| alert.state).collect();
        let held = held_for(&history, reaches(100));
        let gone = held_for(&history, |figure| !reaches(if below { 105 } else { 95 })(figure));
        if firing {
            let resolves = gone.is_some_and(|seconds| seconds >= u64::from(keep_firing));
            prop_assert_eq!(states.contains(&State::Resolved), resolves, "{:?}", history);
            firing = !resolves;
        } else {
            let fires = held.is_some_and(|seconds| seconds >= u64::from(hold));
            prop_assert_eq!(states.contains(&State::Firing), fires, "{:?}", history);
            firing = fires;
        }
        let fires_now = bench.engine.alerts().iter().any(|alert| alert.state == State::Firing);
        prop_assert_eq!(fires_now, firing);
    }
    Ok(())
}

proptest! {
    #[test]
    fn it_fires_only_after_hold_and_is_resolved_only_when_behind_the_clear_threshold_for_keep_firing(
        below: bool, hold in 0u32..60, keep_firing in 0u32..60, samples in samples(),
    ) {
        holds_its_times(below, hold, keep_firing, &samples)?;
    }

    #[test]
    fn a_severity_that_is_off_never_fires(
        warning: bool, critical: bool, enabled: bool, used in prop::collection::vec(0u64..200, 1..20),
    ) {
        let mut bench = Bench::new(Rule {
            enabled,
            warning: warning.then_some(0.1),
            critical: critical.then_some(0.2),
            ..rule(0, 0)
        });
        for used in used {
            for alert in bench.evaluate(1, vec![of_host(used)]) {
                let on = match alert.severity { Severity::Warning => warning, Severity::Critical => critical };
                prop_assert!(enabled && on, "{:?}", alert);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn there_are_never_more_alerts_than_allowed_and_what_is_beyond_is_counted(
        hold in 0u32..2, samples in prop::collection::vec((0usize..4000, 0usize..3000, 70u64..100), 1..6),
    ) {
        let mut bench = Bench::new(Rule { critical: Some(0.9), ..rule(hold, 1) });
        for (from, count, used) in samples {
            let cgroup = |index| limit_use((Limit::CgroupPids, Scope::Cgroup), &format!("/{index}"), used, 100);
            bench.evaluate(1, (from..from + count).map(cgroup).collect());
            let alerts = bench.engine.alerts();
            prop_assert!(alerts.len() <= MAX_ALERTS);
            let reached = count * (usize::from(used >= 80) + usize::from(used >= 90));
            let tracked = alerts.iter().filter(|alert| alert.state != State::Resolved).count();
            prop_assert!(tracked + bench.engine.suppressed() as usize >= reached);
            prop_assert!(bench.engine.suppressed() == 0 || alerts.len() == MAX_ALERTS);
        }
    }
}
