//! Waiting for descriptors.

use std::time::Instant;

use nix::{
    errno::Errno,
    poll::{PollFd, PollTimeout, poll},
};

/// Waits until one of them is ready, or time is up; says which of the two it was.
///
/// # Errors
/// What poll(2) said.
pub(crate) fn until_ready(fds: &mut [PollFd<'_>], until: Instant) -> Result<bool, Errno> {
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        // Rounded up, so that the last millisecond is not spent polling.
        let timeout = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        match poll(fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
