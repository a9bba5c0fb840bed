//! What threads cost, measured on this machine, whatever else it does.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use thread_probe::bench::{self, Figure, Observer, Part, Report};

/// Ends it after so many figures.
struct EndsAfter(usize);

impl Observer for EndsAfter {
    fn begins(&mut self, _: Part, _: &str) {}

    fn has(&mut self, _: &Figure) {
        self.0 = self.0.saturating_sub(1);
    }

    fn goes_on(&mut self) -> bool {
        self.0 > 0
    }
}

#[test]
fn each_figure_has_a_value_or_says_why_not() -> Result<()> {
    // What a thread takes of memory asks for a process of one thread.
    const PARTS: [Part; 2] = [Part::Create, Part::Switch];
    let report = bench::run(&PARTS, &mut EndsAfter(16))?;
    for part in PARTS {
        ensure!(report.figures.iter().any(|figure| figure.part == part), "{part:?}: {report:?}");
    }
    for figure in &report.figures {
        let value = figure.seconds;
        // A switch may come out at less than nothing where the system calls alone varied: then it is not steady.
        ensure!(value.is_some_and(|seconds| seconds > 0.0) || figure.problem.is_some(), "{figure:?}");
        ensure!(value.is_none_or(|seconds| seconds < 0.1), "{figure:?}");
        ensure!((figure.part == Part::Switch) == figure.counted_switches.is_some(), "{figure:?}");
    }
    Ok(())
}

#[test]
fn what_a_thread_takes_of_memory_is_its_kernel_stack_and_what_it_touches() -> Result<()> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_thread-probe")).args(["bench", "memory", "--format", "json"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout)?;
    let bytes = |what: &str| -> Result<f64> {
        let figure = report.figures.iter().find(|figure| figure.what.ends_with(what));
        figure.and_then(|figure| figure.bytes).with_context(|| format!("{what} of {report:?}"))
    };
    // THREAD_SIZE is a power of two. Other threads come and go meanwhile.
    let kernel_stack = bytes("64 KiB: kernel stack")?;
    let size = (kernel_stack as u64).next_power_of_two().max(8 << 10) as f64;
    let is_near = |size: f64| (kernel_stack / size - 1.0).abs() < 0.1;
    ensure!(is_near(size) || is_near(size / 2.0), "{kernel_stack}");
    let touched = bytes("touched: resident")? - bytes("8192 KiB: resident")?;
    ensure!(
        (touched / f64::from(128 << 10) - 1.0).abs() < 0.1 || bytes("touched: of it in huge pages")? > 0.0,
        "{touched}"
    );
    ensure!(bytes("8192 KiB: address space")? > f64::from(8 << 20), "{report:?}");
    Ok(())
}

#[test]
fn who_ends_it_gets_what_there_is() -> Result<()> {
    let report = bench::run(&[Part::Switch, Part::Create], &mut EndsAfter(2))?;
    ensure!(report.figures.len() == 2, "{report:?}");
    let first = report.figures.first().context("the first")?;
    ensure!(first.part == Part::Create && (first.seconds.is_some() || first.problem.is_some()), "{first:?}");
    Ok(())
}
