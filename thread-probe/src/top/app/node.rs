//! What is nested in the tree of processes.

/// Something that others may be nested in: a process by its index, or a cgroup by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Process(usize),
    Cgroup(usize),
}
