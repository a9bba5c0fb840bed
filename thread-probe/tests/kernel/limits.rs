//! The limits, each filled to the brim by a workload: what the probe says of its use, of what is left, and of who
//! refused.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use thread_probe::{
    limits::{Headroom, Limit, LimitUse, Scope},
    model::{CloneFailuresByLimit, Model},
};

use crate::{
    kernel::{
        probe::{Probe, ensure_equal, is_before_6_2, lost_for, process},
        roles::CREATED_BEFORE_NPROC,
        tests::Test,
        workload::Workload,
    },
    support::cgroup::Cgroup,
};

pub(crate) const ALL: &[(&str, Test)] = &[
    ("a_full_cgroup_is_named_with_what_it_refused", a_full_cgroup_is_named),
    ("a_cgroup_whose_name_is_no_utf8_has_its_limits", a_cgroup_with_a_hostile_name_has_its_limits),
    ("a_limit_above_a_cgroup_holds_for_it_too", a_limit_above_a_cgroup_holds_too),
    ("a_user_at_rlimit_nproc_is_refused_by_it", a_user_at_nproc_is_refused_by_it),
    ("a_row_of_refused_clones_is_counted_beside_a_scan", a_row_of_refused_clones_is_counted_beside_a_scan),
    ("a_user_namespace_is_bound_by_the_limit_of_who_made_it", a_user_namespace_is_bound_by_its_makers_limit),
    ("a_cgroup_that_allows_no_thread_refuses_the_first", a_cgroup_that_allows_none_refuses_the_first),
    ("root_is_exempt_from_rlimit_nproc", root_is_exempt_from_nproc),
    ("a_failure_that_no_limit_explains_is_unknown", a_failure_without_a_limit_is_unknown),
    ("a_process_out_of_mappings_has_room_for_no_thread", a_process_out_of_mappings),
    ("an_address_space_limit_counts_in_stacks", an_address_space_limit_counts_in_stacks),
    ("small_stacks_have_the_room_that_those_before_them_took", small_stacks_have_the_room_that_those_before_them_took),
    ("a_leak_of_10_threads_a_second_is_exhausted_when_it_will_be", a_leak_is_exhausted_when_it_will_be),
    ("a_pid_namespace_has_a_limit_of_its_own", a_pid_namespace_has_a_limit_of_its_own),
    ("a_full_memory_cgroup_is_named", a_full_memory_cgroup_is_named),
];

/// Those that take something from every process of the machine.
pub(crate) const NEED_OWN_MACHINE: &[(&str, Test)] = &[
    ("threads_max_refuses_when_the_host_is_full", threads_max_refuses_when_the_host_is_full),
    ("pid_max_refuses_when_the_ids_are_used_up", pid_max_refuses_when_the_ids_are_used_up),
];

fn shared<'a>(model: &'a Model, limit: Limit, name: &str) -> Result<&'a LimitUse> {
    let found = model.limits.shared.iter().find(|found| found.limit == limit && *found.name == *name);
    found.with_context(|| format!("no {} of {name} among the limits", limit.label()))
}

fn headroom(model: &Model, pid: u32) -> Result<&Headroom> {
    process(model, pid)?.headroom.as_ref().context("its headroom")
}

fn failures(model: &Model, pid: u32) -> Result<CloneFailuresByLimit> {
    Ok(process(model, pid)?.totals.clone_failures_by_limit)
}

/// Starts a workload that waits, does something to it, and lets it create threads until it may not. Returns how many
/// of its attempts failed.
fn fill(prepare: impl FnOnce(u32) -> Result<()>) -> Result<(Workload, u64)> {
    let mut workload = Workload::start("tp-fill", &["40"])?;
    workload.facts()?;
    prepare(workload.pid())?;
    workload.go()?;
    let failed = workload.facts()?[0];
    ensure!(failed > 0, "nothing refused it");
    Ok((workload, failed))
}

fn a_full_cgroup_is_named() -> Result<()> {
    let mut probe = Probe::get()?;
    let cgroup = Cgroup::new("pids", "tp-full")?;
    cgroup.set("pids.max", "50")?;
    let (mut workload, failed) = fill(|pid| cgroup.add(pid))?;
    let model = probe.sample()?;
    let pid = workload.pid();
    let limit = shared(&model, Limit::CgroupPids, &cgroup.path)?;
    ensure_equal("used and max", (limit.used, limit.max), (50, 50))?;
    ensure_equal("ratio", limit.used_ratio, 1.0)?;
    ensure_equal("set by", &*limit.set_by, &format!("pids.max of {}", cgroup.path))?;
    ensure_equal("forks it refused", limit.refused, Some(failed))?;
    let expected = CloneFailuresByLimit::of([(Limit::CgroupPids, failed)]);
    ensure_equal("failures by limit", failures(&model, pid)?, expected)?;
    ensure_equal("refused by", process(&model, pid)?.clone_refused_by.of(Limit::CgroupPids), Some(&*cgroup.path))?;
    let binding = &headroom(&model, pid)?.binding;
    ensure_equal("binding limit", (binding.limit, &*binding.name), (Limit::CgroupPids, &*cgroup.path))?;
    ensure_equal("headroom", binding.headroom_threads, 0)?;
    workload.finish()
}

