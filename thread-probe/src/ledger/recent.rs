//! The largest of the last minute.

/// Half of what is remembered at most, in nanoseconds.
const HALF_NS: u64 = 30_000_000_000;

/// The largest figure of the last 30 to 60 s, so that who asks every 30 s misses none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecentMax {
    began_ns: u64,
    now: u64,
    before: u64,
}

impl RecentMax {
    /// Takes in a figure of now.
    pub(super) fn add(&mut self, now_ns: u64, figure: u64) {
        let age_ns = now_ns.saturating_sub(self.began_ns);
        if age_ns >= HALF_NS {
            let before = if age_ns < 2 * HALF_NS { self.now } else { 0 };
            *self = Self { began_ns: now_ns, now: 0, before };
        }
        self.now = self.now.max(figure);
    }

    /// The largest.
    pub(super) fn get(&self) -> u64 {
        self.now.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_remembered_for_half_a_minute_at_least_and_a_minute_at_most() {
        const SECOND: u64 = 1_000_000_000;
        let mut recent = RecentMax::default();
        let mut seen = Vec::new();
        for second in 100..200 {
            recent.add(second * SECOND, if second == 110 { 7 } else { 1 });
            if recent.get() == 7 {
                seen.push(second);
            }
        }
        assert_eq!(seen.first(), Some(&110));
        assert!(matches!(seen.last(), Some(141..=170)), "{seen:?}");
    }
}
