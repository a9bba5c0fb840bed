//! Alerts: rules over the model, with a state for each subject.

pub mod config;
