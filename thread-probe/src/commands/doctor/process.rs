//! What this process may do and see: capabilities, namespaces, /proc, cgroups.

use std::{fs, io, path::Path};

use capctl::caps::{Cap, CapSet, CapState};
use procfs::{
    ProcResult,
    process::{MountInfos, Process},
};

use super::report::Check;
use crate::{
    names::cgroups::Hierarchy,
    privileges::{self, DropError},
    probe::missing_capabilities,
};

/// Inodes of the first namespaces: PROC_USER_INIT_INO and PROC_PID_INIT_INO of include/linux/proc_ns.h.
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Capabilities that are not needed, and what they are used for.
const USED: [(Cap, &str, &str); 2] = [
    (Cap::SETPCAP, "CAP_SETPCAP", "to empty the bounding set"),
    (Cap::SYS_ADMIN, "CAP_SYS_ADMIN", "to time the programs, and to mount tracefs where it is not"),
];

/// What a process has before it gives up what it can.
pub(super) struct ThisProcess {
    effective: CapSet,
    mounts: ProcResult<MountInfos>,
}

impl ThisProcess {
    pub(super) fn of_this_process() -> Self {
        let effective = CapState::get_current().map(|state| state.effective).unwrap_or_default();
        Self { effective, mounts: Process::myself().and_then(|process| process.mountinfo()) }
    }

    /// `dropped` says whether it could give that up.
    pub(super) fn checks(&self, dropped: Result<(), DropError>) -> Vec<Check> {
        vec![
            capabilities(self.effective),
            dropped.map_or_else(|error| kept(&error), |()| drops(privileges::must_keep_bpf())),
            user_namespace(namespace("user").as_deref()),
            pid_namespace(namespace("pid").as_deref()),
            proc(&self.mounts),
            cgroups(&self.mounts, controllers),
        ]
    }
}

/// Whether processes outside of a namespace of its own are hidden from it.
pub(super) fn sees_all_processes() -> bool {
    namespace("pid").as_deref() == Some(FIRST_PID_NAMESPACE)
}

fn namespace(kind: &str) -> Option<String> {
    Some(fs::read_link(Path::new("/proc/self/ns").join(kind)).ok()?.to_string_lossy().into_owned())
}

fn capabilities(effective: CapSet) -> Check {
    const NAME: &str = "capabilities";
    let missing = missing_capabilities(effective);
    if !missing.is_empty() {
        let remedy = "run it as root (sudo), or grant CAP_BPF and CAP_PERFMON (AmbientCapabilities= of a unit)";
        return Check::missing(NAME, format!("{} missing", missing.join(" and ")), remedy);
    }
    let used = USED.iter().map(|(cap, name, what)| match effective.has(*cap) {
        true => format!("; {name} held"),
        false => format!("; without {name}, which would be used {what}"),
    });
    Check::ok(NAME, format!("CAP_BPF and CAP_PERFMON held{}", used.collect::<String>()))
}

const PRIVILEGES: &str = "privileges";

/// Those that the daemon could not give up: it would end.
fn kept(error: &DropError) -> Check {
    match error {
        DropError::NoSuchUser(user) => Check::missing(
            PRIVILEGES,
            format!("no user {user:?} on this host"),
            "create it, or choose another with --user or in [probe]",
        ),
        DropError::User { user, error } => Check::missing(
            PRIVILEGES,
            format!("changing to user {user} failed: {error}"),
            "run it as root, as only root can; or configure no user: --user=",
        ),
        DropError::Capabilities { .. } | DropError::StillThere(_) => {
            Check::missing(PRIVILEGES, error.to_string(), "report it with all of this output")
        }
    }
}

fn drops(kept: Option<&str>) -> Check {
    match kept {
        None => Check::ok(PRIVILEGES, "all can be dropped once the programs are attached"),
        Some(kept) => {
            Check::warning(PRIVILEGES, format!("the daemon keeps {kept}"), "boot Linux 5.19 or later if that matters")
        }
    }
}

