//! `thread-probe plan`: how many threads.

use std::{
    fs,
    io::{self, Write},
    thread,
};

use anyhow::{Context as _, Result, bail};
use comfy_table::{Cell, ContentArrangement, Table, presets};
use thread_probe_ebpf::abi::time::TimeState;

use super::{look, output};
use crate::{
    commands::options::PlanOptions,
    limits::LimitUse,
    model::{OneProcess, Process, Rates, Times},
    plan::{Input, Inputs, Origin, Plan, Room, Today},
    probe,
    text::human,
};

/// What a thread touches of its own memory where nobody knows: a few pages of stack, and what malloc keeps for it.
const OWN_BYTES: f64 = 65_536.0;
/// THREAD_SIZE of most kernels.
const KERNEL_STACK_BYTES: u64 = 16_384;

/// Looks, and prints what it comes to.
///
/// # Errors
/// Nothing of that name, what the host lacks, no daemon, figures that contradict each other, or standard output that
/// can't be written to.
pub(super) fn plan(options: &PlanOptions) -> Result<()> {
    check(options)?;
    let inputs = if options.is_by_hand() { by_hand(options)? } else { live(options)? };
    let plan = Plan::from(inputs);
    output::print_as(options.look.format, &plan, |out| write(out, &plan))
}

fn check(options: &PlanOptions) -> Result<()> {
    if options.wait_ms.is_some() && options.work_ms.is_none() {
        bail!("--wait-ms says little without --work-ms: it is their ratio that counts");
    }
    if options.rate.is_some() && options.response_ms.is_none() && options.wait_ms.or(options.work_ms).is_none() {
        bail!("--rate asks for --response-ms, or for --wait-ms and --work-ms: how long a request keeps a thread");
    }
    Ok(())
}

/// What options say of work and waiting, and how long both take together.
struct Given {
    wait_per_work: Option<Input>,
    work_seconds: Option<Input>,
    rate_per_second: Option<Input>,
    response_seconds: Option<Input>,
}

impl Given {
    fn of(options: &PlanOptions) -> Self {
        let (wait, work) = (options.wait_ms.unwrap_or(0.0), options.work_ms);
        let response = options.response_ms.map(|ms| Input::given(ms / 1e3, "--response-ms"));
        let sum = || work.map(|work| Input::given((wait + work) / 1e3, "--wait-ms and --work-ms"));
        Self {
            wait_per_work: work.map(|work| Input::given(wait / work, "--wait-ms by --work-ms")),
            work_seconds: work.map(|work| Input::given(work / 1e3, "--work-ms")),
            rate_per_second: options.rate.map(|rate| Input::given(rate, "--rate")),
            response_seconds: response.or_else(sum),
        }
    }
}

/// Without a probe: of this host is taken what is not given.
fn by_hand(options: &PlanOptions) -> Result<Inputs> {
    let given = Given::of(options);
    let cpus = match options.cpus {
        Some(cpus) => Input::given(cpus, "--cpus"),
        // By affinity and quota.
        None => Input::measured(
            thread::available_parallelism().context("asking how many CPUs there are failed")?.get() as f64,
            "what this process may use of this host",
        ),
    };
    let kernel_bytes = probe::thread_cost(probe::kernel_types().map_or(0, |types| types.task_struct_bytes), 0);
    let bytes_per_thread = per_thread(options, (KERNEL_STACK_BYTES + kernel_bytes.kernel_bytes()) as f64, None);
    let ram = match options.ram {
        Some(bytes) => bytes,
        None => available_bytes()?,
    };
    let room = Room {
        limit: "memory".to_owned(),
        threads: (ram as f64 / bytes_per_thread.value) as u64,
        set_by: if options.ram.is_some() { "--ram" } else { "what this host has available" }.to_owned(),
    };
    Ok(Inputs {
        cpus,
        wait_per_work: given.wait_per_work,
        work_seconds: given.work_seconds,
        rate_per_second: given.rate_per_second,
        response_seconds: given.response_seconds,
        bytes_per_thread,
        room: vec![room],
        today: None,
    })
}

