//! Reading kernel structures at the offsets the daemon resolved, as do `cfs_rq` and `sleep`, and nothing else.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_ktime_get_ns, bpf_probe_read_kernel_str, bpf_task_pt_regs,
};
use thread_probe_ebpf::{
    abi::{
        offsets::MISSING,
        record::{COMM_BYTES, EXE_BYTES},
    },
    logic::refusal::{Cgroup, Charge, Namespace},
};

use super::{
    cfs_rq::CfsRq,
    member::{call, figure, load, load_optional, read},
};

/// Set by the daemon before load: whether processes that no scan has seen may be added up by what names their group.
/// Not where each is a group of its own.
#[unsafe(no_mangle)]
static FOLD_LEADERS: MaybeUninit<u8> = MaybeUninit::new(0);

/// See [`FOLD_LEADERS`].
#[inline(always)]
pub(crate) fn may_fold_leaders() -> bool {
    // SAFETY: initialised above. Volatile, as the compiler must not take the placeholder for the value.
    unsafe { (&raw const FOLD_LEADERS).cast::<u8>().read_volatile() != 0 }
}

/// Set by the daemon before load: whether to keep the ledger of time.
#[unsafe(no_mangle)]
static TIME_LEDGER: MaybeUninit<u8> = MaybeUninit::new(0);

/// See [`TIME_LEDGER`].
#[inline(always)]
pub(crate) fn keeps_time() -> bool {
    // SAFETY: initialised above. Volatile, as the compiler must not take the placeholder for the value.
    unsafe { (&raw const TIME_LEDGER).cast::<u8>().read_volatile() != 0 }
}

/// Set by the daemon before load: whether to charge waits to who had the CPU.
#[unsafe(no_mangle)]
static WHO: MaybeUninit<u8> = MaybeUninit::new(0);

/// See [`WHO`].
#[inline(always)]
pub(crate) fn keeps_who() -> bool {
    // SAFETY: initialised above. Volatile, as the compiler must not take the placeholder for the value.
    unsafe { (&raw const WHO).cast::<u8>().read_volatile() != 0 }
}

/// How far above its lowest address a kernel stack has the registers that were saved on entry, in bytes. Each scan
/// writes it; the first one comes before the context switch is watched.
pub(crate) static mut REGISTERS_ABOVE_STACK: u64 = 0;

/// `TASK_COMM_LEN` read as words.
pub(crate) type Comm = [u64; COMM_BYTES / 8];

/// Indices of resource limits, from `include/uapi/asm-generic/resource.h`.
pub(crate) const RLIMIT_STACK: u64 = 3;
/// See [`RLIMIT_STACK`].
pub(crate) const RLIMIT_NPROC: u64 = 6;
/// See [`RLIMIT_STACK`].
pub(crate) const RLIMIT_AS: u64 = 9;

/// Whether this kernel can make task storage with a run queue locked.
#[inline(always)]
pub(crate) fn can_create_storage_under_lock() -> bool {
    figure!(storage_reserve) != MISSING || figure!(storage_rqspinlock) != MISSING
}

