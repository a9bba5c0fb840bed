//! What one context switch is taken to cost.

use std::time::Duration;

use super::kept;

/// What one context switch costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchCost {
    /// What somebody says.
    Given(Duration),
    /// What `thread-probe bench switch` measured on this host, if it was looked for and found; else 2us.
    Measured(Option<Duration>),
}

impl Default for SwitchCost {
    fn default() -> Self {
        Self::Measured(None)
    }
}

impl SwitchCost {
    /// The same, with what was measured until now.
    #[must_use]
    pub fn looked_up(self) -> Self {
        match self {
            Self::Given(cost) => Self::Given(cost),
            Self::Measured(_) => Self::Measured(kept::switch_cost()),
        }
    }

    /// For one switch.
    pub fn each(self) -> Duration {
        match self {
            Self::Given(cost) | Self::Measured(Some(cost)) => cost,
            Self::Measured(None) => Duration::from_micros(2),
        }
    }

    /// Where that comes from, as words that follow it.
    pub const fn origin(self) -> &'static str {
        match self {
            Self::Given(_) => "",
            Self::Measured(Some(_)) => ", as measured here",
            Self::Measured(None) => ", as assumed: thread-probe bench switch measures it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_switch_costs_is_what_somebody_says_else_what_was_measured_else_assumed() {
        let given = SwitchCost::Given(Duration::from_nanos(700));
        assert_eq!(given.looked_up(), given);
        let measured = SwitchCost::Measured(Some(Duration::from_nanos(900)));
        let each = [given, measured, SwitchCost::Measured(None)].map(|cost| cost.each().as_nanos());
        assert_eq!(each, [700, 900, 2000]);
    }
}
