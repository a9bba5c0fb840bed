//! Short names of columns, to type.

use super::{Column, find};

/// Each with the columns it may stand for: the first that the table has.
const ALIASES: &[(&str, &[&str])] = &[
    ("cpu", &["cpu_ratio"]),
    ("wait", &["wait_ratio"]),
    ("latency", &["wait_ratio"]),
    ("sw", &["switches_per_second"]),
    ("switches", &["switches_per_second"]),
    ("vol", &["voluntary_switches_per_second"]),
    ("invol", &["involuntary_switches_per_second"]),
    ("same", &["same_process_ratio"]),
    ("p50", &["wait_p50_seconds"]),
    ("p99", &["wait_p99_seconds"]),
    ("max", &["wait_max_seconds"]),
    ("created", &["threads_created_per_second"]),
    ("exited", &["threads_exited_per_second"]),
    ("short", &["short_lived_ratio"]),
    ("stack", &["kernel_stack_bytes", "kernel_stack_depth_bytes"]),
    ("exhausted", &["exhaustion_seconds"]),
];

/// The column of that id, heading or short name, whatever the case.
pub fn find_short<'a, T>(columns: &'a [Column<T>], name: &str) -> Option<&'a Column<T>> {
    let ids = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map_or(&[][..], |(_, ids)| *ids);
    find(columns, name).or_else(|| ids.iter().find_map(|id| find(columns, id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::columns::{process_columns, thread_columns};

    #[test]
    fn every_short_name_is_one_of_a_column_and_hides_no_other() {
        for (alias, ids) in ALIASES {
            let (process, thread) = (process_columns(), thread_columns());
            assert!(find(process, alias).is_none() && find(thread, alias).is_none(), "{alias}");
            for id in *ids {
                assert!(find(process, id).is_some() || find(thread, id).is_some(), "{id}");
            }
        }
    }

    #[test]
    fn a_short_name_finds_what_the_table_has_of_it() {
        assert_eq!(find_short(process_columns(), "Stack").map(|c| c.id), Some("kernel_stack_bytes"));
        assert_eq!(find_short(thread_columns(), "stack").map(|c| c.id), Some("kernel_stack_depth_bytes"));
        assert_eq!(find_short(thread_columns(), "created").map(|c| c.id), None);
    }
}
