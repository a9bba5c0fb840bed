//! Where two threads can stand to each other: on one CPU, or on two that share less and less.

use std::{collections::BTreeSet, fs, io, path::Path};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Two CPUs, which may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How the two are related.
    pub(super) name: &'static str,
    /// Their numbers.
    pub(super) cpus: [usize; 2],
}

/// Those that this host has, of the CPUs that this process may use: the nearest first.
///
/// # Errors
/// The kernel does not say which they are.
pub(super) fn places() -> io::Result<Vec<Place>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let allowed: Vec<usize> = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    Ok(among(&allowed, Path::new("/sys/devices/system/cpu")))
}

fn among(allowed: &[usize], cpus: &Path) -> Vec<Place> {
    // The first one has most of the interrupts.
    let Some(of) = allowed.last().copied() else { return Vec::new() };
    let folder = cpus.join(format!("cpu{of}"));
    let siblings = list(&folder.join("topology/thread_siblings_list"));
    let package = list(&folder.join("topology/package_cpus_list"));
    // The last level that there is.
    let cache = (0..8).rev().find_map(|index| {
        let shared = list(&folder.join(format!("cache/index{index}/shared_cpu_list")));
        (!shared.is_empty()).then_some(shared)
    });
    let cache = cache.unwrap_or_else(|| package.clone());
    let other = |is: &dyn Fn(&usize) -> bool| allowed.iter().copied().find(|cpu| *cpu != of && is(cpu));
    let found = [
        ("same CPU", Some(of)),
        ("SMT sibling", other(&|cpu| siblings.contains(cpu))),
        ("other core, same cache", other(&|cpu| !siblings.contains(cpu) && cache.contains(cpu))),
        ("other cache, same socket", other(&|cpu| !cache.contains(cpu) && package.contains(cpu))),
        ("other socket", other(&|cpu| !package.is_empty() && !package.contains(cpu))),
        ("another CPU", other(&|_| package.is_empty() && cache.is_empty() && siblings.is_empty())),
    ];
    found.into_iter().filter_map(|(name, cpu)| Some(Place { name, cpus: [of, cpu?] })).collect()
}

/// `0-3,8`; nothing of a file that is not there.
fn list(path: &Path) -> BTreeSet<usize> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse::<usize>().ok()?.min(CpuSet::count()))
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// Does something on one CPU alone; afterwards the calling thread may run where it might before.
///
/// # Errors
/// It may not run there, or what it did failed.
pub(super) fn pinned<T>(cpu: usize, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(this, &cpus)?;
    let outcome = work();
    sched_setaffinity(this, &before)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sockets of two caches of two cores of two threads.
    fn host() -> io::Result<tempfile::TempDir> {
        let host = tempfile::tempdir()?;
        let write = |cpu: usize, name: &str, size: usize| {
            let path = host.path().join(format!("cpu{cpu}/{name}"));
            fs::create_dir_all(path.parent().unwrap_or(host.path()))?;
            fs::write(path, format!("{}-{}\n", cpu / size * size, cpu / size * size + size - 1))
        };
        for cpu in 0..16 {
            write(cpu, "topology/thread_siblings_list", 2)?;
            write(cpu, "cache/index0/shared_cpu_list", 2)?;
            write(cpu, "cache/index3/shared_cpu_list", 4)?;
            write(cpu, "topology/package_cpus_list", 8)?;
        }
        Ok(host)
    }

    #[test]
    fn places_are_those_that_the_allowed_cpus_have() -> io::Result<()> {
        let host = host()?;
        let of =
            |allowed: &[usize]| among(allowed, host.path()).into_iter().map(|place| place.cpus).collect::<Vec<_>>();
        let all: Vec<usize> = (0..16).collect();
        assert_eq!(of(&all), [[15, 15], [15, 14], [15, 12], [15, 8], [15, 0]]);
        assert_eq!(of(&[1, 9, 12]), [[12, 12], [12, 9], [12, 1]]);
        assert_eq!(of(&[3]), [[3, 3]]);
        assert_eq!(of(&[]), Vec::<[usize; 2]>::new());
        Ok(())
    }

    #[test]
    fn a_host_that_says_nothing_has_one_place() -> io::Result<()> {
        let nothing = tempfile::tempdir()?;
        assert_eq!(among(&[0, 1], nothing.path()).len(), 2);
        Ok(())
    }

    #[test]
    fn this_host_has_a_cpu_and_a_thread_stays_there_until_it_is_done() -> io::Result<()> {
        let on = || {
            let allowed = sched_getaffinity(Pid::from_raw(0))?;
            io::Result::Ok((0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect::<Vec<_>>())
        };
        let before = on()?;
        let of = places()?.first().map(|place| place.cpus[0]).ok_or_else(|| io::Error::other("no CPU"))?;
        assert_eq!(pinned(of, on)?, [of]);
        assert_eq!(on()?, before);
        Ok(())
    }
}
