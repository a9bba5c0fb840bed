//! Loading, attaching and reading the eBPF programs: the only place that knows aya.

mod attach;
mod btf;
mod missed;
pub mod privileges;
mod probe;
mod requirements;
mod scan;

pub use attach::{AttachedProgram, SlowToDetach, Source};
pub use btf::task_struct_bytes;
pub use probe::{LoadOptions, Probe};
pub use requirements::LoadError;
