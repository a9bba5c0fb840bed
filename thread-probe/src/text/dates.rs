//! Points in time, written.

use std::time::{Duration, SystemTime};

/// Seconds since the Unix epoch; 0 before it.
pub(crate) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Seconds since the Unix epoch as a date: `2024-05-01T12:00:00.000Z`.
pub(crate) fn rfc3339(unix_seconds: f64) -> String {
    /// The last second of the year 9999: later ones can't be written.
    const LAST: f64 = 253_402_300_799.0;
    let since_epoch = Duration::from_secs_f64(unix_seconds.clamp(0.0, LAST));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since_epoch).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_no_clock_should_show_is_one_nevertheless() {
        assert_eq!(rfc3339(1_714_564_800.25), "2024-05-01T12:00:00.250Z");
        assert_eq!(rfc3339(-1.0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1e300), "9999-12-31T23:59:59.000Z");
    }
}