/// Whoever may make a cgroup must not hide from its limits what is in it.
fn a_cgroup_with_a_hostile_name_has_its_limits() -> Result<()> {
    let mut probe = Probe::get()?;
    let cgroup = Cgroup::new("pids", "tp-hostile")?;
    let child = cgroup.hostile_child()?;
    std::fs::write(child.join("pids.max"), "20")?;
    let mut workload = Workload::start("tp-sleeper", &[])?;
    workload.facts()?;
    std::fs::write(child.join("cgroup.procs"), workload.pid().to_string())?;
    let model = probe.sample()?;
    let limit = shared(&model, Limit::CgroupPids, &format!("{}/\\xff\\xc3", cgroup.path))?;
    ensure_equal("used and max", (limit.used, limit.max), (1, 20))?;
    workload.finish()?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    Ok(std::fs::remove_dir(child)?)
}

fn a_limit_above_a_cgroup_holds_too() -> Result<()> {
    let mut probe = Probe::get()?;
    let cgroup = Cgroup::new("pids", "tp-above")?;
    cgroup.set("pids.max", "30")?;
    let child = cgroup.child("below")?;
    child.set("pids.max", "1000")?;
    let (mut workload, failed) = fill(|pid| child.add(pid))?;
    let model = probe.sample()?;
    let pid = workload.pid();
    ensure_equal("refused by", process(&model, pid)?.clone_refused_by.of(Limit::CgroupPids), Some(&*cgroup.path))?;
    ensure_equal("failures", failures(&model, pid)?.get(Limit::CgroupPids), failed)?;
    ensure_equal("binding limit", &*headroom(&model, pid)?.binding.name, &*cgroup.path)?;
    ensure_equal("use of the one below", shared(&model, Limit::CgroupPids, &child.path)?.used, 30)?;
    if child.counts_its_own_refusals() {
        ensure_equal("refused by the one below", shared(&model, Limit::CgroupPids, &child.path)?.refused, Some(0))?;
        ensure_equal("refused above", shared(&model, Limit::CgroupPids, &cgroup.path)?.refused, Some(failed))?;
    }
    let all = probe.limits_of(pid)?;
    let names: Vec<&str> = all.iter().filter(|of| of.limit == Limit::CgroupPids).map(|of| &*of.name).collect();
    ensure_equal("its cgroups", names, vec![&*cgroup.path, &*child.path])?;
    workload.finish()
}

fn a_user_at_nproc_is_refused_by_it() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-nproc", &["25"])?;
    let failed = workload.facts()?[0];
    // An RCU grace period later a kernel without "bpf,fork: wipe ->bpf_storage" empties the storage of who failed.
    std::thread::sleep(Duration::from_millis(500));
    let model = probe.sample()?;
    let pid = workload.pid();
    ensure_equal("created before", process(&model, pid)?.totals.threads_created, CREATED_BEFORE_NPROC)?;
    let expected = CloneFailuresByLimit::of([(Limit::Nproc, failed)]);
    ensure_equal("failures by limit", failures(&model, pid)?, expected)?;
    let limit = shared(&model, Limit::Nproc, "64321")?;
    ensure_equal("scope", limit.scope, Scope::User)?;
    ensure_equal("used and max", (limit.used, limit.max), (1, 1))?;
    ensure_equal("set by", &*limit.set_by, "RLIMIT_NPROC of user 64321")?;
    ensure_equal("binding limit", headroom(&model, pid)?.binding.limit, Limit::Nproc)?;
    workload.finish()
}

/// At the return of each, the storage of who failed is put in another place: no scan may take what is between for new.
fn a_row_of_refused_clones_is_counted_beside_a_scan() -> Result<()> {
    let mut probe = Probe::get()?;
    let backwards = lost_for(&probe.sample()?, "counter_backwards");
    let mut workload = Workload::start("tp-nproc", &["50000"])?;
    let failed = workload.facts_while_sampling(&mut probe)?[0];
    let model = probe.sample()?;
    let pid = workload.pid();
    ensure_equal("created before", process(&model, pid)?.totals.threads_created, CREATED_BEFORE_NPROC)?;
    let expected = CloneFailuresByLimit::of([(Limit::Nproc, failed)]);
    ensure_equal("failures by limit", failures(&model, pid)?, expected)?;
    ensure_equal("counters that went backwards", lost_for(&model, "counter_backwards"), backwards)?;
    workload.finish()
}

