//! One group of processes, on one host or several.

use super::{
    board::{Board, Variable},
    panel::{Panel, heatmap, series, stat, table},
};

pub(super) fn board() -> Board {
    let of_hosts = "threadprobe_processes{job=~\"$job\", instance=~\"$instance\"}";
    Board {
        name: "group",
        title: "Process group",
        description: "One group of processes or several: their switches, their waits for a CPU, their threads, memory and limits.",
        is_of_records: false,
        variables: vec![
            Variable { name: "job", of: "threadprobe_build_info", several: true },
            Variable { name: "instance", of: "threadprobe_build_info{job=~\"$job\"}", several: true },
            Variable { name: "group", of: of_hosts, several: true },
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
        stat("Processes", "Live processes.", "short", "sum(threadprobe_processes{*})"),
        stat("Threads", "Live threads.", "short", "sum(threadprobe_threads{*})"),
        stat(
            "Context switches",
            "Switches of both kinds a second.",
            "cps",
            "sum(rate(threadprobe_context_switches_total{*}[$__rate_interval]))",
        ),
        stat(
            "Wait for a CPU, p99",
            "99th percentile of its threads' waits for a CPU.",
            "s",
            "histogram_quantile(0.99, sum by (le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval])))",
        )
        .bad_from(0.05, 0.25),
        stat(
            "Least headroom",
            "The free share of its nearest limit, on the host with the least.",
            "percentunit",
            "min(threadprobe_headroom_ratio{*})",
        )
        .bad_from(0.2, 0.1),
        stat(
            "Full in",
            "Time until one of its limits is reached if its use goes on to grow; nothing if none grows.",
            "s",
            "min(threadprobe_exhaustion_seconds{*})",
        )
        .bad_from(14400.0, 3600.0),
    ]
}

fn switches() -> Vec<Panel> {
    vec![
        heatmap(
            "Waits for a CPU",
            "How many waits a second took how long.",
            "sum by (le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval]))",
        ),
        series("Wait for a CPU", "Percentiles of its threads' waits.", "s")
            .query(
                "histogram_quantile(0.5, sum by (le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval])))",
                "p50",
            )
            .query(
                "histogram_quantile(0.9, sum by (le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval])))",
                "p90",
            )
            .query(
                "histogram_quantile(0.99, sum by (le) (rate(threadprobe_runqueue_latency_seconds_bucket{*}[$__rate_interval])))",
                "p99",
            )
            .bad_from(0.05, 0.25),
        series("Context switches", "Voluntary: the thread blocked. Involuntary: something else was to run.", "cps")
            .query("sum by (kind) (rate(threadprobe_context_switches_total{*}[$__rate_interval]))", "{{kind}}")
            .stacked(),
        series(
            "Where the time goes",
            "Of its threads' wall clock, each state's share. Waits are for a CPU; io is a disk, throttled a quota.",
            "percentunit",
        )
        .query(
            "sum by (state) (rate(threadprobe_time_seconds_total{*}[$__rate_interval])) / on () group_left () sum(rate(threadprobe_time_seconds_total{*}[$__rate_interval]))",
            "{{state}}",
        )
        .stacked()
        .up_to(1.0),
        series("Throttled against contended", "Threads that wait for a CPU, on average: for their quota, or for others.", "short")
            .query("sum(rate(threadprobe_time_seconds_total{*, state=\"throttled\"}[$__rate_interval]))", "throttled")
            .query("sum(rate(threadprobe_time_seconds_total{*, state=~\"wait_.*\"}[$__rate_interval]))", "contended")
            .stacked(),
        series(
            "Who took the CPU",
            "Threads that wait meanwhile, on average. ~self: its own; ~short: under 1 ms, charged to nobody; ~throttled: a quota.",
            "short",
        )
        .query("sum by (by) (rate(threadprobe_cpu_taken_seconds_total{*}[$__rate_interval]))", "{{by}}")
        .stacked(),
        series("Work for each CPU", "Threads that have work, on average, for each CPU that it may use: above 1 some wait.", "short")
            .query(
                "topk(10, sum by (instance) (rate(threadprobe_time_seconds_total{*, state=~\"running|throttled|wait_.*\"}[$__rate_interval])) / on (instance) max by (instance) (threadprobe_usable_cpus{*} > 0))",
                "{{instance}}",
            ),
        series(
            "Longest burst",
            "CPU time of a thread between two voluntary switches, in the last minute. Of an event loop it is the lag.",
            "s",
        )
        .query("topk(10, max by (instance) (threadprobe_cpu_burst_max_seconds{*}))", "{{instance}}"),
        series("To a thread of the same process", "Their share of all runs, where it is largest. They keep the address space.", "percentunit")
            .query(
                "topk(10, sum by (instance) (rate(threadprobe_same_process_switches_total{*}[$__rate_interval])) / sum by (instance) (rate(threadprobe_runqueue_latency_seconds_count{*}[$__rate_interval])))",
                "{{instance}}",
            )
            .up_to(1.0),
        series("CPUs in use", "CPU time of its threads a second.", "short")
            .query("topk(10, sum by (instance) (rate(threadprobe_cpu_seconds_total{*}[$__rate_interval])))", "{{instance}}"),
        series("Threads waiting for a CPU", "Threads that are runnable but do not run, on average.", "short").query(
            "topk(10, sum by (instance) (rate(threadprobe_runqueue_latency_seconds_sum{*}[$__rate_interval])))",
            "{{instance}}",
        ),
    ]
}

fn threads() -> Vec<Panel> {
    vec![
        series("Threads by state", "Blocked ones wait for a device or a lock in the kernel.", "short")
            .query("sum by (state) (threadprobe_threads{*})", "{{state}}")
            .stacked(),
        series("Churn", "Threads and processes that it creates, and threads of it that end.", "cps")
            .query("sum(rate(threadprobe_threads_created_total{*}[$__rate_interval]))", "threads created")
            .query("sum(rate(threadprobe_processes_created_total{*}[$__rate_interval]))", "processes created")
            .query("sum(rate(threadprobe_threads_exited_total{*}[$__rate_interval]))", "threads ended"),
        heatmap(
            "Age of threads when they end",
            "How many a second ended how old.",
            "sum by (le) (rate(threadprobe_thread_lifetime_seconds_bucket{*}[$__rate_interval]))",
        ),
        series("Mean age of threads when they end", "Short ones cost more to create than what they do.", "s").query(
            "sum(rate(threadprobe_thread_lifetime_seconds_sum{*}[$__rate_interval])) / sum(rate(threadprobe_thread_lifetime_seconds_count{*}[$__rate_interval]))",
            "mean",
        ),
    ]
}

fn limits() -> Vec<Panel> {
    vec![
        series(
            "Room for threads, and in 4 hours",
            "Of its nearest limit, where it is least; the forecast is a line through the last hour.",
            "short",
        )
        .query("bottomk(10, min by (instance, limit) (threadprobe_headroom_threads{*}))", "{{instance}} {{limit}}")
        .query(
            "clamp_min(bottomk(10, min by (instance, limit) (predict_linear(threadprobe_headroom_threads{*}[1h], 4 * 3600))), 0)",
            "{{instance}} {{limit}} in 4 h",
        ),
        series("Headroom", "The free share of that limit, where it is least.", "percentunit")
            .query("bottomk(10, min by (instance) (threadprobe_headroom_ratio{*}))", "{{instance}}")
            .up_to(1.0)
            .bad_from(0.2, 0.1),
        series("Time until a limit is reached", "If its use goes on to grow; nothing if none grows.", "s")
            .query("bottomk(10, min by (instance, limit) (threadprobe_exhaustion_seconds{*}))", "{{instance}} {{limit}}")
            .bad_from(14400.0, 3600.0),
        series("Refused clones", "In the last five minutes; by the error, and the limit that was exhausted.", "short")
            .query("sum by (errno, limit) (threadprobe_clone_failures_total{*} unless threadprobe_clone_failures_total{*} offset 5m and on (job, instance) threadprobe_build_info offset 5m or increase(threadprobe_clone_failures_total{*}[5m]))", "{{errno}} {{limit}}"),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        series("Kernel memory of its threads", "None of it can be swapped.", "bytes")
            .query("sum(threadprobe_kernel_stack_bytes{*})", "stacks")
            .query("sum(threadprobe_kernel_memory_bytes{*}) - sum(threadprobe_kernel_stack_bytes{*})", "task structures")
            .stacked(),
        series("Deepest kernel stack", "Since the group exists, of what there is of it.", "percentunit")
            .query(
                "topk(10, threadprobe_kernel_stack_depth_max_bytes{*} / ignoring (group, part) group_left () threadprobe_thread_kernel_bytes{job=~\"$job\", instance=~\"$instance\", part=\"stack\"})",
                "{{instance}}",
            )
            .up_to(1.0)
            .bad_from(0.75, 0.9),
        table("Whose it is", "Unit, container and pod, where groups are made by one of them or by cgroup.").query(
            "count by (unit, container, pod) (threadprobe_group_info{*})",
            "hosts",
        ),
    ]
}
