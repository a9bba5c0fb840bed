//! Containers and pods by the cgroups that their runtimes make: real ones, with a real process in each. What needs root
//! says so.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    cgroup::Cgroup,
    daemon::{Daemon, PROGRAM},
};

const ID: &str = "3f4e8d1c9b7a65f2e0d1c2b3a4958677685a4b3c2d1e0f9a8b7c6d5e4f302112";
const UID: &str = "0f5a3c1e-7b2d-4e6f-8a9b-0c1d2e3f4a5b";

/// A pod with a container in it, as Kubernetes and containerd make them with systemd's driver, and a process in that.
/// What is dropped first is below what is dropped later.
struct Pod {
    process: Child,
    container: Cgroup,
    _slices: [Cgroup; 2],
}

impl Pod {
    fn new(name: &str) -> Result<Self> {
        let kubepods = Cgroup::new("pids", name)?;
        let slice = kubepods.child(&format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_")))?;
        let container = slice.child(&format!("cri-containerd-{ID}.scope"))?;
        container.set("pids.max", "50")?;
        let process = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?;
        let pod = Self { process, container, _slices: [slice, kubepods] };
        pod.container.add(pod.process.id())?;
        Ok(pod)
    }

    fn unit() -> String {
        format!("cri-containerd-{ID}.scope")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ensure_series(daemon: &Daemon, series: &str) -> Result<()> {
    daemon.wait_until(series, |daemon| Ok(daemon.get("/metrics")?.1.lines().any(|line| line == series)))
}

#[test]
fn a_container_is_a_group_and_its_series_say_which_pod_it_is_in() -> Result<()> {
    needs_root!();
    let pod = Pod::new("tp-container")?;
    let daemon = Daemon::start(&["--group-by", "container"])?;
    let (short, unit) = (&ID[..12], Pod::unit());
    let owner = format!("unit=\"{unit}\",container=\"{ID}\",pod=\"{UID}\"");
    ensure_series(&daemon, &format!("threadprobe_processes{{group=\"{short}\"}} 1"))?;
    ensure_series(&daemon, &format!("threadprobe_group_info{{group=\"{short}\",{owner}}} 1"))?;
    let cgroup = &pod.container.path;
    ensure_series(&daemon, &format!("threadprobe_cgroup_info{{cgroup=\"{cgroup}\",{owner}}} 1"))?;
    ensure_series(&daemon, &format!("threadprobe_cgroup_pids_max{{cgroup=\"{cgroup}\"}} 50"))?;
    let snapshot = daemon.second_snapshot(pod.process.id())?;
    let owner = json!({ "unit": unit, "container": ID, "pod": UID });
    ensure!(process(&snapshot, pod.process.id())?["owner"] == owner, "{snapshot}");
    // This test is in no container with that id, so it is in another group.
    let own = process(&snapshot, std::process::id())?;
    ensure!(own["group"].as_str().is_some_and(|group| !group.is_empty() && group != short), "{own}");
    Ok(())
}

#[test]
fn a_process_that_moves_into_a_pod_moves_to_its_group() -> Result<()> {
    needs_root!();
    let pod = Pod::new("tp-pod")?;
    let mut outside = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?;
    let daemon = Daemon::start(&["--group-by", "pod"])?;
    let pid = outside.id();
    let group = |daemon: &Daemon| Ok::<_, anyhow::Error>(process(&daemon.second_snapshot(pid)?, pid)?["group"].clone());
    ensure!(group(&daemon)? != UID, "it was in the pod already");
    pod.container.add(pid)?;
    let moved = daemon.wait_until("the pod's group", |daemon| Ok(group(daemon)? == UID));
    outside.kill()?;
    outside.wait()?;
    moved?;
    let unit = Pod::unit();
    ensure_series(
        &daemon,
        &format!("threadprobe_group_info{{group=\"{UID}\",unit=\"{unit}\",container=\"{ID}\",pod=\"{UID}\"}} 1"),
    )
}

/// Where on a host with both versions the unified hierarchy is; there, controllers are those of version 1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// As Kubernetes runs it: a cgroup namespace of its own, and the host's tree mounted.
#[test]
fn in_a_cgroup_namespace_with_the_hosts_tree_cgroups_have_the_hosts_names_and_their_limits() -> Result<()> {
    needs_root!();
    let mut hierarchies = vec!["pids"];
    hierarchies.extend(Path::new(UNIFIED).is_dir().then_some("unified"));
    let (mut trees, mut sleeps) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        sleeps.push(Sleep(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?));
    }
    let (beside, outside) = (sleeps[0].0.id(), sleeps[1].0.id());
    for hierarchy in hierarchies {
        let tree = NamespaceTree::new(hierarchy)?;
        tree.beside.add(beside)?;
        tree.outside.add(outside)?;
        trees.push(tree);
    }
    trees[0].beside.set("pids.max", "50")?;
    trees[0].outside.set("pids.max", "60")?;
    let mut command = Command::new("sh");
    let script = "for folder in $FOLDERS; do echo $$ >$folder/cgroup.procs; done; exec unshare --cgroup \"$@\"";
    let folders: Vec<String> = trees.iter().map(|tree| tree.own.folder().display().to_string()).collect();
    command.args(["-euc", script, "sh", PROGRAM]).env("FOLDERS", folders.join(" "));
    let daemon = Daemon::start_by(command, &["--interval", "200ms", "--group-by", "cgroup"])?;
    for tree in &trees[trees.len() - 1..] {
        for cgroup in [&tree.own, &tree.beside, &tree.outside] {
            ensure_series(&daemon, &format!("threadprobe_processes{{group=\"{}\"}} 1", cgroup.path))?;
        }
    }
    for (cgroup, max) in [(&trees[0].beside, 50), (&trees[0].outside, 60)] {
        let series = format!("threadprobe_cgroup_pids_max{{cgroup=\"{}\"}} {max}", cgroup.path);
        ensure_series(&daemon, &series)?;
    }
    Ok(())
}

/// The cgroup of the namespace, one beside it and one further away. What is dropped first is below what is dropped
/// later.
struct NamespaceTree {
    own: Cgroup,
    beside: Cgroup,
    outside: Cgroup,
    _parent: Cgroup,
}

impl NamespaceTree {
    fn new(hierarchy: &str) -> Result<Self> {
        let parent = Cgroup::new(hierarchy, "tp-namespace")?;
        let (own, beside) = (parent.child("own")?, parent.child("beside")?);
        Ok(Self { own, beside, outside: Cgroup::new(hierarchy, "tp-outside")?, _parent: parent })
    }
}

struct Sleep(Child);

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process(snapshot: &Value, pid: u32) -> Result<&Value> {
    let processes = snapshot["processes"].as_array().context("processes")?;
    processes.iter().find(|process| process["pid"] == pid).with_context(|| format!("process {pid}"))
}
