//! The probes themselves: whether they are there, complete and cheap.

use super::{
    board::{Board, Variable},
    panel::{Panel, series, stat, table},
};

pub(super) fn board() -> Board {
    Board {
        name: "probe",
        title: "Probe health",
        description: "The probes themselves: whether they run, what they lose, what they cost.",
        is_of_records: false,
        variables: vec![
            Variable { name: "job", of: "threadprobe_build_info", several: true },
            Variable { name: "instance", of: "threadprobe_build_info{job=~\"$job\"}", several: true },
        ],
        rows: vec![
            ("", figures()),
            ("What they lose", losses()),
            ("What they cost", costs()),
            ("Alerts and configuration", alerts()),
        ],
    }
}

fn figures() -> Vec<Panel> {
    vec![
        stat(
            "Down",
            "Targets that can not be scraped, of jobs with probes in the last day.",
            "short",
            "sum((1 - up{*}) and on (job) present_over_time(job:threadprobe_instances:count{job=~\"$job\"}[1d]))",
        )
        .bad_from(1.0, 2.0),
        stat("Probes", "Probes that answer.", "short", "count(threadprobe_build_info{*})"),
        stat(
            "Programs not attached",
            "eBPF programs that are attached nowhere.",
            "short",
            "count(threadprobe_program_attached{*}) - sum(threadprobe_program_attached{*})",
        )
        .bad_from(1.0, 2.0),
        stat(
            "Events lost",
            "Events a second, or parts of them, that were dropped.",
            "cps",
            "sum(rate(threadprobe_lost_total{*}[$__rate_interval]))",
        )
        .bad_from(1e-9, 10.0),
        stat(
            "Failed reloads",
            "Probes whose last reload of the configuration failed.",
            "short",
            "count(threadprobe_config_last_reload_successful{*}) - sum(threadprobe_config_last_reload_successful{*})",
        )
        .bad_from(1.0, 2.0),
        stat(
            "Alerts suppressed",
            "Conditions that are not told, as there are 2,000 alerts already.",
            "short",
            "sum(threadprobe_alerts_suppressed{*})",
        )
        .bad_from(1.0, 100.0),
    ]
}

fn losses() -> Vec<Panel> {
    vec![
        series(
            "Lost, by reason",
            "See docs/metrics.md for what each means, and which kernels cause some by themselves.",
            "cps",
        )
        .query("sum by (reason) (rate(threadprobe_lost_total{*}[$__rate_interval]))", "{{reason}}")
        .bad_from(1e-9, 10.0),
        series("Lost, by host", "The ten that lose most.", "cps")
            .query("topk(10, sum by (instance) (rate(threadprobe_lost_total{*}[$__rate_interval])))", "{{instance}}"),
        series(
            "Left out",
            "What is not told by itself, as there are more than --max-groups; ten hosts of each.",
            "short",
        )
        .query("topk(10, threadprobe_processes{*, group=\"~other\"} > 0)", "{{instance}} processes under ~other")
        .query(
            "topk(10, increase(threadprobe_groups_dropped_total{*}[1h]) > 0)",
            "{{instance}} new processes under ~other, in 1 h",
        )
        .query("topk(10, threadprobe_limits_left_out{*} > 0)", "{{instance}} limits of a {{scope}}"),
        series("Files that could not be read", "Their limits are not known; the ten most often asked.", "cps")
            .query("topk(10, rate(threadprobe_limits_unreadable_total{*}[$__rate_interval]))", "{{instance}} {{file}}"),
        table("Programs", "What each is attached to.")
            .query("sum by (program, source) (threadprobe_program_attached{*})", "hosts")
            .size(24, 9),
    ]
}

fn costs() -> Vec<Panel> {
    vec![
        series("CPU time of the probe", "The ten that take most. What the eBPF programs take is with those they interrupt.", "percentunit")
            .query(
                "topk(10, rate(process_cpu_seconds_total{*}[$__rate_interval]) and on (job, instance) threadprobe_build_info)",
                "{{instance}}",
            ),
        series("Memory of the probe", "Resident memory; the ten that take most.", "bytes").query(
            "topk(10, process_resident_memory_bytes{*} and on (job, instance) threadprobe_build_info)",
            "{{instance}}",
        ),
        series("Duration of a sample", "Scan, drain, ledger and limits; the slowest ten.", "s")
            .query("topk(10, threadprobe_sample_duration_seconds{*})", "{{instance}}"),
        series("Duration of all limits", "A part of each sample; the slowest ten.", "s")
            .query("topk(10, threadprobe_limits_duration_seconds{*})", "{{instance}}"),
        series("Threads in a sample", "Those the scan saw, and what it saw less than there are.", "short")
            .query("topk(10, threadprobe_sample_threads{*})", "{{instance}}")
            .query("topk(10, threadprobe_host_threads{*} - threadprobe_sample_threads{*} > 0)", "{{instance}} not seen"),
        table("Versions", "Probes by version and commit.")
            .query("count by (version, revision) (threadprobe_build_info{*})", "probes")
            .size(12, 9),
    ]
}

fn alerts() -> Vec<Panel> {
    vec![
        series("Requests to Alertmanagers", "Those that failed are repeated until one succeeds.", "cps")
            .query(
                "sum by (alertmanager) (rate(threadprobe_notifications_total{*}[$__rate_interval]))",
                "{{alertmanager}}",
            )
            .query(
                "sum by (alertmanager) (rate(threadprobe_notifications_failed_total{*}[$__rate_interval]))",
                "{{alertmanager}} failed",
            ),
        series("Alerts that fire", "Of the daemons' own rules, by rule.", "short")
            .query("sum by (alert, severity) (threadprobe_alert_firing{*})", "{{alert}} {{severity}}")
            .stacked(),
        table("Configuration", "When each was last read with success, and whether the last reload was one.")
            .column(
                "sum by (job, instance) (threadprobe_config_last_reload_success_timestamp_seconds{*}) * 1000",
                "last read",
                "dateTimeAsIso",
            )
            .column(
                "sum by (job, instance) (threadprobe_config_last_reload_successful{*})",
                "successful",
                "bool_yes_no",
            ),
    ]
}
