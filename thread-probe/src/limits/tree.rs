//! The limits that cgroups set: those of a process's own and of every one above it.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc};

use procfs::process::{MountInfos, Process};
use rustc_hash::FxHashMap;

use super::{Limit, LimitUse, Scope, cgroup_setting, files::Files};
use crate::cgroups::{Hierarchy, Membership};

/// What version 1 says of a cgroup without a memory limit, or more: PAGE_COUNTER_MAX in bytes.
const NO_MEMORY_LIMIT: u64 = 1 << 62;
/// `memory.stat` takes longer to read than all else together: far from the limit, not every pass reads it.
const PASSES_PER_STAT: u64 = 10;

/// The cgroups of all processes, by controller.
pub(super) struct Tree {
    pids: Controller,
    memory: Controller,
    pass: u64,
}

struct Controller {
    hierarchy: Option<Hierarchy>,
    nodes: FxHashMap<Arc<str>, Node>,
}

struct Node {
    folder: PathBuf,
    /// The inode of its folder.
    id: u64,
    pass: u64,
    /// Where its limit is among those of this pass, if it sets one.
    limit: Option<usize>,
    reclaimable_bytes: Option<u64>,
}

impl Tree {
    /// The hierarchies that are mounted now.
    pub(super) fn new(files: &mut Files) -> Self {
        let mounts = Process::myself().and_then(|process| process.mountinfo());
        if let Err(error) = &mounts {
            files.failed("mountinfo", "/proc/self/mountinfo".as_ref(), error);
        }
        let mounts = mounts.unwrap_or_else(|_| MountInfos(Vec::new()));
        let controller =
            |name| Controller { hierarchy: Hierarchy::of_controller(&mounts, name), nodes: FxHashMap::default() };
        Self { pids: controller("pids"), memory: controller("memory"), pass: 0 }
    }

    /// Adds the limits of a process's cgroups to `limits`, each once a pass, and returns where they are.
    pub(super) fn limits_of(
        &mut self,
        membership: &Membership,
        thread_bytes: u64,
        files: &mut Files,
        limits: &mut Vec<LimitUse>,
    ) -> Vec<usize> {
        let pass = self.pass;
        let mut found = Vec::new();
        for path in ancestors(&membership.pids) {
            found.extend(self.pids.limit(path, pass, limits, |node, _| pids(node, path, files)));
        }
        for path in ancestors(&membership.memory) {
            let read = |node: &mut Node, is_v2| memory(node, path, is_v2, pass, thread_bytes, files);
            found.extend(self.memory.limit(path, pass, limits, read));
        }
        found
    }

    /// The path of the cgroup with that inode.
    pub(super) fn path_of(&self, id: u64) -> Option<&Arc<str>> {
        let nodes = self.pids.nodes.iter().chain(&self.memory.nodes);
        nodes.into_iter().find(|(_, node)| node.id == id).map(|(path, _)| path)
    }

    /// Forgets the cgroups that no process is in.
    pub(super) fn finish_pass(&mut self) {
        let pass = self.pass;
        for controller in [&mut self.pids, &mut self.memory] {
            controller.nodes.retain(|_, node| node.pass == pass);
        }
        self.pass += 1;
    }
}

impl Controller {
    fn limit(
        &mut self,
        path: &str,
        pass: u64,
        limits: &mut Vec<LimitUse>,
        read: impl FnOnce(&mut Node, bool) -> Option<LimitUse>,
    ) -> Option<usize> {
        let hierarchy = self.hierarchy.as_ref()?;
        if !self.nodes.contains_key(path) {
            let folder = hierarchy.folder(path)?;
            // A cgroup that is gone has no limit either.
            let id = fs::metadata(&folder).map_or(0, |folder| folder.ino());
            // Of no pass yet, so that it is read below.
            let node = Node { folder, id, pass: u64::MAX, limit: None, reclaimable_bytes: None };
            self.nodes.insert(Arc::from(path), node);
        }
        let node = self.nodes.get_mut(path)?;
        if node.pass != pass {
            node.pass = pass;
            node.limit = read(node, hierarchy.is_v2).map(|limit| {
                limits.push(limit);
                limits.len() - 1
            });
        }
        node.limit
    }
}

/// A path and those above it, without the root, which has no limit.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    let ends = path.match_indices('/').map(|(end, _)| end).rev();
    std::iter::once(path.len()).chain(ends).map(|end| &path[..end]).filter(|path| !path.is_empty())
}

fn pids(node: &mut Node, path: &str, files: &mut Files) -> Option<LimitUse> {
    let max = files.number(&node.folder, "pids.max")?;
    let used = files.number(&node.folder, "pids.current")?;
    let limit = of_cgroup(Limit::CgroupPids, path).of_threads(used, max);
    let peak = files.number(&node.folder, "pids.peak");
    Some(LimitUse { peak, refused: files.keyed(&node.folder, "pids.events", "max"), ..limit })
}

