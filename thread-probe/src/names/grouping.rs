//! From a process to the name of its group.

use std::{fmt::Write as _, io, sync::Arc};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thread_probe_ebpf::abi::record::{self, COMM_BYTES, EXE_BYTES};

use crate::{
    names::{
        cgroups::{Membership, Memberships},
        owner::Owner,
        users::UserNames,
    },
    text::until_nul,
};

/// PF_KTHREAD of include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;
/// The group of processes that no group has room for.
pub const OTHER: &str = "~other";
/// The group of what can be attributed to no process: see `ORPHANS` of the programs.
pub const LOST: &str = "~lost";
/// The group of a process that ended before what names its group could be read.
pub const UNKNOWN: &str = "~unknown";

/// What makes processes one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// The name of the main thread.
    #[default]
    Comm,
    /// The file name of the executable; the comm of a process that ended before it was seen alive.
    Exe,
    /// The cgroup's path.
    Cgroup,
    /// The systemd unit: the deepest service or scope of the cgroup's path, else its deepest slice.
    Unit,
    /// The container, by the first 12 digits of its id or its name; outside of containers the unit.
    Container,
    /// The pod, by its uid in Kubernetes; outside of pods the container, outside of those the unit.
    Pod,
    /// The real user.
    User,
    /// Each process for itself.
    Pid,
}

/// What the name of a process's group depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of the main thread, ended by a 0.
    pub comm: [u8; COMM_BYTES],
    /// File name of the executable, ended by a 0.
    pub exe: [u8; EXE_BYTES],
    /// Real uid.
    pub uid: u32,
    /// Whether it is a kernel thread.
    pub is_kernel_thread: bool,
    /// Changes when the process moves to another cgroup.
    pub css_set: u64,
    /// Id of its cgroup in the v2 hierarchy.
    pub cgroup_id: u64,
}

impl Identity {
    /// From a leader's record. An ended process has no executable any more: it keeps the one it had.
    pub fn of(thread: &record::ThreadPart, process: &record::ProcessPart, before: &Self) -> Self {
        Self {
            comm: thread.comm,
            exe: if process.exe[0] == 0 { before.exe } else { process.exe },
            uid: process.uid,
            is_kernel_thread: thread.flags & PF_KTHREAD != 0,
            css_set: process.css_set,
            cgroup_id: process.cgroup_id,
        }
    }
}

/// The group of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Whose the process's cgroup is, where that names the group.
    pub owner: Option<Arc<Owner>>,
}

impl From<String> for Named {
    fn from(name: String) -> Self {
        Self { name, owner: None }
    }
}

/// Who names groups.
pub trait GroupNames {
    /// The group of a process. `is_alive` says whether more may be looked up of it by its pid.
    fn name(&mut self, pid: u32, identity: &Identity, is_alive: bool) -> Named;

    /// The group of a process of which nothing is known but the name of a thread that ended.
    fn name_without_leader(&self, pid: u32, comm: &[u8; COMM_BYTES]) -> String;
}

/// Names groups by a key, and remembers what it had to look up: users and cgroups.
pub struct Names {
    by: GroupBy,
    users: UserNames,
    memberships: Memberships,
}

impl Names {
    /// Groups are named by the given key.
    pub fn new(by: GroupBy) -> Self {
        Self { by, users: UserNames::default(), memberships: Memberships::default() }
    }

    /// Names of users.
    pub fn users(&mut self) -> &mut UserNames {
        &mut self.users
    }

    /// The cgroups of a process; `None` if it ended before they could be read. See [`Memberships::of`].
    ///
    /// # Errors
    /// It is there and they may not be read.
    pub fn membership(&mut self, pid: u32, identity: &Identity, is_alive: bool) -> io::Result<Option<Arc<Membership>>> {
        self.memberships.of(pid, (identity.css_set, identity.cgroup_id), is_alive)
    }

    /// Forgets what no process used for two samples.
    pub fn finish_sample(&mut self) {
        self.memberships.finish_sample();
        self.users.finish_sample();
    }
}

/// Kernel threads have a group by their own name, whatever the key, unless it is the user or the process id, which they
/// have as any other.
impl GroupNames for Names {
    fn name(&mut self, pid: u32, identity: &Identity, is_alive: bool) -> Named {
        match self.by {
            GroupBy::User => not_ours(self.users.get(identity.uid).to_string()).into(),
            GroupBy::Pid => pid.to_string().into(),
            _ if identity.is_kernel_thread => kernel_thread_group(&until_nul(&identity.comm)).into(),
            GroupBy::Comm => not_ours(until_nul(&identity.comm)).into(),
            GroupBy::Exe if identity.exe[0] == 0 => not_ours(until_nul(&identity.comm)).into(),
            GroupBy::Exe => not_ours(until_nul(&identity.exe)).into(),
            GroupBy::Cgroup | GroupBy::Unit | GroupBy::Container | GroupBy::Pod => {
                // What can't be read is counted where the limits are evaluated.
                let membership = self.membership(pid, identity, is_alive).ok().flatten();
                membership.map_or_else(|| UNKNOWN.to_owned().into(), |membership| by_cgroup(self.by, &membership))
            }
        }
    }

