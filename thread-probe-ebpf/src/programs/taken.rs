//! Who has this CPU, and whom a wait for it is charged to.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use thread_probe_ebpf::{
    abi::{names::Lost, taken::Pair},
    logic::taken::{LongWait, begin_turn, share_out},
};

use super::maps::{OCCUPANTS, TAKEN, lost};

/// The CPU is given to a process.
#[inline(always)]
pub(crate) fn occupied(tgid: u32, now_ns: u64) {
    let Some(occupants) = OCCUPANTS.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's slot, which nothing else touches with its run queue locked.
    unsafe { begin_turn(occupants, tgid, now_ns) };
}

/// Charges a wait to who had the CPU meanwhile. A function of its own, as it is rare and takes many registers.
#[inline(never)]
pub(crate) fn charge(waiter: u32, wait: &LongWait) {
    let Some(occupants) = OCCUPANTS.get_ptr_mut(0) else { return };
    // SAFETY: as above.
    unsafe { share_out(occupants, wait, |taker, ns| add(Pair { waiter, taker }, ns)) };
}

/// Adds to a pair's time.
#[inline(always)]
fn add(pair: Pair, ns: u64) {
    /// BPF_NOEXIST of include/uapi/linux/bpf.h.
    const NOEXIST: u64 = 1;
    if let Some(sum) = TAKEN.get_ptr_mut(pair) {
        // SAFETY: an element of the map; another CPU may add to it now.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(sum, ns) };
    } else if TAKEN.insert(pair, ns, NOEXIST).is_err() {
        // Another CPU was first, or there is no room.
        match TAKEN.get_ptr_mut(pair) {
            // SAFETY: as above.
            Some(sum) => unsafe {
                atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(sum, ns);
            },
            None => lost(Lost::TakerNotCounted),
        }
    }
}