fn memory(
    node: &mut Node,
    path: &str,
    is_v2: bool,
    pass: u64,
    thread_bytes: u64,
    files: &mut Files,
) -> Option<LimitUse> {
    let (max_file, used_file) =
        if is_v2 { ("memory.max", "memory.current") } else { ("memory.limit_in_bytes", "memory.usage_in_bytes") };
    let max = files.number(&node.folder, max_file).filter(|max| *max < NO_MEMORY_LIMIT)?;
    let used = files.number(&node.folder, used_file)?;
    let is_due = used > max / 2 || (pass + node.id).is_multiple_of(PASSES_PER_STAT);
    if is_due || node.reclaimable_bytes.is_none() {
        node.reclaimable_bytes = reclaimable_bytes(node, is_v2, files);
    }
    let used = used.saturating_sub(node.reclaimable_bytes.unwrap_or(0));
    Some(of_cgroup(Limit::CgroupMemory, path).of_bytes(used, max, thread_bytes))
}

/// What the kernel takes back before it refuses: the page cache, as in MemAvailable of the host.
fn reclaimable_bytes(node: &Node, is_v2: bool, files: &mut Files) -> Option<u64> {
    let keys: &[&str] = if is_v2 {
        &["active_file", "inactive_file", "slab_reclaimable"]
    } else {
        // Those of the cgroups below included.
        &["total_active_file", "total_inactive_file"]
    };
    let text = files.read(&node.folder, "memory.stat")?;
    Some(keys.iter().filter_map(|key| super::files::keyed(text, key)).sum())
}

fn of_cgroup(limit: Limit, path: &str) -> LimitUse {
    LimitUse::new(limit, Scope::Cgroup, Arc::from(path), Arc::from(cgroup_setting(limit, path)))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_cgroup_is_below_those_that_its_path_begins_with() {
        assert_eq!(ancestors("/a/b c/d").collect::<Vec<_>>(), ["/a/b c/d", "/a/b c", "/a"]);
        assert_eq!(ancestors("/").count(), 0);
    }

    fn node(files: &[(&str, &str)]) -> io::Result<(tempfile::TempDir, Node)> {
        let folder = tempfile::tempdir()?;
        for (name, text) in files {
            fs::write(folder.path().join(name), text)?;
        }
        let path = folder.path().to_path_buf();
        Ok((folder, Node { folder: path, id: 1, pass: 0, limit: None, reclaimable_bytes: None }))
    }

    #[test]
    fn a_units_limit_is_called_by_its_directive_and_anothers_by_its_file() -> io::Result<()> {
        let contents = [("pids.max", "50\n"), ("pids.current", "49\n"), ("pids.events", "max 7\n")];
        let (_folder, mut node) = node(&contents)?;
        let of_unit = pids(&mut node, "/system.slice/a.service", &mut Files::new());
        assert_eq!(of_unit.as_ref().map(|limit| &*limit.set_by), Some("TasksMax of a.service"));
        assert_eq!(of_unit.map(|limit| (limit.used, limit.max, limit.refused)), Some((49, 50, Some(7))));
        let other = pids(&mut node, "/a", &mut Files::new());
        assert_eq!(other.as_ref().map(|limit| &*limit.set_by), Some("pids.max of /a"));
        Ok(())
    }

    #[test]
    fn max_is_no_limit_in_either_version() -> io::Result<()> {
        let contents =
            [("pids.max", "max\n"), ("memory.max", "max\n"), ("memory.limit_in_bytes", "9223372036854771712\n")];
        let (_folder, mut node) = node(&contents)?;
        let mut files = Files::new();
        assert_eq!(pids(&mut node, "/a", &mut files), None);
        assert_eq!(memory(&mut node, "/a", true, 0, 1, &mut files), None);
        assert_eq!(memory(&mut node, "/a", false, 0, 1, &mut files), None);
        Ok(())
    }

    #[test]
    fn page_cache_does_not_count_as_used() -> io::Result<()> {
        let stat = "anon 5\ninactive_file 300\nactive_file 100\nslab_reclaimable 50\nslab 70\n";
        let contents = [("memory.max", "1000\n"), ("memory.current", "900\n"), ("memory.stat", stat)];
        let (_folder, mut node) = node(&contents)?;
        let limit = memory(&mut node, "/a", true, 0, 10, &mut Files::new());
        assert_eq!(limit.map(|limit| (limit.used, limit.headroom_threads)), Some((450, 55)));
        Ok(())
    }
}
