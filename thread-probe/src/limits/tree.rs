//! The limits that cgroups set: those of a process's own and of every one above it.

use std::{
    collections::VecDeque,
    fs,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::DirEntryExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    fcntl::{AtFlags, OFlag},
    sys::stat::{Mode, fstatat},
};
use procfs::process::{MountInfos, Process};
use rustc_hash::FxHashMap;

use super::{
    Limit, LimitUse, Scope, cgroup_setting,
    files::{Files, Folder, keyed},
};
use crate::names::{
    cgroup_path,
    cgroups::{Hierarchy, Membership},
    owner::own_unit,
};

/// What version 1 says of a cgroup without a memory limit, or more: PAGE_COUNTER_MAX in bytes.
const NO_MEMORY_LIMIT: u64 = 1 << 62;
/// How often a limit that is less than half used is asked for more than its use.
const PASSES_PER_DETAIL: u64 = 10;

/// The cgroups of all processes, by controller.
pub(super) struct Tree {
    pids: Controller,
    memory: Controller,
    pass: u64,
    wants_details: bool,
}

struct Controller {
    limit: Limit,
    hierarchy: Option<(Hierarchy, OwnedFd)>,
    nodes: FxHashMap<Arc<str>, Node>,
    /// All folders below what is mounted by their inodes, if one was looked for in this pass.
    by_id: Option<FxHashMap<u64, PathBuf>>,
}

struct Node {
    folder: PathBuf,
    /// The inode of its folder.
    id: u64,
    pass: u64,
    /// Where its limit is among those of this pass, if it sets one.
    limit: Option<usize>,
    details: Option<Details>,
}

/// What changes little: all but the use.
#[derive(Clone, Copy, Default)]
struct Details {
    /// `None` without a limit.
    max: Option<u64>,
    peak: Option<u64>,
    refused: Option<u64>,
    reclaimable_bytes: u64,
    /// The use when this was read.
    used: u64,
}

impl Tree {
    /// The hierarchies that are mounted now.
    pub(super) fn new(mounts: &MountInfos, files: &mut Files) -> Self {
        let mut controller = |name, limit| Controller::new(limit, Hierarchy::of_controller(mounts, name), files);
        let (pids, memory) = (controller("pids", Limit::CgroupPids), controller("memory", Limit::CgroupMemory));
        Self { pids, memory, pass: 0, wants_details: true }
    }

    /// Asks for all details in the next pass: some cgroup has refused a clone.
    pub(super) fn want_details(&mut self) {
        self.wants_details = true;
    }

    /// Adds the limits of a process's cgroups to `limits`, each once a pass, and returns where they are.
    pub(super) fn limits_of(
        &mut self,
        membership: &Membership,
        thread_bytes: u64,
        files: &mut Files,
        limits: &mut Vec<LimitUse>,
    ) -> Vec<usize> {
        let Self { pass: number, wants_details, .. } = *self;
        let mut pass = Pass { number, wants_details, thread_bytes, files, limits };
        let pids = ancestors(&membership.pids).filter_map(|path| self.pids.limit_of(path, &mut pass));
        let mut found: Vec<usize> = pids.collect();
        found.extend(ancestors(&membership.memory).filter_map(|path| self.memory.limit_of(path, &mut pass)));
        found
    }

    /// The path of the cgroup with that inode in the hierarchy of a controller; version 1 has one for each. Where no
    /// process is in it any more it is looked for.
    pub(super) fn path_of(&mut self, limit: Limit, id: u64) -> Option<Arc<str>> {
        let controller = if limit == Limit::CgroupMemory { &mut self.memory } else { &mut self.pids };
        let of_process = controller.nodes.iter().find(|(_, node)| node.id == id).map(|(path, _)| Arc::clone(path));
        let path = of_process.or_else(|| controller.empty_cgroup(id))?;
        Some(Arc::from(cgroup_path::shown(&path)))
    }

