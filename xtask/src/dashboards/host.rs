//! One host: which groups of processes do what.

use super::{
    board::{Board, Variable},
    panel::{Panel, heatmap, series, stat, table},
};

pub(super) fn board() -> Board {
    Board {
        name: "host",
        title: "Host",
        description: "One host: who switches, who waits for a CPU, who has too many threads, what is about to be full.",
        is_of_records: false,
        variables: vec![
            Variable { name: "job", of: "threadprobe_build_info", several: false },
            Variable { name: "instance", of: "threadprobe_build_info{job=\"$job\"}", several: false },
        ],
        rows: vec![
            ("", figures()),
            ("Context switches and CPUs", switches()),
            ("Threads", threads()),
            ("Limits", limits()),
            ("Kernel memory", memory()),
        ],
    }
}

fn figures() -> Vec<Panel> {
    vec![
        stat("Threads", "Threads on the host.", "short", "threadprobe_host_threads{*}"),
        stat(
            "Context switches",
            "Switches of both kinds a second.",
            "cps",
            "sum(rate(threadprobe_context_switches_total{*}[$__rate_interval]))",
        ),
        stat(
            "Wait for a CPU, p99",
            "99th percentile of all waits for a CPU.",
            "s",
            "histogram_quantile(0.99, sum by (le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval])))",
        )
        .bad_from(0.05, 0.25),
        stat(
            "Least headroom",
            "The free share of the limit that has room for the fewest threads, of the group with the least.",
            "percentunit",
            "min(threadprobe_headroom_ratio{*})",
        )
        .bad_from(0.2, 0.1),
        stat(
            "Full in",
            "Time until the first limit is reached if its use goes on to grow; nothing if none grows.",
            "s",
            "min(threadprobe_exhaustion_seconds{*})",
        )
        .bad_from(14400.0, 3600.0),
        stat(
            "Refused clones",
            "Threads and processes a second that could not be created.",
            "cps",
            "sum(rate(threadprobe_host_clone_failures_total{*}[$__rate_interval]))",
        )
        .bad_from(1e-9, 1.0),
    ]
}

