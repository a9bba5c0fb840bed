//! The threads of a process by pool: those of one name, the numbers in it aside, that began with the same. The main
//! thread is one of its own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    inspection::Inspection,
    runtimes,
    threads::{Stack, UserThread},
};
use crate::model::{Thread, ThreadCounts, Times, without_numbers};

/// Threads that belong together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pool {
    /// Their name, with a # for each number in it.
    pub name: String,
    /// What they began with, as `function (file)`; null where that can't be seen.
    pub began_with: Option<String>,
    /// What the runtime has them for; null where that is not known.
    pub role: Option<&'static str>,
    /// How many, by state.
    pub threads: ThreadCounts,
    /// How many of them have slept for a minute and more.
    pub idle_threads: u64,
    /// The least that any of them has slept for, in seconds; 0 if one works.
    pub idle_seconds: f64,
    /// CPUs in use.
    pub cpu_ratio: f64,
    /// Switches of both kinds.
    pub switches_per_second: f64,
    /// Where their time goes: 1 is one thread all the time.
    pub time_ratio: Times,
    /// Deepest kernel stack of any of them when it was last switched out.
    pub kernel_stack_depth_max_bytes: u32,
    /// Their stacks in user space; null where none can be seen, and of the main thread.
    pub stacks: Option<PoolStacks>,
}

/// Stacks of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolStacks {
    /// How many could be seen.
    pub stacks: u64,
    /// The address space of the largest, without its guard.
    pub reserved_bytes: u64,
    /// The guard below it.
    pub guard_bytes: u64,
    /// What all of them have in memory or swapped out.
    pub touched_bytes: u64,
    /// From the top of the deepest to the lowest page that was touched.
    pub deepest_bytes: u64,
    /// What all of them have in huge pages; null before Linux 6.7.
    pub huge_bytes: Option<u64>,
    /// The size that would do: twice the deepest, in powers of two from 64 KiB on.
    pub enough_bytes: u64,
    /// Address space that all of them would save.
    pub saved_bytes: u64,
}

/// For how long a thread sleeps before it is called idle.
const IDLE_SECONDS: f64 = 60.0;
/// What a thread's own variables and a signal's frame need; and glibc refuses less than 16 KiB.
const LEAST_STACK_BYTES: u64 = 64 << 10;

/// What makes a pool.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    is_main: bool,
    name: String,
    began_with: Option<String>,
}

/// The threads by pool, the largest user of CPUs first.
pub fn pools(pid: u32, threads: &[Thread], inspection: &Inspection) -> Vec<Pool> {
    let kinds: Vec<_> = inspection.runtimes.iter().map(|runtime| runtime.kind).collect();
    let mut pools: BTreeMap<Key, (Pool, Vec<Stack>)> = BTreeMap::new();
    for thread in threads {
        let key = Key {
            is_main: thread.tid == pid,
            name: without_numbers(&thread.comm),
            began_with: inspection.began_with(thread.tid),
        };
        let (pool, stacks) = pools.entry(key).or_default();
        pool.include(thread);
        stacks.extend(inspection.threads.get(&thread.tid).and_then(|thread| thread.stack));
    }
    let mut finished = Vec::with_capacity(pools.len());
    for (Key { is_main, name, began_with }, (pool, stacks)) in pools {
        finished.push(Pool {
            role: if is_main { Some("main thread") } else { runtimes::role(&kinds, &name) },
            // Its stack grows by itself, and is as large as `ulimit -s` says: nothing is to be chosen.
            stacks: PoolStacks::of(&stacks).filter(|_| !is_main),
            name,
            began_with,
            ..pool
        });
    }
    finished.sort_by(|a, b| b.cpu_ratio.total_cmp(&a.cpu_ratio).then(b.threads.total.cmp(&a.threads.total)));
    finished
}

/// The same as far as they are known without a probe: what they do is not.
pub fn pools_at_rest(pid: u32, inspection: &Inspection) -> Vec<Pool> {
    let thread =
        |(tid, thread): (&u32, &UserThread)| Thread { tid: *tid, comm: thread.comm.clone(), ..Thread::default() };
    pools(pid, &inspection.threads.iter().map(thread).collect::<Vec<_>>(), inspection)
}

impl Pool {
    fn include(&mut self, thread: &Thread) {
        let slept = if thread.state.is_asleep() { thread.still_seconds } else { 0.0 };
        self.idle_seconds = if self.threads.total == 0 { slept } else { self.idle_seconds.min(slept) };
        self.idle_threads += u64::from(slept >= IDLE_SECONDS);
        self.threads.count(thread.state);
        if let Some(rates) = &thread.rates {
            self.cpu_ratio += rates.cpu_ratio;
            self.switches_per_second += rates.switches_per_second;
            self.time_ratio.include(&rates.time_ratio);
        }
        self.kernel_stack_depth_max_bytes = self.kernel_stack_depth_max_bytes.max(thread.kernel_stack_depth_bytes);
    }
}

