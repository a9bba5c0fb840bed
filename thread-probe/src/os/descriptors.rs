//! File descriptors: as many as may be, and some kept in reserve for sampling.

use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What sampling opens at a time: the scan's link and stream, a file and a folder of /proc or of cgroups, a connection
/// to an Alertmanager; and what an answer to who is refused takes.
const RESERVE: u64 = 10;

/// Raises the soft limit to the hard one.
///
/// # Errors
/// What the kernel said; then it stays as it was.
pub fn raise_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// How many more may be opened by others than the sampler.
///
/// # Errors
/// /proc is not mounted, or no descriptor is free any more.
pub fn spare() -> io::Result<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let open = fs::read_dir("/proc/self/fd")?.count() as u64;
    Ok(soft.saturating_sub(open + RESERVE))
}