    /// Forgets the cgroups that no process is in.
    pub(super) fn finish_pass(&mut self) {
        let pass = self.pass;
        for controller in [&mut self.pids, &mut self.memory] {
            controller.nodes.retain(|_, node| node.pass == pass);
            controller.by_id = None;
        }
        self.pass += 1;
        self.wants_details = false;
    }
}

impl Controller {
    fn new(limit: Limit, hierarchy: Option<Hierarchy>, files: &mut Files) -> Self {
        Self { limit, hierarchy: opened(hierarchy, files), nodes: FxHashMap::default(), by_id: None }
    }

    fn empty_cgroup(&mut self, id: u64) -> Option<Arc<str>> {
        let (hierarchy, _) = self.hierarchy.as_ref()?;
        let folder = self.by_id.get_or_insert_with(|| folders(&hierarchy.mount_point)).get(&id)?;
        hierarchy.path(folder).map(Arc::from)
    }

    /// Where the limit of a cgroup is among those of this pass, if it sets one.
    fn limit_of(&mut self, path: &str, pass: &mut Pass<'_>) -> Option<usize> {
        let (hierarchy, root) = self.hierarchy.as_ref()?;
        if !self.nodes.contains_key(path) {
            self.nodes.insert(Arc::from(path), Node::new(hierarchy.folder(path)?));
        }
        let node = self.nodes.get_mut(path)?;
        if node.pass == pass.number {
            return node.limit;
        }
        node.pass = pass.number;
        if pass.wants_details || (pass.number + node.id).is_multiple_of(PASSES_PER_DETAIL) {
            node.details = None;
        }
        if node.details.is_none() {
            node.identify(root.as_fd());
        }
        let limit = match self.limit {
            Limit::CgroupMemory => memory(node, path, root.as_fd(), hierarchy.is_v2, pass),
            _ => pids(node, path, root.as_fd(), pass.files),
        };
        node.limit = limit.map(|limit| {
            pass.limits.push(limit);
            pass.limits.len() - 1
        });
        node.limit
    }
}

/// What is mounted.
pub(super) fn mounts(files: &mut Files) -> MountInfos {
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    if let Err(error) = &mounts {
        files.failed("mountinfo", "/proc/self/mountinfo".as_ref(), error);
    }
    mounts.unwrap_or_else(|_| MountInfos(Vec::new()))
}

/// A hierarchy with its folder, open.
pub(super) fn opened(hierarchy: Option<Hierarchy>, files: &mut Files) -> Option<(Hierarchy, OwnedFd)> {
    let hierarchy = hierarchy?;
    match nix::fcntl::open(&hierarchy.mount_point, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(root) => Some((hierarchy, root)),
        Err(error) => {
            files.failed("cgroupfs", &hierarchy.mount_point, &error);
            None
        }
    }
}

/// The folders below one by their inodes, the upper ones first. Of more than any kernel will have, some are left out.
fn folders(top: &Path) -> FxHashMap<u64, PathBuf> {
    const MOST: usize = 65_536;
    let mut found = FxHashMap::default();
    let mut waiting = VecDeque::from([top.to_owned()]);
    while let Some(folder) = waiting.pop_front() {
        // One that is removed meanwhile is none.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if found.len() < MOST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.insert(entry.ino(), entry.path());
                waiting.push_back(entry.path());
            }
        }
    }
    found
}

/// What one pass has at hand.
struct Pass<'a> {
    number: u64,
    wants_details: bool,
    thread_bytes: u64,
    files: &'a mut Files,
    limits: &'a mut Vec<LimitUse>,
}

impl Node {
    fn new(folder: PathBuf) -> Self {
        // Of no pass yet, so that it is read.
        Self { folder, id: 0, pass: u64::MAX, limit: None, details: None }
    }

    /// A cgroup may have been removed and made again under its name. One that is gone has no limit either.
    fn identify(&mut self, root: BorrowedFd<'_>) {
        self.id = fstatat(root, &self.folder, AtFlags::AT_EMPTY_PATH).map_or(0, |folder| folder.st_ino);
    }

