//! From a process to the name of its group.

use std::{fmt::Write as _, fs, sync::Arc};

use clap::ValueEnum;
use nix::unistd::{Uid, User};
use rustc_hash::FxHashMap;
use serde::Serialize;
use thread_probe_ebpf::record::{self, COMM_BYTES, EXE_BYTES};

/// PF_KTHREAD of include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;
/// The group of a process that ended before what names its group could be read.
const UNKNOWN: &str = "~unknown";

/// What makes processes one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
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
}

impl Identity {
    /// From a leader's record. An ended process has no executable any more: it keeps the one it had.
    pub fn of(thread: &record::Thread, process: &record::Process, before: &Self) -> Self {
        Self {
            comm: thread.comm,
            exe: if process.exe[0] == 0 { before.exe } else { process.exe },
            uid: process.uid,
            is_kernel_thread: thread.flags & PF_KTHREAD != 0,
            css_set: process.css_set,
        }
    }
}

/// Text that the kernel ended by a 0 and a user chose: what is no UTF-8 becomes U+FFFD.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Names groups, and remembers what it had to look up.
pub struct Grouper {
    by: GroupBy,
    users: FxHashMap<u32, Arc<str>>,
    cgroups: FxHashMap<u64, CgroupPath>,
    sample: u64,
}

struct CgroupPath {
    path: Arc<str>,
    used_in: u64,
}

impl Grouper {
    /// A grouper by the given key.
    pub fn new(by: GroupBy) -> Self {
        Self { by, users: FxHashMap::default(), cgroups: FxHashMap::default(), sample: 0 }
    }

    /// The group of a process. Kernel threads have a group by their own name, whatever the key, unless it is the user
    /// or the process id, which they have as any other.
    pub(crate) fn name(&mut self, pid: u32, identity: &Identity, is_alive: bool) -> String {
        match self.by {
            GroupBy::User => self.user_name(identity.uid).to_string(),
            GroupBy::Pid => pid.to_string(),
            _ if identity.is_kernel_thread => kernel_thread_group(&text(&identity.comm)),
            GroupBy::Comm => text(&identity.comm),
            GroupBy::Exe if identity.exe[0] == 0 => text(&identity.comm),
            GroupBy::Exe => text(&identity.exe),
            GroupBy::Cgroup => self.cgroup(pid, identity.css_set, is_alive).to_string(),
            GroupBy::Unit => unit(&self.cgroup(pid, identity.css_set, is_alive)).to_owned(),
        }
    }

    /// The group of a process of which nothing is known but the name of a thread that ended.
    pub(crate) fn name_without_leader(&self, pid: u32, comm: &[u8; COMM_BYTES]) -> String {
        match self.by {
            GroupBy::Comm | GroupBy::Exe => text(comm),
            GroupBy::Pid => pid.to_string(),
            GroupBy::Cgroup | GroupBy::Unit | GroupBy::User => UNKNOWN.to_owned(),
        }
    }

    /// Keeps the path of a live process's cgroup.
    pub(crate) fn saw_alive(&mut self, identity: &Identity) {
        if let Some(known) = self.cgroups.get_mut(&identity.css_set) {
            known.used_in = self.sample;
        }
    }

    /// The user's name, or the number where there is none. Looked up once.
    pub(crate) fn user_name(&mut self, uid: u32) -> Arc<str> {
        let lookup = || match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => Arc::from(user.name),
            _ => Arc::from(uid.to_string()),
        };
        Arc::clone(self.users.entry(uid).or_insert_with(lookup))
    }

    /// The cgroup of a process. A `css_set` is one set of cgroups for as long as a process is in it, so its path is
    /// read once; the memory may be reused after, so it is forgotten when no process used it for two samples.
    fn cgroup(&mut self, pid: u32, css_set: u64, is_alive: bool) -> Arc<str> {
        let sample = self.sample;
        if let Some(known) = self.cgroups.get_mut(&css_set)
            && css_set != 0
        {
            known.used_in = sample;
            return Arc::clone(&known.path);
        }
        if !is_alive {
            // Its pid may be another's by now.
            return Arc::from(UNKNOWN);
        }
        let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let Some(path) = cgroup_path(&lines) else {
            return Arc::from(UNKNOWN);
        };
        let path: Arc<str> = Arc::from(path);
        self.cgroups.insert(css_set, CgroupPath { path: Arc::clone(&path), used_in: sample });
        path
    }

    /// Forgets what no process used for two samples.
    pub(crate) fn finish_sample(&mut self) {
        self.sample += 1;
        let oldest = self.sample.saturating_sub(2);
        self.cgroups.retain(|_, cgroup| cgroup.used_in >= oldest);
    }
}

