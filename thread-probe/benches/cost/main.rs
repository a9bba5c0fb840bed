//! What thread-probe costs, side by side in one run with an empty program and, where they are installed, its peers.
//!
//! `cargo xtask bench` runs it as root. It changes kernel.bpf_stats_enabled, kernel.pid_max and
//! vm.max_map_count and sets them back.
#![expect(clippy::print_stdout, reason = "prints its measurements")]

mod daemon;
mod limits;
mod load;
mod record;
mod scan;
mod switches;
mod sysctl;
mod top;

use anyhow::{Result, ensure};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, args @ ..] = args.as_slice()
        && role == load::ROLE
    {
        return load::play(args);
    }
    ensure!(nix::unistd::geteuid().is_root(), "measuring eBPF needs root: run `cargo xtask bench`");
    println!("Linux {}, {} CPUs\n", nix::sys::utsname::uname()?.release().to_string_lossy(), cpus()?);
    let parts: [(&str, Measure); 6] = [
        ("switches", switches::measure),
        ("scan", scan::measure),
        ("limits", limits::measure),
        ("daemon", daemon::measure),
        ("top", top::measure),
        ("record", record::measure),
    ];
    for (name, measure) in parts {
        // All of them, or those that are named.
        if args.iter().all(|arg| arg.starts_with('-')) || args.iter().any(|arg| arg == name) {
            measure()?;
        }
    }
    Ok(())
}

type Measure = fn() -> Result<()>;

fn cpus() -> Result<usize> {
    Ok(std::thread::available_parallelism()?.get())
}

/// The middle of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