impl PoolStacks {
    /// Of some stacks, if there are any.
    fn of(stacks: &[Stack]) -> Option<Self> {
        let largest = stacks.iter().max_by_key(|stack| stack.reserved_bytes)?;
        let deepest_bytes = stacks.iter().map(|stack| stack.deepest_bytes).max()?;
        let enough_bytes = (2 * deepest_bytes).next_power_of_two().max(LEAST_STACK_BYTES);
        Some(Self {
            stacks: stacks.len() as u64,
            reserved_bytes: largest.reserved_bytes,
            guard_bytes: largest.guard_bytes,
            touched_bytes: stacks.iter().map(|stack| stack.touched_bytes).sum(),
            deepest_bytes,
            huge_bytes: stacks.iter().map(|stack| stack.huge_bytes).sum(),
            enough_bytes,
            saved_bytes: stacks.iter().map(|stack| stack.reserved_bytes.saturating_sub(enough_bytes)).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ledger::ThreadState, model::Rates};

    fn thread(tid: u32, comm: &str, state: ThreadState, still_seconds: f64, cpu_ratio: f64) -> Thread {
        let rates = Some(Rates { cpu_ratio, switches_per_second: 2.0, ..Rates::default() });
        Thread { tid, comm: comm.to_owned(), state, still_seconds, rates, ..Thread::default() }
    }

    #[test]
    fn threads_of_one_name_are_a_pool_and_idle_is_what_has_slept_for_a_minute() {
        let threads = [
            thread(1, "main", ThreadState::Sleeping, 0.5, 0.0),
            thread(2, "work-1", ThreadState::Sleeping, 61.0, 0.0),
            thread(3, "work-12", ThreadState::Sleeping, 90.0, 0.0),
            thread(4, "busy-1", ThreadState::Running, 500.0, 0.5),
            thread(5, "busy-2", ThreadState::Sleeping, 500.0, 0.25),
        ];
        let pools = pools(1, &threads, &Inspection::default());
        let told: Vec<_> = pools
            .iter()
            .map(|pool| (pool.name.as_str(), pool.threads.total, pool.idle_threads, pool.idle_seconds, pool.cpu_ratio))
            .collect();
        assert_eq!(told, [("busy-#", 2, 1, 0.0, 0.75), ("work-#", 2, 2, 61.0, 0.0), ("main", 1, 0, 0.5, 0.0)]);
        assert!(pools.iter().all(|pool| pool.stacks.is_none() && pool.began_with.is_none()));
        assert_eq!(pools[0].switches_per_second, 4.0);
    }

    #[test]
    fn the_main_thread_is_a_pool_of_its_own_and_its_stack_is_nobodys_choice() {
        let threads = [1, 2, 3].map(|tid| thread(tid, "same", ThreadState::Sleeping, 0.5, 0.0));
        let stack = Some(Stack { reserved_bytes: 8 << 20, deepest_bytes: 4096, ..Stack::default() });
        let user = |tid| (tid, UserThread { stack, ..UserThread::default() });
        let inspection = Inspection { threads: [1, 2, 3].map(user).into(), ..Inspection::default() };
        let of = |pool: &Pool| (pool.threads.total, pool.role, pool.stacks.map(|stacks| stacks.stacks));
        let told: Vec<_> = pools(1, &threads, &inspection).iter().map(of).collect();
        assert_eq!(told, [(2, None, Some(2)), (1, Some("main thread"), None)]);
    }

    #[test]
    fn a_stack_that_would_do_is_twice_the_deepest_and_what_it_saves_is_address_space() {
        let stack = |reserved_bytes, deepest_bytes, huge_bytes| Stack {
            reserved_bytes,
            guard_bytes: 4096,
            touched_bytes: deepest_bytes,
            deepest_bytes,
            huge_bytes,
        };
        let of = PoolStacks::of(&[stack(8 << 20, 20 << 10, Some(0)), stack(8 << 20, 90 << 10, Some(2 << 20))]);
        let stacks = of.map(|stacks| (stacks.enough_bytes, stacks.saved_bytes, stacks.huge_bytes));
        assert_eq!(stacks, Some((256 << 10, 2 * ((8 << 20) - (256 << 10)), Some(2 << 20))));
        let small = PoolStacks::of(&[stack(64 << 10, 8 << 10, None)]);
        assert_eq!(
            small.map(|small| (small.enough_bytes, small.saved_bytes, small.huge_bytes)),
            Some((64 << 10, 0, None))
        );
        assert_eq!(PoolStacks::of(&[]), None);
    }
}
