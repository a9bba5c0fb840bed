//! One panel: what it asks, and how it looks.

use serde_json::{Value, json};

/// A panel. Made by one of the four functions below.
pub(super) struct Panel {
    kind: Kind,
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    queries: Vec<Query>,
    thresholds: Vec<(&'static str, f64)>,
    is_stacked: bool,
    max: Option<f64>,
    links: Vec<Value>,
    /// In columns of 24.
    pub(super) width: u64,
    pub(super) height: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Stat,
    TimeSeries,
    Heatmap,
    Table,
}

/// What is asked, and what its series are called: in a table, the heading and the unit of its column.
struct Query {
    expr: &'static str,
    name: &'static str,
    unit: &'static str,
}

/// The newest figure.
pub(super) fn stat(title: &'static str, description: &'static str, unit: &'static str, expr: &'static str) -> Panel {
    Panel::new(Kind::Stat, title, description, unit).query(expr, "").size(4, 4)
}

/// Lines over time.
pub(super) fn series(title: &'static str, description: &'static str, unit: &'static str) -> Panel {
    Panel::new(Kind::TimeSeries, title, description, unit).size(12, 9)
}

/// Buckets of a histogram over time.
pub(super) fn heatmap(title: &'static str, description: &'static str, expr: &'static str) -> Panel {
    Panel::new(Kind::Heatmap, title, description, "s").query(expr, "{{le}}").size(12, 9)
}

/// A row for each combination of labels, a column for each query.
pub(super) fn table(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Kind::Table, title, description, "short").size(24, 10)
}

impl Panel {
    fn new(kind: Kind, title: &'static str, description: &'static str, unit: &'static str) -> Self {
        let (queries, thresholds, links) = (Vec::new(), Vec::new(), Vec::new());
        let (is_stacked, max, width, height) = (false, None, 0, 0);
        Self { kind, title, description, unit, queries, thresholds, is_stacked, max, links, width, height }
    }

    /// Another query.
    pub(super) fn query(self, expr: &'static str, name: &'static str) -> Self {
        self.column(expr, name, "short")
    }

    /// Another query of a table.
    pub(super) fn column(mut self, expr: &'static str, name: &'static str, unit: &'static str) -> Self {
        self.queries.push(Query { expr, name, unit });
        self
    }

    /// Its size, in columns of 24 and rows of 30 pixels.
    pub(super) fn size(mut self, width: u64, height: u64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// Where it becomes yellow and red; less is worse if the first is larger.
    pub(super) fn bad_from(mut self, warning: f64, critical: f64) -> Self {
        self.thresholds = if warning < critical {
            vec![("yellow", warning), ("red", critical)]
        } else {
            vec![("yellow", critical), ("green", warning)]
        };
        self
    }

    /// Series on top of each other.
    pub(super) fn stacked(mut self) -> Self {
        self.is_stacked = true;
        self
    }

    /// The end of its axis.
    pub(super) fn up_to(mut self, max: f64) -> Self {
        self.max = Some(max);
        self
    }

    /// A click on a series or a cell leads to another dashboard, with these variables of its labels, and these as they
    /// are chosen here.
    pub(super) fn leads_to(mut self, board: &str, labels: &[&str], chosen: &[&str]) -> Self {
        // A table has labels as columns, a series as labels.
        let of = if self.kind == Kind::Table { "__data.fields" } else { "__field.labels" };
        let variables: String = labels.iter().map(|label| format!("&var-{label}=${{{of}.{label}}}")).collect();
        let kept: String = chosen.iter().map(|variable| format!("&${{{variable}:queryparam}}")).collect();
        let url = format!("/d/threadprobe-{board}?${{datasource:queryparam}}{kept}{variables}&${{__url_time_range}}");
        self.links.push(json!({ "title": format!("To its dashboard ({board})"), "url": url }));
        self
    }

    /// As Grafana reads it, at a place in the grid.
    pub(super) fn to_json(&self, id: u64, (x, y): (u64, u64), selector: &str) -> Value {
        let (kind, options) = match self.kind {
            Kind::Stat => ("stat", self.stat_options()),
            Kind::TimeSeries => ("timeseries", series_options()),
            Kind::Heatmap => ("heatmap", heatmap_options()),
            Kind::Table => ("table", json!({ "frameIndex": 0, "showHeader": true, "cellHeight": "sm" })),
        };
        let mut panel = json!({
            "id": id,
            "type": kind,
            "title": self.title,
            "description": self.description,
            "datasource": { "type": "prometheus", "uid": "${datasource}" },
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height },
            "fieldConfig": { "defaults": self.field_defaults(), "overrides": self.columns() },
            "options": options,
            "targets": self.targets(selector),
        });
        if self.kind == Kind::Table {
            panel["transformations"] = self.table_of_queries();
        }
        panel
    }

