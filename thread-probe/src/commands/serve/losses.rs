//! Logs what was lost, ever less often: some kernels lose a little all the time.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::model::{Loss, LostCount};

const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `reason count` of each that grew since the last line.
    pub text: String,
    /// Whether it is more than what some kernels lose.
    pub is_warning: bool,
}

/// What was said, and when the next may be.
#[derive(Debug)]
pub(super) struct LossLog {
    said: BTreeMap<String, u64>,
    silent_until: Option<Instant>,
    pause: Duration,
}

impl LossLog {
    /// Nothing was said. What was lost until now is the first sample's.
    pub(super) fn new(lost: &[LostCount]) -> Self {
        Self { said: counts(lost), silent_until: None, pause: FIRST_PAUSE }
    }

    /// What there is to say now, if anything.
    pub(super) fn line(&mut self, lost: &[LostCount], now: Instant) -> Option<Line> {
        if self.silent_until.is_some_and(|until| now < until) {
            return None;
        }
        let mut line = Line { text: String::new(), is_warning: false };
        for LostCount { reason, count } in lost {
            let grown = count.saturating_sub(self.said.get(&**reason).copied().unwrap_or(0));
            if grown > 0 {
                // Writing to a String never fails.
                let _ = write!(line.text, "{}{reason} {grown}", if line.text.is_empty() { "" } else { ", " });
                line.is_warning |= Loss::named(reason).is_none_or(|loss| !loss.is_of_kernels);
            }
        }
        if line.text.is_empty() {
            return None;
        }
        self.said = counts(lost);
        self.silent_until = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(line)
    }
}

fn counts(lost: &[LostCount]) -> BTreeMap<String, u64> {
    lost.iter().map(|lost| (lost.reason.to_string(), lost.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_said_at_once_and_what_goes_on_ever_less_often() {
        let lost = |count| {
            vec![LostCount { reason: "fold_full".into(), count }, LostCount { reason: "end_missing".into(), count: 3 }]
        };
        let mut log = LossLog::new(&lost(0));
        let start = Instant::now();
        let mut said = Vec::new();
        for second in 0..1000u64 {
            if let Some(line) = log.line(&lost(second), start + Duration::from_secs(second)) {
                assert!(line.is_warning);
                said.push((second, line.text));
            }
        }
        let expected = [(1, 1), (61, 60), (181, 120), (421, 240), (901, 480)];
        let expected = expected.map(|(second, grown)| (second, format!("fold_full {grown}")));
        assert_eq!(said, expected);
    }
}
