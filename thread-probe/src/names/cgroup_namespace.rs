//! The root of our own cgroup namespace in the hierarchies that are mounted.
//!
//! In a namespace of its own, as Kubernetes gives containers on version 2, the kernel tells every path relative to that
//! namespace's root: `/../../system.slice/sshd.service` (cgroup_namespaces(7)). Of the host's tree, where that is
//! mounted, it says that its root is so many levels up. At that depth our own process is found, and that is the root.

use std::{
    borrow::Cow,
    fs,
    path::{Component, Path, PathBuf},
    sync::LazyLock,
};

use procfs::process::{MountInfo, MountInfos, Process};

static OWN: LazyLock<CgroupNamespace> = LazyLock::new(|| {
    let lines = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    // Who reads the limits reports it where mountinfo is not readable.
    mounts.map_or_else(|_| CgroupNamespace::default(), |mounts| CgroupNamespace::find(&mounts, &lines))
});

/// Of each hierarchy in which our namespace's root is below what is mounted: its controllers, as in /proc/PID/cgroup,
/// and the path of that root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupNamespace {
    roots: Vec<(String, String)>,
}

impl CgroupNamespace {
    /// Ours, looked for once: a namespace's root stays.
    pub(crate) fn own() -> &'static Self {
        &OWN
    }

    fn find(mounts: &MountInfos, lines: &str) -> Self {
        let mut roots = Vec::new();
        for (controllers, path) in lines.lines().filter_map(fields) {
            let mount = mount_of(mounts, first(controllers));
            let Some((mount, levels)) = mount.and_then(|mount| Some((mount, levels_up(mount)?))) else { continue };
            if let Some(root) = root(mount, levels, path) {
                roots.push((controllers.to_owned(), root));
            } else {
                tracing::warn!(
                    tree = %mount.mount_point.display(),
                    "our cgroup namespace is not found in it: cgroups have names relative to it, and of those beside it no limits are read"
                );
            }
        }
        Self { roots }
    }

    /// The lines of a /proc/PID/cgroup with paths from the root of what is mounted, where that is known.
    pub(crate) fn absolute_lines(&self, lines: String) -> String {
        if self.roots.is_empty() {
            return lines;
        }
        let absolute = |line: &str| match fields(line) {
            Some((controllers, path)) => {
                format!("0:{controllers}:{}\n", self.absolute(first(controllers), path))
            }
            None => format!("{line}\n"),
        };
        lines.lines().map(absolute).collect()
    }

    /// A path, such as that of a mount's root, in the hierarchy of a controller of version 1, or in the unified one, by
    /// "".
    pub(crate) fn absolute<'a>(&self, controller: &str, path: &'a str) -> Cow<'a, str> {
        let is_of = |(controllers, _): &&(String, String)| controllers.split(',').any(|name| name == controller);
        let root = self.roots.iter().find(is_of);
        root.and_then(|(_, root)| join(root, path)).map_or(Cow::Borrowed(path), Cow::Owned)
    }
}

/// The controllers and the path.
fn fields(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// Any of the controllers of a hierarchy stands for it.
fn first(controllers: &str) -> &str {
    controllers.split(',').next().unwrap_or_default()
}

/// The mount of the hierarchy of a controller (or `name=…`) of version 1, or of the unified one, by "".
pub(crate) fn mount_of<'a>(mounts: &'a MountInfos, controller: &str) -> Option<&'a MountInfo> {
    let is_of = |mount: &&MountInfo| match (controller.split_once('='), &*mount.fs_type) {
        (_, "cgroup2") => controller.is_empty(),
        (Some((key, name)), "cgroup") => mount.super_options.get(key).is_some_and(|of| of.as_deref() == Some(name)),
        (None, "cgroup") => mount.super_options.contains_key(controller),
        _ => false,
    };
    // Of several on one another the last is on top.
    mounts.0.iter().rfind(is_of)
}

/// By how many levels what is mounted is above the root of our namespace; `None` if it is not.
fn levels_up(mount: &MountInfo) -> Option<usize> {
    let parts: Vec<&str> = mount.root.split('/').skip(1).collect();
    parts.iter().all(|part| *part == "..").then_some(parts.len())
}