/// A `struct task_struct *` that the kernel handed to the program.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Task(pub(crate) *const u8);

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)+) => {
        $($(#[$doc])* #[inline(always)] pub(crate) fn $name(self) -> $type { load!(self.0, $name) })+
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
        /// `JOBCTL_*` flags, an `unsigned long`.
        jobctl -> u64;
        /// Nice value and 120.
        static_prio -> u32;
        /// Scheduling policy.
        policy -> u32;
        /// How many CPUs it may run on.
        nr_cpus_allowed -> u32;
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
        last_arrival -> u64;
    }

    /// The thread's name.
    #[inline(always)]
    pub(crate) fn comm(self) -> Comm {
        [load!(self.0, comm), load!(self.0.wrapping_add(8), comm)]
    }

    /// The CFS run queue that it is on; there for tasks of every scheduling class.
    #[inline(always)]
    pub(crate) fn cfs_rq(self) -> CfsRq {
        CfsRq::at(load!(self.0, cfs_rq))
    }

    /// `TASK_*` state, with TASK_FROZEN where a cgroup of version 2 froze it: there it sleeps as any other
    /// (`do_freezer_trap` of kernel/signal.c).
    #[inline(always)]
    pub(crate) fn state_or_frozen(self) -> u32 {
        const INTERRUPTIBLE: u32 = 0x1;
        const FROZEN: u32 = 0x8000;
        const JOBCTL_TRAP_FREEZE: u64 = 1 << 23;
        let state = self.state();
        if state & INTERRUPTIBLE != 0 && self.jobctl() & JOBCTL_TRAP_FREEZE != 0 { state | FROZEN } else { state }
    }

    /// Whether it ran for the last time: it is being switched away from in `do_task_dead`, or was.
    #[inline(always)]
    pub(crate) fn is_dead(self) -> bool {
        self.state() & TASK_DEAD != 0
    }

    /// Whether it is stopped, traced or, by a cgroup of version 1 or a suspend, frozen.
    #[inline(always)]
    pub(crate) fn is_stopped(self) -> bool {
        self.state() & TASKS_STOPPED != 0
    }

    /// Whether it is either, which is rare.
    #[inline(always)]
    pub(crate) fn is_dead_or_stopped(self) -> bool {
        self.state() & (TASK_DEAD | TASKS_STOPPED) != 0
    }

    /// Lowest address of the kernel stack; null once it is gone.
    #[inline(always)]
    pub(crate) fn stack(self) -> *const u8 {
        load!(self.0, stack)
    }

    /// Saved kernel stack pointer: current only while the task is switched out.
    #[inline(always)]
    pub(crate) fn stack_pointer(self) -> u64 {
        load!(self.0, stack_pointer)
    }

    /// The registers saved on entry to the kernel, which are at the top of the kernel stack.
    #[inline(always)]
    pub(crate) fn entry_registers(self) -> *const u8 {
        // SAFETY: the helper computes an address from the task's stack.
        unsafe { bpf_task_pt_regs(self.0.cast_mut().cast()) as *const u8 }
    }

    /// The same, once a scan has been: without a call where the kernel allows it, as that is half of what the ledger of
    /// time costs.
    #[inline(always)]
    pub(crate) fn entry_registers_fast(self) -> *const u8 {
        if figure!(rdonly_cast) == MISSING {
            return self.entry_registers();
        }
        // SAFETY: a number, of this program's own. The scan writes what it always wrote.
        let above_stack = unsafe { (&raw const REGISTERS_ABOVE_STACK).read_volatile() };
        call!(rdonly_cast, self.stack().wrapping_add(above_stack as usize), figure!(pt_regs))
    }

    /// `start_boottime` of the group's leader, in nanoseconds. Only while the task is not yet released.
    #[inline(always)]
    pub(crate) fn process_start_ns(self) -> u64 {
        let leader: *const u8 = load!(self.0, group_leader);
        load!(leader, start_boottime)
    }

    /// tgid of the real parent.
    #[inline(always)]
    pub(crate) fn parent_tgid(self) -> u32 {
        let parent: *const u8 = load!(self.0, real_parent);
        load!(parent, tgid)
    }

    /// Real uid.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        let cred: *const u8 = load!(self.0, real_cred);
        load!(cred, cred_uid)
    }

    /// Whether RLIMIT_NPROC does not hold for it: see `copy_process`, which asks for the real user and for two
    /// capabilities in the first user namespace.
    #[inline(always)]
    pub(crate) fn is_exempt_from_nproc(self) -> bool {
        const CAP_SYS_ADMIN: u64 = 1 << 21;
        const CAP_SYS_RESOURCE: u64 = 1 << 24;
        let cred: *const u8 = load!(self.0, cred);
        let user_ns: *const u8 = load!(cred, cred_user_ns);
        let level: u32 = load!(user_ns, user_ns_level);
        let capabilities: u64 = load!(cred, cred_caps);
        self.uid() == 0 || (level == 0 && capabilities & (CAP_SYS_ADMIN | CAP_SYS_RESOURCE) != 0)
    }

    /// What its real user is charged for its threads, against its own RLIMIT_NPROC.
    #[inline(always)]
    pub(crate) fn nproc_charge(self, rlimit: u64) -> NprocCharge {
        let cred: *const u8 = load!(self.0, real_cred);
        NprocCharge { ucounts: load!(cred, cred_ucounts), max: rlimit }
    }

    /// The pid namespace of the threads it creates; reads as all 0 once it exits.
    #[inline(always)]
    pub(crate) fn pid_ns(self) -> PidNamespace {
        let nsproxy: *const u8 = load!(self.0, nsproxy);
        PidNamespace(load!(nsproxy, pid_ns))
    }

    /// Its cgroup for the pids controller; null where the kernel has none.
    #[inline(always)]
    pub(crate) fn pids_cgroup(self) -> Css {
        Css(load_optional!(self.css_set(), css_pids))
    }

    /// Its cgroup for the memory controller; null where the kernel has none.
    #[inline(always)]
    pub(crate) fn memory_cgroup(self) -> Css {
        Css(load_optional!(self.css_set(), css_memory))
    }

    /// The signal state of the group.
    #[inline(always)]
    pub(crate) fn signal(self) -> Signal {
        Signal(load!(self.0, signal))
    }

    /// The memory map; reads as all 0 for a task without one.
    #[inline(always)]
    pub(crate) fn mm(self) -> Mm {
        Mm(load!(self.0, mm))
    }

    /// Address of the task's `css_set`.
    #[inline(always)]
    pub(crate) fn css_set(self) -> *const u8 {
        load!(self.0, cgroups)
    }

    /// Id of the task's cgroup in the v2 hierarchy.
    #[inline(always)]
    pub(crate) fn cgroup_id(self) -> u64 {
        let cgroup: *const u8 = load!(self.css_set(), dfl_cgrp);
        let node: *const u8 = load!(cgroup, cgroup_kn);
        load!(node, kn_id)
    }
}

