//! Cgroups: which ones a process is in, and where their files are. Version 1 and 2, and both at once.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::libc::ESRCH;
use procfs::process::MountInfos;
use rustc_hash::FxHashMap;

use crate::names::{
    cgroup_namespace::{self, CgroupNamespace},
    cgroup_path,
    owner::Owner,
};

/// The cgroups of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The path people know it by: see [`name_path`].
    pub name: Arc<str>,
    /// Whose that one is.
    pub owner: Arc<Owner>,
    /// The path in the hierarchy of the pids controller, as [`cgroup_path::text`].
    pub pids: Arc<str>,
    /// The path in the hierarchy of the memory controller, as [`cgroup_path::text`].
    pub memory: Arc<str>,
    /// The path in the hierarchy of the cpu controller, as [`cgroup_path::text`].
    pub cpu: Arc<str>,
}

impl Membership {
    /// From the lines of /proc/PID/cgroup (cgroups(7)); `None` if there are none.
    fn parse(lines: &str) -> Option<Self> {
        let path = |wanted: &str| controller_path(lines, |controllers| controllers == wanted);
        let of = |controller: &str| {
            let own = controller_path(lines, |controllers| controllers.split(',').any(|name| name == controller));
            Arc::from(own.or_else(|| path("")).unwrap_or("/"))
        };
        let (name, owner) = name_path(lines)?;
        Some(Self {
            name: Arc::from(cgroup_path::shown(name)),
            owner: Arc::new(owner),
            pids: of("pids"),
            memory: of("memory"),
            cpu: of("cpu"),
        })
    }
}

fn controller_path(lines: &str, is_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    lines.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        // The kernel says so of a cgroup that was removed while a process was in it.
        is_wanted(controllers).then(|| path.strip_suffix(" (deleted)").unwrap_or(path))
    })
}

/// The path in the v2 hierarchy; where that is its root, as on a host whose controllers are all v1, that of systemd's
/// own hierarchy, or of the pids controller, or of any. On a host with both, runtimes may make cgroups in those of v1
/// alone and leave the container's processes in the v2 cgroup of who started it: the first path that names a container
/// counts.
fn name_path(lines: &str) -> Option<(&str, Owner)> {
    let path_of = |is_wanted: &dyn Fn(&str) -> bool| {
        lines.lines().find_map(|line| controller_path(line, is_wanted).filter(|path| *path != "/"))
    };
    let v2 = path_of(&str::is_empty);
    let systemd = path_of(&|controllers| controllers == "name=systemd");
    let pids = path_of(&|controllers| controllers.split(',').any(|controller| controller == "pids"));
    let any = path_of(&|_| true);
    let root = lines.lines().next().map(|_| "/");
    let paths = || [v2, systemd, pids, any, root].into_iter().flatten().map(|path| (path, Owner::of(path)));
    paths().find(|(_, owner)| owner.container.is_some()).or_else(|| paths().next())
}

/// What processes are in, read once for each `css_set`.
#[derive(Default)]
pub(crate) struct Memberships {
    known: FxHashMap<(u64, u64), Known>,
    sample: u64,
}

struct Known {
    membership: Arc<Membership>,
    used_in: u64,
}

impl Memberships {
    /// The cgroups of a process; `None` if it ended before they could be read. A `css_set` is one set of cgroups for as
    /// long as a process is in it, so it is read once; the memory may be reused after, so it is forgotten when no
    /// process used it for two samples, and the id of the v2 cgroup must be the same.
    ///
    /// # Errors
    /// The process is there and its cgroups may not be read.
    pub(crate) fn of(
        &mut self,
        pid: u32,
        (css_set, cgroup_id): (u64, u64),
        is_alive: bool,
    ) -> io::Result<Option<Arc<Membership>>> {
        let sample = self.sample;
        if let Some(known) = self.known.get_mut(&(css_set, cgroup_id))
            && css_set != 0
        {
            known.used_in = sample;
            return Ok(Some(Arc::clone(&known.membership)));
        }
        if !is_alive {
            // Its pid may be another's by now.
            return Ok(None);
        }
        let lines = match fs::read(format!("/proc/{pid}/cgroup")) {
            Ok(lines) => cgroup_path::text(&lines),
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let lines = CgroupNamespace::own().absolute_lines(lines);
        let Some(membership) = Membership::parse(&lines).map(Arc::new) else { return Ok(None) };
        let known = Known { membership: Arc::clone(&membership), used_in: sample };
        self.known.insert((css_set, cgroup_id), known);
        Ok(Some(membership))
    }

    /// Forgets what no process used for two samples.
    pub(crate) fn finish_sample(&mut self) {
        self.sample += 1;
        let oldest = self.sample.saturating_sub(2);
        self.known.retain(|_, known| known.used_in >= oldest);
    }
}

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The cgroup that is mounted there; `/` but in containers where the host's tree is not.
    root: PathBuf,
    /// Whether it is the unified one.
    pub is_v2: bool,
}