fn available_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo failed")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes << 10).context("/proc/meminfo has no MemAvailable: give --ram")
}

/// The kernel's part, and its own: as given, as seen, or a guess.
fn per_thread(options: &PlanOptions, kernel_bytes: f64, own_bytes: Option<u64>) -> Input {
    match (options.stack, own_bytes) {
        (Some(stack), _) => Input::given(kernel_bytes + stack as f64, "--stack, and the kernel's part"),
        (None, Some(own)) => Input::measured(kernel_bytes + own as f64, "what its threads were seen to take"),
        (None, None) => Input::assumed(kernel_bytes + OWN_BYTES, "64 KiB of its own, and the kernel's part"),
    }
}

/// From two samples.
fn live(options: &PlanOptions) -> Result<Inputs> {
    let sample = look::sample(&options.look, options.pid)?;
    let model = &sample.model;
    let chosen = look::chosen(model, options.whose())?;
    let mut times = Times::default();
    let rates = chosen.iter().filter_map(|process| process.rates.as_ref());
    rates.for_each(|rates| times.include(&rates.time_ratio));
    let given = Given::of(options);
    let most = chosen.iter().max_by(|a, b| a.usable_cpus.cpus.total_cmp(&b.usable_cpus.cpus));
    let cpus = options.cpus.map(|cpus| Input::given(cpus, "--cpus"));
    let usable = || {
        let usable = most.map(|process| &process.usable_cpus);
        let by = usable.and_then(|usable| usable.quota_set_by.as_deref()).unwrap_or("its affinity and the host's CPUs");
        Input::measured(usable.map_or(0.0, |usable| usable.cpus), by)
    };
    let today = today(&chosen);
    let kernel_bytes = today.kernel_memory_bytes as f64 / today.threads.max(1) as f64;
    let own_bytes = chosen.iter().filter_map(|process| process.own_bytes_per_thread).max();
    Ok(Inputs {
        cpus: cpus.unwrap_or_else(usable),
        wait_per_work: given.wait_per_work.or_else(|| wait_per_work(&times)),
        work_seconds: given.work_seconds,
        rate_per_second: given.rate_per_second,
        response_seconds: given.response_seconds,
        bytes_per_thread: per_thread(options, kernel_bytes, own_bytes),
        room: room(&chosen, sample.one.as_ref(), today.threads),
        today: Some(today),
    })
}

/// Blocked time by time on a CPU. What threads waited for a CPU is neither: it is what too many of them make.
fn wait_per_work(times: &Times) -> Option<Input> {
    let on_cpu = [TimeState::Running, TimeState::WaitWakeup, TimeState::WaitPreempted, TimeState::Throttled];
    let others = [TimeState::Stopped, TimeState::Unaccounted];
    let waited = times.iter().filter(|(state, _)| !on_cpu.contains(state) && !others.contains(state));
    let waited: f64 = waited.map(|(_, time)| time).sum();
    let worked = times.get(TimeState::Running);
    let because = "its threads' blocked time by their CPU time; those that idle count as waiting: an upper bound";
    (worked > 0.0).then(|| Input::measured(waited / worked, because))
}

fn today(chosen: &[&Process]) -> Today {
    let rate = |of: fn(&Rates) -> f64| chosen.iter().filter_map(|process| process.rates.as_ref()).map(of).sum::<f64>();
    Today {
        threads: chosen.iter().map(|process| process.threads.total).sum(),
        kernel_memory_bytes: chosen.iter().map(|process| process.memory.kernel_memory_bytes).sum(),
        switches_per_second: rate(|rates| rates.switches_per_second),
        cpu_ratio: rate(|rates| rates.cpu_ratio),
        wait_ratio: rate(|rates| rates.wait_ratio),
    }
}

