//! Repeats until a figure is steady.

use std::io;

/// A figure is steady once its quartiles are within this of its median, as a share of it.
const STEADY_RATIO: f64 = 0.02;
/// Fewer say nothing of how steady it is.
const LEAST: usize = 5;
/// More would not make it steady.
const MOST: usize = 40;

/// What repeating gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Repeated {
    /// The median of all.
    pub(super) median: f64,
    /// Half of what lies between the quartiles, as a share of the median.
    pub(super) spread_ratio: f64,
    /// How many there were.
    pub(super) repeats: usize,
}

impl Repeated {
    /// Whether the spread is within 2 %.
    pub(super) fn is_steady(&self) -> bool {
        self.repeats >= LEAST && self.spread_ratio <= STEADY_RATIO
    }
}

/// Measures until it is steady, forty times at most, or until `goes_on` says no. `None` if it was not measured once.
pub(super) fn until_steady(
    mut goes_on: impl FnMut() -> bool,
    mut measure: impl FnMut() -> io::Result<f64>,
) -> io::Result<Option<Repeated>> {
    let mut values = Vec::new();
    while values.len() < MOST && goes_on() {
        values.push(measure()?);
        if summary(&values).is_some_and(|summary| summary.is_steady()) {
            break;
        }
    }
    Ok(summary(&values))
}

/// `None` of nothing.
pub(super) fn summary(values: &[f64]) -> Option<Repeated> {
    let median = quantile(values, 0.5)?;
    let quarters = quantile(values, 0.75)? - quantile(values, 0.25)?;
    let spread_ratio = if median == 0.0 { f64::INFINITY } else { (quarters / 2.0 / median).abs() };
    Some(Repeated { median, spread_ratio, repeats: values.len() })
}

/// The value that a share `q` of all are at most; between two, the lower one. `None` of nothing.
pub(super) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * q) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_steady_ends_early_and_what_is_not_says_so() -> io::Result<()> {
        let steady = until_steady(|| true, || Ok(7.0))?;
        assert_eq!(steady, Some(Repeated { median: 7.0, spread_ratio: 0.0, repeats: LEAST }));
        let mut next = 0.0;
        let rising = until_steady(
            || true,
            || {
                next += 1.0;
                Ok(next)
            },
        )?;
        assert!(rising.is_some_and(|rising| rising.repeats == MOST && !rising.is_steady()), "{rising:?}");
        Ok(())
    }

    #[test]
    fn who_ends_it_gets_what_there_is() -> io::Result<()> {
        let mut left = 3;
        let goes_on = || {
            left -= 1;
            left > 0
        };
        assert_eq!(until_steady(goes_on, || Ok(5.0))?.map(|of| (of.median, of.repeats)), Some((5.0, 2)));
        assert_eq!(until_steady(|| false, || Ok(5.0))?, None);
        Ok(())
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| quantile(&values, q)), [Some(1.0), Some(2.0), Some(3.0), Some(4.0)]);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
