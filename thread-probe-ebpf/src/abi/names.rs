//! Names that both sides must agree on, and the order of what is indexed rather than named.

/// Declares an enum whose values are indices, and may have a name: each once.
macro_rules! indexed {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$of_value:meta])* $value:ident $(= $label:literal)?,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$of_value])* $value,)+
        }

        impl $name {
            /// All of them, in the order of their index.
            pub const ALL: [Self; [$(stringify!($value)),+].len()] = [$(Self::$value),+];

            indexed!(@label $($value $(= $label)?),+);
        }
    };
    (@label $($value:ident = $label:literal),+) => {
        /// Its name in labels and JSON.
        pub const fn label(self) -> &'static str {
            match self { $(Self::$value => $label),+ }
        }
    };
    (@label $($value:ident),+) => {};
}

pub(super) use indexed;

indexed! {
    /// Why an event or a part of it was dropped. The value is the index into the per-CPU `LOST` counters.
    pub enum Lost {
        /// A thread was switched in that has no storage: its wait is in `run_delay` but not in the histogram.
        StorageMissing = "storage_missing",
        /// Storage could not be allocated when a thread was created: `sched_process_fork`, `sched_wakeup_new` and the
        /// next scan try again.
        StorageNotCreated = "storage_not_created",
        /// `run_delay` went backwards between two switches of one thread; the wait is not in the histogram.
        ImpossibleWait = "impossible_wait",
        /// The ring buffer was full when a thread ended that a scan had seen: its totals went to its process, exactly;
        /// what it did last is not told apart from what other threads did.
        RingFull = "ring_full",
        /// A thread ended whose storage was out of reach: its record has no histogram and no lifetime.
        RecordWithoutHistogram = "record_without_histogram",
        /// There was no room to add to a process: it went to `~lost`, the host's totals stay exact.
        FoldFull = "fold_full",
        /// A thread ended and the programs did not see when: it has no lifetime.
        EndNotSeen = "end_not_seen",
        /// A thread ended whose storage was out of reach, and the ring buffer was full: what it did is in no total.
        RecordNotSent = "record_not_sent",
        /// There was no room to say who took the CPU from whom: that part of a wait counts as short.
        TakerNotCounted = "taker_not_counted",
    }
}

indexed! {
    /// The errno of a clone that failed.
    pub enum CloneErrno {
        /// A limit on tasks was reached.
        Eagain = "EAGAIN",
        /// The kernel had no memory for the task, or its pid namespace has no init any more.
        Enomem = "ENOMEM",
        /// The flags ask for a privilege the caller lacks.
        Eperm = "EPERM",
        /// The flags contradict each other.
        Einval = "EINVAL",
        /// Pid or user namespaces are nested too deep, or there are too many.
        Enospc = "ENOSPC",
        /// Any other error.
        Other = "other",
    }
}

impl CloneErrno {
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

indexed! {
    /// Why a clone failed: its errno and, where that is a limit's, the limit that was exhausted when it did. The value
    /// is the index into [`super::fold::Folded::clone_failures`].
    pub enum CloneFailure {
        /// EAGAIN: RLIMIT_NPROC.
        Nproc,
        /// EAGAIN: `kernel.threads-max`.
        ThreadsMax,
        /// EAGAIN: the ids of a pid namespace.
        PidMax,
        /// EAGAIN: `pids.max` of a cgroup.
        CgroupPids,
        /// EAGAIN, and none of those was exhausted.
        EagainUnknown,
        /// ENOMEM: `memory.max` of a cgroup.
        CgroupMemory,
        /// ENOMEM: the host's memory, as no cgroup's was exhausted.
        Memory,
        /// ENOMEM: the pid namespace has no init any more, so that it is no limit's.
        EnomemUnknown,
        /// See [`CloneErrno`].
        Eperm,
        /// See [`CloneErrno`].
        Einval,
        /// See [`CloneErrno`].
        Enospc,
        /// See [`CloneErrno`].
        Other,
    }
}

impl CloneFailure {
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
    fn an_interrupted_clone_that_the_kernel_repeats_is_no_failure() {
        assert_eq!(CloneErrno::from_return(1234), None);
        assert_eq!(CloneErrno::from_return(-513), None);
        assert_eq!(CloneErrno::from_return(-11), Some(CloneErrno::Eagain));
        assert_eq!(CloneErrno::from_return(-17), Some(CloneErrno::Other));
    }
}