/// Inside, the limit is what the test sets it to; outside, its maker's still holds.
fn a_user_namespace_is_bound_by_its_makers_limit() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-user-ns", &["10"])?;
    let was_made = workload.facts()?[0];
    if was_made == 0 {
        println!("user namespaces are not available here: nothing to prove");
        return workload.finish();
    }
    let pid = workload.pid();
    let unlimited = nix::libc::rlimit { rlim_cur: nix::libc::RLIM_INFINITY, rlim_max: nix::libc::RLIM_INFINITY };
    let target = i32::try_from(pid)?;
    // SAFETY: the structure lives as long as the call, which only reads it.
    let set =
        unsafe { nix::libc::prlimit(target, nix::libc::RLIMIT_NPROC, &raw const unlimited, std::ptr::null_mut()) };
    if set != 0 {
        println!("raising a limit is not allowed here ({}): nothing to prove", std::io::Error::last_os_error());
        return workload.finish();
    }
    workload.go()?;
    let failed = workload.facts()?[0];
    ensure!(failed > 0, "nothing refused it");
    let model = probe.sample()?;
    let expected = CloneFailuresByLimit::of([(Limit::Nproc, failed)]);
    ensure_equal("failures by limit", failures(&model, pid)?, expected)?;
    let limit = shared(&model, Limit::Nproc, "64322")?;
    ensure_equal("used and max", (limit.used, limit.max), (10, 10))?;
    ensure_equal("binding limit", headroom(&model, pid)?.binding.limit, Limit::Nproc)?;
    workload.finish()
}

fn a_cgroup_that_allows_none_refuses_the_first() -> Result<()> {
    let mut probe = Probe::get()?;
    let cgroup = Cgroup::new("pids", "tp-none")?;
    let (mut workload, failed) = fill(|pid| {
        cgroup.add(pid)?;
        cgroup.set("pids.max", "0")
    })?;
    let model = probe.sample()?;
    ensure_equal("failures by limit", failures(&model, workload.pid())?.get(Limit::CgroupPids), failed)?;
    ensure_equal("ratio", shared(&model, Limit::CgroupPids, &cgroup.path)?.used_ratio, 1.0)?;
    workload.finish()
}

fn root_is_exempt_from_nproc() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-root-nproc", &["5"])?;
    let failed = workload.facts()?[0];
    ensure_equal("failures of root beyond its RLIMIT_NPROC", failed, 0)?;
    let model = probe.sample()?;
    let pid = workload.pid();
    ensure_equal("limit in its record", process(&model, pid)?.limits.rlimit_nproc, 1)?;
    let all = probe.limits_of(pid)?;
    ensure!(all.iter().all(|limit| limit.limit != Limit::Nproc), "RLIMIT_NPROC is among its limits: {all:?}");
    workload.finish()
}

/// A deadline task may not create another: EAGAIN, and no limit has to do with it.
fn a_failure_without_a_limit_is_unknown() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-deadline", &[])?;
    let failed = workload.facts()?[0];
    if failed == 0 {
        println!("SCHED_DEADLINE is not available here: nothing to prove");
        return workload.finish();
    }
    let model = probe.sample()?;
    let expected = CloneFailuresByLimit::of([(Limit::Unknown, failed)]);
    ensure_equal("failures by limit", failures(&model, workload.pid())?, expected)?;
    workload.finish()
}

fn a_process_out_of_mappings() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-mappings", &[])?;
    let mapped = workload.facts()?[0];
    let model = probe.sample()?;
    let pid = workload.pid();
    let max: u64 = fs::read_to_string("/proc/sys/vm/max_map_count")?.trim().parse()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    // vsyscall is listed and is no mapping.
    let truth = maps.lines().filter(|line| !line.ends_with("[vsyscall]")).count() as u64;
    let binding = &headroom(&model, pid)?.binding;
    ensure_equal("binding limit", (binding.limit, binding.scope), (Limit::MaxMapCount, Scope::Process))?;
    ensure_equal("used and max", (binding.used, binding.max), (truth, max))?;
    ensure_equal("headroom", binding.headroom_threads, 0)?;
    ensure!(mapped > max / 2, "it mapped {mapped} times only");
    workload.finish()
}

