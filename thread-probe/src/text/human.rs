//! Numbers and names as people read them.

use std::{borrow::Cow, time::Duration};

/// A count with thousands separators: `4,915`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: `1 thread`, `4,915 processes`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = match thing {
        _ if number == 1 => "",
        thing if thing.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {thing}{plural}", count(number))
}

/// The time of day in UTC of seconds since the Unix epoch.
pub(crate) fn time_of_day(unix_seconds: f64) -> String {
    let second = unix_seconds.max(0.0) as u64 % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Bytes in the unit that leaves one to four digits: `3.2 GiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A share, rounded; `100 %` is all of it.
pub(crate) fn percent(ratio: f64) -> String {
    let rounded = (ratio * 100.0).round();
    format!("{:.0} %", if ratio < 1.0 { rounded.min(99.0) } else { rounded })
}

/// A duration in the unit that leaves one to three digits: `22 min`, `120 ms`.
pub(crate) fn duration(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 2.0 * MINUTE => format!("{s:.0} s"),
        s if s < 2.0 * HOUR => format!("{:.0} min", s / MINUTE),
        s if s < 2.0 * DAY => format!("{:.0} h", s / HOUR),
        s => format!("{:.0} days", s / DAY),
    }
}

/// So many a second: `0.3`, `12,345`, `2.35M`.
pub(crate) fn per_second(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        number if number < 0.0 => format!("-{}", per_second(-number)),
        number if number < 9.95 => format!("{number:.1}"),
        number if number < 999_999.5 => count(number.round() as u64),
        number => format!("{:.2}M", number / 1e6),
    }
}

/// How fast something grows, in the unit in which that is more than a fraction: `+2.1/s`, `+4.8/min`, `+3.0/h`.
pub(crate) fn pace(per_second: f64) -> String {
    match per_second {
        pace if pace < 0.1 / 6.0 => format!("+{:.1}/h", pace * 3600.0),
        pace if pace < 1.0 => format!("+{:.1}/min", pace * 60.0),
        pace => format!("+{pace:.1}/s"),
    }
}

/// A duration in three digits at most, if it is no long one: `42.5us`, `410us`, `1.2s`.
pub(crate) fn seconds(seconds: f64) -> String {
    // The kernel counts none where a wake-up preempts who runs: a figure would say too much.
    if (0.0..0.1e-6).contains(&seconds) {
        return "<0.1us".to_owned();
    }
    let (number, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let decimals = usize::from(number < 99.95);
    format!("{number:.decimals$}{unit}")
}

/// Time between samples, as it is chosen: `1s`, `250ms`.
pub(crate) fn interval(interval: Duration) -> String {
    if interval.subsec_millis() == 0 {
        format!("{}s", interval.as_secs())
    } else {
        format!("{}ms", interval.as_millis())
    }
}

/// Bytes in five characters at most: `9216`, `40M`.
pub(crate) fn short_bytes(bytes: u64) -> String {
    match bytes {
        b if b < 10 << 10 => format!("{b}"),
        b if b < 10 << 20 => format!("{}K", b >> 10),
        b if b < 10 << 30 => format!("{}M", b >> 20),
        b => format!("{}G", b >> 30),
    }
}

/// A name in a line of text: whoever chose it must neither end the line, nor command the terminal, nor turn round the
/// direction of what follows or hide in it.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_unprintable(c) { '?' } else { c }).collect()
}

/// The same for a file that somebody may print: `\u202e` in place of the character.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if is_unprintable(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// Control characters, and Unicode's invisible and directional ones.
pub(crate) fn is_unprintable(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_told_in_the_unit_in_which_it_is_more_than_a_fraction() {
        assert_eq!([12.0, 0.08, 0.001].map(pace), ["+12.0/s", "+4.8/min", "+3.6/h"]);
    }

    #[test]
    fn counts_have_separators_at_every_third_digit() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (4_194_304, "4,194,304")]
        {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn a_rate_has_a_fraction_only_where_it_is_small() {
        let rates = [0.0, -12_345.4, 0.04, 0.3, 9.94, 9.96, 12_345.4, 999_999.6, 12_345_678.0].map(per_second);
        assert_eq!(rates, ["0", "-12,345", "0.0", "0.3", "9.9", "10", "12,345", "1.00M", "12.35M"]);
    }

    #[test]
    fn one_of_a_thing_is_singular() {
        let said = [(1, "thread"), (0, "thread"), (4915, "process")].map(|(number, thing)| counted(number, thing));
        assert_eq!(said, ["1 thread", "0 threads", "4,915 processes"]);
    }

    #[test]
    fn sizes_and_durations_are_in_the_unit_that_fits() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(12 << 10), "12.0 KiB");
        assert_eq!(bytes((32 << 30) / 10), "3.2 GiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        let durations = [0.000_002, 0.12, 90.0, 22.0 * 60.0, 5.0 * 3600.0, 4.0 * 86400.0].map(duration);
        assert_eq!(durations, ["2 us", "120 ms", "90 s", "22 min", "5 h", "4 days"]);
    }

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        assert_eq!([0.979, 0.9999, 1.0, 0.07].map(percent), ["98 %", "99 %", "100 %", "7 %"]);
    }

    #[test]
    fn control_characters_in_a_name_do_not_reach_log_or_terminal() {
        assert_eq!(plain("a\u{1b}[31m\nb"), "a?[31m?b");
        assert_eq!(plain("a\u{202e}b\u{200b}"), "a?b?");
        assert_eq!(plain("größe"), "größe");
    }
}
