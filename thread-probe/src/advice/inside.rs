//! The rules on what was read of a process itself.

use super::found::{Found, Inside, beyond};
use crate::{
    inspect::{Parallelism, Pool, Runtime, RuntimeKind},
    model::Process,
    text::human,
};

/// CPUs as a number of threads: of half a one there is one.
fn whole_cpus(process: &Process) -> f64 {
    process.usable_cpus.cpus.ceil().max(1.0)
}

/// What a runtime was told of how many to work with, against what there are.
fn too_many(process: &Process, name: &str, told: &Parallelism) -> Option<Found> {
    let cpus = whole_cpus(process);
    let weight = beyond(told.threads as f64 / cpus, 1.0)?;
    let Parallelism { threads, set_by, seen_in } = told;
    let figures = format!(
        "{name} has {threads} threads work at a time on {:.2} CPUs ({set_by}, {seen_in})",
        process.usable_cpus.cpus
    );
    Some((weight, figures, format!("set {set_by}={cpus:.0}")))
}

pub(super) fn runtime_cpus(process: &Process, inside: &Inside) -> Option<Found> {
    let is_it = |runtime: &&Runtime| matches!(runtime.kind, RuntimeKind::Go | RuntimeKind::Jvm);
    let runtime = inside.runtimes.iter().find(is_it)?;
    let assumed = || go_by_default(process, runtime);
    let told = runtime.parallelism.clone().or_else(assumed)?;
    too_many(process, runtime.kind.label(), &told)
}

/// Go looks at quotas since 1.25.
fn go_by_default(process: &Process, runtime: &Runtime) -> Option<Parallelism> {
    let version = runtime.version.as_deref().filter(|_| runtime.kind == RuntimeKind::Go)?;
    let minor: u32 = version.strip_prefix("1.").and_then(|rest| rest.split('.').next()?.parse().ok()).unwrap_or(0);
    (minor < 25 && process.scheduling.allowed_cpus > 0).then(|| Parallelism {
        threads: process.scheduling.allowed_cpus.into(),
        set_by: "GOMAXPROCS",
        seen_in: "as Go before 1.25 looks at no quota".to_owned(),
    })
}

pub(super) fn library_pool(process: &Process, inside: &Inside) -> Option<Found> {
    let found = inside.runtimes.iter().filter_map(|runtime| {
        let told = runtime.parallelism.as_ref().filter(|_| runtime.kind.is_library())?;
        too_many(process, runtime.kind.label(), told)
    });
    found.max_by(|a, b| a.0.total_cmp(&b.0))
}

pub(super) fn idle_pool(inside: &Inside) -> Option<Found> {
    const MANY: u64 = 16;
    let is_idle = |pool: &&Pool| pool.threads.total >= MANY && pool.idle_threads == pool.threads.total;
    let pool = inside.pools.iter().filter(is_idle).max_by_key(|pool| pool.threads.total)?;
    let threads = pool.threads.total;
    let figures = format!(
        "all {} threads of pool {} have slept for {} and more",
        human::count(threads),
        human::plain(&pool.name),
        human::duration(pool.idle_seconds)
    );
    let change = "a pool that grows when there is work, and shrinks again; or a smaller one".to_owned();
    Some((threads as f64 / MANY as f64, figures, change))
}

