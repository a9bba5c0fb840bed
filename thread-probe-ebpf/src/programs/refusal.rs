//! What the choice of the limit that refused a clone asks of the kernel.

use thread_probe_ebpf::{
    abi::names::{CloneErrno, CloneFailure},
    logic::refusal::{self, Cgroup, Charge, Creator, Namespace},
};

use super::{
    kernel::{Css, NprocCharge, PidNamespace, RLIMIT_NPROC, Task},
    maps::HOST_LIMITS,
};

/// Why a clone of the current task failed, and the id of the cgroup that refused it, else 0.
#[inline(always)]
pub(crate) fn failure_of(task: Task, errno: CloneErrno) -> (CloneFailure, u64) {
    let host = HOST_LIMITS.get(0).copied().unwrap_or_default();
    refusal::failure_of(task, errno, &host)
}

impl Creator for Task {
    type Charge = NprocCharge;
    type Namespace = PidNamespace;
    type Cgroup = Css;

    #[inline(always)]
    fn is_exempt(self) -> bool {
        self.is_exempt_from_nproc()
    }

    #[inline(always)]
    fn charge(self) -> NprocCharge {
        self.nproc_charge(self.signal().rlimit(RLIMIT_NPROC))
    }

    #[inline(always)]
    fn namespace(self) -> PidNamespace {
        self.pid_ns()
    }

    #[inline(always)]
    fn pids(self) -> Css {
        self.pids_cgroup()
    }

    #[inline(always)]
    fn memory(self) -> Css {
        self.memory_cgroup()
    }
}

impl Charge for NprocCharge {
    #[inline(always)]
    fn is_null(self) -> bool {
        Self::is_null(self)
    }

    #[inline(always)]
    fn threads(self) -> (u64, u64) {
        (self.used(), self.max())
    }

    #[inline(always)]
    fn above(self) -> Self {
        Self::above(self)
    }
}

impl Namespace for PidNamespace {
    #[inline(always)]
    fn is_null(self) -> bool {
        Self::is_null(self)
    }

    #[inline(always)]
    fn is_dying(self) -> bool {
        Self::is_dying(self)
    }

    #[inline(always)]
    fn used(self) -> u64 {
        u64::from(Self::used(self))
    }

    #[inline(always)]
    fn own_max(self) -> u64 {
        u64::from(Self::own_max(self))
    }

    #[inline(always)]
    fn level(self) -> u32 {
        Self::level(self)
    }

    #[inline(always)]
    fn parent(self) -> Self {
        Self::parent(self)
    }
}

impl Cgroup for Css {
    #[inline(always)]
    fn is_null(self) -> bool {
        Self::is_null(self)
    }

    #[inline(always)]
    fn id(self) -> u64 {
        self.cgroup_id()
    }

    #[inline(always)]
    fn parent(self) -> Self {
        Self::parent(self)
    }

    #[inline(always)]
    fn threads(self) -> Option<(u64, u64)> {
        Self::pids(self)
    }

    #[inline(always)]
    fn pages(self) -> Option<(u64, u64)> {
        Self::pages(self)
    }
}
