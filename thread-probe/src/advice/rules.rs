//! The rules, each with what it looks at, from where on it says something, and what it says.

use serde::Serialize;
use thread_probe_ebpf::abi::time::TimeState;

use super::{
    found::{Costs, Found, Inside, beyond},
    inside, words,
};
use crate::{
    limits::words::amount,
    model::{Process, Rates},
    text::{human, named::named},
};

named! {
    /// What is looked at.
    pub enum Rule {
        /// Clones that a limit refused.
        RefusedClones = "refused_clones",
        /// A limit that is nearly used up.
        NearLimit = "near_limit",
        /// Waits for a quota.
        Throttled = "throttled",
        /// More threads with work than CPUs.
        Oversubscribed = "oversubscribed",
        /// CPU time of switches.
        SwitchCost = "switch_cost",
        /// Threads that end as soon as they begin.
        ShortLived = "short_lived",
        /// Threads by the thousand.
        ManyThreads = "many_threads",
        /// Threads that hardly ever run.
        MostlyWaiting = "mostly_waiting",
        /// A thread that never sleeps beside others that do.
        NeverYields = "never_yields",
        /// Kernel stacks that are nearly full.
        DeepStack = "deep_stack",
        /// A runtime that has more threads work at a time than there are CPUs.
        RuntimeCpus = "runtime_cpus",
        /// A library whose pool is larger than the CPUs.
        LibraryPool = "library_pool",
        /// A pool that does nothing.
        IdlePool = "idle_pool",
        /// Stacks in user space that are far larger than what is used of them.
        OversizedStacks = "oversized_stacks",
    }
}

/// What somebody should look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Which rule found it.
    pub rule: Rule,
    /// Of which process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// How bad it is: 1 is where the rule begins to say something.
    pub weight: f64,
    /// What was measured.
    pub figures: String,
    /// Why that matters.
    pub reason: &'static str,
    /// What to change.
    pub change: String,
}

impl Rule {
    /// What it finds of a process.
    pub(super) fn look_at(self, process: &Process, inside: Option<&Inside>, costs: Costs) -> Option<Finding> {
        let rates = process.rates.as_ref();
        let found = match self {
            Self::RefusedClones => refused_clones(process),
            Self::NearLimit => near_limit(process),
            Self::Throttled => rates.and_then(|rates| throttled(process, rates)),
            Self::Oversubscribed => oversubscribed(process),
            Self::SwitchCost => rates.and_then(|rates| switch_cost(rates, costs)),
            Self::ShortLived => rates.and_then(short_lived),
            Self::ManyThreads => many_threads(process),
            Self::MostlyWaiting => rates.and_then(|rates| mostly_waiting(process, rates)),
            Self::NeverYields => rates.and_then(|rates| never_yields(process, rates)),
            Self::DeepStack => deep_stack(process, costs),
            Self::RuntimeCpus => inside.and_then(|inside| inside::runtime_cpus(process, inside)),
            Self::LibraryPool => inside.and_then(|inside| inside::library_pool(process, inside)),
            Self::IdlePool => inside.and_then(inside::idle_pool),
            Self::OversizedStacks => inside.and_then(inside::oversized_stacks),
        };
        found.map(|(weight, figures, change)| Finding {
            rule: self,
            pid: process.pid,
            comm: process.comm.clone(),
            weight,
            figures,
            reason: self.reason(),
            change,
        })
    }

    /// Whether it is on what is read of a process itself.
    pub const fn needs_a_look_inside(self) -> bool {
        matches!(self, Self::RuntimeCpus | Self::LibraryPool | Self::IdlePool | Self::OversizedStacks)
    }

