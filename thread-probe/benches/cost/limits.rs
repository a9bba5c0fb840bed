//! How long it takes to evaluate all limits of all processes.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use thread_probe::{
    limits::Limit,
    sampler::{Sampler, SamplerConfig},
};

use crate::{load::Load, median};

const CGROUPS: usize = 500;
const PROCESSES: usize = 2_000;

/// Cgroups in the hierarchies of the pids and the memory controller, each with a limit of both.
pub(crate) struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn new() -> Result<Self> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let is_v2 = root.join("cgroup.controllers").exists();
        let roots = if is_v2 { vec![root.clone()] } else { vec![root.join("pids"), root.join("memory")] };
        if is_v2 {
            fs::write(root.join("cgroup.subtree_control"), "+pids +memory")?;
        }
        let mut made = Self(Vec::new());
        for root in roots {
            let above = root.join("tp-bench");
            fs::create_dir(&above)?;
            made.0.push(above.clone());
            if is_v2 {
                fs::write(above.join("cgroup.subtree_control"), "+pids +memory")?;
            }
            for index in 0..CGROUPS {
                let folder = above.join(index.to_string());
                fs::create_dir(&folder)?;
                made.0.push(folder.clone());
                for (file, max) in [("pids.max", "50"), ("memory.max", "1G"), ("memory.limit_in_bytes", "1G")] {
                    if folder.join(file).exists() {
                        fs::write(folder.join(file), max)?;
                    }
                }
            }
        }
        Ok(made)
    }

    /// The cgroups of each number, by hierarchy.
    fn folders(&self) -> Vec<String> {
        let above = self.0.iter().filter(|folder| folder.ends_with("tp-bench"));
        above.map(|folder| folder.to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            for _ in 0..100 {
                if fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

pub(crate) fn measure() -> Result<()> {
    let cgroups = Cgroups::new()?;
    let folders = cgroups.folders();
    let (count, each) = (CGROUPS.to_string(), (PROCESSES / CGROUPS).to_string());
    let mut args = vec!["crowd", &count, &each];
    args.extend(folders.iter().map(String::as_str));
    let load = Load::start(&args)?;
    let (mut sampler, first) = Sampler::start(&SamplerConfig::default())?;
    let of_cgroups = |limit| first.limits.shared.iter().filter(|of| of.limit == limit).count();
    let (pids, memory) = (of_cgroups(Limit::CgroupPids), of_cgroups(Limit::CgroupMemory));
    ensure!(pids >= CGROUPS && memory >= CGROUPS, "limits of {pids} and {memory} cgroups were seen");
    let mut later = Vec::new();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(200));
        later.push(sampler.sample()?.limits.duration_seconds * 1e3);
    }
    let slowest = later.iter().copied().fold(0.0, f64::max);
    drop(sampler);
    drop(load);
    println!("| all limits of {PROCESSES} processes in {CGROUPS} cgroups | first pass | later passes | slowest |");
    println!("|---|---|---|---|");
    let first_ms = first.limits.duration_seconds * 1e3;
    println!(
        "| {pids} pids and {memory} memory limits | {first_ms:.1} ms | {:.1} ms | {slowest:.1} ms |\n",
        median(later)
    );
    Ok(())
}
