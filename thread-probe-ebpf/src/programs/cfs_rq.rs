//! The run queue of a task group on a CPU: its clock, and for how long a quota stopped it.

use thread_probe_ebpf::abi::offsets::MISSING;

use super::member::{figure, load, load_optional, read};

/// A `struct cfs_rq *`.
#[derive(Clone, Copy)]
pub(crate) struct CfsRq(*const u8);

impl CfsRq {
    /// The one there.
    #[inline(always)]
    pub(super) fn at(address: *const u8) -> Self {
        Self(address)
    }

    /// Names it.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// The clock of its CPU's run queue, in nanoseconds: the one `sched_info` is kept in.
    #[inline(always)]
    pub(crate) fn clock(self) -> u64 {
        let rq: *const u8 = load!(self.0, cfs_rq_rq);
        load!(rq, rq_clock)
    }

    /// For how long it was throttled while it had tasks, until it was unthrottled last; 0 where the kernel keeps none.
    #[inline(always)]
    pub(crate) fn throttled_ns(self) -> u64 {
        load_optional!(self.0, throttled_self_time)
    }

    /// For how long the one at an address was throttled beyond `before_ns`, where a task of this one's group has been
    /// that waited for `wait_ns`; 0 if that one is this one, if it may be gone, and for waits that no quota makes.
    #[inline(always)]
    pub(crate) fn throttled_elsewhere_ns(self, left: u64, before_ns: u64, wait_ns: u64) -> u64 {
        /// Quotas are handed out in slices of 5 ms, and periods are a millisecond long at least.
        const SHORT_NS: u64 = 500_000;
        if left == self.address() || wait_ns < SHORT_NS || figure!(throttled_self_time) == MISSING {
            return 0;
        }
        let left = left as *const u8;
        // One whose cgroup is gone may be anything by now, but not a run queue of the group that the task is in.
        let is_of_group = read(left, figure!(cfs_rq_tg)) == Some(load!(self.0, cfs_rq_tg));
        let throttled_ns = read(left, figure!(throttled_self_time)).filter(|_| is_of_group);
        throttled_ns.map_or(0, |throttled_ns| throttled_ns.saturating_sub(before_ns))
    }

    /// Since when it is throttled and has tasks, by its CPU's clock; 0 if it is not.
    #[inline(always)]
    pub(crate) fn throttled_since_ns(self) -> u64 {
        load_optional!(self.0, throttled_self)
    }
}
