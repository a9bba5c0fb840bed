//! Says in the log what was lost, seldom: some kernels lose a little all the time.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::model::LostCount;

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What was said, and when the next may be.
#[derive(Debug)]
pub struct LossLog {
    said: BTreeMap<String, u64>,
    silent_until: Option<Instant>,
    pause: Duration,
}

impl LossLog {
    /// Nothing was said. What was lost until now is the first sample's.
    pub fn new(lost: &[LostCount]) -> Self {
        Self { said: counts(lost), silent_until: None, pause: FIRST_PAUSE }
    }

    /// What there is to say, as `reason count` of each that grew since the last line.
    pub fn line(&mut self, lost: &[LostCount], now: Instant) -> Option<String> {
        if self.silent_until.is_some_and(|until| now < until) {
            return None;
        }
        let mut line = String::new();
        for LostCount { reason, count } in lost {
            let grown = count - self.said.get(&**reason).copied().unwrap_or(0).min(*count);
            if grown > 0 {
                // Writing to a String never fails.
                let _ = write!(line, "{}{reason} {grown}", if line.is_empty() { "" } else { ", " });
            }
        }
        if line.is_empty() {
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
                said.push((second, line));
            }
        }
        let expected = [(1, 1), (61, 60), (181, 120), (421, 240), (901, 480)];
        let expected = expected.map(|(second, grown)| (second, format!("fold_full {grown}")));
        assert_eq!(said, expected);
    }
}
