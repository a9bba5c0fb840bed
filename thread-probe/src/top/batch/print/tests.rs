use std::time::Duration;

use super::*;
use crate::{
    config::Config,
    model::{Rates, ThreadCounts},
    testing::empty_model,
    top::{
        batch::ids_by_default,
        choice::{ColumnsChoice, SortChoice},
        filter::Filter,
    },
};

fn batch(format: Format) -> Batch {
    Batch {
        recording: None,
        url: None,
        config: Config::default(),
        interval: Duration::from_secs(1),
        samples: None,
        format,
        sort: SortChoice::default(),
        filter: Filter::default(),
        columns: None,
        table: ColumnsChoice { process: PS_PROCESS_COLUMNS.to_vec(), thread: ids_by_default(thread_columns()) },
        width: None,
        top: usize::MAX,
        pid: None,
        by_name: false,
        is_timed: true,
    }
}

fn process(pid: u32, comm: &str, switches_per_second: f64) -> Process {
    Process {
        pid,
        comm: comm.to_owned(),
        threads: ThreadCounts { total: u64::from(pid), ..ThreadCounts::default() },
        rates: Some(Rates { switches_per_second, ..Rates::default() }),
        ..Process::default()
    }
}

fn sample() -> Sample {
    let processes = vec![process(1, "one", 5.0), process(2, "two, or not", 50.0), process(3, "three", 20.0)];
    Sample { model: Model { time_unix_seconds: 86_399.5, processes, ..empty_model() }, one: None, command_line: None }
}

#[test]
fn threads_of_a_name_are_one_row_with_their_sums() -> Result<()> {
    let mut sample = with_threads();
    let pool = ThreadsOfName {
        name: "worker-#".to_owned(),
        threads: ThreadCounts { total: 400, running: 3, ..ThreadCounts::default() },
        rates: Some(Rates { switches_per_second: 1234.0, ..Rates::default() }),
        ..ThreadsOfName::default()
    };
    let few = ThreadsOfName { name: "few".to_owned(), rates: Some(Rates::default()), ..ThreadsOfName::default() };
    sample.one = Some(OneProcess { threads_by_name: vec![few, pool], ..OneProcess::default() });
    // A column that threads one by one have not.
    let sort = SortChoice::parse("threads").map_err(anyhow::Error::msg)?;
    let batch = Batch { sort, pid: Some(1), by_name: true, is_timed: false, ..batch(Format::Table) };
    let text = printed(&batch, [sample])?;
    let row: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..5], ["worker-#", "400", "3", "0", "1,234"], "{text}");
    Ok(())
}

fn with_threads() -> Sample {
    let thread = |tid| Thread { tid, comm: "t".to_owned(), ..Thread::default() };
    Sample { one: Some(OneProcess { threads: [7, 8].map(thread).to_vec(), ..OneProcess::default() }), ..sample() }
}

fn printed(batch: &Batch, samples: impl IntoIterator<Item = Sample>) -> Result<String> {
    let mut printer = Printer::new(batch)?;
    let texts = samples.into_iter().map(|sample| printer.print(sample)).collect::<Result<Vec<_>>>()?;
    Ok(String::from_utf8(texts.concat())?)
}

fn pids(text: &str) -> Result<Vec<u64>> {
    let json: serde_json::Value = serde_json::from_str(text)?;
    let processes = json["processes"].as_array().context("processes")?;
    Ok(processes.iter().filter_map(|process| process["pid"].as_u64()).collect())
}

#[test]
fn json_is_a_line_a_sample_with_the_processes_filtered_sorted_and_cut() -> Result<()> {
    let text = printed(&batch(Format::Json), [sample(), sample()])?;
    assert_eq!(text.lines().map(pids).collect::<Result<Vec<_>>>()?, [[2, 3, 1], [2, 3, 1]]);
    let by_pid = SortChoice::parse("pid").map_err(anyhow::Error::msg)?;
    assert_eq!(pids(&printed(&Batch { sort: by_pid, top: 2, ..batch(Format::Json) }, [sample()])?)?, [1, 2]);
    let filter = Filter::parse("threads>1 !two").map_err(anyhow::Error::msg)?;
    assert_eq!(pids(&printed(&Batch { filter, ..batch(Format::Json) }, [sample()])?)?, [3]);
    Ok(())
}