    fn name_without_leader(&self, pid: u32, comm: &[u8; COMM_BYTES]) -> String {
        match self.by {
            GroupBy::Comm | GroupBy::Exe => not_ours(until_nul(comm)),
            GroupBy::Pid => pid.to_string(),
            GroupBy::Cgroup | GroupBy::Unit | GroupBy::Container | GroupBy::Pod | GroupBy::User => UNKNOWN.to_owned(),
        }
    }
}

/// The group by a key that the cgroup names; where it does not name the one, the next wider.
fn by_cgroup(by: GroupBy, membership: &Membership) -> Named {
    let owner = &membership.owner;
    let pod = owner.short_pod().filter(|_| by == GroupBy::Pod);
    let container = || owner.short_container().filter(|_| matches!(by, GroupBy::Pod | GroupBy::Container));
    let unit = || owner.unit.as_deref().filter(|_| by != GroupBy::Cgroup);
    let name = pod.or_else(container).or_else(unit).unwrap_or(&membership.name);
    Named { name: not_ours(name.to_owned()), owner: Some(Arc::clone(owner)) }
}

/// The name of a group, as somebody chose it who is not us. One of ours, and what looks like one, gets a `\` before it:
/// `~other`, the `[kworker]` of kernel threads, and `host`, which alerts of the whole host have.
fn not_ours(name: String) -> String {
    let looks_like_ours = name.starts_with(['~', '[', '\\']) || name == "host";
    if looks_like_ours { format!("\\{name}") } else { name }
}

/// `[kworker]` of `kworker/0:1-events`.
fn kernel_thread_group(comm: &str) -> String {
    let name = comm.split('/').next().unwrap_or(comm);
    let mut group = String::with_capacity(name.len() + 2);
    // Writing to a String never fails.
    let _ = write!(group, "[{name}]");
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_threads_are_named_up_to_the_first_slash() {
        assert_eq!(kernel_thread_group("kworker/0:1-events"), "[kworker]");
        assert_eq!(kernel_thread_group("rcu_preempt"), "[rcu_preempt]");
    }

    #[test]
    fn a_name_that_somebody_chose_is_none_of_ours() {
        let mut names = Names::new(GroupBy::Comm);
        let mut name = |comm: &[u8], is_kernel_thread| {
            let mut identity = Identity { is_kernel_thread, ..Identity::default() };
            identity.comm[..comm.len()].copy_from_slice(comm);
            names.name(1, &identity, true).name
        };
        for (comm, expected) in [
            (&b"~lost"[..], "\\~lost"),
            (b"~other", "\\~other"),
            (b"[kworker]", "\\[kworker]"),
            (b"\\~lost", "\\\\~lost"),
            (b"host", "\\host"),
            (b"hostd", "hostd"),
            (b"a~[\\", "a~[\\"),
        ] {
            assert_eq!(name(comm, false), expected);
        }
        assert_eq!(name(b"kworker/0:1", true), "[kworker]");
    }

    #[test]
    fn an_ended_process_keeps_the_executable_it_had() {
        let mut process = record::ProcessPart::default();
        process.exe[..2].copy_from_slice(b"sh");
        let alive = Identity::of(&record::ThreadPart::default(), &process, &Identity::default());
        process.exe = [0; EXE_BYTES];
        assert_eq!(Identity::of(&record::ThreadPart::default(), &process, &alive), alive);
    }

    #[test]
    fn outside_of_pods_it_is_the_container_and_outside_of_those_the_unit_and_else_the_path() {
        let name = |by, path: &str| {
            let (owner, path): (_, Arc<str>) = (Arc::new(Owner::of(path)), path.into());
            let (pids, memory) = (Arc::clone(&path), Arc::clone(&path));
            let membership = Membership { name: Arc::clone(&path), owner, pids, memory, cpu: path };
            by_cgroup(by, &membership).name
        };
        let id = "0123456789abcdef".repeat(4);
        let uid = "0f5a3c1e-7b2d-4e6f-8a9b-0c1d2e3f4a5b";
        let in_pod = format!("/kubepods/pod{uid}/{id}");
        assert_eq!(name(GroupBy::Pod, &in_pod), uid);
        assert_eq!(name(GroupBy::Container, &in_pod), "0123456789ab");
        assert_eq!(name(GroupBy::Unit, &in_pod), in_pod);
        let in_docker = format!("/system.slice/docker-{id}.scope");
        assert_eq!(name(GroupBy::Pod, &in_docker), "0123456789ab");
        assert_eq!(name(GroupBy::Unit, &in_docker), format!("docker-{id}.scope"));
        assert_eq!(name(GroupBy::Cgroup, &in_docker), in_docker);
        assert_eq!(name(GroupBy::Pod, "/system.slice/nginx.service"), "nginx.service");
        assert_eq!(name(GroupBy::Container, "/plain"), "/plain");
    }
}