/// Of include/linux/sched.h.
const TASK_DEAD: u32 = 0x80;
/// __TASK_STOPPED, __TASK_TRACED and TASK_FROZEN of the same.
const TASKS_STOPPED: u32 = 0x4 | 0x8 | 0x8000;

/// A `struct signal_struct *`.
#[derive(Clone, Copy)]
pub(crate) struct Signal(*const u8);

impl Signal {
    /// The soft value of a resource limit: `rlim[limit].rlim_cur`.
    #[inline(always)]
    pub(crate) fn rlimit(self, limit: u64) -> u64 {
        const RLIMIT_BYTES: u64 = 16;
        load!(self.0.wrapping_add((limit * RLIMIT_BYTES) as usize), rlim)
    }

    /// CPU time of children that were waited for, in nanoseconds.
    #[inline(always)]
    pub(crate) fn children_cpu_ns(self) -> u64 {
        let (user, system): (u64, u64) = (load!(self.0, cutime), load!(self.0, cstime));
        user.wrapping_add(system)
    }
}

/// A `struct ucounts *`: what a user is charged in a user namespace, and what it may be at most. The namespace itself
/// is charged in the one above, against what its maker had as RLIMIT_NPROC: see `is_rlimit_overlimit` of
/// kernel/ucount.c.
#[derive(Clone, Copy)]
pub(crate) struct NprocCharge {
    ucounts: *const u8,
    max: u64,
}

impl NprocCharge {
    /// The user, as a uid in the first user namespace.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        load!(self.ucounts, ucounts_uid)
    }
}

impl Charge for NprocCharge {
    #[inline(always)]
    fn is_null(self) -> bool {
        self.ucounts.is_null()
    }

    #[inline(always)]
    fn used(self) -> u64 {
        // Linux 6.1's verifier does not look through the typedef of the array's elements.
        read(self.ucounts, figure!(ucounts_nproc)).unwrap_or(0)
    }

    #[inline(always)]
    fn max(self) -> u64 {
        self.max
    }