/// `[kworker]` of `kworker/0:1-events`.
fn kernel_thread_group(comm: &str) -> String {
    let name = comm.split('/').next().unwrap_or(comm);
    let mut group = String::with_capacity(name.len() + 2);
    // Writing to a String never fails.
    let _ = write!(group, "[{name}]");
    group
}

/// The path in the v2 hierarchy, of the lines of /proc/PID/cgroup (cgroups(7)); where that is its root, as on a host
/// whose controllers are all v1, that of systemd's own hierarchy, or of the pids controller, or of any.
fn cgroup_path(lines: &str) -> Option<&str> {
    let path_of = |wanted: &dyn Fn(&str) -> bool| {
        lines.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            // The kernel says so of a cgroup that was removed while a process was in it.
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            (wanted(controllers) && path != "/").then_some(path)
        })
    };
    let v2 = path_of(&str::is_empty);
    let systemd = || path_of(&|controllers| controllers == "name=systemd");
    let pids = || path_of(&|controllers| controllers.split(',').any(|controller| controller == "pids"));
    let any = || path_of(&|_| true);
    let root = || lines.lines().next().map(|_| "/");
    v2.or_else(systemd).or_else(pids).or_else(any).or_else(root)
}

/// The unit of a cgroup's path.
fn unit(path: &str) -> &str {
    let deepest =
        |suffixes: &[&str]| path.rsplit('/').find(|part| suffixes.iter().any(|suffix| part.ends_with(suffix)));
    deepest(&[".service", ".scope"]).or_else(|| deepest(&[".slice"])).unwrap_or(path)
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
    fn the_v2_path_is_taken_unless_the_process_is_in_its_root() {
        assert_eq!(cgroup_path("0::/system.slice/a.service\n"), Some("/system.slice/a.service"));
        let v1 = "5:cpu,cpuacct:/c\n4:pids:/p\n1:name=systemd:/s:x\n0::/\n";
        assert_eq!(cgroup_path(v1), Some("/s:x"));
        assert_eq!(cgroup_path("5:cpu:/\n4:net_cls,pids:/p\n0::/\n"), Some("/p"));
        assert_eq!(cgroup_path("5:cpu:/c\n0::/\n"), Some("/c"));
        assert_eq!(cgroup_path("0::/\n"), Some("/"));
        assert_eq!(cgroup_path("0::/a.service (deleted)\n"), Some("/a.service"));
        assert_eq!(cgroup_path(""), None);
    }

    #[test]
    fn the_deepest_service_names_the_unit() {
        assert_eq!(unit("/user.slice/user-1.slice/user@1.service/app.slice/a.service"), "a.service");
        assert_eq!(unit("/system.slice/docker-12.scope/init"), "docker-12.scope");
        assert_eq!(unit("/machine.slice/x"), "machine.slice");
        assert_eq!(unit("/plain"), "/plain");
    }

    #[test]
    fn an_ended_process_keeps_the_executable_it_had() {
        let mut process = record::Process::default();
        process.exe[..2].copy_from_slice(b"sh");
        let alive = Identity::of(&record::Thread::default(), &process, &Identity::default());
        process.exe = [0; EXE_BYTES];
        assert_eq!(Identity::of(&record::Thread::default(), &process, &alive), alive);
    }

    #[test]
    fn a_name_that_is_no_utf8_stays_readable() {
        assert_eq!(text(b"a\xffb\0c"), "a\u{fffd}b");
    }
}
