//! A limit and its use in words, the same in `limits` and `top`.

use crate::{
    limits::{LimitUse, Unit},
    text::human,
};

/// From where on a limit is shown as a warning, and as critical: those of the built-in rule.
const WARNING_RATIO: f64 = 0.8;
const CRITICAL_RATIO: f64 = 0.9;
/// The same of the time until it is reached.
const WARNING_SECONDS: f64 = 4.0 * 3600.0;
const CRITICAL_SECONDS: f64 = 3600.0;
/// The same of a wait for a CPU: what a person notices, and what a client gives up on.
const WARNING_WAIT_SECONDS: f64 = 0.01;
const CRITICAL_WAIT_SECONDS: f64 = 0.1;

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing to see.
    #[default]
    Normal,
    /// Somebody should look at it.
    Warning,
    /// Somebody must act now.
    Critical,
}

impl Level {
    /// That of a figure; one that is no number is nothing to see.
    pub(crate) fn of(figure: f64, warning: f64, critical: f64) -> Self {
        match figure {
            figure if figure >= critical => Self::Critical,
            figure if figure >= warning => Self::Warning,
            _ => Self::Normal,
        }
    }

    /// That of a limit of which this share is used.
    pub(crate) fn of_use(used_ratio: f64) -> Self {
        Self::of(used_ratio, WARNING_RATIO, CRITICAL_RATIO)
    }

    /// That of a wait for a CPU.
    pub(crate) fn of_wait(seconds: f64) -> Self {
        Self::of(seconds, WARNING_WAIT_SECONDS, CRITICAL_WAIT_SECONDS)
    }

    /// That of when a limit is reached.
    pub(crate) fn of_time_left(limit: &LimitUse) -> Self {
        match limit.exhaustion_seconds {
            _ if limit.used >= limit.max => Self::Critical,
            seconds => seconds.map_or(Self::Normal, Self::of_exhaustion),
        }
    }

    /// That of a limit that is reached in this time.
    pub(crate) fn of_exhaustion(seconds: f64) -> Self {
        Self::of(-seconds, -WARNING_SECONDS, -CRITICAL_SECONDS)
    }
}

/// So much of what a limit is counted in.
pub(crate) fn amount(unit: Unit, amount: u64) -> String {
    match unit {
        Unit::Bytes => human::bytes(amount),
        Unit::Threads | Unit::Mappings => human::count(amount),
    }
}

/// The time until it is reached if its use goes on to grow; with a `~` where too little was seen of that to warn of it.
pub(crate) fn full_in(limit: &LimitUse) -> Option<String> {
    match (limit.exhaustion_seconds, limit.extrapolated_seconds()) {
        _ if limit.used >= limit.max => Some("full".to_owned()),
        (Some(seconds), _) => Some(human::duration(seconds)),
        (None, extrapolated) => extrapolated.map(|seconds| format!("~{}", human::duration(seconds))),
    }
}

/// Whose threads use it: `java 1234 +2.1/s` of the fastest growing, else of the one with the most `java 1234 (400)`.
pub(crate) fn foremost(limit: &LimitUse) -> Option<String> {
    let of = limit.foremost.as_ref()?;
    let name = format!("{} {}", human::plain(&of.comm), of.pid);
    Some(match of.threads_grown_per_second {
        Some(growth) => format!("{name} {}", human::pace(growth)),
        None => format!("{name} ({})", human::count(of.threads)),
    })
}

/// The same within a line: `full`, `full in 22 min`.
pub(crate) fn until_full(limit: &LimitUse) -> Option<String> {
    let time = full_in(limit)?;
    Some(if limit.used >= limit.max { time } else { format!("full in {time}") })
}

/// How bars are drawn.
#[derive(Clone, Copy)]
pub(crate) enum Bars {
    /// In eighths of a character.
    Blocks,
    /// Where the locale has no more.
    Ascii,
}

impl Bars {
    /// A bar of at most so many characters for a share.
    pub(crate) fn bar(self, ratio: f64, chars: u16) -> String {
        let filled = ratio.clamp(0.0, 1.0) * f64::from(chars);
        match self {
            Self::Blocks => {
                let eighths = (filled * 8.0).round() as usize;
                let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
                format!("{}{rest}", "█".repeat(eighths / 8))
            }
            Self::Ascii => "#".repeat(filled.round() as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_the_use_and_never_longer_than_its_column() {
        assert_eq!(Bars::Blocks.bar(0.5, 20), "█".repeat(10));
        assert_eq!(Bars::Blocks.bar(0.50625, 20), "█".repeat(10) + "▏");
        assert_eq!(Bars::Blocks.bar(7.0, 20), "█".repeat(20));
        assert_eq!(Bars::Ascii.bar(0.25, 20), "#####");
        assert_eq!([Bars::Ascii.bar(0.0, 20), Bars::Ascii.bar(f64::NAN, 20)], ["", ""]);
    }

    #[test]
    fn a_limit_turns_yellow_and_red_where_the_built_in_alert_fires() {
        let rules = crate::alerts::config::Rules::default();
        let thresholds = [rules.limit_use, rules.exhaustion].map(|rule| (rule.warning, rule.critical));
        let these = [(WARNING_RATIO, CRITICAL_RATIO), (WARNING_SECONDS, CRITICAL_SECONDS)];
        assert_eq!(thresholds, these.map(|(warning, critical)| (Some(warning), Some(critical))));
        let levels = [0.79, 0.8, 0.9, f64::NAN].map(Level::of_use);
        assert_eq!(levels, [Level::Normal, Level::Warning, Level::Critical, Level::Normal]);
        let levels = [86_400.0, 14_400.0, 60.0, 0.0].map(Level::of_exhaustion);
        assert_eq!(levels, [Level::Normal, Level::Warning, Level::Critical, Level::Critical]);
    }
}
