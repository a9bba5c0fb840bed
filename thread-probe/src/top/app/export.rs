//! What is on the screen, as JSON.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Action, App, View};
use crate::model::{OneProcess, Process};

impl App {
    /// The rows of the view, in their order, with all their fields.
    pub(super) fn export(&mut self) -> Action {
        let Some(model) = self.model() else { return Action::None };
        let (name, rows) = match self.view {
            View::Processes => ("processes", of(self.rows().iter().filter_map(|row| row.process(&model.processes)))),
            View::Process => ("process", self.one_process()),
            View::Limits => ("limits", of(self.limits())),
            View::Alerts => ("alerts", of(self.alerts())),
        };
        let exported = rows.map(|rows| {
            json!({
                "version": &model.version,
                "time_unix_seconds": model.time_unix_seconds,
                "interval_seconds": model.interval_seconds,
                "host": &model.host,
                "filter": self.filter_text(),
                name: rows,
            })
        });
        match exported.and_then(|exported| serde_json::to_string_pretty(&exported)) {
            Ok(json) => Action::Export(json),
            Err(error) => {
                self.say(format!("exporting failed: {error}"));
                Action::None
            }
        }
    }

    /// A process with its threads in their order, and more of it.
    fn one_process(&self) -> serde_json::Result<Value> {
        #[derive(Serialize)]
        struct Exported<'a> {
            process: Option<&'a Process>,
            #[serde(flatten)]
            one: Option<OneProcess>,
        }
        let sorted = |one: &OneProcess| OneProcess { threads: self.threads_in_order(), ..one.clone() };
        serde_json::to_value(Exported { process: self.process(), one: self.one().map(sorted) })
    }
}

fn of<T: Serialize>(rows: impl IntoIterator<Item = T>) -> serde_json::Result<Value> {
    serde_json::to_value(rows.into_iter().collect::<Vec<_>>())
}