/// The root's path below a mount that is so many levels above it. Our own process is in the cgroup `own` below the
/// root.
fn root(mount: &MountInfo, levels: usize, own: &str) -> Option<String> {
    let own = own.trim_end_matches('/');
    let depth = levels + own.matches('/').count();
    let folder = find_process(&mount.mount_point, depth, &std::process::id().to_string())?;
    let path = format!("/{}", folder.strip_prefix(&mount.mount_point).ok()?.to_str()?);
    path.strip_suffix(own).map(str::to_owned)
}

/// The folder that is so deep and has that process in it.
fn find_process(folder: &Path, depth: usize, pid: &str) -> Option<PathBuf> {
    if depth == 0 {
        let processes = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
        return processes.lines().any(|line| line == pid).then(|| folder.to_path_buf());
    }
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    entries.find_map(|entry| {
        let is_cgroup = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_cgroup.then(|| find_process(&entry.path(), depth - 1, pid)).flatten()
    })
}

/// A path relative to a root; `None` if it is above that root.
fn join(root: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(name) => parts.push(name.to_str()?),
            _ => {}
        }
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use procfs::FromRead as _;

    use super::*;

    fn namespace() -> CgroupNamespace {
        let root = |controllers: &str| (controllers.to_owned(), "/kubepods/pod1/c1".to_owned());
        CgroupNamespace { roots: vec![root(""), root("cpu,cpuacct")] }
    }

    #[test]
    fn paths_relative_to_the_namespace_become_those_of_the_host() {
        let absolute = |path| namespace().absolute("", path).into_owned();
        assert_eq!(absolute("/"), "/kubepods/pod1/c1");
        assert_eq!(absolute("/own:1 (deleted)"), "/kubepods/pod1/c1/own:1 (deleted)");
        assert_eq!(absolute("/../c2"), "/kubepods/pod1/c2");
        assert_eq!(absolute("/../../../system.slice/a.service"), "/system.slice/a.service");
        // The root of the mount.
        assert_eq!(absolute("/../../.."), "/");
    }

    #[test]
    fn what_is_above_the_mounted_tree_stays_as_the_kernel_tells_it() {
        assert_eq!(namespace().absolute("", "/../../../../a"), "/../../../../a");
        assert_eq!(namespace().absolute("memory", "/../c2"), "/../c2");
    }

    #[test]
    fn each_line_is_told_from_the_root_of_its_own_hierarchy() {
        let lines = "3:cpu,cpuacct:/../c2\n2:memory:/m\n0::/../../x:y\n".to_owned();
        let expected = "0:cpu,cpuacct:/kubepods/pod1/c2\n0:memory:/m\n0::/kubepods/x:y\n";
        assert_eq!(namespace().absolute_lines(lines.clone()), expected);
        assert_eq!(CgroupNamespace::default().absolute_lines(lines.clone()), lines);
        assert_eq!(namespace().absolute("cpuacct", "/../../.."), "/");
    }

    #[test]
    fn a_tree_is_searched_if_it_is_mounted_from_above_the_namespace_and_of_mounts_on_one_another_the_last() {
        let levels = |lines: &str, controllers: &str| {
            let mounts = MountInfos::from_read(lines.as_bytes()).ok()?;
            mount_of(&mounts, controllers).and_then(levels_up)
        };
        let of = |root: &str| format!("30 1 0:26 {root} /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
        assert_eq!(levels(&of("/../.."), ""), Some(2));
        assert_eq!(levels(&of("/"), ""), None);
        assert_eq!(levels(&of("/../beside"), ""), None);
        assert_eq!(levels(&(of("/") + &of("/..")), ""), Some(1));
        assert_eq!(levels(&of("/.."), "memory"), None);
        let v1 = "31 1 0:27 /.. /c ro - cgroup cgroup rw,xattr,name=systemd\n32 1 0:28 /../.. /p ro - cgroup cgroup rw,pids\n";
        assert_eq!(levels(v1, "name=systemd"), Some(1));
        assert_eq!(levels(v1, "pids"), Some(2));
        assert_eq!(levels(v1, ""), None);
    }
}
