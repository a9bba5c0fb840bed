//! What this process asks of the system for itself.

pub mod descriptors;
pub mod log;
pub mod memory;
pub(crate) mod priority;
pub(crate) mod release;
pub(crate) mod wait;