    #[inline(always)]
    fn above(self) -> Self {
        let namespace: *const u8 = load!(self.ucounts, ucounts_ns);
        Self {
            ucounts: load!(namespace, user_ns_ucounts),
            max: read(namespace, figure!(user_ns_nproc_max)).unwrap_or(u64::MAX),
        }
    }
}

/// A `struct pid_namespace *`.
#[derive(Clone, Copy)]
pub(crate) struct PidNamespace(*const u8);

impl PidNamespace {
    /// PIDNS_ADDING of include/linux/pid_namespace.h: set for as long as the namespace has an init.
    const ADDING: u32 = 1 << 31;

    /// Its inode.
    #[inline(always)]
    pub(crate) fn inode(self) -> u32 {
        load!(self.0, pid_ns_inode)
    }

    #[inline(always)]
    fn allocated(self) -> u32 {
        load!(self.0, pid_ns_allocated)
    }
}

impl Namespace for PidNamespace {
    #[inline(always)]
    fn is_null(self) -> bool {
        self.0.is_null()
    }

    #[inline(always)]
    fn is_dying(self) -> bool {
        self.allocated() & Self::ADDING == 0
    }

    #[inline(always)]
    fn used(self) -> u32 {
        self.allocated() & !Self::ADDING
    }

    #[inline(always)]
    fn own_max(self) -> u32 {
        load_optional!(self.0, pid_ns_max)
    }

    #[inline(always)]
    fn level(self) -> u32 {
        load!(self.0, pid_ns_level)
    }

    #[inline(always)]
    fn parent(self) -> Self {
        Self(load!(self.0, pid_ns_parent))
    }
}

/// A `struct cgroup_subsys_state *`: what a controller keeps for a cgroup. It begins the controller's own structure, of
/// which the verifier knows nothing.
#[derive(Clone, Copy)]
pub(crate) struct Css(*const u8);

impl Cgroup for Css {
    #[inline(always)]
    fn is_null(self) -> bool {
        self.0.is_null()
    }

    #[inline(always)]
    fn id(self) -> u64 {
        let cgroup: *const u8 = load!(self.0, css_cgroup);
        let node: *const u8 = load!(cgroup, cgroup_kn);
        load!(node, kn_id)
    }

    #[inline(always)]
    fn parent(self) -> Self {
        Self(load!(self.0, css_parent))
    }

    #[inline(always)]
    fn threads(self) -> Option<(u64, u64)> {
        Some((read(self.0, figure!(pids_counter))?, read(self.0, figure!(pids_limit))?))
    }

    #[inline(always)]
    fn pages(self) -> Option<(u64, u64)> {
        Some((read(self.0, figure!(memory_usage))?, read(self.0, figure!(memory_max))?))
    }
}

/// A `struct mm_struct *`.
#[derive(Clone, Copy)]
pub(crate) struct Mm(*const u8);

impl Mm {
    /// Mappings.
    #[inline(always)]
    pub(crate) fn map_count(self) -> u32 {
        load!(self.0, map_count)
    }

    /// Pages of address space.
    #[inline(always)]
    pub(crate) fn total_vm_pages(self) -> u64 {
        load!(self.0, total_vm)
    }

    /// Writes the file name of the executable, cut to fit and ended by a 0. Leaves `name` as it is without one.
    #[inline(always)]
    pub(crate) fn exe_name(self, name: &mut [u8; EXE_BYTES]) {
        let file: *const u8 = load!(self.0, exe_file);
        let dentry: *const u8 = load!(file, file_dentry);
        let source: *const u8 = load!(dentry, dentry_name);
        // SAFETY: the helper checks the source; the destination is as long as said. A failure writes an empty name.
        unsafe { bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), EXE_BYTES as u32, source.cast()) };
    }
}

/// The task that runs the program.
#[inline(always)]
pub(crate) fn current() -> Task {
    // SAFETY: the helper has no preconditions.
    Task(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
}

/// Nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn monotonic_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Nanoseconds since boot, suspended time included: the clock of `start_boottime`.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}
