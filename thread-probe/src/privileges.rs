//! What the process may do, and giving it up.

use std::{fs, io};

use capctl::caps::{CapState, ambient, bounding};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::statfs::{FsType, statfs},
    unistd::{Gid, Uid, User, setgroups, setresgid, setresuid},
};
use thiserror::Error;

use crate::os::release::parse_release;

const TRACEFS: &str = "/sys/kernel/tracing";
/// TRACEFS_MAGIC of include/uapi/linux/magic.h.
const TRACEFS_MAGIC: FsType = FsType(0x7472_6163);

/// A privilege that could not be given up: the daemon must not go on with it.
#[derive(Debug, Error)]
pub enum DropError {
    /// There is no such user.
    #[error("no user {0:?} on this host: create it or choose another with --user or in [probe]")]
    NoSuchUser(String),
    /// A user or group could not be changed to.
    #[error("changing to user {user}: {error}; only root can: configure no user, or start as root")]
    User {
        /// Which.
        user: String,
        /// Why.
        error: nix::Error,
    },
    /// A capability set could not be emptied.
    #[error("dropping {what} failed: {error}")]
    Capabilities {
        /// Which set.
        what: &'static str,
        /// Why.
        error: capctl::Error,
    },
    /// The kernel still reports a capability.
    #[error("the kernel still reports capabilities after they were dropped: {0}")]
    StillThere(String),
}

/// The user to become, by name or number.
///
/// # Errors
/// There is none.
pub fn find_user(name: &str) -> Result<User, DropError> {
    let by_name = User::from_name(name).ok().flatten();
    let by_uid = || User::from_uid(Uid::from_raw(name.parse().ok()?)).ok().flatten();
    by_name.or_else(by_uid).ok_or_else(|| DropError::NoSuchUser(name.to_owned()))
}

/// Gives up every capability for good and, if one is given, becomes the user. Returns what was kept and why, for the
/// log.
///
/// Called while the process has one thread: capabilities and `no_new_privs` are each thread's own.
///
/// # Errors
/// Anything that could not be given up.
pub fn drop_all(user: Option<&User>) -> Result<Option<&'static str>, DropError> {
    let cap_error = |what| move |error| DropError::Capabilities { what, error };
    // While it still may: an empty bounding set means that no exec can ever give a capability back.
    let mut state = CapState::get_current().map_err(cap_error("capabilities"))?;
    if state.effective.has(capctl::caps::Cap::SETPCAP) {
        bounding::clear().map_err(cap_error("the bounding set"))?;
    }
    if ambient::is_supported() {
        ambient::clear().map_err(cap_error("the ambient set"))?;
    }
    capctl::prctl::set_no_new_privs().map_err(cap_error("the right to gain privileges"))?;
    let kept = must_keep_bpf();
    if let Some(user) = user {
        capctl::prctl::set_keepcaps(kept.is_some()).map_err(cap_error("keepcaps"))?;
        become_user(user)?;
        state = CapState::get_current().map_err(cap_error("capabilities"))?;
    }
    let mut wanted = CapState::empty();
    if kept.is_some() {
        wanted.permitted.add_all(state.permitted.iter().filter(|cap| KEPT.contains(cap)));
        wanted.effective = wanted.permitted;
    }
    wanted.set_current().map_err(cap_error("capabilities"))?;
    let left = CapState::get_current().map_err(cap_error("capabilities"))?;
    if left.permitted != wanted.permitted || left.effective != wanted.effective {
        return Err(DropError::StillThere(left.to_string()));
    }
    Ok(kept)
}

const KEPT: [capctl::caps::Cap; 2] = [capctl::caps::Cap::BPF, capctl::caps::Cap::PERFMON];

/// Before 5.19 `kernel.unprivileged_bpf_disabled` closed every command of bpf(2) to processes without CAP_BPF, also
/// those on file descriptors they hold (lifted by commit c8644cd0efe7): there the scan needs it.
pub(crate) fn must_keep_bpf() -> Option<&'static str> {
    let release = nix::sys::utsname::uname().ok()?;
    let version = parse_release(&release.release().to_string_lossy())?;
    let closed =
        fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").is_ok_and(|value| value.trim() != "0");
    (version < (5, 19) && closed).then_some(
        "CAP_BPF and CAP_PERFMON: before Linux 5.19, kernel.unprivileged_bpf_disabled closes bpf(2) without them",
    )
}

fn become_user(user: &User) -> Result<(), DropError> {
    let failed = |error| DropError::User { user: user.name.clone(), error };
    if Uid::effective() == user.uid && Gid::effective() == user.gid {
        return Ok(());
    }
    setgroups(&[]).map_err(failed)?;
    setresgid(user.gid, user.gid, user.gid).map_err(failed)?;
    setresuid(user.uid, user.uid, user.uid).map_err(failed)
}

/// Does what attaches to tracepoints, which reads their numbers in tracefs, where that is mounted. Where it is not, it
/// is for a thread of its own, in a mount namespace that ends with it: nobody else sees it come or go.
///
/// # Errors
/// The thread could not be started.
pub(super) fn with_tracefs<T: Send>(attach: impl FnOnce() -> T + Send) -> io::Result<T> {
    if statfs(TRACEFS).is_ok_and(|found| found.filesystem_type() == TRACEFS_MAGIC) {
        return Ok(attach());
    }
    std::thread::scope(|scope| {
        let attached = std::thread::Builder::new().spawn_scoped(scope, || {
            match mount_tracefs_for_this_thread() {
                Ok(()) => tracing::debug!("{TRACEFS} is not mounted: it was for the thread that attached"),
                // What that leaves out shows when the tracepoints are attached.
                Err(error) => tracing::debug!(%error, "mounting {TRACEFS}"),
            }
            attach()
        })?;
        Ok(attached.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn mount_tracefs_for_this_thread() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // So that the mount does not reach the namespace this one was copied from.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tracefs"), TRACEFS, Some("tracefs"), flags, None::<&str>)
}