fn switches() -> Vec<Panel> {
    vec![
        top("Context switches", "Switches of both kinds a second.", "cps")
            .query("topk(10, sum by (group) (rate(threadprobe_context_switches_total{*}[$__rate_interval])))", "{{group}}"),
        top("Wait for a CPU, p99", "99th percentile of the waits of a group's threads for a CPU.", "s")
            .query(
                "topk(10, histogram_quantile(0.99, sum by (group, le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval]))))",
                "{{group}}",
            )
            .bad_from(0.05, 0.25),
        heatmap(
            "Waits for a CPU",
            "How many waits a second took how long.",
            "sum by (le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval]))",
        ),
        top("Threads waiting for a CPU", "Threads that are runnable but do not run, on average.", "short").query(
            "topk(10, sum by (group) (rate(threadprobe_runqueue_latency_seconds_sum{*}[$__rate_interval])))",
            "{{group}}",
        ),
        top("CPUs in use", "CPU time of all threads a second.", "short")
            .query("topk(10, sum by (group) (rate(threadprobe_cpu_seconds_total{*}[$__rate_interval])))", "{{group}}")
            .query("threadprobe_host_cpus{*}", "CPUs that there are"),
        top("Threads throttled by a quota", "On average; each waits for a CPU that its cgroup may not use.", "short")
            .query(
                "topk(10, sum by (group) (rate(threadprobe_time_seconds_total{*, state=\"throttled\"}[$__rate_interval])) > 0)",
                "{{group}}",
            ),
        series("Load", "Threads that run or wait for a CPU. Exact: on average between two samples. Pressure: the share of the time in which one waited.", "short")
            .query("threadprobe_host_runnable_cpus{*}", "have work")
            .query("rate(threadprobe_host_cpu_pressure_seconds_total{*}[$__rate_interval])", "pressure (some)")
            .query("threadprobe_host_cpus{*}", "CPUs that there are"),
        series("Quotas that were used up", "The share of a cgroup's periods in which its quota was used up.", "percentunit").query(
            "topk(10, rate(threadprobe_cpu_throttled_periods_total{*}[$__rate_interval]) / (rate(threadprobe_cpu_periods_total{*}[$__rate_interval]) > 0))",
            "{{cgroup}}",
        ),
        series("Time that quotas took", "CPUs on which threads of a cgroup had work and no quota, on average; beside it the quota.", "short")
            .query("topk(10, rate(threadprobe_cpu_throttled_seconds_total{*}[$__rate_interval]) > 0)", "{{cgroup}}")
            .query(
                "threadprobe_cpu_quota_cpus{*} and on (instance, cgroup) topk(10, rate(threadprobe_cpu_throttled_seconds_total{*}[$__rate_interval]) > 0)",
                "quota of {{cgroup}}",
            ),
        top("Longest bursts", "CPU time of a thread between two voluntary switches, in the last minute.", "s")
            .query("topk(10, threadprobe_cpu_burst_max_seconds{*})", "{{group}}"),
        top("Longest uninterruptible sleep", "Of a thread that is in it now.", "s")
            .query("topk(10, threadprobe_thread_blocked_seconds{*})", "{{group}}"),
        series("Who takes the CPU from others", "Threads of other groups that wait meanwhile, on average.", "short").query(
            "topk(10, sum by (by) (rate(threadprobe_cpu_taken_seconds_total{*, by!~\"~.*\"}[$__rate_interval])))",
            "{{by}}",
        ),
        top("Threads in uninterruptible sleep", "On average: for a disk, or for a lock in the kernel.", "short").query(
            "topk(10, sum by (group) (rate(threadprobe_time_seconds_total{*, state=~\"io|uninterruptible\"}[$__rate_interval])))",
            "{{group}}",
        ),
        series("Kinds of switches", "Voluntary: the thread blocked. Involuntary: something else was to run.", "cps")
            .query("sum by (kind) (rate(threadprobe_context_switches_total{*}[$__rate_interval]))", "{{kind}}")
            .query("sum(rate(threadprobe_same_process_switches_total{*}[$__rate_interval]))", "to the same process")
    ]
}

fn threads() -> Vec<Panel> {
    vec![
        top("Threads", "Live threads.", "short")
            .query("topk(10, sum by (group) (threadprobe_threads{*}))", "{{group}}"),
        series("Threads by state", "Blocked ones wait for a device or a lock in the kernel.", "short")
            .query("sum by (state) (threadprobe_threads{*})", "{{state}}")
            .stacked(),
        top("Threads created", "Threads created a second, first threads of processes not included.", "cps")
            .query("topk(10, sum by (group) (rate(threadprobe_threads_created_total{*}[$__rate_interval])))", "{{group}}"),
        top("Processes created", "Processes created a second, by who created them.", "cps").query(
            "topk(10, sum by (group) (rate(threadprobe_processes_created_total{*}[$__rate_interval])))",
            "{{group}}",
        ),
        top("Threads that live for a millisecond at most", "Their share of the threads that end.", "percentunit")
            .query(
                "topk(10, sum by (group) (rate(threadprobe_thread_lifetime_seconds_bucket{*, le=\"0.001\"}[$__rate_interval])) / sum by (group) (rate(threadprobe_thread_lifetime_seconds_count{*}[$__rate_interval])) > 0)",
                "{{group}}",
            )
            .up_to(1.0),
        series("Duration of clones", "From the call to the complete new task, of those that succeed.", "s")
            .query(
                "histogram_quantile(0.5, rate(threadprobe_clone_duration_seconds_bucket{*}[$__rate_interval]))",
                "p50",
            )
            .query(
                "histogram_quantile(0.99, rate(threadprobe_clone_duration_seconds_bucket{*}[$__rate_interval]))",
                "p99",
            ),
    ]
}

