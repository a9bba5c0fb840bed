//! Loading, attaching and reading the eBPF programs: the only place that knows aya.

mod attach;
mod btf;
mod missed;
mod probe;
mod requirements;
pub mod privileges;
mod scan;

pub use attach::{AttachedProgram, SlowToDetach, Source};
pub use probe::{LoadOptions, Probe};
pub use requirements::LoadError;
