//! Quantiles of waits by `histogram_quantile`, held to the histograms of the JSON API over the same span of time.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{servers::prometheus::server::Prometheus, support::daemon::Daemon};

/// A histogram's counts by upper bound in nanoseconds; `u64::MAX` has none.
type Counts = BTreeMap<u64, u64>;

/// Waits for less than this many say little about the 99th percentile.
const ENOUGH: u64 = 1000;

/// Watches for a while, and compares the host and each group that waited often.
pub(super) fn agree(daemon: &Daemon, prometheus: &Prometheus, span: Duration) -> Result<()> {
    let before = snapshot(daemon)?;
    thread::sleep(span);
    let after = snapshot(daemon)?;
    // Until what was sampled then is scraped.
    thread::sleep(Duration::from_secs(2));
    let time = |snapshot: &Value| snapshot["time_unix_seconds"].as_f64().context("a time");
    let (from, to) = (time(&before)?, time(&after)?);
    let window = format!("[{:.0}s] @ {to:.0}", to - from);
    let selector = format!("instance=\"127.0.0.1:{}\"", daemon.port);
    let mut compared = 0;
    for group in std::iter::once(None).chain(groups(&after).map(Some)) {
        let known = histogram(&before, group);
        let counts = growth(&known, &histogram(&after, group))?;
        // What a group did before its first scrape is no increase: one that came meanwhile is left out.
        if known.is_empty() || counts.values().sum::<u64>() < ENOUGH {
            continue;
        }
        let selector = group.map_or(selector.clone(), |group| format!("{selector}, group=\"{group}\""));
        for quantile in [0.5, 0.99] {
            let expression = format!(
                "histogram_quantile({quantile}, sum by (le) (increase(threadprobe_runqueue_latency_seconds_bucket{{{selector}}}{window})))"
            );
            let asked = prometheus.value(&expression)?;
            let counted = quantile_of(&counts, quantile);
            let apart = bucket(asked).abs_diff(bucket(counted));
            ensure!(apart <= 1, "p{quantile} of {group:?}: {asked} s by {expression}, {counted} s by the API");
            compared += 1;
        }
    }
    ensure!(compared >= 4, "only {compared} quantiles could be compared");
    Ok(())
}

fn snapshot(daemon: &Daemon) -> Result<Value> {
    Ok(serde_json::from_str(&daemon.get("/api/v1/snapshot")?.1)?)
}

fn groups(snapshot: &Value) -> impl Iterator<Item = &str> {
    snapshot["groups"].as_array().into_iter().flatten().filter_map(|group| group["group"].as_str())
}

/// That of the host, or of a group; empty before there is one.
fn histogram(snapshot: &Value, group: Option<&str>) -> Counts {
    let of = match group {
        None => Some(&snapshot["host"]),
        Some(name) => snapshot["groups"].as_array().into_iter().flatten().find(|group| group["group"] == name),
    };
    let buckets = of.and_then(|of| of["wait_histogram"].as_array()).into_iter().flatten();
    let bound =
        |bucket: &Value| bucket["le_seconds"].as_f64().map_or(u64::MAX, |seconds| (seconds * 1e9).round() as u64);
    buckets.map(|bucket| (bound(bucket), bucket["count"].as_u64().unwrap_or(0))).collect()
}

fn growth(before: &Counts, after: &Counts) -> Result<Counts> {
    let since = |(bound, count): (&u64, &u64)| {
        let grown = count.checked_sub(before.get(bound).copied().unwrap_or(0)).context("a histogram that shrinks")?;
        Ok((*bound, grown))
    };
    after.iter().map(since).collect()
}

/// The upper bound of the bucket that reaches the quantile, in seconds.
fn quantile_of(counts: &Counts, quantile: f64) -> f64 {
    let rank = counts.values().sum::<u64>() as f64 * quantile;
    let mut below = 0;
    let reached = counts.iter().find(|(_, count)| {
        below += *count;
        below as f64 >= rank
    });
    reached.map_or(f64::NAN, |(bound, _)| *bound as f64 / 1e9)
}

/// The bounds in nanoseconds that are exported.
const EXPORTED: [u32; 13] = [10, 12, 14, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30];

/// Which exported bucket a wait falls in.
fn bucket(seconds: f64) -> usize {
    EXPORTED.iter().position(|exponent| seconds <= (1u64 << exponent) as f64 / 1e9).unwrap_or(EXPORTED.len())
}