    fn folder<'a>(&'a self, root: BorrowedFd<'a>) -> Folder<'a> {
        Folder { root, path: &self.folder }
    }

    /// The details for a use; those of before if they will do.
    fn details(&mut self, used: u64, read: impl FnOnce(&Self) -> Details) -> Details {
        let will_do = |known: &Details| known.max.is_none_or(|max| used <= max / 2 || used <= known.used);
        match self.details.filter(will_do) {
            Some(known) => known,
            None => *self.details.insert(Details { used, ..read(self) }),
        }
    }
}

/// A path and those above it, up to the root, which has a limit where it is a container's.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    let ends = path.match_indices('/').map(|(end, _)| end).rev();
    std::iter::once(path.len()).chain(ends).map(|end| if end == 0 { "/" } else { &path[..end] })
}

fn pids(node: &mut Node, path: &str, root: BorrowedFd<'_>, files: &mut Files) -> Option<LimitUse> {
    if let Some(Details { max: None, .. }) = node.details {
        return None;
    }
    let used = files.number(node.folder(root), "pids.current")?;
    let details = node.details(used, |node| {
        let folder = node.folder(root);
        // Where there is a local file it counts what this limit refused; else it is what was refused to threads in it.
        let local = files.keyed(folder, "pids.events.local", "max");
        let refused = local.or_else(|| files.keyed(folder, "pids.events", "max"));
        let (max, peak) = (files.number(folder, "pids.max"), files.number(folder, "pids.peak"));
        Details { max, peak, refused, ..Details::default() }
    });
    // Known to be higher, if the details are older.
    let peak = details.peak.map(|peak| peak.max(used));
    let limit = of_cgroup(Limit::CgroupPids, path).of_threads(used, details.max?);
    Some(LimitUse { peak, refused: details.refused, ..limit })
}

fn memory(node: &mut Node, path: &str, root: BorrowedFd<'_>, is_v2: bool, pass: &mut Pass<'_>) -> Option<LimitUse> {
    let (thread_bytes, files) = (pass.thread_bytes, &mut *pass.files);
    if let Some(Details { max: None, .. }) = node.details {
        return None;
    }
    let (max_file, used_file) =
        if is_v2 { ("memory.max", "memory.current") } else { ("memory.limit_in_bytes", "memory.usage_in_bytes") };
    let used = files.number(node.folder(root), used_file)?;
    let details = node.details(used, |node| {
        let max = files.number(node.folder(root), max_file).filter(|max| *max < NO_MEMORY_LIMIT);
        let reclaimable_bytes = max.map_or(0, |_| reclaimable(node.folder(root), is_v2, files));
        Details { max, reclaimable_bytes, ..Details::default() }
    });
    let used = used.saturating_sub(details.reclaimable_bytes);
    let mut limit = of_cgroup(Limit::CgroupMemory, path).of_bytes(used, details.max?, thread_bytes);
    if own_unit(path).is_none() {
        limit.set_by = Arc::from(format!("{max_file} of {}", cgroup_path::shown(path)));
    }
    Some(limit)
}

/// What the kernel takes back before it refuses: the page cache, as in MemAvailable of the host.
fn reclaimable(folder: Folder<'_>, is_v2: bool, files: &mut Files) -> u64 {
    let keys: &[&str] = if is_v2 {
        &["active_file", "inactive_file", "slab_reclaimable"]
    } else {
        // Those of the cgroups below included.
        &["total_active_file", "total_inactive_file"]
    };
    let text = files.read(folder, "memory.stat").unwrap_or_default();
    keys.iter().filter_map(|key| keyed(text, key)).sum()
}

