use proptest::{prelude::*, sample::subsequence};

use super::*;
use crate::top::columns::Direction;

fn error(content: &str) -> String {
    Settings::from_toml(content).map_or_else(|error| error, |settings| format!("{settings:?}"))
}

#[test]
fn without_a_file_the_columns_are_the_default_ones_and_who_needs_attention_comes_first() {
    let settings = Settings::default();
    assert!(settings.process_columns.starts_with(&["pid", "user", "comm"]));
    assert!(!settings.process_columns.contains(&"group"));
    assert!(find(thread_columns(), settings.thread_sort.column).is_some());
    assert!(find(process_columns(), settings.process_sort.column).is_some());
    assert_eq!((settings.process_sort.column, settings.process_sort.direction), (ATTENTION, Direction::Descending));
    assert_eq!(Settings::from_toml(""), Ok(settings));
}

#[test]
fn what_is_not_in_the_file_is_as_by_default() {
    let text = "interval = '500ms'\n[threads]\nsort = 'tid'\ndirection = 'ascending'\n";
    let thread_sort = Sort { column: "tid", direction: Direction::Ascending };
    let wanted = Settings { interval: Duration::from_millis(500), thread_sort, ..Settings::default() };
    assert_eq!(Settings::from_toml(text), Ok(wanted));
}

#[test]
fn a_mistake_is_named_with_its_line() {
    let said = [
        ("version = 2\nshape = 1\n", "1:11: version: is 2, of another version"),
        ("\n\nshape = 1\n", "3:1: unknown key \"shape\": expected one of version, interval"),
        ("[threads]\nwidth = 1\n", "2:1: unknown key \"width\" in [threads]: expected one of columns, sort"),
        (
            "[processes]\ncolumns = ['pid', 'tid']\n",
            "2:19: processes.columns: no column \"tid\": expected one of pid, user",
        ),
        ("[processes]\ncolumns = ['pid', 'comm', 'pid']\n", "2:11: processes.columns: pid is in it twice"),
        ("[threads]\ncolumns = []\n", "2:11: threads.columns: must have at least one"),
        ("[threads]\nsort = 'beauty'\n", "2:8: threads.sort: no column \"beauty\""),
        ("[threads]\ndirection = 'up'\n", "2:13: threads.direction: must be one of ascending, descending"),
        ("processes = 1\n", "1:13: processes: must be a table"),
        ("interval = '1ms'\n", "1:12: interval: must be from 100ms to 1h"),
        ("only_changed = 1\n", "1:16: only_changed: must be true or false"),
        ("tree = \n", "1:8: "),
    ];
    for (text, part) in said {
        let error = error(text);
        assert!(error.starts_with(part) && error.lines().count() == 1, "{text}: {error}");
    }
}

fn sort(columns: Vec<&'static str>) -> impl Strategy<Value = Sort> {
    let directions = prop::sample::select(Direction::value_variants());
    (prop::sample::select(columns), directions).prop_map(|(column, direction)| Sort { column, direction })
}

fn ids<T>(columns: &[Column<T>]) -> Vec<&'static str> {
    columns.iter().map(|column| column.id).collect()
}

proptest! {
    #[test]
    fn whatever_is_kept_is_read_as_it_was(
        process_columns in subsequence(ids(process_columns()), 1..10).prop_shuffle(),
        thread_columns in subsequence(ids(thread_columns()), 1..10).prop_shuffle(),
        process_sort in sort(ids(process_columns())),
        thread_sort in sort(ids(thread_columns())),
        tree in prop::sample::select(Tree::value_variants()),
        only_changed: bool,
        hide_kernel_threads: bool,
        ms in 100..3_600_000u64,
    ) {
        let interval = Duration::from_millis(ms);
        let settings = Settings {
            process_columns,
            thread_columns,
            process_sort,
            thread_sort,
            tree,
            only_changed,
            hide_kernel_threads,
            interval,
        };
        prop_assert_eq!(Settings::from_toml(&settings.to_toml()), Ok(settings));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s)(\\[(processes|threads)\\]\n|[a-z]{1,9} = [-'\"0-9a-z{}\\[\\],.]{0,9}\n|.{0,9}){0,9}") {
        let _ = Settings::from_toml(&text);
    }
}
