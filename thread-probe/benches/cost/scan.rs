//! How long all threads take: one sample, against a pass over /proc for the same counters.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result};
use thread_probe::sampler::{Sampler, SamplerConfig};

use crate::{load::Load, median, sysctl::Sysctl};

/// Processes and threads in all.
const LOADS: [(u64, u64); 3] = [(20, 1_000), (200, 10_000), (20, 100_000)];

pub(crate) fn measure() -> Result<()> {
    let _pids = Sysctl::set("kernel/pid_max", "4194304")?;
    println!(
        "| threads | first sample: every record whole | later samples | /proc: status and schedstat | daemon's RSS growth |"
    );
    println!("|---|---|---|---|---|");
    for (processes, threads) in LOADS {
        let load = Load::start(&["sleepers", &processes.to_string(), &threads.to_string()])?;
        let rss_before = resident_kb()?;
        let (mut sampler, first) = Sampler::start(&SamplerConfig::default())?;
        let first_ms = first.probe.sample_duration_seconds * 1e3;
        drop(first);
        let mut later = Vec::new();
        for _ in 0..7 {
            std::thread::sleep(std::time::Duration::from_millis(200));
            let started = Instant::now();
            sampler.sample()?;
            later.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let rss = resident_kb()?.saturating_sub(rss_before) / 1024;
        drop(sampler);
        let proc_ms = pass_over_proc()?;
        println!(
            "| {threads} in {processes} processes | {first_ms:.1} ms | {:.1} ms | {proc_ms:.0} ms | {rss} MB |",
            median(later)
        );
        drop(load);
    }
    println!();
    Ok(())
}

/// What a tool without eBPF reads, in milliseconds.
fn pass_over_proc() -> Result<f64> {
    let started = Instant::now();
    let mut bytes = 0;
    for process in fs::read_dir("/proc")?.flatten() {
        // A process that ends meanwhile is normal.
        let Ok(tasks) = fs::read_dir(process.path().join("task")) else { continue };
        for task in tasks.flatten() {
            for file in ["status", "schedstat"] {
                bytes += fs::read(task.path().join(file)).map_or(0, |content| content.len());
            }
        }
    }
    std::hint::black_box(bytes);
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

fn resident_kb() -> Result<u64> {
    resident_kb_of("self")
}

/// Resident memory of a process.
pub(crate) fn resident_kb_of(pid: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
