//! Names that both sides must agree on, and the order of what is indexed rather than named.

/// Why an event or a part of it was dropped. The value is the index into the per-CPU `LOST` counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Lost {
    /// A thread was switched in that has no storage: its wait is in `run_delay` but not in the histogram.
    StorageMissing = 0,
    /// Storage could not be allocated when a thread was created: `sched_process_fork`, `sched_wakeup_new` and the next
    /// scan try again.
    StorageNotCreated = 1,
    /// `run_delay` went backwards between two switches of one thread; the wait is not in the histogram.
    ImpossibleWait = 2,
    /// The ring buffer was full when a thread ended that a scan had seen: its totals went to its process, exactly; what it
    /// did last is not told apart from what other threads did.
    RingFull = 3,
    /// A thread ended whose storage was out of reach: its record has no histogram and no lifetime.
    RecordWithoutHistogram = 4,
    /// There was no room to add to a process: it went to `~lost`, the host's totals stay exact.
    FoldFull = 5,
    /// A thread ended and the programs did not see when: it has no lifetime.
    EndNotSeen = 6,
    /// A thread ended whose storage was out of reach, and the ring buffer was full: what it did is in no total.
    RecordNotSent = 7,
}

impl Lost {
    /// All reasons that the programs count, in the order of their index.
    pub const ALL: [Self; 8] = [
        Self::StorageMissing,
        Self::StorageNotCreated,
        Self::ImpossibleWait,
        Self::RingFull,
        Self::RecordWithoutHistogram,
        Self::FoldFull,
        Self::EndNotSeen,
        Self::RecordNotSent,
    ];

    /// The value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::StorageMissing => "storage_missing",
            Self::StorageNotCreated => "storage_not_created",
            Self::ImpossibleWait => "impossible_wait",
            Self::RingFull => "ring_full",
            Self::RecordWithoutHistogram => "record_without_histogram",
            Self::FoldFull => "fold_full",
            Self::EndNotSeen => "end_not_seen",
            Self::RecordNotSent => "record_not_sent",
        }
    }
}

/// The errno of a clone that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneErrno {
    /// A limit on tasks was reached.
    Eagain,
    /// The kernel had no memory for the task, or its pid namespace has no init any more.
    Enomem,
    /// The flags ask for a privilege the caller lacks.
    Eperm,
    /// The flags contradict each other.
    Einval,
    /// Pid or user namespaces are nested too deep, or there are too many.
    Enospc,
    /// Any other error.
    Other,
}

impl CloneErrno {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Eagain, Self::Enomem, Self::Eperm, Self::Einval, Self::Enospc, Self::Other];

    /// The value of the label `errno`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Eagain => "EAGAIN",
            Self::Enomem => "ENOMEM",
            Self::Eperm => "EPERM",
            Self::Einval => "EINVAL",
            Self::Enospc => "ENOSPC",
            Self::Other => "other",
        }
    }

    /// What a return value of `kernel_clone` says: `None` for a new task's id, and for `-ERESTARTNOINTR`, which
    /// is a signal that came first: the kernel repeats the call and the caller never sees it.
    ///
    /// The numbers are those of `include/uapi/asm-generic/errno-base.h` and `include/linux/errno.h`.
    #[inline(always)]
    pub const fn from_return(value: i64) -> Option<Self> {
        match value {
            0.. => None,
            -513 => None,
            -11 => Some(Self::Eagain),
            -12 => Some(Self::Enomem),
            -1 => Some(Self::Eperm),
            -22 => Some(Self::Einval),
            -28 => Some(Self::Enospc),
            _ => Some(Self::Other),
        }
    }
}

/// Why a clone failed: its errno and, where that is a limit's, the limit that was exhausted when it did. The value is
/// the index into [`super::fold::Folded::clone_failures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloneFailure {
    /// EAGAIN: RLIMIT_NPROC.
    Nproc = 0,
    /// EAGAIN: `kernel.threads-max`.
    ThreadsMax = 1,
    /// EAGAIN: the ids of a pid namespace.
    PidMax = 2,
    /// EAGAIN: `pids.max` of a cgroup.
    CgroupPids = 3,
    /// EAGAIN, and none of those was exhausted.
    EagainUnknown = 4,
    /// ENOMEM: `memory.max` of a cgroup.
    CgroupMemory = 5,
    /// ENOMEM: the host's memory, as no cgroup's was exhausted.
    Memory = 6,
    /// ENOMEM: the pid namespace has no init any more, so that it is no limit's.
    EnomemUnknown = 7,
    /// See [`CloneErrno`].
    Eperm = 8,
    /// See [`CloneErrno`].
    Einval = 9,
    /// See [`CloneErrno`].
    Enospc = 10,
    /// See [`CloneErrno`].
    Other = 11,
}

impl CloneFailure {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 12] = [
        Self::Nproc,
        Self::ThreadsMax,
        Self::PidMax,
        Self::CgroupPids,
        Self::EagainUnknown,
        Self::CgroupMemory,
        Self::Memory,
        Self::EnomemUnknown,
        Self::Eperm,
        Self::Einval,
        Self::Enospc,
        Self::Other,
    ];

    /// Its errno.
    pub const fn errno(self) -> CloneErrno {
        match self {
            Self::Nproc | Self::ThreadsMax | Self::PidMax | Self::CgroupPids | Self::EagainUnknown => {
                CloneErrno::Eagain
            }
            Self::CgroupMemory | Self::Memory | Self::EnomemUnknown => CloneErrno::Enomem,
            Self::Eperm => CloneErrno::Eperm,
            Self::Einval => CloneErrno::Einval,
            Self::Enospc => CloneErrno::Enospc,
            Self::Other => CloneErrno::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_failures_stand_at_their_own_index() {
        for (index, reason) in Lost::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, failure) in CloneFailure::ALL.iter().enumerate() {
            assert_eq!(*failure as usize, index);
        }
    }

    #[test]
    fn an_interrupted_clone_that_the_kernel_repeats_is_no_failure() {
        assert_eq!(CloneErrno::from_return(1234), None);
        assert_eq!(CloneErrno::from_return(-513), None);
        assert_eq!(CloneErrno::from_return(-11), Some(CloneErrno::Eagain));
        assert_eq!(CloneErrno::from_return(-17), Some(CloneErrno::Other));
    }
}
