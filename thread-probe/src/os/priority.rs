//! How urgently a thread is to run.

use std::io;

use nix::libc::{PRIO_PROCESS, c_int, getpriority, setpriority};

/// The sampler's nice value: where every CPU is wanted, which is when people look, it must get to run.
const SAMPLER_NICE: c_int = -10;

/// Gives this thread, and those it starts, the sampler's priority, if it may. Returns the nice value it had.
pub(crate) fn raise() -> c_int {
    // SAFETY: neither has preconditions; 0 is the calling thread.
    let (before, raised) = unsafe {
        let before = getpriority(PRIO_PROCESS, 0);
        (before, before <= SAMPLER_NICE || setpriority(PRIO_PROCESS, 0, SAMPLER_NICE) == 0)
    };
    if !raised {
        tracing::debug!(error = %io::Error::last_os_error(), "the priority stays as it is");
    }
    before
}

/// Takes this thread's priority back to the usual, or to what it had if that was less. Anybody may, but in a sandbox
/// that refuses the call: there it stays.
pub(crate) fn lower(before: c_int) {
    // SAFETY: no preconditions; 0 is the calling thread.
    unsafe { setpriority(PRIO_PROCESS, 0, before.max(0)) };
}