fn an_address_space_limit_counts_in_stacks() -> Result<()> {
    const STACKS: u64 = 10;
    let mut probe = Probe::get()?;
    // 8 MB of stack each, and room for that many.
    let mut workload = Workload::start("tp-address-space", &[&STACKS.to_string(), &(8 << 20).to_string(), "0"])?;
    let created = workload.facts()?[0];
    let model = probe.sample()?;
    let pid = workload.pid();
    let before = headroom(&model, pid)?.binding.clone();
    ensure_equal("binding limit", before.limit, Limit::AddressSpace)?;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split(' ').next().context("pages")?.parse()?;
    ensure_equal("used", before.used, pages * 4096)?;
    ensure_equal("threads before", created, 0)?;
    workload.go()?;
    let created = workload.facts()?[0];
    let off = created.abs_diff(before.headroom_threads);
    ensure!(off <= 1, "{created} threads could be created, the headroom was {}", before.headroom_threads);
    workload.finish()
}

fn small_stacks_have_the_room_that_those_before_them_took() -> Result<()> {
    const ROUNDS: u64 = 6;
    let mut probe = Probe::get()?;
    // 64 KiB of stack each, where 4 of 8 MB would fit.
    let mut workload = Workload::start("tp-address-space", &["4", &(64 << 10).to_string(), &ROUNDS.to_string()])?;
    workload.facts()?;
    let pid = workload.pid();
    let room = |model: &Model| {
        let limits = headroom(model, pid)?;
        ensure_equal("binding limit", limits.binding.limit, Limit::AddressSpace)?;
        anyhow::Ok(limits.binding.headroom_threads)
    };
    let at_first = room(&probe.sample()?)?;
    ensure!(at_first <= 5, "before it has any thread they count by their default: {at_first}");
    let mut before = 0;
    for _ in 0..ROUNDS {
        workload.go()?;
        ensure_equal("threads of a round", workload.facts()?[0], 5)?;
        before = room(&probe.sample()?)?;
    }
    workload.go()?;
    let created = workload.facts()?[0];
    let near = created - created / 10..=created + created / 10;
    ensure!(near.contains(&before), "{created} threads could be created, the headroom was {before}");
    workload.finish()
}

fn a_leak_is_exhausted_when_it_will_be() -> Result<()> {
    const MAX: u64 = 500;
    const PER_SECOND: f64 = 10.0;
    let mut probe = Probe::get()?;
    let cgroup = Cgroup::new("pids", "tp-leak")?;
    cgroup.set("pids.max", &MAX.to_string())?;
    let mut workload = Workload::start("tp-leak", &["10"])?;
    workload.facts()?;
    let pid = workload.pid();
    cgroup.add(pid)?;
    let first = probe.sample()?;
    ensure!(shared(&first, Limit::CgroupPids, &cgroup.path)?.exhaustion_seconds.is_none(), "it does not grow yet");
    workload.go()?;
    let started = Instant::now();
    let mut last = first;
    while started.elapsed() < Duration::from_secs(6) {
        std::thread::sleep(Duration::from_millis(250));
        last = probe.sample()?;
    }
    let limit = shared(&last, Limit::CgroupPids, &cgroup.path)?;
    let truth = (MAX - limit.used) as f64 / PER_SECOND;
    let said = limit.exhaustion_seconds.context("a time to exhaustion")?;
    ensure!((said / truth - 1.0).abs() < 0.2, "full in {said:.1} s it said, in {truth:.1} s it will be: {limit:?}");
    let first_exhausted = headroom(&last, pid)?.first_exhausted.as_ref().context("what is exhausted first")?;
    ensure_equal("exhausted first", &*first_exhausted.name, &*cgroup.path)?;
    let own_bytes = process(&last, pid)?.own_bytes_per_thread.context("what a thread of it takes")?;
    // A thread touches a few pages of its stack and its thread-local storage; before Linux 6.2 its process hears of
    // its pages when they are 64.
    let least = if is_before_6_2() { 0 } else { 4096 };
    ensure!((least..256 << 10).contains(&own_bytes), "{own_bytes} bytes of its own a thread");
    workload.finish()
}