/// The headings of a table in a terminal of this width.
fn headings(width: u16, sort: &str) -> Result<Vec<String>> {
    let sort = SortChoice::parse(sort).map_err(anyhow::Error::msg)?;
    let batch = Batch { sort, width: Some(width), is_timed: false, ..batch(Format::Table) };
    let text = printed(&batch, [sample()])?;
    assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
    Ok(text
        .lines()
        .next()
        .unwrap_or_default()
        .split("  ")
        .map(|title| title.trim().to_owned())
        .filter(|title| !title.is_empty())
        .collect())
}

#[test]
fn a_table_is_as_wide_as_the_terminal_and_shows_what_it_is_sorted_by() -> Result<()> {
    let wide = headings(300, "switches")?;
    assert_eq!((&*wide[0], &*wide[1], wide.last().map(String::as_str)), ("PID", "COMM", Some("SW/s")));
    let narrow = headings(40, "exhausted")?;
    assert!(["PID", "COMM", "FULL IN"].iter().all(|title| narrow.iter().any(|shown| shown == title)), "{narrow:?}");
    assert!(narrow.len() < wide.len(), "{narrow:?}");
    Ok(())
}

#[test]
fn csv_has_one_header_and_the_time_of_each_sample_but_not_for_ps() -> Result<()> {
    let text = printed(&batch(Format::Csv), [sample(), sample()])?;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("time_unix_seconds,pid,user,threads,threads_created_per_second,"), "{}", lines[0]);
    assert_eq!(lines[0].split(',').count(), process_columns().len() + 1);
    assert!(lines[1].starts_with("86399.500,2,") && lines[1].contains(",\"two, or not\","), "{}", lines[1]);
    assert_eq!((lines.len(), lines[4]), (7, lines[1]));
    let text = printed(&Batch { is_timed: false, ..batch(Format::Csv) }, [sample()])?;
    assert!(text.starts_with("pid,user,") && text.contains("\n2,,2,"), "{text}");
    Ok(())
}

#[test]
fn a_table_has_a_headline_and_a_blank_line_before_the_next() -> Result<()> {
    let columns = ColumnsChoice::parse("comm,pid").map_err(anyhow::Error::msg)?;
    let text = printed(&Batch { columns: Some(columns), top: 1, ..batch(Format::Table) }, [sample(), sample()])?;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("thread-probe top - 23:59:59Z, 0 processes, 0 threads, 0 switches/s"), "{}", lines[0]);
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["COMM", "PID"]);
    assert_eq!((lines[3], lines.len()), ("", 7));
    Ok(())
}

#[test]
fn the_threads_of_a_process_are_printed_until_it_ends() -> Result<()> {
    let one = |format| Batch { pid: Some(2), top: 1, ..batch(format) };
    let table = printed(&one(Format::Table), [with_threads()])?;
    assert!(table.contains("Z, 2 (two, or not), 2 threads, 50 switches/s") && table.lines().count() == 3, "{table}");
    let json: serde_json::Value = serde_json::from_str(&printed(&one(Format::Json), [with_threads()])?)?;
    assert_eq!((json["threads"].as_array().map(Vec::len), &json["alerts"]), (Some(1), &serde_json::json!([])));
    let error = |samples: Vec<Sample>| printed(&one(Format::Csv), samples).unwrap_or_else(|error| error.to_string());
    assert!(error(vec![sample()]).starts_with("no process 2: "));
    assert_eq!(error(vec![with_threads(), sample()]), "process 2 has ended");
    Ok(())
}

#[test]
fn what_only_threads_have_is_refused_without_a_process() {
    let said = |batch: &Batch| Printer::new(batch).map_or_else(|error| error.to_string(), |_| String::new());
    let by_tid = Batch { sort: SortChoice { process: None, ..SortChoice::default() }, ..batch(Format::Table) };
    assert!(said(&by_tid).contains("--pid"));
    assert_eq!(said(&Batch { pid: Some(1), ..by_tid }), "");
    let columns = Some(ColumnsChoice { process: Vec::new(), thread: vec!["tid"] });
    assert_eq!(said(&Batch { columns, ..batch(Format::Csv) }), "--columns: processes have none of these");
}

#[test]
fn ps_and_csv_begin_with_columns_that_there_are() {
    assert!(FIRST_PROCESS_COLUMNS.iter().all(|id| find(process_columns(), id).is_some()));
    assert!(FIRST_THREAD_COLUMNS.iter().all(|id| find(thread_columns(), id).is_some()));
}