/// Of one process all its limits, of many the nearest of each.
fn room(chosen: &[&Process], one: Option<&OneProcess>, threads: u64) -> Vec<Room> {
    let room = |limit: &LimitUse| Room {
        limit: limit.limit.label().to_owned(),
        threads: threads.saturating_add(limit.headroom_threads),
        set_by: limit.set_by.to_string(),
    };
    if let Some(one) = one {
        return one.applicable_limits.iter().map(room).collect();
    }
    let nearest = chosen.iter().filter_map(|process| process.headroom.as_ref());
    nearest.map(|headroom| room(&headroom.binding)).min_by_key(|room| room.threads).into_iter().collect()
}

fn write(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let mut answers = rows();
    answers.add_row(["Threads that only work", &human::count(plan.cpu_bound_threads), "one for each CPU"]);
    if let Some(threads) = plan.io_bound_threads {
        answers.add_row(["Threads that wait as well", &human::count(threads), "CPUs x (1 + wait / work)"]);
    }
    if let Some(pool) = &plan.pool {
        let busy = format!("{:.1} are busy on average (rate x response time)", pool.busy_threads);
        let threads = pool.threads.map_or_else(|| "-".to_owned(), human::count);
        let why = match (pool.threads, pool.work_cpus) {
            (Some(_), _) => format!("{busy}; 1 % of the requests wait for one"),
            (None, Some(work)) => format!("none: the work takes {work:.1} CPUs, more than there are"),
            (None, None) => format!("none: {busy}"),
        };
        answers.add_row(["Threads for the rate", &threads, &why]);
    }
    if let Some(room) = &plan.most_threads {
        let bound = format!("{}, set by {}", room.limit, human::plain(&room.set_by));
        answers.add_row(["At most", &human::count(room.threads), &bound]);
    }
    writeln!(out, "{}", answers.trim_fmt())?;
    if let Some(today) = &plan.inputs.today {
        writeln!(out, "\n{}", in_words(today))?;
    }
    let mut inputs = rows();
    inputs.set_header(["From", "", ""]);
    for (name, input, value) in named_inputs(&plan.inputs) {
        inputs.add_row([Cell::new(name), Cell::new(value), Cell::new(origin(input))]);
    }
    writeln!(out, "\n{}", inputs.trim_fmt())
}

fn rows() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table
}

fn in_words(today: &Today) -> String {
    format!(
        "Today {}: {} of kernel memory, {} switches a second, {:.2} CPUs; {:.2} wait for a CPU on average.",
        human::counted(today.threads, "thread"),
        human::bytes(today.kernel_memory_bytes),
        human::per_second(today.switches_per_second),
        today.cpu_ratio,
        today.wait_ratio,
    )
}

fn named_inputs(inputs: &Inputs) -> Vec<(&'static str, &Input, String)> {
    let seconds = |input: &Input| human::seconds(input.value);
    let all = [
        ("CPUs", Some(&inputs.cpus), (|input| format!("{:.2}", input.value)) as fn(&Input) -> String),
        ("wait / work", inputs.wait_per_work.as_ref(), |input| format!("{:.2}", input.value)),
        ("work of a request", inputs.work_seconds.as_ref(), seconds),
        ("requests a second", inputs.rate_per_second.as_ref(), |input| human::per_second(input.value)),
        ("response time", inputs.response_seconds.as_ref(), seconds),
        ("memory of a thread", Some(&inputs.bytes_per_thread), |input| human::bytes(input.value as u64)),
    ];
    all.into_iter().filter_map(|(name, input, told)| input.map(|input| (name, input, told(input)))).collect()
}

fn origin(input: &Input) -> String {
    let because = human::plain(&input.because);
    match input.origin {
        Origin::Given => format!("given: {because}"),
        Origin::Measured => format!("measured: {because}"),
        Origin::Assumed => format!("assumed: {because}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_wait_for_a_cpu_is_neither_wait_nor_work() {
        let times = Times::of([
            (TimeState::Running, 2.0),
            (TimeState::WaitPreempted, 50.0),
            (TimeState::Throttled, 7.0),
            (TimeState::Poll, 15.0),
            (TimeState::Io, 3.0),
        ]);
        assert_eq!(wait_per_work(&times).map(|ratio| ratio.value), Some(9.0));
        assert_eq!(wait_per_work(&Times::of([(TimeState::Poll, 1.0)])), None);
    }
}
