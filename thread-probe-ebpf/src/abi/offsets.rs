//! Where the members of kernel structures are that the programs read: one table for both sides.
//!
//! Rust emits no CO-RE relocations, so the instructions that read a member are built with a mark in place of its
//! offset, and the daemon, which resolves each entry from the running kernel's BTF, puts the offset there before it
//! loads the programs. So a member costs one instruction, and the verifier sees constants.

/// The offset of a member that this kernel does not have, of those it may lack.
pub const MISSING: u64 = u64::MAX;

const _: () = assert!(MEMBERS.len() < 0x1000);

/// What stands in a load for the offset of the member at that index of [`MEMBERS`]: more than any structure of the
/// programs' own is large.
pub const fn load_mark(index: usize) -> i16 {
    0x6000 + index as i16
}

/// What stands in `register = number` for the figure of that member.
pub const fn figure_mark(index: usize) -> i32 {
    0x7e50_0000 + index as i32
}

/// What stands in `register &= number` for its mask.
pub const fn mask_mark(index: usize) -> i32 {
    0x7e51_0000 + index as i32
}

/// What stands in `call number` for the kernel's function of that entry.
pub const fn call_mark(index: usize) -> i32 {
    0x7e52_0000 + index as i32
}

/// One member that the programs need: the structure and the paths to the member, of which the first that exists counts.
/// A path goes through embedded structures and anonymous ones, never through a pointer. `name[enum.value]` is an
/// element, of 8 bytes, of an array that is indexed by an enumeration.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Name of the structure in BTF, or of the function.
    pub structure: &'static str,
    /// Alternative dotted paths: what the kernel calls the member in different versions or architectures.
    pub paths: &'static [&'static str],
    /// What the table has of it.
    pub figure: Figure,
    /// Whether the kernel may lack it: then its offset is [`MISSING`].
    pub is_optional: bool,
}

/// What the programs need to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Its offset in bytes.
    Offset,
    /// Of a bit: the offset in bytes of the aligned 32 bits that it is in.
    WordOffset,
    /// Of a bit: which of those 32 it is, as a mask.
    Mask,
    /// Of a function of the kernel that programs may call: the number of its type. It has no path.
    Function,
    /// Of the structure itself: the number of its type. It has no path.
    Type,
}

macro_rules! is_optional {
    (optional) => {
        true
    };
    (function) => {
        true
    };
    ($($other:ident)?) => {
        false
    };
}

macro_rules! figure {
    (word_of) => {
        Figure::WordOffset
    };
    (mask_of) => {
        Figure::Mask
    };
    (function) => {
        Figure::Function
    };
    (type_of) => {
        Figure::Type
    };
    ($($other:ident)?) => {
        Figure::Offset
    };
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $($kind:ident)? $structure:literal $(, $($path:literal)|+)?;)+) => {
        /// Offsets in bytes of the members in [`MEMBERS`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Offsets {
            $($(#[$doc])* pub $field: u64,)+
        }

        /// What each field of [`Offsets`] is the offset of, in the same order.
        pub const MEMBERS: [Member; size_of::<Offsets>() / 8] = [
            $(Member {
                structure: $structure,
                paths: &[$($($path),+)?],
                figure: figure!($($kind)?),
                is_optional: is_optional!($($kind)?),
            },)+
        ];

        impl Offsets {
            /// The offsets in the order of [`MEMBERS`].
            pub const fn to_array(self) -> [u64; MEMBERS.len()] {
                [$(self.$field),+]
            }

            /// The inverse of [`Self::to_array`].
            pub const fn from_array(array: [u64; MEMBERS.len()]) -> Self {
                let [$($field),+] = array;
                Self { $($field),+ }
            }
        }
    };
}

