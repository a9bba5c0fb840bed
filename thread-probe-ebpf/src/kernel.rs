//! Reading kernel structures at the offsets the daemon resolved: the only place that does.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_task_pt_regs};
use thread_probe_ebpf::{
    offsets::Offsets,
    record::{COMM_BYTES, EXE_BYTES},
};

/// Set by the daemon before load; frozen, so the verifier sees constants.
#[unsafe(no_mangle)]
static OFFSETS: MaybeUninit<Offsets> = MaybeUninit::new(Offsets::from_array([0; size_of::<Offsets>() / 8]));

/// `TASK_COMM_LEN` read as words.
pub(crate) type Comm = [u64; COMM_BYTES / 8];

/// Indices of resource limits, from `include/uapi/asm-generic/resource.h`.
pub(crate) const RLIMIT_STACK: u64 = 3;
/// See [`RLIMIT_STACK`].
pub(crate) const RLIMIT_NPROC: u64 = 6;
/// See [`RLIMIT_STACK`].
pub(crate) const RLIMIT_AS: u64 = 9;

/// An offset; a volatile read, as the compiler must not take the object's placeholder for the value.
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: initialised above, and Offsets has no invalid values.
        unsafe { (&raw const OFFSETS).cast::<Offsets>().as_ref().map_or(0, |o| (&raw const o.$field).read_volatile()) }
    }};
}

/// A load through a pointer the verifier knows, at a constant offset. A fault reads as 0.
#[inline(always)]
fn load<T: Copy>(base: *const u8, offset: u64) -> T {
    // SAFETY: the verifier checks the access against the kernel's own types.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// A `struct task_struct *` that the kernel handed to the program.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Task(pub(crate) *const u8);

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)+) => {
        $($(#[$doc])* #[inline(always)] pub(crate) fn $name(self) -> $type { load(self.0, offset!($name)) })+
    };
}

impl Task {
    members! {
        /// Thread id in the initial pid namespace; 0 for the idle tasks.
        pid -> u32;
        /// Thread group id.
        tgid -> u32;
        /// `PF_*` flags.
        flags -> u32;
        /// `TASK_*` state.
        state -> u32;
        /// `EXIT_*` state.
        exit_state -> u32;
        /// The thread's name.
        comm -> Comm;
        /// Start time on the boot clock, in nanoseconds.
        start_boottime -> u64;
        /// Voluntary switches.
        nvcsw -> u64;
        /// Involuntary switches.
        nivcsw -> u64;
        /// CPU time, in nanoseconds.
        sum_exec_runtime -> u64;
        /// Runs after a wait.
        pcount -> u64;
        /// Time waited, in nanoseconds.
        run_delay -> u64;
        /// When it was last queued, on its run queue's clock.
        last_queued -> u64;
    }

    /// The clock of the run queue the task is on, in nanoseconds: the one `sched_info` is kept in.
    #[inline(always)]
    pub(crate) fn run_queue_clock(self) -> u64 {
        let cfs_rq: *const u8 = load(self.0, offset!(cfs_rq));
        let rq: *const u8 = load(cfs_rq, offset!(cfs_rq_rq));
        load(rq, offset!(rq_clock))
    }

    /// Lowest address of the kernel stack; null once it is gone.
    #[inline(always)]
    pub(crate) fn stack(self) -> *const u8 {
        load(self.0, offset!(stack))
    }

    /// Saved kernel stack pointer: current only while the task is switched out.
    #[inline(always)]
    pub(crate) fn stack_pointer(self) -> u64 {
        load(self.0, offset!(stack_pointer))
    }

    /// The registers saved on entry to the kernel, which are at the top of the kernel stack.
    #[inline(always)]
    pub(crate) fn entry_registers(self) -> *const u8 {
        // SAFETY: the helper computes an address from the task's stack.
        unsafe { bpf_task_pt_regs(self.0.cast_mut().cast()) as *const u8 }
    }

    /// `start_boottime` of the group's leader, in nanoseconds. Only while the task is not yet released.
    #[inline(always)]
    pub(crate) fn process_start_ns(self) -> u64 {
        let leader: *const u8 = load(self.0, offset!(group_leader));
        load(leader, offset!(start_boottime))
    }

    /// tgid of the real parent.
    #[inline(always)]
    pub(crate) fn parent_tgid(self) -> u32 {
        let parent: *const u8 = load(self.0, offset!(real_parent));
        load(parent, offset!(tgid))
    }

    /// Real uid.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        let cred: *const u8 = load(self.0, offset!(real_cred));
        load(cred, offset!(cred_uid))
    }

    /// The signal state of the group.
    #[inline(always)]
    pub(crate) fn signal(self) -> Signal {
        Signal(load(self.0, offset!(signal)))
    }

    /// The memory map; reads as all 0 for a task without one.
    #[inline(always)]
    pub(crate) fn mm(self) -> Mm {
        Mm(load(self.0, offset!(mm)))
    }

    /// Address of the task's `css_set`.
    #[inline(always)]
    pub(crate) fn css_set(self) -> *const u8 {
        load(self.0, offset!(cgroups))
    }

    /// Id of the task's cgroup in the v2 hierarchy.
    #[inline(always)]
    pub(crate) fn cgroup_id(self) -> u64 {
        let cgroup: *const u8 = load(self.css_set(), offset!(dfl_cgrp));
        let node: *const u8 = load(cgroup, offset!(cgroup_kn));
        load(node, offset!(kn_id))
    }
}

/// A `struct signal_struct *`.
#[derive(Clone, Copy)]
pub(crate) struct Signal(*const u8);

impl Signal {
    /// Threads of the group that were not yet released.
    #[inline(always)]
    pub(crate) fn nr_threads(self) -> u32 {
        load(self.0, offset!(nr_threads))
    }

    /// The soft value of a resource limit: `rlim[limit].rlim_cur`.
    #[inline(always)]
    pub(crate) fn rlimit(self, limit: u64) -> u64 {
        const RLIMIT_BYTES: u64 = 16;
        load(self.0, offset!(rlim) + limit * RLIMIT_BYTES)
    }
}

/// A `struct mm_struct *`.
#[derive(Clone, Copy)]
pub(crate) struct Mm(*const u8);

impl Mm {
    /// Mappings.
    #[inline(always)]
    pub(crate) fn map_count(self) -> u32 {
        load(self.0, offset!(map_count))
    }

    /// Pages of address space.
    #[inline(always)]
    pub(crate) fn total_vm_pages(self) -> u64 {
        load(self.0, offset!(total_vm))
    }

    /// Writes the file name of the executable, cut to fit and ended by a 0. Leaves `name` as it is without one.
    #[inline(always)]
    pub(crate) fn exe_name(self, name: &mut [u8; EXE_BYTES]) {
        let file: *const u8 = load(self.0, offset!(exe_file));
        let dentry: *const u8 = load(file, offset!(file_dentry));
        let source: *const u8 = load(dentry, offset!(dentry_name));
        // SAFETY: the helper checks the source; the destination is as long as said. A failure writes an empty name.
        unsafe { bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), EXE_BYTES as u32, source.cast()) };
    }
}