    /// Why it matters.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RefusedClones => "what asked for the thread got an error, which few programs handle",
            Self::NearLimit => "at the limit each new thread is refused",
            Self::Throttled => "threads with work stand still until the next period of the quota",
            Self::Oversubscribed => "those without a CPU wait, and all take turns",
            Self::SwitchCost => "that CPU time does no work",
            Self::ShortLived => "to create a thread costs more than it does in a millisecond",
            Self::ManyThreads => "each takes kernel memory that can't be swapped, and a look at all takes long",
            Self::MostlyWaiting => "a thread is a costly way to wait for something",
            Self::NeverYields => "what else that thread is to do waits meanwhile: of an event loop, everybody",
            Self::DeepStack => "a kernel stack that overflows ends the host",
            Self::RuntimeCpus => {
                "it has as many work at a time as it thinks there are CPUs: they take turns, or are throttled"
            }
            Self::LibraryPool => {
                "threads of one calculation wait for each other: one without a CPU holds all of them up"
            }
            Self::IdlePool => "each takes kernel memory that can't be swapped, for nothing",
            Self::OversizedStacks => {
                "address space counts against RLIMIT_AS and, with vm.overcommit_memory = 2, as memory; in huge pages it is"
            }
        }
    }
}

fn refused_clones(process: &Process) -> Option<Found> {
    let by_limit = &process.totals.clone_failures_by_limit;
    let (limit, count) = by_limit.iter().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)?;
    // What is still refused is worse than what was once.
    let is_now = process.rates.is_some_and(|rates| rates.clone_failures_per_second > 0.0);
    let figures = format!("{} clones refused by {}", human::count(count), limit.label());
    let binding = process.headroom.as_ref().map(|headroom| &headroom.binding).filter(|binding| binding.limit == limit);
    let change = binding.map_or_else(|| format!("raise {}, or create fewer threads", limit.label()), words::raise);
    Some((if is_now { 100.0 } else { 10.0 }, figures, change))
}

fn near_limit(process: &Process) -> Option<Found> {
    const USED_RATIO: f64 = 0.8;
    let binding = &process.headroom.as_ref()?.binding;
    // A limit of a thread or two is meant to be full.
    let is_meant = binding.max <= 2;
    let weight = beyond(binding.used_ratio, USED_RATIO).filter(|_| !is_meant)?;
    let figures = format!(
        "{} of {} of {} used, room for {} more",
        amount(binding.unit, binding.used),
        amount(binding.unit, binding.max),
        binding.limit.label(),
        human::counted(binding.headroom_threads, "thread")
    );
    Some((10.0 * weight, figures, words::raise(binding)))
}

fn throttled(process: &Process, rates: &Rates) -> Option<Found> {
    const RATIO: f64 = 0.1;
    let work = rates.cpu_work();
    let weight = beyond(work.throttled / work.wanted, RATIO).filter(|_| work.wanted > LITTLE_WORK)?;
    let cpus = process.usable_cpus.cpus;
    let figures = format!(
        "{} of the time of threads with work lost to a quota of {cpus:.2} CPUs",
        human::percent(work.throttled / work.wanted)
    );
    Some((5.0 * weight, figures, words::quota(work, &process.usable_cpus)))
}

fn oversubscribed(process: &Process) -> Option<Found> {
    const A_CPU: f64 = 2.0;
    let wanted = process.oversubscription?;
    let weight = beyond(wanted, A_CPU)?;
    let cpus = process.usable_cpus.cpus;
    let figures = format!("{wanted:.1} threads with work for each of the {cpus:.1} CPUs that it may use");
    let work = process.rates.map(|rates| rates.cpu_work()).unwrap_or_default();
    Some((weight, figures, words::quota(work, &process.usable_cpus)))
}

fn switch_cost(rates: &Rates, costs: Costs) -> Option<Found> {
    const CPUS: f64 = 0.05;
    let each = costs.switch.each().as_secs_f64();
    let cpus = rates.switches_per_second * each;
    let weight = beyond(cpus, CPUS)?;
    let figures = format!(
        "{} switches a second take {} of a CPU, at {} each{}",
        human::per_second(rates.switches_per_second),
        human::percent(cpus),
        human::seconds(each),
        costs.switch.origin()
    );
    Some((weight, figures, words::fewer_switches(rates).to_owned()))
}

fn short_lived(rates: &Rates) -> Option<Found> {
    const RATIO: f64 = 0.5;
    const ENDS_PER_SECOND: f64 = 50.0;
    let ended = rates.threads_exited_per_second;
    let weight = beyond(rates.short_lived_ratio, RATIO).and(beyond(ended, ENDS_PER_SECOND))?;
    let figures = format!(
        "{} of the {} threads that end in a second live for a millisecond at most",
        human::percent(rates.short_lived_ratio),
        human::per_second(ended)
    );
    Some((weight, figures, words::short_lived(rates)))
}

