//! One dashboard: variables, rows of panels, links to the others.

use serde_json::{Value, json};

use super::panel::Panel;

/// A dashboard.
pub(super) struct Board {
    /// Its file's name and, with a prefix, its uid.
    pub(super) name: &'static str,
    /// Its title.
    pub(super) title: &'static str,
    /// What it is for.
    pub(super) description: &'static str,
    /// What can be chosen, besides the data source.
    pub(super) variables: Vec<Variable>,
    /// Whether it asks only what is recorded per host, so that it works where only that is.
    pub(super) is_of_records: bool,
    /// The rows, each with its title; the first one has none.
    pub(super) rows: Vec<(&'static str, Vec<Panel>)>,
}

/// What can be chosen: values of a label.
pub(super) struct Variable {
    /// The label.
    pub(super) name: &'static str,
    /// The metric whose values of it there are, with what was chosen before.
    pub(super) of: &'static str,
    /// Whether several may be chosen, which all are at first.
    pub(super) several: bool,
}

impl Variable {
    fn to_json(&self) -> Value {
        let query = format!("label_values({}, {})", self.of, self.name);
        let mut variable = json!({
            "type": "query",
            "name": self.name,
            "label": self.name,
            "datasource": { "type": "prometheus", "uid": "${datasource}" },
            "query": { "query": query, "refId": self.name },
            "refresh": 2,
            "sort": 1,
            "multi": self.several,
            "includeAll": self.several,
        });
        if self.several {
            // A name each would be a long query with a thousand hosts.
            variable["allValue"] = json!(".+");
            variable["current"] = json!({ "text": ["All"], "value": ["$__all"] });
        }
        variable
    }

    fn selector(&self) -> String {
        let operator = if self.several { "=~" } else { "=" };
        format!("{}{operator}\"${}\"", self.name, self.name)
    }
}

impl Board {
    /// As Grafana reads it.
    pub(super) fn to_json(&self) -> Value {
        let datasource = json!({
            "type": "datasource", "name": "datasource", "label": "data source", "query": "prometheus", "refresh": 1,
        });
        let chosen = self.variables.iter().map(Variable::to_json);
        let variables: Vec<Value> = std::iter::once(datasource).chain(chosen).collect();
        json!({
            "uid": format!("threadprobe-{}", self.name),
            "title": format!("thread-probe / {}", self.title),
            "description": self.description,
            "tags": ["thread-probe"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "timezone": "browser",
            "templating": { "list": variables },
            "annotations": { "list": self.annotations() },
            "links": [to_the_others()],
            "panels": self.panels(),
        })
    }

    fn selector(&self) -> String {
        let selectors: Vec<String> = self.variables.iter().map(Variable::selector).collect();
        selectors.join(", ")
    }

    /// What happened when: marks over all panels.
    fn annotations(&self) -> Vec<Value> {
        // Of the hosts that are chosen, whatever else is.
        let of_hosts = self.variables.iter().filter(|variable| variable.name != "group").map(Variable::selector);
        let selector = of_hosts.collect::<Vec<_>>().join(", ");
        let mark = |name: &str, color: &str, expr: &str, text: &str| {
            json!({
                "name": name,
                "enable": true,
                "iconColor": color,
                "datasource": { "type": "prometheus", "uid": "${datasource}" },
                "expr": expr.replace("{*", &format!("{{{selector}")),
                "titleFormat": name,
                "textFormat": text,
            })
        };
        if self.is_of_records {
            let of_hosts = "sum by (instance, severity) (instance:threadprobe_alert_firing:count{*})";
            return vec![mark("Alerts", "red", of_hosts, "{{severity}} on {{instance}}")];
        }
        vec![
            mark(
                "Alerts",
                "red",
                "max by (instance, alert, severity, group) (threadprobe_alert_firing{*})",
                "{{alert}} ({{severity}}) of {{group}} on {{instance}}",
            ),
            mark(
                "Restarts of the probe",
                "blue",
                "changes(process_start_time_seconds{*}[2m]) > 0 and on (job, instance) threadprobe_build_info",
                "{{instance}}",
            ),
            mark(
                "Reloads of the configuration",
                "purple",
                "changes(threadprobe_config_last_reload_success_timestamp_seconds{*}[2m]) > 0",
                "{{instance}}",
            ),
        ]
    }

    /// From left to right and from top to bottom.
    fn panels(&self) -> Vec<Value> {
        let selector = self.selector();
        let mut panels = Vec::new();
        let mut top = 0;
        for (title, row) in &self.rows {
            if !title.is_empty() {
                panels.push(row_title(panels.len() as u64 + 1, title, top));
                top += 1;
            }
            let (mut left, mut height) = (0, 0);
            for panel in row {
                if left + panel.width > 24 {
                    top += height;
                    (left, height) = (0, 0);
                }
                panels.push(panel.to_json(panels.len() as u64 + 1, (left, top), &selector));
                left += panel.width;
                height = height.max(panel.height);
            }
            top += height;
        }
        panels
    }
}

fn row_title(id: u64, title: &str, y: u64) -> Value {
    let place = json!({ "x": 0, "y": y, "w": 24, "h": 1 });
    json!({ "id": id, "type": "row", "title": title, "collapsed": false, "gridPos": place, "panels": [] })
}

fn to_the_others() -> Value {
    json!({
        "type": "dashboards",
        "title": "thread-probe",
        "tags": ["thread-probe"],
        "asDropdown": false,
        "icon": "external link",
        "includeVars": true,
        "keepTime": true,
        "targetBlank": false,
        "tooltip": "",
    })
}