impl Hierarchy {
    /// The hierarchy that has a controller: its own of version 1, else the unified one. `None` if neither is mounted.
    pub fn of_controller(mounts: &MountInfos, controller: &str) -> Option<Self> {
        let of = |controller: &str| {
            let mount = cgroup_namespace::mount_of(mounts, controller)?;
            let root = CgroupNamespace::own().absolute(controller, &mount.root);
            Some(Self {
                mount_point: mount.mount_point.clone(),
                root: PathBuf::from(root.as_ref()),
                is_v2: controller.is_empty(),
            })
        };
        of(controller).or_else(|| of(""))
    }

    /// The folder of a cgroup below the mount point; `None` if it is outside of what is mounted.
    pub fn folder(&self, path: &str) -> Option<PathBuf> {
        let path = PathBuf::from(cgroup_path::bytes(path));
        let within = path.strip_prefix(&self.root).ok()?;
        // Of a process outside this cgroup namespace the kernel says `/../other`, if we could not tell what that is.
        let is_below = within.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        is_below.then(|| within.to_path_buf())
    }

    /// The path of the cgroup whose folder that is; `None` if it is outside of what is mounted.
    pub fn path(&self, folder: &Path) -> Option<String> {
        let path = self.root.join(folder.strip_prefix(&self.mount_point).ok()?);
        Some(cgroup_path::text(path.as_os_str().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_v2_path_is_taken_unless_the_process_is_in_its_root() {
        let name_path = |lines| super::name_path(lines).map(|(path, _)| path);
        assert_eq!(name_path("0::/system.slice/a.service\n"), Some("/system.slice/a.service"));
        let v1 = "5:cpu,cpuacct:/c\n4:pids:/p\n1:name=systemd:/s:x\n0::/\n";
        assert_eq!(name_path(v1), Some("/s:x"));
        assert_eq!(name_path("5:cpu:/\n4:net_cls,pids:/p\n0::/\n"), Some("/p"));
        assert_eq!(name_path("5:cpu:/c\n0::/\n"), Some("/c"));
        assert_eq!(name_path("0::/\n"), Some("/"));
        assert_eq!(name_path("0::/a.service (deleted)\n"), Some("/a.service"));
        assert_eq!(name_path(""), None);
    }

    #[test]
    fn a_container_that_only_version_1_knows_is_found_although_the_v2_path_is_that_of_who_started_it() {
        let id = "0123456789abcdef".repeat(4);
        let lines = format!("9:pids:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/system.slice/containerd.service\n");
        let found = name_path(&lines).map(|(path, owner)| (path.to_owned(), owner.container));
        assert_eq!(found, Some((format!("/docker/{id}"), Some(id.into()))));
    }

    #[test]
    fn each_controller_has_its_own_path_in_version_1_and_the_unified_one_in_version_2() {
        let paths = |lines| Membership::parse(lines).map(|of| (of.pids.to_string(), of.memory.to_string()));
        let (pids, memory) = ("/p".to_owned(), "/m".to_owned());
        assert_eq!(paths("4:net_cls,pids:/p\n3:memory:/m\n0::/u\n"), Some((pids.clone(), memory)));
        assert_eq!(paths("4:pids:/p\n0::/u\n"), Some((pids, "/u".to_owned())));
        assert_eq!(paths("0::/u\n"), Some(("/u".to_owned(), "/u".to_owned())));
        assert_eq!(paths(""), None);
    }

    #[test]
    fn a_folder_is_below_the_mount_point_or_there_is_none() {
        let hierarchy = Hierarchy { mount_point: "/sys/fs/cgroup".into(), root: "/".into(), is_v2: true };
        assert_eq!(hierarchy.folder("/a/b"), Some("a/b".into()));
        assert_eq!(hierarchy.folder("/"), Some("".into()));
        assert_eq!(hierarchy.folder("/../b"), None);
        let within = Hierarchy { root: "/docker/1".into(), ..hierarchy };
        assert_eq!(within.folder("/docker/1/a"), Some("a".into()));
        assert_eq!(within.folder("/other"), None);
    }
}