fn of_cgroup(limit: Limit, path: &str) -> LimitUse {
    let path = cgroup_path::shown(path);
    let setting = cgroup_setting(limit, &path);
    LimitUse::new(limit, Scope::Cgroup, Arc::from(path), Arc::from(setting))
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use nix::fcntl::AT_FDCWD;

    use super::*;

    #[test]
    fn a_cgroup_is_below_those_that_its_path_begins_with() {
        assert_eq!(ancestors("/a/b c/d").collect::<Vec<_>>(), ["/a/b c/d", "/a/b c", "/a", "/"]);
        assert_eq!(ancestors("/").collect::<Vec<_>>(), ["/"]);
    }

    fn node(files: &[(&str, &str)]) -> io::Result<(tempfile::TempDir, Node)> {
        let folder = tempfile::tempdir()?;
        for (name, text) in files {
            fs::write(folder.path().join(name), text)?;
        }
        let path = folder.path().to_path_buf();
        Ok((folder, Node { folder: path, id: 1, pass: 0, limit: None, details: None }))
    }

    #[test]
    fn a_units_limit_is_called_by_its_directive_and_anothers_by_its_file() -> io::Result<()> {
        let contents = [("pids.max", "50\n"), ("pids.current", "49\n"), ("pids.events", "max 7\n")];
        let (_folder, mut node) = node(&contents)?;
        let of_unit = pids(&mut node, "/system.slice/a.service", AT_FDCWD, &mut Files::new());
        assert_eq!(of_unit.as_ref().map(|limit| &*limit.set_by), Some("TasksMax of a.service"));
        assert_eq!(of_unit.map(|limit| (limit.used, limit.max, limit.refused)), Some((49, 50, Some(7))));
        let other = pids(&mut node, "/a", AT_FDCWD, &mut Files::new());
        assert_eq!(other.as_ref().map(|limit| &*limit.set_by), Some("pids.max of /a"));
        Ok(())
    }

    fn memory_of(node: &mut Node, is_v2: bool, files: &mut Files) -> Option<LimitUse> {
        let mut pass = Pass { number: 0, wants_details: true, thread_bytes: 10, files, limits: &mut Vec::new() };
        memory(node, "/a", AT_FDCWD, is_v2, &mut pass)
    }

    #[test]
    fn max_is_no_limit_in_either_version() -> io::Result<()> {
        let contents =
            [("pids.max", "max\n"), ("memory.max", "max\n"), ("memory.limit_in_bytes", "9223372036854771712\n")];
        let (_folder, mut node) = node(&contents)?;
        let mut files = Files::new();
        assert_eq!(pids(&mut node, "/a", AT_FDCWD, &mut files), None);
        assert_eq!(memory_of(&mut node, true, &mut files), None);
        assert_eq!(memory_of(&mut node, false, &mut files), None);
        Ok(())
    }

    #[test]
    fn details_of_a_limit_that_is_less_than_half_used_are_those_of_before() -> io::Result<()> {
        let contents =
            [("pids.max", "50\n"), ("pids.current", "10\n"), ("pids.peak", "20"), ("pids.events", "max 1\n")];
        let (folder, mut node) = node(&contents)?;
        let read = |node: &mut Node| {
            let limit = pids(node, "/a", AT_FDCWD, &mut Files::new());
            limit.map(|limit| (limit.peak, limit.refused))
        };
        assert_eq!(read(&mut node), Some((Some(20), Some(1))));
        fs::write(folder.path().join("pids.events"), "max 7\n")?;
        fs::write(folder.path().join("pids.current"), "22\n")?;
        assert_eq!(read(&mut node), Some((Some(22), Some(1))));
        fs::write(folder.path().join("pids.current"), "26\n")?;
        assert_eq!(read(&mut node), Some((Some(26), Some(7))));
        Ok(())
    }

    #[test]
    fn page_cache_does_not_count_as_used() -> io::Result<()> {
        let stat = "anon 5\ninactive_file 300\nactive_file 100\nslab_reclaimable 50\nslab 70\n";
        let contents = [("memory.max", "1000\n"), ("memory.current", "900\n"), ("memory.stat", stat)];
        let (_folder, mut node) = node(&contents)?;
        let limit = memory_of(&mut node, true, &mut Files::new());
        assert_eq!(limit.map(|limit| (limit.used, limit.headroom_threads)), Some((450, 55)));
        Ok(())
    }
}
