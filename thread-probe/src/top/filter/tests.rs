use proptest::prelude::*;

use super::*;
use crate::{
    limits::{Headroom, Limit, Scope},
    model::{Memory, Rates, ThreadCounts},
    testing::limit_use,
};

fn process() -> Process {
    Process {
        pid: 1234,
        comm: "Pool-7".to_owned(),
        exe: "java".to_owned(),
        user: "tomcat".into(),
        group: "shop.service".into(),
        cgroup: Some("/system.slice/shop.service".into()),
        threads: ThreadCounts { total: 2000, ..ThreadCounts::default() },
        rates: Some(Rates { cpu_ratio: 0.55, wait_p99_seconds: Some(0.012), ..Rates::default() }),
        memory: Memory { kernel_stack_bytes: 40 << 20, ..Memory::default() },
        headroom: Some(Headroom {
            binding: limit_use((Limit::CgroupPids, Scope::Cgroup), "/a", 91, 100),
            first_exhausted: None,
        }),
        ..Process::default()
    }
}

fn matches(text: &str, process: &Process) -> bool {
    Filter::parse(text).is_ok_and(|filter| filter.matches(process))
}

fn error(text: &str) -> String {
    Filter::parse(text).map_or_else(|error| error, |filter| format!("{filter:?}"))
}

#[test]
fn a_word_is_looked_for_in_the_names_whatever_the_case_and_as_the_whole_pid() {
    for word in ["pool", "JAVA", "Tomc", "shop", "1234", "!root", "pool java", ""] {
        assert!(matches(word, &process()), "{word}");
    }
    for word in ["123", "slice", "!pool", "pool root", "a-word-that-is-longer-than-any-of-the-names"] {
        assert!(!matches(word, &process()), "{word}");
    }
    let other = Process { comm: "ÄPFEL".to_owned(), ..Process::default() };
    assert!(matches("äpfel", &other) && !matches("birne", &other));
}

#[test]
fn a_column_of_text_is_searched_for_a_word_or_a_pattern() {
    let good =
        ["user:TOM", "cgroup:slice", "limit:pids", "re:^pool-[0-9]$", "user:~^tom", "!limit:~^nproc$", "kworker/0:1"];
    for text in &good[..6] {
        assert!(matches(text, &process()), "{text}");
    }
    assert!(!matches(good[6], &process()) && Filter::parse(good[6]).is_ok());
    for text in ["user:java", "comm:tomcat", "re:^7", "exe:~^ava", "!re:pool"] {
        assert!(!matches(text, &process()), "{text}");
    }
}

#[test]
fn numbers_are_compared_in_the_units_of_their_column() {
    let good = [
        "threads>1999",
        "thr>=2k",
        "THREADS=2K",
        "threads<2.1k",
        "cpu>50",
        "cpu<=56%",
        "CPU%>=54.9",
        "p99>10ms",
        "p99<12001us",
        "p99<1m",
        "kstack=40M",
        "kernel_stack_bytes>39000k",
        "stack<1G",
        "limit>90",
        "limit<91.1%",
        "pid=1234",
        "room=9",
        "fail=0",
        "!threads>2000",
    ];
    for text in good {
        assert!(matches(text, &process()), "{text}: {}", error(text));
    }
    for text in ["threads>2k", "cpu>0.56k", "cpu>60", "p99>1s", "kstack>40M", "limit>=92", "pid<1234"] {
        assert!(!matches(text, &process()), "{text}");
    }
}

#[test]
fn what_has_no_value_matches_no_comparison() {
    for text in ["cpu>=0", "cpu<1", "p99<1s", "limit<50", "room>=0", "exhausted<1h"] {
        assert!(!matches(text, &Process::default()), "{text}");
    }
    assert!(!matches("limit:", &Process::default()) && !matches("limit:a", &Process::default()));
}

#[test]
fn a_mistake_is_said_with_what_is_allowed() {
    let said = [
        ("!", "a ! without"),
        ("colour:red", "no column \"colour\": as in threads"),
        (">5", "no column before"),
        ("beauty>5", "no column \"beauty\""),
        ("user>5", "user is a name: as in user:word"),
        ("threads:5", "threads is a number: compare it, as in threads>1"),
        ("threads>", "threads is compared with a number, with a unit (k K M G) or none, not \"\""),
        ("p99>5k", "with a unit (us ms s m h) or none, not \"5k\""),
        ("cpu>5M", "with a unit (%) or none"),
        ("pid=1k", "pid is compared with a number, not \"1k\""),
        ("threads==5", "not \"=5\""),
        ("threads>-5", "not \"-5\""),
        ("re:", "no pattern after re"),
        ("user:", "no word after user"),
        ("re:(", "\"(\" is no regular expression: "),
        ("re:a{1000}{1000}", "is no regular expression: "),
    ];
    for (text, part) in said {
        let error = error(text);
        assert!(error.contains(part) && error.lines().count() == 1, "{text}: {error}");
    }
}

#[test]
fn only_a_filter_without_terms_is_empty() {
    assert!(Filter::default().is_empty() && Filter::parse(" \t").is_ok_and(|filter| filter.is_empty()));
    assert!(Filter::parse("a").is_ok_and(|filter| !filter.is_empty()));
}

/// What looks like a filter.
const TERMS: &str =
    "(!?(re:|user:|comm:~|threads|cpu|p99|limit|[a-z]{0,3})[<>=:~]{0,2}[0-9.kM%()\\[*ä]{0,5}[ \t]?){0,4}";

fn check(text: &str) -> Result<(), TestCaseError> {
    match Filter::parse(text) {
        Ok(filter) => prop_assert!(filter.matches(&process()) || !filter.is_empty()),
        Err(error) => prop_assert!(error.lines().count() == 1, "{}", error),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_a_filter_or_refused_in_one_line(text in "(?s).{0,80}") {
        check(&text)?;
    }

    #[test]
    fn what_looks_like_a_filter_is_one_or_refused_in_one_line(text in TERMS) {
        check(&text)?;
    }
}