fn limits() -> Vec<Panel> {
    vec![
        series("Limits of the host", "How much of each is used.", "percentunit")
            .query("threadprobe_limit_used_threads{*} / threadprobe_limit_max_threads{*} or threadprobe_limit_used_bytes{*} / threadprobe_limit_max_bytes{*}", "{{limit}}")
            .up_to(1.0)
            .bad_from(0.8, 0.9),
        series("pids.max of cgroups", "How much of it is used; the ten fullest.", "percentunit")
            .query("topk(10, threadprobe_cgroup_pids_used{*} / threadprobe_cgroup_pids_max{*})", "{{cgroup}}")
            .up_to(1.0)
            .bad_from(0.8, 0.9),
        series("RLIMIT_NPROC of users", "How much of it is used; the ten fullest.", "percentunit")
            .query("topk(10, threadprobe_user_threads_used{*} / threadprobe_user_threads_max{*})", "{{user}}")
            .up_to(1.0)
            .bad_from(0.8, 0.9),
        top("Least headroom", "The free share of the limit that has room for the fewest threads.", "percentunit")
            .query("bottomk(10, threadprobe_headroom_ratio{*})", "{{group}}")
            .up_to(1.0)
            .bad_from(0.2, 0.1),
        top("Time until a limit is reached", "If its use goes on to grow; of groups where one grows.", "s")
            .query("bottomk(10, threadprobe_exhaustion_seconds{*})", "{{group}}: {{limit}}")
            .bad_from(14400.0, 3600.0),
        series("Refused clones", "By the error, and the limit that was exhausted.", "cps").query(
            "sum by (errno, limit) (rate(threadprobe_host_clone_failures_total{*}[$__rate_interval])) > 0",
            "{{errno}} {{limit}}",
        ),
        series("Refused by pids.max of cgroups", "Clones a second that the cgroup refused.", "cps")
            .query("topk(10, rate(threadprobe_cgroup_pids_failures_total{*}[$__rate_interval]) > 0)", "{{cgroup}}"),
        table("Cgroups with a limit", "Use of pids.max, and whose each cgroup is.")
            .column(
                "threadprobe_cgroup_pids_used{*} / threadprobe_cgroup_pids_max{*} * on (job, instance, cgroup) group_left (unit, container, pod) threadprobe_cgroup_info{*}",
                "used",
                "percentunit",
            )
            .size(12, 9),
        table("Alerts of the daemon's own rules", "Those that fire now.")
            .query("sum by (alert, severity, group) (threadprobe_alert_firing{*})", "alerts")
            .size(12, 9)
            .leads_to("group", &["group"], &["job", "instance"]),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        top("Kernel memory of threads", "Stacks and task structures; none of it can be swapped.", "bytes")
            .query("topk(10, sum by (group) (threadprobe_kernel_memory_bytes{*}))", "{{group}}")
            .size(8, 9),
        top("Deepest kernel stack", "Of the stack's size, since the group exists.", "percentunit")
            .query(
                "topk(10, threadprobe_kernel_stack_depth_max_bytes{*} / ignoring (group, part) group_left () threadprobe_thread_kernel_bytes{*, part=\"stack\"})",
                "{{group}}",
            )
            .up_to(1.0)
            .bad_from(0.75, 0.9)
            .size(8, 9),
        series("What one thread costs", "Kernel memory by what it is for; probe is what thread-probe keeps.", "bytes")
            .query("threadprobe_thread_kernel_bytes{*}", "{{part}}")
            .stacked()
            .size(8, 9),
    ]
}

/// Series of groups, each of which leads to its dashboard.
fn top(title: &'static str, description: &'static str, unit: &'static str) -> Panel {
    series(title, description, unit).leads_to("group", &["group"], &["job", "instance"])
}
