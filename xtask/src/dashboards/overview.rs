//! Many hosts. Asks only what is recorded per host, so it also works where only that is federated.

use super::{
    board::{Board, Variable},
    panel::{Panel, heatmap, series, stat, table},
};

pub(super) fn board() -> Board {
    let hosts = "instance:threadprobe_processes:sum";
    Board {
        name: "overview",
        title: "Overview",
        description: "A fleet: which hosts are near a limit, wait for CPUs or switch most. From recorded series alone.",
        is_of_records: true,
        variables: vec![
            Variable { name: "job", of: hosts, several: true },
            Variable { name: "instance", of: "instance:threadprobe_processes:sum{job=~\"$job\"}", several: true },
        ],
        rows: vec![
            ("", figures()),
            ("Hosts", vec![hosts_table(), firing()]),
            ("The worst ten", worst()),
            ("The fleet", fleet()),
        ],
    }
}

fn figures() -> Vec<Panel> {
    vec![
        stat("Hosts", "Hosts whose probe answers.", "short", "count(instance:threadprobe_processes:sum{*})"),
        stat("Threads", "Threads on all of them.", "short", "sum(instance:threadprobe_threads:sum{*})"),
        stat(
            "Context switches",
            "Switches of both kinds a second.",
            "cps",
            "sum(instance:threadprobe_context_switches:rate5m{*})",
        ),
        stat(
            "Wait for a CPU, p99",
            "99th percentile of all waits of all threads for a CPU.",
            "s",
            "histogram_quantile(0.99, sum by (le) (instance:threadprobe_runqueue_latency_seconds_bucket:rate5m{*}))",
        )
        .bad_from(0.05, 0.25),
        stat(
            "Least headroom",
            "The free share of the limit that has room for the fewest threads, on the host with the least.",
            "percentunit",
            "min(instance:threadprobe_headroom_ratio:min{*})",
        )
        .bad_from(0.2, 0.1),
        stat(
            "Refused clones",
            "Threads and processes a second that could not be created, as a limit was exhausted.",
            "cps",
            "sum(instance:threadprobe_clone_failures:rate5m{*})",
        )
        .bad_from(1e-9, 1.0),
    ]
}

fn hosts_table() -> Panel {
    table(
        "Hosts",
        "Click on a host to see it alone. Above several Prometheus, choose its shard as the data source there.",
    )
    .column("sum by (job, instance) (instance:threadprobe_processes:sum{*})", "processes", "short")
    .column("sum by (job, instance) (instance:threadprobe_threads:sum{*})", "threads", "short")
    .column("sum by (job, instance) (instance:threadprobe_context_switches:rate5m{*})", "switches", "cps")
    .column("sum by (job, instance) (instance:threadprobe_runqueue_latency_seconds:p50{*})", "wait p50", "s")
    .column("sum by (job, instance) (instance:threadprobe_runqueue_latency_seconds:p99{*})", "wait p99", "s")
    .column("max by (job, instance) (instance:threadprobe_limit_used:ratio{*})", "fullest limit", "percentunit")
    .column("min by (job, instance) (instance:threadprobe_headroom_ratio:min{*})", "least headroom", "percentunit")
    .column("sum by (job, instance) (instance:threadprobe_exhaustion_seconds:min{*})", "full in", "s")
    .column("sum by (job, instance) (instance:threadprobe_clone_failures:rate5m{*})", "refused clones", "cps")
    .leads_to("host", &["job", "instance"], &[])
}

fn firing() -> Panel {
    table("Alerts of the daemons' own rules", "Those that fire now; click on one to see its host.")
        .query("sum by (job, instance, severity) (instance:threadprobe_alert_firing:count{*})", "alerts")
        .leads_to("host", &["job", "instance"], &[])
}

