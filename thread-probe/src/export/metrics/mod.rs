//! The metrics: one table that declares them, and the exposition that fills it from a model.

mod exposition;
mod limits;
mod table;
mod text;

pub use exposition::render;
pub use table::{Kind, METRICS, Metric, markdown};