fn user_namespace(found: Option<&str>) -> Check {
    let remedy = "run it in the first user namespace: as root of the host, not of a rootless container";
    first(("user namespace", FIRST_USER_NAMESPACE), found, "capabilities count for nothing outside of it", remedy)
}

fn pid_namespace(found: Option<&str>) -> Check {
    let remedy = "run it in the host's: hostPID: true in Kubernetes, --pid=host in docker and podman";
    first(("pid namespace", FIRST_PID_NAMESPACE), found, "processes outside of it are invisible", remedy)
}

fn first((name, first): (&str, &str), found: Option<&str>, else_what: &str, remedy: &str) -> Check {
    match found {
        Some(found) if found == first => Check::ok(name, "the host's"),
        Some(found) => Check::missing(name, format!("one of its own, {found}: {else_what}"), remedy),
        None => Check::unknown(name, "/proc/self/ns is not readable", "mount /proc"),
    }
}

/// Once it is another user, the daemon reads the cgroups of each process in /proc.
fn proc(mounts: &ProcResult<MountInfos>) -> Check {
    const NAME: &str = "proc";
    let Ok(MountInfos(mounts)) = mounts else {
        return Check::missing(NAME, "/proc/self/mountinfo is not readable", "mount /proc");
    };
    // Of several mounts on one another the last is on top.
    let Some(mount) = mounts.iter().rfind(|mount| mount.mount_point == Path::new("/proc")) else {
        return Check::unknown(
            NAME,
            "/proc is no mount here, so whether it hides processes is not known",
            "mount /proc",
        );
    };
    match mount.super_options.get("hidepid").cloned().flatten() {
        Some(mode) if !["0", "off"].contains(&&*mode) => Check::warning(
            NAME,
            format!("mounted with hidepid={mode}: a daemon without privileges sees no cgroups, nor their limits"),
            "mount -o remount,hidepid=0 /proc, or run the daemon in the group of its option gid=",
        ),
        _ => Check::ok(NAME, "hides no process"),
    }
}

/// What cgroup.controllers says of the unified hierarchy that is mounted there.
fn controllers(mount_point: &Path) -> io::Result<String> {
    fs::read_to_string(mount_point.join("cgroup.controllers"))
}

/// `controllers_at` are those of the unified hierarchy: mounted, it need not have any.
fn cgroups(mounts: &ProcResult<MountInfos>, controllers_at: impl Fn(&Path) -> io::Result<String>) -> Check {
    const NAME: &str = "cgroups";
    const REMEDY: &str = "mount cgroup2 on /sys/fs/cgroup, in a container the host's";
    const BOOT: &str = "boot without cgroup_disable= of it, and with systemd.unified_cgroup_hierarchy=1";
    let Ok(mounts) = mounts else {
        return Check::unknown(NAME, "/proc/self/mountinfo is not readable", "mount /proc");
    };
    let is_mounted = |kind: &str| mounts.0.iter().any(|mount| mount.fs_type == kind);
    let version = match (is_mounted("cgroup"), is_mounted("cgroup2")) {
        (true, true) => "versions 1 and 2",
        (true, false) => "version 1",
        (false, true) => "version 2",
        (false, false) => return Check::warning(NAME, "not mounted: no limits of cgroups", REMEDY),
    };
    let (mut found, mut remedy) = (Vec::new(), None);
    for controller in ["pids", "memory"] {
        let Some(Hierarchy { mount_point, is_v2, .. }) = Hierarchy::of_controller(mounts, controller) else {
            found.push(format!("{controller} in none"));
            remedy = remedy.or(Some(REMEDY));
            continue;
        };
        let place = mount_point.display();
        let there = if is_v2 { controllers_at(&mount_point).map(Some) } else { Ok(None) };
        match there {
            Err(error) => return Check::unknown(NAME, format!("{place}/cgroup.controllers: {error}"), REMEDY),
            Ok(Some(all)) if !all.split_whitespace().any(|name| name == controller) => {
                found.push(format!("{controller} in none, not in {place} either"));
                remedy = Some(BOOT);
            }
            Ok(_) => found.push(format!("{controller} in {place}")),
        }
    }
    let found = format!("{version}: {}", found.join(", "));
    match remedy {
        Some(remedy) => Check::warning(NAME, found, remedy),
        None => Check::ok(NAME, found),
    }
}

