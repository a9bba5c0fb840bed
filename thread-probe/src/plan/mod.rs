//! How many threads: by the CPUs there are, by what threads wait for, by a rate of requests, by what there is room for.

mod erlang;

use serde::Serialize;

use crate::text::named::named;

named! {
    /// Where a figure comes from.
    pub enum Origin {
        /// The kernel counted it.
        Measured = "measured",
        /// Somebody says so.
        Given = "given",
        /// Nobody knows better.
        Assumed = "assumed",
    }
}

/// A figure that goes in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// How much.
    pub value: f64,
    /// Where it comes from.
    pub origin: Origin,
    /// That in words.
    pub because: String,
}

impl Input {
    /// Somebody says so.
    pub fn given(value: f64, option: &str) -> Self {
        Self { value, origin: Origin::Given, because: option.to_owned() }
    }

    /// The kernel counted it.
    pub fn measured(value: f64, because: impl Into<String>) -> Self {
        Self { value, origin: Origin::Measured, because: because.into() }
    }

    /// Nobody knows better.
    pub fn assumed(value: f64, because: impl Into<String>) -> Self {
        Self { value, origin: Origin::Assumed, because: because.into() }
    }
}

/// What is known.
#[derive(Clone, Debug, Serialize)]
pub struct Inputs {
    /// CPUs that the threads may use.
    pub cpus: Input,
    /// What a thread waits for something else, as a multiple of what it works; null if that is not known.
    pub wait_per_work: Option<Input>,
    /// Work of a request on a CPU, in seconds.
    pub work_seconds: Option<Input>,
    /// Requests of a second.
    pub rate_per_second: Option<Input>,
    /// How long a request keeps a thread, in seconds.
    pub response_seconds: Option<Input>,
    /// Memory that a thread takes, of the kernel's and its own, in bytes.
    pub bytes_per_thread: Input,
    /// What there is room for, by limit.
    pub room: Vec<Room>,
    /// What there is today; null by hand.
    pub today: Option<Today>,
}

/// What a limit has room for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Which limit.
    pub limit: String,
    /// Threads in all, those that are there included.
    pub threads: u64,
    /// What sets it.
    pub set_by: String,
}

/// What there is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Today {
    /// Threads.
    pub threads: u64,
    /// Kernel memory of them, in bytes.
    pub kernel_memory_bytes: u64,
    /// Their switches of a second.
    pub switches_per_second: f64,
    /// CPUs that they use.
    pub cpu_ratio: f64,
    /// Threads that wait for a CPU, on average.
    pub wait_ratio: f64,
}

/// How many.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Of threads that only work: one for each CPU.
    pub cpu_bound_threads: u64,
    /// Of threads that wait for something else in between: `CPUs x (1 + wait / work)` keep the CPUs busy. Null if that
    /// is not known.
    pub io_bound_threads: Option<u64>,
    /// For the rate; null without one.
    pub pool: Option<Pool>,
    /// The limit that is reached first; null where none is known.
    pub most_threads: Option<Room>,
    /// What went in.
    pub inputs: Inputs,
}

/// A pool for a rate of requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pool {
    /// Threads that are busy on average: rate x response time, which is Little's law.
    pub busy_threads: f64,
    /// Threads with which at most a hundredth of the requests has to wait for one, if they come at random: Erlang C.
    /// Null where there is no such number: the CPUs can't do the work, or the load is over a million.
    pub threads: Option<u64>,
    /// The share of requests that has to wait then.
    pub waiting_ratio: Option<f64>,
    /// CPUs that the work takes; null if that is not known.
    pub work_cpus: Option<f64>,
}

/// Of all requests, the share that may have to wait for a thread.
pub const WAITING_RATIO: f64 = 0.01;

impl Plan {
    /// From what is known.
    pub fn from(inputs: Inputs) -> Self {
        let whole = |threads: f64| threads.ceil().max(1.0) as u64;
        let cpus = inputs.cpus.value;
        Self {
            cpu_bound_threads: whole(cpus),
            // A hair over a whole number is that number: the figures are no more exact.
            io_bound_threads: inputs.wait_per_work.as_ref().map(|ratio| whole(cpus * (1.0 + ratio.value) - 1e-9)),
            pool: pool(&inputs),
            most_threads: inputs.room.iter().min_by_key(|room| room.threads).cloned(),
            inputs,
        }
    }
}

fn pool(inputs: &Inputs) -> Option<Pool> {
    let (rate, response) = (inputs.rate_per_second.as_ref()?.value, inputs.response_seconds.as_ref()?.value);
    let work_cpus = inputs.work_seconds.as_ref().map(|work| rate * work.value);
    let can_be_done = work_cpus.is_none_or(|work| work < inputs.cpus.value);
    let found = can_be_done.then(|| erlang::servers(rate * response, WAITING_RATIO)).flatten();
    Some(Pool {
        busy_threads: rate * response,
        threads: found.map(|(threads, _)| threads),
        waiting_ratio: found.map(|(_, ratio)| ratio),
        work_cpus,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(cpus: f64) -> Inputs {
        Inputs {
            cpus: Input::given(cpus, "--cpus"),
            wait_per_work: None,
            work_seconds: None,
            rate_per_second: None,
            response_seconds: None,
            bytes_per_thread: Input::assumed(65_536.0, "a guess"),
            room: Vec::new(),
            today: None,
        }
    }

    fn given(value: f64) -> Option<Input> {
        Some(Input::given(value, "--it"))
    }

    #[test]
    fn threads_that_work_are_as_many_as_cpus_and_those_that_wait_more() {
        let plan = Plan::from(Inputs { wait_per_work: given(9.0), ..inputs(2.0) });
        assert_eq!((plan.cpu_bound_threads, plan.io_bound_threads), (2, Some(20)));
        let plan = Plan::from(Inputs { wait_per_work: given(0.0), ..inputs(0.5) });
        assert_eq!((plan.cpu_bound_threads, plan.io_bound_threads), (1, Some(1)), "half a CPU is one thread");
        assert_eq!(Plan::from(inputs(1.5)).io_bound_threads, None);
    }

    #[test]
    fn a_pool_has_room_for_bursts() {
        let asked = Inputs { rate_per_second: given(500.0), response_seconds: given(0.04), ..inputs(2.0) };
        let pool = Plan::from(asked.clone()).pool;
        assert!(pool.is_some_and(|pool| pool.busy_threads == 20.0 && (28..36).contains(&pool.threads.unwrap_or(0))));
        // 500 x 5 ms are 2.5 CPUs.
        let pool = Plan::from(Inputs { work_seconds: given(0.005), ..asked }).pool;
        assert!(pool.is_some_and(|pool| pool.threads.is_none() && pool.work_cpus == Some(2.5)));
    }

    #[test]
    fn the_limit_with_room_for_the_fewest_binds() {
        let room = |limit: &str, threads| Room { limit: limit.into(), threads, set_by: String::new() };
        let room = vec![room("pid_max", 32_768), room("cgroup_pids", 4_915), room("memory", 90_000)];
        let most = Plan::from(Inputs { room, ..inputs(2.0) }).most_threads;
        assert_eq!(most.map(|room| room.limit), Some("cgroup_pids".to_owned()));
    }
}
