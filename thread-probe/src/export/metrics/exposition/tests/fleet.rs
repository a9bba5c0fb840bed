//! The arithmetic of docs/fleet.md: how many series a group has.

use std::fmt::Write as _;

use super::*;

const ALWAYS: &str = "always";

/// When a group has the series of a family.
fn condition(family: &str) -> &'static str {
    match family {
        "threadprobe_thread_lifetime_seconds" => "once one of its threads has ended",
        "threadprobe_headroom_threads" | "threadprobe_headroom_ratio" => "if a limit holds for it",
        "threadprobe_exhaustion_seconds" => "while the use of one of its limits grows",
        "threadprobe_clone_failures_total" => "for each errno and limit that a clone of it failed with, twelve at most",
        "threadprobe_time_seconds_total" => "for each state that one of its threads was in, 16 at most",
        "threadprobe_cpu_taken_seconds_total" => "for each who took the CPU from it, 16 at most",
        "threadprobe_group_info" => "by cgroup, unit, container or pod",
        _ => ALWAYS,
    }
}

/// Series of the group `a`, by when it has them; and those of them that are buckets.
fn counts(text: &str) -> BTreeMap<&'static str, (usize, usize)> {
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("{group=\"a\"")) {
        let name = line.split('{').next().unwrap_or_default();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let (series, buckets) = counts.entry(condition(of_histogram.unwrap_or(name))).or_insert((0, 0));
        *series += 1;
        *buckets += usize::from(name.ends_with("_bucket"));
    }
    counts
}

/// With `UPDATE_README=1` it writes the table instead.
#[test]
fn the_series_of_a_group_are_as_many_as_the_page_on_fleets_says() -> Result<(), Box<dyn std::error::Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet.md");
    let page = std::fs::read_to_string(path)?;
    let (begin, end) = ("<!-- series -->\n", "<!-- /series -->");
    let (before, rest) = page.split_once(begin).ok_or("the table's begin")?;
    let (table, after) = rest.split_once(end).ok_or("the table's end")?;
    let mut current = String::from("| a group has | series | of them buckets |\n|---|---|---|\n");
    for (when, (series, buckets)) in counts(&text_of(&with_limits(model_of(&[b"a"])))) {
        writeln!(current, "| {when} | {series} | {buckets} |")?;
    }
    if std::env::var_os("UPDATE_README").is_some() {
        return Ok(std::fs::write(path, format!("{before}{begin}{current}{end}{after}"))?);
    }
    assert_eq!(table, current, "docs/fleet.md has other figures: run this test with UPDATE_README=1");
    Ok(())
}

#[test]
fn groups_are_all_that_makes_a_host_have_more_series() {
    let count = |groups: &[&[u8]]| {
        let text = text_of(&with_limits(model_of(groups)));
        text.lines().filter(|line| line.starts_with("threadprobe_")).count()
    };
    let of_one = counts(&text_of(&with_limits(model_of(&[b"a"])))).values().map(|(series, _)| series).sum::<usize>();
    assert_eq!(count(&[b"a", b"b", b"c"]), count(&[b"a"]) + 2 * of_one);
}
