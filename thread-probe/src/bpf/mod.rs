//! Loading, attaching and reading the eBPF programs: the only place that knows aya.

mod attach;
mod btf;
pub mod privileges;
mod probe;
mod requirements;
mod runs;
mod scan;

pub use attach::{AttachedProgram, SlowToDetach, Source};
pub use btf::task_struct_bytes;
pub use probe::{LoadOptions, Probe};
pub use requirements::LoadError;
pub(crate) use requirements::{LOCKDOWN, MIN_KERNEL, missing_capabilities, parse_release};
pub use runs::Runs;
pub(crate) use runs::time_runs;
