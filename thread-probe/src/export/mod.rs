//! The model for machines: Prometheus's text format, JSON, and the server that hands them out.

pub(crate) mod json;
pub mod metrics;
pub mod server;
