//! Loading, attaching and reading the eBPF programs: the only place that knows aya.

mod attach;
mod btf;
mod cost;
mod loaded;
mod relocate;
mod requirements;
mod runs;
mod scan;
mod syscalls;

pub use attach::{CloneProbe, SlowToDetach};
pub use btf::{KernelTypes, kernel_types};
pub use cost::thread_cost;
pub use loaded::{LoadOptions, Probe};
pub use requirements::LoadError;
pub(crate) use requirements::{LOCKDOWN, MIN_KERNEL, missing_capabilities};
pub(crate) use runs::time_runs;