offsets! {
    /// Thread id.
    pid: "task_struct", "pid";
    /// Thread group id.
    tgid: "task_struct", "tgid";
    /// When it was last queued, on its run queue's clock; 0 when it is not waiting.
    last_queued: "task_struct", "sched_info.last_queued";
    /// When it was put on a CPU last, by the run queues' clocks.
    last_arrival: "task_struct", "sched_info.last_arrival";
    /// Time waited.
    run_delay: "task_struct", "sched_info.run_delay";
    /// The CFS run queue of its task group on the CPU it is on; set for tasks of every scheduling class.
    cfs_rq: "task_struct", "se.cfs_rq";
    /// The CPU's run queue.
    cfs_rq_rq: "cfs_rq", "rq";
    /// The run queue's clock.
    rq_clock: "rq", "clock";
    /// Scheduler state.
    state: "task_struct", "__state";
    /// CPU time.
    sum_exec_runtime: "task_struct", "se.sum_exec_runtime";
    /// Voluntary switches.
    nvcsw: "task_struct", "nvcsw";
    /// The task group that a CFS run queue is of.
    cfs_rq_tg: "cfs_rq", "tg";
    /// For how long a CFS run queue that has tasks was throttled, periods that are over; since Linux 6.6.
    throttled_self_time: optional "cfs_rq", "throttled_clock_self_time";
    /// Where it is said that a task sleeps for a disk.
    iowait_word: word_of "task_struct", "in_iowait";
    /// The bit.
    iowait_mask: mask_of "task_struct", "in_iowait";
    /// Where it is said that a task is stopped, traced, frozen by a cgroup of version 2, or waits in vfork.
    frozen_word: word_of "task_struct", "frozen";
    /// The bit.
    frozen_mask: mask_of "task_struct", "frozen";
    /// Where it is said that a task sleeps uninterruptibly, or did before it was woken.
    contributes_word: word_of "task_struct", "sched_contributes_to_load";
    /// The bit.
    contributes_mask: mask_of "task_struct", "sched_contributes_to_load";
    /// `PF_*` flags.
    flags: "task_struct", "flags";
    /// The system call that a task is in; -1 outside of one.
    syscall: "pt_regs", "orig_ax" | "syscallno";
    /// That structure.
    pt_regs: type_of "pt_regs";
    /// Makes a pointer to a structure of an address; no call is left of it in the program. Since Linux 6.2.
    rdonly_cast: function "bpf_rdonly_cast";
    /// x86: whether that is one of 32-bit programs.
    thread_status: optional "task_struct", "thread_info.status";
    /// Since when a CFS run queue that has tasks is throttled; 0 while it is not.
    throttled_self: optional "cfs_rq", "throttled_clock_self";
    /// Exit state.
    exit_state: "task_struct", "exit_state";
    /// `JOBCTL_*` flags.
    jobctl: "task_struct", "jobctl";
    /// Nice value and 120.
    static_prio: "task_struct", "static_prio";
    /// Scheduling policy.
    policy: "task_struct", "policy";
    /// How many CPUs it may run on.
    nr_cpus_allowed: "task_struct", "nr_cpus_allowed";
    /// Thread name.
    comm: "task_struct", "comm";
    /// Start time on the boot clock.
    start_boottime: "task_struct", "start_boottime";
    /// Leader of the thread group.
    group_leader: "task_struct", "group_leader";
    /// Parent process.
    real_parent: "task_struct", "real_parent";
    /// Involuntary switches.
    nivcsw: "task_struct", "nivcsw";
    /// Runs after a wait.
    pcount: "task_struct", "sched_info.pcount";
    /// Lowest address of the kernel stack.
    stack: "task_struct", "stack";
    /// Saved kernel stack pointer, while switched out.
    stack_pointer: "task_struct", "thread.sp" | "thread.cpu_context.sp";
    /// Credentials it acts with.
    cred: "task_struct", "cred";
    /// Namespaces; none once it exits.
    nsproxy: "task_struct", "nsproxy";
    /// Real credentials.
    real_cred: "task_struct", "real_cred";
    /// Memory map.
    mm: "task_struct", "mm";
    /// Signal state, shared by the group.
    signal: "task_struct", "signal";
    /// Set of cgroups.
    cgroups: "task_struct", "cgroups";
    /// Real uid.
    cred_uid: "cred", "uid.val";
    /// Effective capabilities.
    cred_caps: "cred", "cap_effective";
    /// User namespace.
    cred_user_ns: "cred", "user_ns";
    /// What the user is charged for in it.
    cred_ucounts: "cred", "ucounts";
    /// How deep a user namespace is nested; the first is 0.
    user_ns_level: "user_namespace", "level";
    /// The user namespace it is charged in.
    ucounts_ns: "ucounts", "ns";
    /// The user that is charged.
    ucounts_uid: "ucounts", "uid.val";
    /// What the namespace itself is charged to, in the one above; none of the first.
    user_ns_ucounts: "user_namespace", "ucounts";
    /// RLIMIT_NPROC of who made the namespace.
    user_ns_nproc_max: "user_namespace", "rlimit_max[rlimit_type.UCOUNT_RLIMIT_NPROC]" | "ucount_max[ucount_type.UCOUNT_RLIMIT_NPROC]";
    /// Threads that count against RLIMIT_NPROC; with Linux 6.0 it moved to an array of its own.
    ucounts_nproc: "ucounts", "rlimit[rlimit_type.UCOUNT_RLIMIT_NPROC]" | "ucount[ucount_type.UCOUNT_RLIMIT_NPROC]";
    /// The pid namespace of the threads it creates.
    pid_ns: "nsproxy", "pid_ns_for_children";
    /// How deep a pid namespace is nested; the first is 0.
    pid_ns_level: "pid_namespace", "level";
    /// The one it is nested in.
    pid_ns_parent: "pid_namespace", "parent";
    /// Its ids in use, and a bit that says that it takes more.
    pid_ns_allocated: "pid_namespace", "pid_allocated";
    /// Its own `pid_max`, since Linux 6.14.
    pid_ns_max: optional "pid_namespace", "pid_max";
    /// Its inode in /proc/PID/ns.
    pid_ns_inode: "pid_namespace", "ns.inum";
    /// Resource limits.
    rlim: "signal_struct", "rlim";
    /// User time of children that were waited for.
    cutime: "signal_struct", "cutime";
    /// Their system time.
    cstime: "signal_struct", "cstime";
    /// Mappings.
    map_count: "mm_struct", "map_count";
    /// Pages of address space.
    total_vm: "mm_struct", "total_vm";
    /// The executable.
    exe_file: "mm_struct", "exe_file";
    /// Its directory entry.
    file_dentry: "file", "f_path.dentry" | "__f_path.dentry";
    /// The entry's name.
    dentry_name: "dentry", "d_name.name" | "__d_name.name";
    /// The state of the pids controller.
    css_pids: optional "css_set", "subsys[cgroup_subsys_id.pids_cgrp_id]";
    /// The state of the memory controller.
    css_memory: optional "css_set", "subsys[cgroup_subsys_id.memory_cgrp_id]";
    /// The cgroup that a controller's state is of.
    css_cgroup: "cgroup_subsys_state", "cgroup";
    /// The state of the cgroup above it.
    css_parent: "cgroup_subsys_state", "parent";
    /// Threads in a cgroup and below. The controller's state begins the structure, as it does in that of the memory.
    pids_counter: optional "pids_cgroup", "counter";
    /// What they may be at most.
    pids_limit: optional "pids_cgroup", "limit";
    /// Pages charged to a cgroup and those below.
    memory_usage: optional "mem_cgroup", "memory.usage";
    /// What they may be at most.
    memory_max: optional "mem_cgroup", "memory.max";
    /// The default hierarchy's cgroup.
    dfl_cgrp: "css_set", "dfl_cgrp";
    /// Its node.
    cgroup_kn: "cgroup", "kn";
    /// The node's id.
    kn_id: "kernfs_node", "id";
    /// There if task storage comes from a reserve that can be taken from in any context: since Linux 6.4 ...
    storage_reserve: optional "bpf_local_storage_map", "bpf_ma" | "use_kmalloc_nolock";
    /// ... and this once it comes from nowhere else, behind a lock that can be taken in any context (rqspinlock_t).
    storage_rqspinlock: optional "bpf_local_storage_map_bucket", "lock.val";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_members_are_in_the_same_order() {
        let numbered = core::array::from_fn(|index| index as u64);
        let offsets = Offsets::from_array(numbered);
        assert_eq!(offsets.to_array(), numbered);
        assert_eq!(MEMBERS[offsets.kn_id as usize].structure, "kernfs_node");
        assert_eq!(MEMBERS[offsets.cfs_rq as usize].paths, ["se.cfs_rq"]);
    }
}
