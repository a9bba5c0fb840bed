//! What a fleet costs a Prometheus: one daemon's real scrape, served as if by many, to the real Prometheus.

mod exposition;
mod host;
mod options;
mod prometheus;
mod serve;

use anyhow::{Result, ensure};

use self::{
    exposition::Exposition,
    prometheus::{Prometheus, Scraped},
    serve::{Size, Targets},
};
pub(crate) use self::{host::be_process, options::Options};

/// Measures, and prints a table.
///
/// # Errors
/// The daemon or Prometheus could not be started, or a scrape failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.time >= 4 * options.interval, "--for is less than four times --interval");
    let exposition = Exposition::parse(&host::scrape(options.program.as_deref(), options.groups)?)?;
    let targets = Targets::serve(exposition.clone(), options.targets)?;
    let size = targets.size_of_a_scrape()?;
    let prometheus = Prometheus::start(options, targets.port())?;
    println!("Prometheus on {} scrapes for {}.", prometheus.url(), humantime::format_duration(options.time));
    let scraped = prometheus.watch(options.time)?;
    print(options, &exposition, size, &scraped);
    ensure!(scraped.failed_scrapes == 0, "{} scrapes failed", scraped.failed_scrapes);
    Ok(())
}

fn print(options: &Options, exposition: &Exposition, size: Size, scraped: &Scraped) {
    let hosts = f64::from(options.targets);
    let count = exposition.count();
    println!("| | |\n|---|---|");
    let row = |what: &str, value: String| println!("| {what} | {value} |");
    row("targets, interval", format!("{}, {}", options.targets, humantime::format_duration(options.interval)));
    row("groups per host", count.groups.to_string());
    row("series per host: fixed", count.fixed.to_string());
    row("series per host: per group, mean", format!("{:.1}", count.of_groups as f64 / count.groups as f64));
    row("series per host: all", count.all.to_string());
    row("bytes per scrape", size.plain.to_string());
    row("bytes per scrape, gzip", size.compressed.to_string());
    row("series in Prometheus", format!("{:.0}", scraped.head_series));
    row("recorded series per host", format!("{:.1}", scraped.recorded_of_hosts / hosts));
    row("recorded series per job", format!("{:.0}", scraped.recorded_of_jobs));
    row("samples per second", format!("{:.0}", scraped.samples_per_second));
    row("Prometheus, CPU", format!("{:.2} cores", scraped.cpu_cores));
    row("Prometheus, RSS", format!("{:.0} MB", scraped.rss_bytes / 1e6));
    row("bytes of chunks per sample", format!("{:.2}", scraped.chunk_bytes_per_sample));
    row("bytes of index per series", format!("{:.0}", scraped.index_bytes_per_series));
    row("slowest scrape", format!("{:.2} s", scraped.slowest_scrape_seconds));
    for (group, seconds) in &scraped.rule_seconds {
        row(&format!("rules {group}"), format!("{seconds:.2} s of {:.0} s", options.interval.as_secs_f64()));
    }
    for (rule, seconds) in &scraped.slowest_rules {
        row(&format!("rule {rule}"), format!("{seconds:.2} s"));
    }
    row("rule evaluations missed", format!("{:.0}", scraped.missed_evaluations));
    row("scrapes failed", scraped.failed_scrapes.to_string());
}
