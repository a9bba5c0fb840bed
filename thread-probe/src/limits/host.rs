//! The limits of the host as a whole, from /proc: readable by anyone.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use nix::unistd::{SysconfVar, sysconf};
use procfs::{Current as _, LoadAverage, Meminfo};
use thread_probe_ebpf::abi::record::RESERVED_IDS;

use super::{
    Limit, LimitUse, Scope,
    files::{Files, Folder},
};

/// What the host allows and has. What could not be read is 0, and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostReading {
    /// `kernel.threads-max`.
    pub threads_max: u64,
    /// Threads of the host: the kernel's `nr_threads`.
    pub threads: u64,
    /// `kernel.pid_max`.
    pub pid_max: u64,
    /// Ids below 300 in use.
    pub low_ids: u64,
    /// `vm.max_map_count`.
    pub max_map_count: u64,
    /// MemTotal.
    pub memory_bytes: u64,
    /// MemAvailable.
    pub memory_available_bytes: u64,
    /// KernelStack: the stacks of all threads.
    pub kernel_stacks_bytes: u64,
    /// CPUs that are online.
    pub cpus: u64,
    /// Load averages over 1, 5 and 15 minutes.
    pub load_averages: [f64; 3],
    /// How long a task that had work waited for a CPU since boot, the time of the host as a whole: `some` of
    /// /proc/pressure/cpu, in seconds. `None` where the kernel keeps none.
    pub cpu_pressure_seconds: Option<f64>,
    /// How long it took to read.
    pub took: Duration,
}

/// Ids below 300 in use. They are those of the kernel's threads and the first services, and hardly change: 299 paths
/// are looked up once a minute.
#[derive(Debug, Default)]
pub(super) struct LowIds {
    found: Option<(Instant, u64)>,
}

impl LowIds {
    const FRESH: Duration = Duration::from_mins(1);

    fn count(&mut self) -> u64 {
        match self.found {
            Some((counted, ids)) if counted.elapsed() < Self::FRESH => ids,
            _ => {
                let is_used = |id: &u64| Path::new(&format!("/proc/{id}")).exists();
                let ids = (1..RESERVED_IDS).filter(is_used).count() as u64;
                self.found = Some((Instant::now(), ids));
                ids
            }
        }
    }
}

impl HostReading {
    /// Reads it.
    pub(super) fn read(files: &mut Files, low_ids: &mut LowIds) -> Self {
        let began = Instant::now();
        let sysctl = Folder::absolute(Path::new("/proc/sys"));
        let load = LoadAverage::current();
        let memory = Meminfo::current();
        for (name, error) in [("loadavg", load.as_ref().err()), ("meminfo", memory.as_ref().err())] {
            if let Some(error) = error {
                files.failed(name, &Path::new("/proc").join(name), error);
            }
        }
        let of_memory = |of: fn(&Meminfo) -> u64| memory.as_ref().map_or(0, of);
        Self {
            threads_max: files.number(sysctl, "kernel/threads-max").unwrap_or(0),
            threads: load.as_ref().map_or(0, |load| u64::from(load.max)),
            load_averages: load.map_or([0.0; 3], |load| [load.one, load.five, load.fifteen].map(f64::from)),
            pid_max: files.number(sysctl, "kernel/pid_max").unwrap_or(0),
            low_ids: low_ids.count(),
            max_map_count: files.number(sysctl, "vm/max_map_count").unwrap_or(0),
            memory_bytes: of_memory(|memory| memory.mem_total),
            memory_available_bytes: of_memory(|memory| memory.mem_available.unwrap_or(memory.mem_free)),
            kernel_stacks_bytes: of_memory(|memory| memory.kernel_stack.unwrap_or(0)),
            cpus: sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().map_or(1, |cpus| cpus as u64),
            cpu_pressure_seconds: cpu_pressure_seconds(files),
            took: began.elapsed(),
        }
    }

    /// THREAD_SIZE, as far as it is known without the probe: KernelStack counts those of idle tasks too.
    pub fn stack_bytes(&self) -> u64 {
        let mean = self.kernel_stacks_bytes as f64 / self.threads.max(1) as f64;
        if mean < 1.0 { 0 } else { 1 << mean.log2().round() as u32 }
    }

    /// The limits of the host. `ids` are those in use, where the kernel said so; `thread_bytes` is what one thread
    /// costs.
    pub(super) fn limits(&self, ids: Option<u64>, thread_bytes: u64) -> Vec<LimitUse> {
        let host = |limit, set_by| LimitUse::new(limit, Scope::Host, "host".into(), set_by);
        let ids_used = ids.unwrap_or(self.threads);
        let mut limits = Vec::new();
        if self.threads_max != 0 {
            limits
                .push(host(Limit::ThreadsMax, "kernel.threads-max".into()).of_threads(self.threads, self.threads_max));
        }
        if self.pid_max != 0 {
            let max = usable_ids(self.pid_max, self.low_ids);
            limits.push(host(Limit::PidMax, "kernel.pid_max".into()).of_threads(ids_used, max));
        }
        if self.memory_bytes != 0 {
            let used = self.memory_bytes.saturating_sub(self.memory_available_bytes);
            limits.push(host(Limit::Memory, "memory of the host".into()).of_bytes(
                used,
                self.memory_bytes,
                thread_bytes,
            ));
        }
        limits
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=MICROSECONDS`
fn cpu_pressure_seconds(files: &mut Files) -> Option<f64> {
    let text = files.read(Folder::absolute(Path::new("/proc/pressure")), "cpu")?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.rsplit_once("total=")?.1.parse::<u64>().ok().map(|micros| micros as f64 / 1e6)
}

/// How many ids a pid namespace can have in use: `pid_max` less those below 300, but for those of them that are.
pub(super) fn usable_ids(pid_max: u64, low_ids_used: u64) -> u64 {
    pid_max.saturating_sub(RESERVED_IDS) + low_ids_used.min(RESERVED_IDS - 1)
}

/// Bytes of a page.
pub(super) fn page_bytes() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_all_of_it() {
        let mut files = Files::new();
        let host = HostReading::read(&mut files, &mut LowIds::default());
        assert_eq!(files.unreadable(), []);
        assert!(host.threads > 0 && host.threads < host.threads_max, "{host:?}");
        assert!(host.pid_max > RESERVED_IDS && host.low_ids > 0 && host.max_map_count > 0, "{host:?}");
        assert!(0 < host.memory_available_bytes && host.memory_available_bytes < host.memory_bytes, "{host:?}");
        let limits: Vec<Limit> = host.limits(None, 20_000).iter().map(|limit| limit.limit).collect();
        assert_eq!(limits, [Limit::ThreadsMax, Limit::PidMax, Limit::Memory]);
    }

    #[test]
    fn ids_below_300_are_not_handed_out_again() {
        assert_eq!(usable_ids(32_768, 120), 32_588);
        assert_eq!(usable_ids(301, 1), 2);
    }

    #[test]
    fn what_could_not_be_read_is_no_limit() {
        assert_eq!(HostReading::default().limits(Some(5), 20_000), []);
    }
}
