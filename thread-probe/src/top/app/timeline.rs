//! A recording as a whole, and where in it the sample is that is shown.

use crate::{model::alert::Severity, record::Glance};

/// All samples of a recording at a glance.
#[derive(Debug, Default)]
pub struct Timeline {
    glances: Vec<Glance>,
}

/// A column of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Column {
    /// The most context switches per second.
    pub switches_per_second: f64,
    /// The gravest alert that fired.
    pub alert: Option<Severity>,
    /// Whether something was lost.
    pub is_lossy: bool,
    /// Whether the sample that is shown is in it.
    pub is_here: bool,
}

impl Timeline {
    pub(super) fn new(glances: Vec<Glance>) -> Self {
        Self { glances }
    }

    /// Whether there is no recording.
    pub fn is_empty(&self) -> bool {
        self.glances.is_empty()
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.glances.len()
    }

    /// The number of the sample that was taken at a time, from 0; of the one before if there is none.
    pub fn number(&self, time_unix_seconds: f64) -> usize {
        let found = self.glances.iter().position(|glance| glance.time_unix_seconds >= time_unix_seconds);
        found.unwrap_or(self.glances.len().saturating_sub(1))
    }

    /// Those up to a time.
    pub(super) fn until(&self, time_unix_seconds: f64) -> &[Glance] {
        self.glances.get(..=self.number(time_unix_seconds)).unwrap_or_default()
    }

    /// The whole recording in so many columns at most, of as many samples each.
    pub fn columns(&self, columns: usize, here_unix_seconds: f64) -> Vec<Column> {
        let here = self.number(here_unix_seconds);
        let each = self.glances.len().div_ceil(columns.max(1)).max(1);
        let mut lost_before = self.glances.first().map_or(0, |first| first.lost);
        let mut column_of = |(index, glances): (usize, &[Glance])| {
            let mut column = Column { is_here: here / each == index, ..Column::default() };
            for glance in glances {
                column.switches_per_second = column.switches_per_second.max(f64::from(glance.switches_per_second));
                let alert = match (glance.critical_alerts, glance.warnings) {
                    (1.., _) => Some(Severity::Critical),
                    (0, 1..) => column.alert.or(Some(Severity::Warning)),
                    (0, 0) => column.alert,
                };
                column.alert = alert;
                column.is_lossy |= glance.lost > lost_before;
                lost_before = glance.lost;
            }
            column
        };
        self.glances.chunks(each).enumerate().map(&mut column_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(samples: u16) -> Timeline {
        let glance = |second: u16| Glance {
            time_unix_seconds: f64::from(second),
            switches_per_second: f32::from(second),
            lost: u32::from(second >= 7),
            warnings: u16::from(second == 2),
            critical_alerts: u16::from(second == 3),
            ..Glance::default()
        };
        Timeline::new((0..samples).map(glance).collect())
    }

    #[test]
    fn a_column_has_the_highest_and_the_gravest_of_its_samples() {
        let columns = timeline(10).columns(5, 6.0);
        assert_eq!(
            columns.iter().map(|column| column.switches_per_second).collect::<Vec<_>>(),
            [1.0, 3.0, 5.0, 7.0, 9.0]
        );
        assert_eq!(columns.iter().position(|column| column.alert == Some(Severity::Critical)), Some(1));
        assert_eq!(columns.iter().filter(|column| column.alert.is_some()).count(), 1);
        assert_eq!(columns.iter().position(|column| column.is_lossy), Some(3));
        assert_eq!(columns.iter().filter(|column| column.is_lossy).count(), 1);
        assert_eq!(columns.iter().position(|column| column.is_here), Some(3));
        assert_eq!(timeline(3).columns(100, 9.0).len(), 3);
        assert!(timeline(0).columns(7, 0.0).is_empty());
    }
}
