//! The rules in the file: `[alerts.rules.NAME]`. A rule given in part keeps its own other defaults.

use std::{ops::RangeInclusive, time::Duration};

use toml::Value;

use super::{
    toml_value::{self, Fault, Given, Name, in_order, unknown_key},
    value,
};
use crate::alerts::config::{Rule, Rules};

/// Where the rules are.
pub(super) const SECTION: &str = "alerts.rules";
/// A threshold that is never reached.
const OFF: &str = "off";
/// With a share of 1, a condition would never count as gone.
const MAX_HYSTERESIS: f64 = 0.9;

/// What a rule's thresholds are.
enum Thresholds {
    /// Numbers from 0 to this.
    Number(f64),
    /// Durations within this range, kept in seconds.
    Time(RangeInclusive<Duration>),
}

/// A rule by name.
struct Named {
    name: &'static str,
    thresholds: Thresholds,
    /// Whether it fires below its thresholds.
    is_falling: bool,
    of: fn(&Rules) -> &Rule,
    of_mut: fn(&mut Rules) -> &mut Rule,
}

macro_rules! rules {
    ($($name:ident $thresholds:expr, $is_falling:literal;)+) => {
        const RULES: &[Named] = &[$(Named {
            name: stringify!($name),
            thresholds: $thresholds,
            is_falling: $is_falling,
            of: |rules| &rules.$name,
            of_mut: |rules| &mut rules.$name,
        }),+];
    };
}

const RATIO: Thresholds = Thresholds::Number(1.0);

rules! {
    limit_use RATIO, false;
    exhaustion Thresholds::Time(Duration::from_secs(1)..=Duration::from_hours(8760)), true;
    clone_failures Thresholds::Number(1e6), false;
    runqueue_latency Thresholds::Time(Duration::from_micros(1)..=Duration::from_mins(1)), false;
    cpu_throttled RATIO, false;
    cpu_contended RATIO, false;
    oversubscription Thresholds::Number(1e5), false;
    thread_blocked Thresholds::Time(Duration::from_secs(1)..=Duration::from_hours(24)), false;
    cpu_burst Thresholds::Time(Duration::from_millis(1)..=Duration::from_hours(24)), false;
    kernel_stack_depth RATIO, false;
    short_lived_threads RATIO, false;
    switch_overhead Thresholds::Number(1e5), false;
}

impl Thresholds {
    fn read(&self, given: &Given<'_>) -> Result<Option<f64>, Fault> {
        if given.get_ref().as_str() == Some(OFF) {
            return Ok(None);
        }
        match self {
            Self::Number(max) => {
                toml_value::number(given, *max, &format!("a number from 0 to {max}, or \"{OFF}\"")).map(Some)
            }
            Self::Time(range) => {
                let parse = |text: &str| value::duration(text, range.clone());
                let read =
                    toml_value::duration(given, |text| parse(text).map_err(|error| format!("{error}, or \"{OFF}\"")));
                Ok(Some(read?.as_secs_f64()))
            }
        }
    }

    fn write(&self, threshold: Option<f64>) -> Value {
        match (self, threshold) {
            (_, None) => OFF.into(),
            (Self::Number(_), Some(number)) => number.into(),
            (Self::Time(_), Some(seconds)) => {
                // Read, it was within the range: there is nothing to fail.
                value::duration_text(Duration::try_from_secs_f64(seconds).unwrap_or_default()).into()
            }
        }
    }
}

/// A key of every rule.
struct RuleKey {
    name: &'static str,
    set: fn(&mut Rule, &Thresholds, &Given<'_>) -> Result<(), Fault>,
    get: fn(&Rule, &Thresholds) -> Value,
}

/// The keys of every rule, in the order in which they are shown.
const KEYS: [RuleKey; 6] = [
    RuleKey {
        name: "enabled",
        set: |rule, _, given| toml_value::boolean(given).map(|enabled| rule.enabled = enabled),
        get: |rule, _| rule.enabled.into(),
    },
    RuleKey {
        name: "warning",
        set: |rule, thresholds, given| thresholds.read(given).map(|warning| rule.warning = warning),
        get: |rule, thresholds| thresholds.write(rule.warning),
    },
    RuleKey {
        name: "critical",
        set: |rule, thresholds, given| thresholds.read(given).map(|critical| rule.critical = critical),
        get: |rule, thresholds| thresholds.write(rule.critical),
    },
    RuleKey {
        name: "for",
        set: |rule, _, given| toml_value::duration(given, value::hold).map(|hold| rule.hold = hold),
        get: |rule, _| value::duration_text(rule.hold).into(),
    },
    RuleKey {
        name: "keep_firing_for",
        set: |rule, _, given| toml_value::duration(given, value::hold).map(|time| rule.keep_firing = time),
        get: |rule, _| value::duration_text(rule.keep_firing).into(),
    },
    RuleKey {
        name: "hysteresis",
        set: |rule, _, given| {
            let wanted = format!("a number from 0 to {MAX_HYSTERESIS}");
            toml_value::number(given, MAX_HYSTERESIS, &wanted).map(|share| rule.hysteresis = share)
        },
        get: |rule, _| rule.hysteresis.into(),
    },
];

/// Reads one rule, which `name` names.
pub(super) fn read(rules: &mut Rules, name: &Name<'_>, given: &Given<'_>, faults: &mut Vec<Fault>) {
    let Some(named) = RULES.iter().find(|named| named.name == name.get_ref()) else {
        return faults.push(unknown_key(name, SECTION, RULES.iter().map(|named| named.name)));
    };
    let path = format!("{SECTION}.{}", named.name);
    let table = match toml_value::table(given, "a table of its keys") {
        Ok(table) => table,
        Err(fault) => return faults.push(fault.of(&path)),
    };
    let before = faults.len();
    let rule = (named.of_mut)(rules);
    for (name, given) in in_order(table) {
        let set = match KEYS.iter().find(|key| key.name == name.get_ref()) {
            Some(key) => {
                (key.set)(rule, &named.thresholds, given).map_err(|fault| fault.of(&format!("{path}.{}", key.name)))
            }
            None => Err(unknown_key(name, &path, KEYS.iter().map(|key| key.name))),
        };
        faults.extend(set.err());
    }
    // Of one that could not be read the order says nothing.
    if faults.len() > before {
        return;
    }
    let place =
        ["critical", "warning"].iter().find_map(|wanted| table.iter().find(|(name, _)| name.get_ref() == wanted));
    let in_order = check_order(named, rule).map_err(|message| {
        Fault::new(message, place.map_or_else(|| given.span(), |(_, threshold)| threshold.span())).of(&path)
    });
    faults.extend(in_order.err());
}

/// Critical is worse than warning.
fn check_order(named: &Named, rule: &Rule) -> Result<(), String> {
    let (Some(warning), Some(critical)) = (rule.warning, rule.critical) else {
        return Ok(());
    };
    let (is_worse, beyond) =
        if named.is_falling { (critical < warning, "below") } else { (critical > warning, "above") };
    if is_worse {
        return Ok(());
    }
    let text = |threshold| named.thresholds.write(Some(threshold));
    Err(format!(
        "critical ({}) must be {beyond} warning ({}): change one of them, or make it \"{OFF}\"",
        text(critical),
        text(warning)
    ))
}

/// Every key of every rule with its value.
pub(super) fn settings(rules: &Rules) -> impl Iterator<Item = (String, Value)> {
    RULES.iter().flat_map(|named| {
        let rule = (named.of)(rules);
        KEYS.iter().map(|key| (format!("{SECTION}.{}.{}", named.name, key.name), (key.get)(rule, &named.thresholds)))
    })
}