#[cfg(test)]
mod tests {
    use procfs::FromRead as _;

    use super::*;
    use crate::commands::doctor::report::Status;

    fn mounts(lines: &str) -> ProcResult<MountInfos> {
        MountInfos::from_read(lines.as_bytes())
    }

    #[test]
    fn what_is_needed_and_not_held_is_named_and_sys_admin_includes_it() {
        let mut held = CapSet::empty();
        held.add(Cap::BPF);
        let check = capabilities(held);
        assert_eq!((check.status, &*check.found), (Status::Missing, "CAP_PERFMON missing"));
        held.add(Cap::PERFMON);
        assert!(capabilities(held).found.contains("without CAP_SETPCAP"), "{:?}", capabilities(held));
        let mut admin = CapSet::empty();
        admin.add(Cap::SYS_ADMIN);
        assert_eq!(capabilities(admin).status, Status::Ok);
    }

    #[test]
    fn a_namespace_of_its_own_is_missing_the_hosts() {
        assert_eq!(pid_namespace(Some(FIRST_PID_NAMESPACE)).status, Status::Ok);
        assert_eq!(pid_namespace(Some("pid:[4026532200]")).status, Status::Missing);
        assert_eq!(user_namespace(Some(FIRST_PID_NAMESPACE)).status, Status::Missing);
        assert_eq!(user_namespace(None).status, Status::Unknown);
    }

    #[test]
    fn a_proc_that_hides_processes_is_a_warning() {
        let line = |options: &str| mounts(&format!("22 1 0:20 / /proc rw,nosuid - proc proc rw{options}\n"));
        assert_eq!(proc(&line("")).status, Status::Ok);
        assert_eq!(proc(&line(",hidepid=off")).status, Status::Ok);
        assert_eq!(proc(&line(",hidepid=invisible")).status, Status::Warning);
        assert_eq!(proc(&mounts("22 1 0:20 / /host/proc rw - proc proc rw\n")).status, Status::Unknown);
    }

    #[test]
    fn the_version_of_cgroups_and_where_their_controllers_are() {
        let v2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let v1 = "31 1 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let both = format!("{v2}{v1}");
        let check = |lines: &str, v2_has: &'static str| cgroups(&mounts(lines), |_| Ok(v2_has.to_owned()));
        let all = check(v2, "cpu memory pids\n");
        assert_eq!(all, Check::ok("cgroups", "version 2: pids in /sys/fs/cgroup, memory in /sys/fs/cgroup"));
        let pids = "versions 1 and 2: pids in /sys/fs/cgroup/pids";
        let shared = check(&both, "memory\n");
        assert_eq!(shared, Check::ok("cgroups", format!("{pids}, memory in /sys/fs/cgroup")));
        // As with cgroup_disable=memory; a name that begins so is another.
        let none = check(&both, "cpu memory_v9\n");
        assert_eq!(
            (none.status, &*none.found),
            (Status::Warning, &*format!("{pids}, memory in none, not in /sys/fs/cgroup either"))
        );
        assert!(none.remedy.is_some_and(|remedy| remedy.contains("cgroup_disable=")));
        assert_eq!(check(v1, "").status, Status::Warning);
        assert_eq!(check("", "").status, Status::Warning);
        let unreadable = cgroups(&mounts(v2), |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(unreadable.status, Status::Unknown);
    }
}