fn worst() -> Vec<Panel> {
    vec![
        series("Least headroom", "The free share of the limit that has room for the fewest threads.", "percentunit")
            .query("bottomk(10, instance:threadprobe_headroom_ratio:min{*})", "{{instance}}")
            .up_to(1.0)
            .bad_from(0.2, 0.1)
            .leads_to("host", &["job", "instance"], &[]),
        series("Wait for a CPU, p99", "99th percentile of the waits of a host's threads for a CPU.", "s")
            .query("topk(10, instance:threadprobe_runqueue_latency_seconds:p99{*})", "{{instance}}")
            .bad_from(0.05, 0.25)
            .leads_to("host", &["job", "instance"], &[]),
        series("Context switches", "Switches of both kinds a second.", "cps")
            .query(
                "topk(10, sum by (job, instance) (instance:threadprobe_context_switches:rate5m{*}))",
                "{{instance}}",
            )
            .leads_to("host", &["job", "instance"], &[]),
        series("Threads waiting for a CPU", "Threads that are runnable but do not run, on average.", "short")
            .query("topk(10, instance:threadprobe_runqueue_latency_seconds_sum:rate5m{*})", "{{instance}}")
            .leads_to("host", &["job", "instance"], &[]),
        series("Threads and processes created", "Threads created a second, those of new processes included.", "cps")
            .query(
                "topk(10, instance:threadprobe_threads_created:rate5m{*} + instance:threadprobe_processes_created:rate5m{*})",
                "{{instance}}",
            )
            .leads_to("host", &["job", "instance"], &[]),
        series("Time until a limit is reached", "If its use goes on to grow; of hosts where one grows.", "s")
            .query("bottomk(10, instance:threadprobe_exhaustion_seconds:min{*})", "{{instance}}")
            .bad_from(14400.0, 3600.0)
            .leads_to("host", &["job", "instance"], &[]),
    ]
}

fn fleet() -> Vec<Panel> {
    vec![
        heatmap(
            "Waits for a CPU",
            "How many waits a second took how long, on all hosts.",
            "sum by (le) (instance:threadprobe_runqueue_latency_seconds_bucket:rate5m{*})",
        ),
        series("Wait for a CPU", "Percentiles of the waits of whole jobs, of all shards, whatever hosts are chosen.", "s")
            .query(
                "histogram_quantile(0.5, sum by (job, le) (job:threadprobe_runqueue_latency_seconds_bucket:rate5m{job=~\"$job\"}))",
                "{{job}} p50",
            )
            .query(
                "histogram_quantile(0.99, sum by (job, le) (job:threadprobe_runqueue_latency_seconds_bucket:rate5m{job=~\"$job\"}))",
                "{{job}} p99",
            ),
        series("Threads by state", "Blocked ones wait for a device or a lock in the kernel.", "short")
            .query("sum by (state) (instance:threadprobe_threads:sum{*})", "{{state}}")
            .stacked(),
        series("Refused clones by limit", "Which limit was exhausted as a thread could not be created.", "cps")
            .query("sum by (limit) (instance:threadprobe_clone_failures:rate5m{*})", "{{limit}}")
            .stacked(),
        series("Kernel memory of threads", "Stacks and task structures; none of it can be swapped.", "bytes")
            .query("topk(10, instance:threadprobe_kernel_memory_bytes:sum{*})", "{{instance}}"),
        series("CPUs in use", "CPU time of all threads a second.", "short")
            .query("topk(10, instance:threadprobe_cpu_seconds:rate5m{*})", "{{instance}}"),
        series("Fullest limits", "The use of the fullest limit of each kind, on any of the hosts.", "percentunit")
            .query("max by (limit) (instance:threadprobe_limit_used:ratio{*})", "{{limit}}")
            .up_to(1.0)
            .bad_from(0.8, 0.9),
        series("Threads that end, events lost", "What the probes could not count is to be 0.", "cps")
            .query("sum(instance:threadprobe_threads_exited:rate5m{*})", "threads that end")
            .query("sum(instance:threadprobe_lost:rate5m{*})", "lost"),
    ]
}
