//! Where the process runs and what it may do: capabilities, namespaces, /proc, cgroups.

use std::{fs, path::Path};

use capctl::caps::{Cap, CapSet, CapState};
use procfs::{
    ProcResult,
    process::{MountInfos, Process},
};

use super::Check;
use crate::{
    bpf::{missing_capabilities, privileges},
    cgroups::Hierarchy,
};

/// Inodes of the first namespaces: PROC_USER_INIT_INO and PROC_PID_INIT_INO of include/linux/proc_ns.h.
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Capabilities that are not needed, and what they are used for.
const USED: [(Cap, &str, &str); 2] = [
    (Cap::SETPCAP, "CAP_SETPCAP", "to empty the bounding set"),
    (Cap::SYS_ADMIN, "CAP_SYS_ADMIN", "to time the programs, and to mount tracefs where it is not"),
];

pub(super) fn checks() -> Vec<Check> {
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    vec![
        capabilities(CapState::get_current().map(|state| state.effective).unwrap_or_default()),
        drops(privileges::must_keep_bpf()),
        user_namespace(namespace("user").as_deref()),
        pid_namespace(namespace("pid").as_deref()),
        proc(&mounts),
        cgroups(&mounts),
    ]
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

fn drops(kept: Option<&str>) -> Check {
    match kept {
        None => Check::ok("privileges", "all can be dropped once the programs are attached"),
        Some(kept) => {
            Check::warning("privileges", format!("the daemon keeps {kept}"), "boot Linux 5.19 or later if that matters")
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
    let options =
        mounts.iter().rfind(|mount| mount.mount_point == Path::new("/proc")).map(|mount| &mount.super_options);
    match options.and_then(|options| options.get("hidepid").cloned().flatten()) {
        Some(mode) if !["0", "off"].contains(&&*mode) => Check::warning(
            NAME,
            format!("mounted with hidepid={mode}: a daemon without privileges sees no cgroups, nor their limits"),
            "mount -o remount,hidepid=0 /proc, or run the daemon in the group of its option gid=",
        ),
        _ => Check::ok(NAME, "hides no process"),
    }
}

fn cgroups(mounts: &ProcResult<MountInfos>) -> Check {
    const NAME: &str = "cgroups";
    const REMEDY: &str = "mount cgroup2 on /sys/fs/cgroup, in a container the host's";
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
    let where_is = |controller| match Hierarchy::of_controller(mounts, controller) {
        Some(hierarchy) => format!("{controller} in {}", hierarchy.mount_point.display()),
        None => format!("{controller} in none"),
    };
    let found = format!("{version}: {}, {}", where_is("pids"), where_is("memory"));
    match found.contains("in none") {
        true => Check::warning(NAME, found, REMEDY),
        false => Check::ok(NAME, found),
    }
}

#[cfg(test)]
mod tests {
    use procfs::FromRead as _;

    use super::*;
    use crate::doctor::Status;

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
    }

    #[test]
    fn the_version_of_cgroups_and_where_their_controllers_are() {
        let v2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let v1 = "31 1 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        assert_eq!(cgroups(&mounts(v2)).found, "version 2: pids in /sys/fs/cgroup, memory in /sys/fs/cgroup");
        let both = cgroups(&mounts(&format!("{v2}{v1}")));
        assert_eq!(both.found, "versions 1 and 2: pids in /sys/fs/cgroup/pids, memory in /sys/fs/cgroup");
        assert_eq!(cgroups(&mounts(v1)).status, Status::Warning);
        assert_eq!(cgroups(&mounts("")).status, Status::Warning);
    }
}