    fn targets(&self, selector: &str) -> Vec<Value> {
        let target = |(letter, query): (char, &Query)| {
            let mut target = json!({ "refId": letter, "expr": query.expr.replace("{*", &format!("{{{selector}")) });
            match self.kind {
                Kind::Table => {
                    target["format"] = json!("table");
                    target["instant"] = json!(true);
                }
                Kind::Heatmap => target["format"] = json!("heatmap"),
                Kind::Stat | Kind::TimeSeries => {}
            }
            if self.kind != Kind::Table {
                target["legendFormat"] = json!(query.name);
                target["range"] = json!(true);
            }
            target
        };
        ('A'..='Z').zip(&self.queries).map(target).collect()
    }

    fn field_defaults(&self) -> Value {
        let best = if self.thresholds.last().is_some_and(|(color, _)| *color == "green") { "red" } else { "green" };
        let first = json!({ "color": best, "value": null });
        let others = self.thresholds.iter().map(|(color, value)| json!({ "color": color, "value": value }));
        let steps: Vec<Value> = std::iter::once(first).chain(others).collect();
        let mut defaults = json!({
            "unit": self.unit,
            "noValue": "-",
            "thresholds": { "mode": "absolute", "steps": steps },
            "links": self.links,
        });
        if let Some(max) = self.max {
            defaults["max"] = json!(max);
        }
        if self.kind == Kind::TimeSeries {
            defaults["min"] = json!(0);
            defaults["color"] = json!({ "mode": "palette-classic" });
            defaults["custom"] = json!({
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": if self.is_stacked { 40 } else { 8 },
                "showPoints": "never",
                "stacking": { "mode": if self.is_stacked { "normal" } else { "none" }, "group": "A" },
                "thresholdsStyle": { "mode": if self.thresholds.is_empty() { "off" } else { "dashed" } },
            });
        }
        defaults
    }

    /// Each column's unit.
    fn columns(&self) -> Vec<Value> {
        let columns = self.queries.iter().filter(|_| self.kind == Kind::Table);
        let of = |query: &Query| {
            json!({
                "matcher": { "id": "byName", "options": query.name },
                "properties": [{ "id": "unit", "value": query.unit }],
            })
        };
        columns.map(of).collect()
    }

    /// One table of all queries, with their headings.
    fn table_of_queries(&self) -> Value {
        let letters = ('A'..='Z').zip(&self.queries);
        let several = self.queries.len() > 1;
        let names = letters.map(|(letter, query)| {
            let value = if several { format!("Value #{letter}") } else { "Value".to_owned() };
            (value, json!(query.name))
        });
        let names: serde_json::Map<String, Value> = names.collect();
        json!([
            { "id": "merge", "options": {} },
            { "id": "organize", "options": { "excludeByName": { "Time": true }, "renameByName": names } },
        ])
    }

    fn stat_options(&self) -> Value {
        json!({
            "colorMode": if self.thresholds.is_empty() { "none" } else { "value" },
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            "showPercentChange": false,
            "textMode": "auto",
            "wideLayout": true,
        })
    }
}

fn series_options() -> Value {
    json!({
        "legend": {
            "calcs": ["mean", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": true,
            "sortBy": "Max",
            "sortDesc": true,
        },
        "tooltip": { "mode": "multi", "sort": "desc" },
    })
}

fn heatmap_options() -> Value {
    json!({
        "calculate": false,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "steps": 64,
            "exponent": 0.5,
            "fill": "dark-orange",
            "scale": "exponential",
            "reverse": false,
        },
        "exemplars": { "color": "rgba(255,0,255,0.7)" },
        // An empty bucket is no cell.
        "filterValues": { "le": 1e-9 },
        "legend": { "show": true },
        "rowsFrame": { "layout": "auto" },
        "showValue": "never",
        "tooltip": { "mode": "single", "yHistogram": true },
        "yAxis": { "unit": "s" },
    })
}