pub(super) fn oversized_stacks(inside: &Inside) -> Option<Found> {
    const SAVED_BYTES: f64 = (1_u64 << 30) as f64;
    /// What is in huge pages is memory and not address space alone.
    const HUGE_BYTES: f64 = (64_u64 << 20) as f64;
    let saved = |pool: &Pool| pool.stacks.as_ref().map_or(0, |stacks| stacks.saved_bytes);
    let huge = |pool: &Pool| pool.stacks.as_ref().and_then(|stacks| stacks.huge_bytes).unwrap_or(0);
    let pool = inside.pools.iter().max_by_key(|pool| (huge(pool), saved(pool)))?;
    let stacks = pool.stacks.as_ref()?;
    // Address space alone is seldom short.
    let in_address_space = beyond(saved(pool) as f64, SAVED_BYTES).map(|weight| weight.min(1.5));
    let in_memory = beyond(huge(pool) as f64, HUGE_BYTES);
    let weight = in_memory.or(in_address_space).filter(|_| stacks.reserved_bytes > stacks.enough_bytes)?;
    let in_huge =
        if huge(pool) > 0 { format!(", {} of it in huge pages", human::bytes(huge(pool))) } else { String::new() };
    let figures = format!(
        "{} of {} each in pool {}: {} touched{in_huge}, {} by the deepest",
        human::counted(stacks.stacks, "stack"),
        human::bytes(stacks.reserved_bytes),
        human::plain(&pool.name),
        human::bytes(stacks.touched_bytes),
        human::bytes(stacks.deepest_bytes)
    );
    let is_jvm = inside.runtimes.iter().any(|runtime| runtime.kind == RuntimeKind::Jvm);
    let by = if is_jvm { "-Xss" } else { "pthread_attr_setstacksize, ulimit -s, or what its language has for that" };
    let change = format!(
        "stacks of {} ({by}): {} less of address space",
        human::bytes(stacks.enough_bytes),
        human::bytes(stacks.saved_bytes)
    );
    Some((weight, figures, change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::{PoolStacks, ThreadModel},
        model::{Scheduling, ThreadCounts, UsableCpus},
    };

    fn on(cpus: f64) -> Process {
        let scheduling = Scheduling { allowed_cpus: 8, ..Scheduling::default() };
        Process { usable_cpus: UsableCpus { cpus, quota_set_by: None }, scheduling, ..Process::default() }
    }

    fn with(kind: RuntimeKind, version: Option<&str>, told: Option<(u64, &'static str)>) -> Inside {
        let runtime = Runtime {
            kind,
            version: version.map(str::to_owned),
            model: ThreadModel::OneToOne,
            threads: "",
            parallelism: told.map(|(threads, set_by)| Parallelism { threads, set_by, seen_in: "here".to_owned() }),
            evidence: Vec::new(),
        };
        Inside { runtimes: vec![runtime], pools: Vec::new() }
    }

    fn pool(pool: Pool) -> Inside {
        Inside { pools: vec![pool], ..Inside::default() }
    }

    #[test]
    fn a_runtime_that_works_with_more_than_its_cpus_is_told_so_and_one_with_as_many_is_not() {
        let go = |threads| with(RuntimeKind::Go, Some("1.19"), Some((threads, "GOMAXPROCS")));
        let change = runtime_cpus(&on(1.5), &go(3)).map(|(weight, _, change)| (weight, change));
        assert_eq!(change, Some((1.5, "set GOMAXPROCS=2".to_owned())));
        assert_eq!(runtime_cpus(&on(1.5), &go(2)), None);
        assert_eq!(runtime_cpus(&on(0.0), &go(1)), None);
        // What is not told is as by default, which sees no quota before 1.25.
        let by_default = |version| runtime_cpus(&on(2.0), &with(RuntimeKind::Go, Some(version), None));
        assert!(by_default("1.24.9").is_some() && by_default("before 1.18").is_some());
        assert_eq!(by_default("1.25.0"), None);
        assert_eq!(runtime_cpus(&on(2.0), &with(RuntimeKind::Jvm, Some("21"), None)), None);
        assert_eq!(library_pool(&on(1.5), &go(3)), None, "it is no library");
    }

    #[test]
    fn a_librarys_pool_is_to_be_as_large_as_the_quota() {
        let blas = |threads| with(RuntimeKind::OpenBlas, None, Some((threads, "OPENBLAS_NUM_THREADS")));
        let change = library_pool(&on(0.5), &blas(16)).map(|(.., change)| change);
        assert_eq!(change.as_deref(), Some("set OPENBLAS_NUM_THREADS=1"));
        assert_eq!(library_pool(&on(16.0), &blas(16)), None);
        assert_eq!(library_pool(&on(0.5), &with(RuntimeKind::OpenBlas, None, None)), None);
    }

    #[test]
    fn a_pool_that_sleeps_is_found_and_one_of_which_a_thread_works_is_not() {
        let idle = |total, idle_threads| {
            let threads = ThreadCounts { total, ..ThreadCounts::default() };
            idle_pool(&pool(Pool { name: "w-#".into(), threads, idle_threads, idle_seconds: 300.0, ..Pool::default() }))
        };
        let figures = idle(16, 16).map(|(_, figures, _)| figures);
        assert_eq!(figures.as_deref(), Some("all 16 threads of pool w-# have slept for 5 min and more"));
        assert_eq!(idle(15, 15), None);
        assert_eq!(idle(16, 15), None);
    }

    #[test]
    fn stacks_are_oversized_by_a_gibibyte_of_address_space_or_by_what_is_in_huge_pages() {
        let stacks = |saved_bytes, huge_bytes| PoolStacks {
            stacks: 200,
            reserved_bytes: 8 << 20,
            enough_bytes: 64 << 10,
            saved_bytes,
            huge_bytes: Some(huge_bytes),
            ..PoolStacks::default()
        };
        let of = |stacks| oversized_stacks(&pool(Pool { stacks: Some(stacks), ..Pool::default() }));
        assert!(of(stacks((1 << 30) + 1, 0)).is_some_and(|(_, figures, _)| !figures.contains("huge")));
        assert_eq!(of(stacks(1 << 30, 64 << 20)), None);
        assert!(of(stacks(0, (64 << 20) + 1)).is_some_and(|(_, figures, _)| figures.contains("huge")));
        let full = PoolStacks { enough_bytes: 8 << 20, ..stacks(2 << 30, 1 << 30) };
        assert_eq!(of(full), None, "they are as large as they must be");
    }
}