/// Ids below 300 are handed out once. The namespace's own `pid_max` is there since Linux 6.14.
fn a_pid_namespace_has_a_limit_of_its_own() -> Result<()> {
    let mut probe = Probe::get()?;
    let mut workload = Workload::start("tp-pid-namespace", &["400"])?;
    let facts = workload.facts()?;
    let [child, was_set, failed] = facts[..] else { anyhow::bail!("it reported {facts:?}") };
    let child = u32::try_from(child)?;
    let model = probe.sample()?;
    let inode = fs::metadata(format!("/proc/{child}/ns/pid"))?.ino();
    let limit = shared(&model, Limit::PidMax, &inode.to_string())?;
    ensure_equal("scope", limit.scope, Scope::PidNamespace)?;
    let threads = process(&model, child)?.threads.total;
    ensure_equal("ids in use", limit.used, threads)?;
    if was_set == 1 {
        let expected = CloneFailuresByLimit::of([(Limit::PidMax, failed)]);
        ensure_equal("failures by limit", failures(&model, child)?, expected)?;
        ensure_equal("headroom", headroom(&model, child)?.binding.headroom_threads, 0)?;
        ensure_equal("binding limit", &*headroom(&model, child)?.binding.name, &*inode.to_string())?;
    }
    workload.finish()
}

fn a_full_memory_cgroup_is_named() -> Result<()> {
    let mut probe = Probe::get()?;
    let cgroup = Cgroup::new("memory", "tp-memory")?;
    let mut workload = Workload::start("tp-memory", &["200"])?;
    workload.facts()?;
    let pid = workload.pid();
    cgroup.add(pid)?;
    // It charges its memory anew, in this cgroup.
    workload.go()?;
    workload.facts()?;
    let (max, current) = if cgroup.is_v2 {
        ("memory.max", "memory.current")
    } else {
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
    };
    if !cgroup.is_v2 {
        cgroup.set("memory.oom_control", "1")?;
    }
    let limit = (cgroup.number(current)? + (1 << 20)).next_multiple_of(4096);
    cgroup.set(max, &limit.to_string())?;
    workload.go()?;
    let failed = workload.facts()?[0];
    ensure!(failed > 0, "nothing refused it");
    let model = probe.sample()?;
    let expected = CloneFailuresByLimit::of([(Limit::CgroupMemory, failed)]);
    ensure_equal("failures by limit", failures(&model, pid)?, expected)?;
    ensure_equal("refused by", process(&model, pid)?.clone_refused_by.of(Limit::CgroupMemory), Some(&*cgroup.path))?;
    let found = shared(&model, Limit::CgroupMemory, &cgroup.path)?;
    ensure_equal("max", found.max, limit)?;
    ensure!(found.used_ratio > 0.9, "it is full: {found:?}");
    workload.finish()
}

/// A sysctl that is put back.
struct Sysctl(&'static str, String);

impl Sysctl {
    fn set(path: &'static str, value: u64) -> Result<Self> {
        let before = fs::read_to_string(path)?;
        fs::write(path, value.to_string()).with_context(|| format!("{value} into {path}"))?;
        Ok(Self(path, before))
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(self.0, self.1.trim());
    }
}

fn threads_max_refuses_when_the_host_is_full() -> Result<()> {
    let mut probe = Probe::get()?;
    let used = shared(&probe.sample()?, Limit::ThreadsMax, "host")?.used;
    let sysctl = Sysctl::set("/proc/sys/kernel/threads-max", used + 100)?;
    // The programs hear of it with the next sample.
    probe.sample()?;
    let (mut workload, failed) = fill(|_| Ok(()))?;
    let model = probe.sample()?;
    drop(sysctl);
    let expected = CloneFailuresByLimit::of([(Limit::ThreadsMax, failed)]);
    ensure_equal("failures by limit", failures(&model, workload.pid())?, expected)?;
    let limit = shared(&model, Limit::ThreadsMax, "host")?;
    // Some kernel thread may have ended since.
    ensure!((used + 95..=used + 100).contains(&limit.used), "{} threads on a host of {}", limit.used, used + 100);
    ensure_equal("set by", &*limit.set_by, "kernel.threads-max")?;
    ensure_equal("binding limit", headroom(&model, workload.pid())?.binding.limit, Limit::ThreadsMax)?;
    workload.finish()
}

fn pid_max_refuses_when_the_ids_are_used_up() -> Result<()> {
    let mut probe = Probe::get()?;
    let sysctl = Sysctl::set("/proc/sys/kernel/pid_max", 1000)?;
    probe.sample()?;
    let (mut workload, failed) = fill(|_| Ok(()))?;
    let model = probe.sample()?;
    drop(sysctl);
    let expected = CloneFailuresByLimit::of([(Limit::PidMax, failed)]);
    ensure_equal("failures by limit", failures(&model, workload.pid())?, expected)?;
    let limit = shared(&model, Limit::PidMax, "host")?;
    ensure!(limit.headroom_threads <= 2, "ids that are left when none is: {limit:?}");
    ensure_equal("binding limit", headroom(&model, workload.pid())?.binding.limit, Limit::PidMax)?;
    workload.finish()
}