fn many_threads(process: &Process) -> Option<Found> {
    const MANY: f64 = 1_000.0;
    let weight = beyond(process.threads.total as f64, MANY)?;
    let memory = human::bytes(process.memory.kernel_memory_bytes);
    let figures = format!("{} threads take {memory} of kernel memory", human::count(process.threads.total));
    let work = process.rates.map(|rates| rates.cpu_work().wanted).filter(|wanted| *wanted > 0.0);
    let at_work = work.map_or_else(String::new, |wanted| format!("; {wanted:.1} of them have work at a time"));
    Some((weight, figures + &at_work, format!("a pool: `thread-probe plan --pid {}` says how many", process.pid)))
}

fn mostly_waiting(process: &Process, rates: &Rates) -> Option<Found> {
    const MANY: u64 = 200;
    const RATIO: f64 = 0.99;
    let blocked =
        [TimeState::Lock, TimeState::Poll, TimeState::Sleep, TimeState::File, TimeState::Network, TimeState::Child];
    let waits: f64 = blocked.into_iter().map(|state| rates.time_ratio.get(state)).sum();
    let ratio = waits / rates.time_ratio.total();
    if process.threads.total < MANY || ratio.is_nan() || ratio < RATIO {
        return None;
    }
    let most = blocked.into_iter().max_by(|a, b| rates.time_ratio.get(*a).total_cmp(&rates.time_ratio.get(*b)))?;
    let figures = format!(
        "{} threads wait {} of the time, most of it in {}",
        human::count(process.threads.total),
        human::percent(ratio),
        most.label()
    );
    let weight = process.threads.total as f64 / MANY as f64 / 2.0;
    Some((weight, figures, "an event loop or async tasks; or fewer threads, if they wait for work".to_owned()))
}

fn never_yields(process: &Process, rates: &Rates) -> Option<Found> {
    const BURST_SECONDS: f64 = 10.0;
    let burst = rates.burst_max_seconds?;
    let weight = beyond(burst, BURST_SECONDS)?;
    // Who only computes has nobody waiting for it.
    let sleeps = rates.time_ratio.total() - rates.cpu_work().wanted;
    if sleeps < 1.0 {
        return None;
    }
    let figures = format!("a thread was on a CPU for {} without a pause, others of it sleep", human::duration(burst));
    Some((weight, figures, words::never_sleeps(process.pid)))
}

fn deep_stack(process: &Process, costs: Costs) -> Option<Found> {
    const RATIO: f64 = 0.75;
    let depth = process.memory.kernel_stack_depth_max_bytes as f64;
    let weight = beyond(depth / costs.kernel_stack_bytes as f64, RATIO).filter(|weight| weight.is_finite())?;
    let figures =
        format!("{} of {} of a kernel stack used", human::bytes(depth as u64), human::bytes(costs.kernel_stack_bytes));
    Some((weight, figures, words::deep_stack(process.pid)))
}

