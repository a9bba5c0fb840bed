//! Every look-up that turns an id of the kernel into a name, remembered within bounds: users, cgroups, whose a cgroup
//! is.

mod cgroup_namespace;
pub(crate) mod cgroup_path;
pub mod cgroups;
pub mod grouping;
pub mod owner;
pub mod syscalls;
pub(crate) mod users;
