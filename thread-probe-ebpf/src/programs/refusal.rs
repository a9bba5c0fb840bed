//! What the choice of the limit that refused a clone asks of the kernel.

use thread_probe_ebpf::{
    abi::names::{CloneErrno, CloneFailure},
    logic::refusal::{self, Creator},
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