/// CPUs' worth of work below which shares of it say little.
const LITTLE_WORK: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::SwitchCost,
        limits::{Headroom, Limit, Scope},
        model::{Activity, CloneFailuresByLimit, Memory, ThreadCounts, Times, UsableCpus},
        testing::limit_use,
    };

    const COSTS: Costs = Costs { switch: SwitchCost::Measured(None), kernel_stack_bytes: 16_384 };

    fn rules(process: &Process) -> Vec<Rule> {
        let mut found: Vec<_> = super::super::of_process(process, None, COSTS).iter().map(|found| found.rule).collect();
        found.sort_unstable();
        found
    }

    fn with(rates: &Rates) -> Process {
        Process { rates: Some(*rates), ..Process::default() }
    }

    fn threads(total: u64) -> ThreadCounts {
        ThreadCounts { total, ..ThreadCounts::default() }
    }

    fn times(times: &[(TimeState, f64)]) -> Rates {
        Rates { time_ratio: Times::of(times.iter().copied()), ..Rates::default() }
    }

    #[test]
    fn each_rule_speaks_from_its_threshold_on_and_not_before() {
        let switches = |switches_per_second| with(&Rates { switches_per_second, ..Rates::default() });
        let ends = |ended, short_lived_ratio| {
            with(&Rates { threads_exited_per_second: ended, short_lived_ratio, ..Rates::default() })
        };
        let many = |total| Process { threads: threads(total), ..Process::default() };
        let burst = |seconds, sleeping| {
            with(&Rates {
                burst_max_seconds: Some(seconds),
                ..times(&[(TimeState::Running, 1.0), (TimeState::Poll, sleeping)])
            })
        };
        let throttled = |throttled| with(&times(&[(TimeState::Running, 0.5), (TimeState::Throttled, throttled)]));
        let waiting = |total, running| Process {
            threads: threads(total),
            ..with(&times(&[(TimeState::Running, running), (TimeState::Poll, 300.0)]))
        };
        let depth = |bytes| Process {
            memory: Memory { kernel_stack_depth_max_bytes: bytes, ..Memory::default() },
            ..Process::default()
        };
        let wanted = |oversubscription| Process { oversubscription: Some(oversubscription), ..Process::default() };
        let used = |used| {
            let binding = limit_use((Limit::CgroupPids, Scope::Cgroup), "/a", used, 100);
            Process { headroom: Some(Headroom { binding, first_exhausted: None }), ..Process::default() }
        };
        let speaks = |rule, does: &Process, does_not: &Process| {
            assert_eq!(rules(does), [rule]);
            assert_eq!(rules(does_not), []);
        };
        speaks(Rule::SwitchCost, &switches(26_000.0), &switches(24_000.0));
        speaks(Rule::ShortLived, &ends(51.0, 0.6), &ends(49.0, 0.6));
        speaks(Rule::ShortLived, &ends(500.0, 0.6), &ends(500.0, 0.4));
        speaks(Rule::ManyThreads, &many(1_001), &many(999));
        speaks(Rule::NeverYields, &burst(11.0, 3.0), &burst(9.0, 3.0));
        speaks(Rule::NeverYields, &burst(11.0, 3.0), &burst(11.0, 0.0));
        speaks(Rule::Throttled, &throttled(0.1), &throttled(0.01));
        speaks(Rule::MostlyWaiting, &waiting(300, 1.0), &waiting(150, 1.0));
        speaks(Rule::MostlyWaiting, &waiting(300, 1.0), &waiting(300, 30.0));
        speaks(Rule::DeepStack, &depth(13_000), &depth(12_000));
        speaks(Rule::Oversubscribed, &wanted(2.1), &wanted(1.9));
        speaks(Rule::NearLimit, &used(81), &used(79));
    }

    #[test]
    fn what_was_refused_names_the_limit_and_what_to_set() {
        let totals = Activity {
            clone_failures_by_limit: CloneFailuresByLimit::of([(Limit::CgroupPids, 7)]),
            ..Activity::default()
        };
        let mut binding = limit_use((Limit::CgroupPids, Scope::Cgroup), "/a", 50, 100);
        binding.set_by = "TasksMax of a.service".into();
        binding.peak = Some(100);
        let headroom = Some(Headroom { binding, first_exhausted: None });
        let process = Process { totals, headroom, ..Process::default() };
        let found = super::super::of_process(&process, None, COSTS);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].figures, "7 clones refused by cgroup_pids");
        assert_eq!(found[0].change, "set TasksMax of a.service to 200, or create fewer threads");
        assert_eq!(rules(&Process { is_kernel_thread: true, ..process.clone() }), []);
        // An error that no limit made, as of bad arguments, is not a limit's.
        assert_eq!(rules(&Process { totals: Activity::default(), ..process }), []);
    }

    #[test]
    fn a_quota_is_told_with_the_number_to_set() {
        let quota_set_by = Some("CPUQuota of a.service".into());
        let process = Process {
            usable_cpus: UsableCpus { cpus: 1.5, quota_set_by },
            ..with(&times(&[(TimeState::Running, 1.5), (TimeState::Throttled, 2.5)]))
        };
        let found = super::super::of_process(&process, None, COSTS);
        assert!(
            found[0].change.starts_with("raise CPUQuota of a.service to 4.0 CPUs, or let 2 of its threads"),
            "{found:?}"
        );
    }
}
