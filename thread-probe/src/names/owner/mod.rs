//! Whose a cgroup is: the systemd unit, the container and the pod that its path names.
//!
//! No runtime is asked: a path that anyone may read says enough, on version 1 and 2, with the systemd and the cgroupfs
//! driver. The deepest name counts, so a container in a container is itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Digits of the ids of containers, and of podman's pods.
const ID_DIGITS: usize = 64;
/// Digits that `docker ps` and its like show.
const SHORT_ID_DIGITS: usize = 12;
/// Digits of the hash that stands for the uid in a static pod's cgroup; a uid has four dashes besides.
const HASH_DIGITS: usize = 32;

/// Who owns a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The systemd unit: see [`unit`].
    pub unit: Option<Arc<str>>,
    /// The container: its id of 64 digits, or of lxc and systemd-nspawn its name.
    pub container: Option<Arc<str>>,
    /// The pod: its uid in Kubernetes, its id of 64 digits in podman.
    pub pod: Option<Arc<str>>,
}

impl Owner {
    /// From the path of a cgroup.
    pub fn of(path: &str) -> Self {
        // containerd that was told neither driver makes cgroups as `kubepods-pod1.slice:cri-containerd:12`.
        let names: Vec<&str> = path.split(['/', ':']).collect();
        let above = |index: usize| index.checked_sub(1).map_or("", |above| names[above]);
        let deepest = || names.iter().enumerate().rev();
        Self {
            unit: unit(path).map(Arc::from),
            container: deepest().find_map(|(index, name)| container(name, above(index))),
            pod: deepest().find_map(|(_, name)| pod(name)),
        }
    }

    /// Leaves what is the same in another.
    pub(crate) fn keep_common(&mut self, other: &Self) {
        let keep = |own: &mut Option<Arc<str>>, other: &Option<Arc<str>>| {
            if own != other {
                *own = None;
            }
        };
        keep(&mut self.unit, &other.unit);
        keep(&mut self.container, &other.container);
        keep(&mut self.pod, &other.pod);
    }

    /// The container as `docker ps` shows it.
    pub fn short_container(&self) -> Option<&str> {
        self.container.as_deref().map(short)
    }

    /// The pod, in podman as `podman pod ps` shows it.
    pub fn short_pod(&self) -> Option<&str> {
        self.pod.as_deref().map(short)
    }
}

/// The systemd unit of a cgroup's path: its deepest service or scope, else its deepest slice. As systemd spells it, for
/// `systemctl status`.
pub fn unit(path: &str) -> Option<&str> {
    let deepest =
        |suffixes: &[&str]| path.rsplit('/').find(|part| suffixes.iter().any(|suffix| part.ends_with(suffix)));
    deepest(&[".service", ".scope"]).or_else(|| deepest(&[".slice"]))
}

/// The systemd unit that this very cgroup is of, not one that it is within.
pub fn own_unit(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    [".service", ".scope", ".slice"].iter().any(|suffix| name.ends_with(suffix)).then_some(name)
}

fn container(name: &str, above: &str) -> Option<Arc<str>> {
    container_id(name).map(Arc::from).or_else(|| lxc(name, above).map(Arc::from)).or_else(|| nspawn(name))
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-payload-ID`, `kata_ID` or the id alone: every
/// runtime ends the name in the id. What watches over a container, conmon, is not in it.
fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (prefix, id) = name.split_at_checked(name.len().checked_sub(ID_DIGITS)?)?;
    let is_a_container = prefix.is_empty() || prefix.ends_with(['-', '_']) && !prefix.ends_with("conmon-");
    (is_hex(id) && is_a_container).then_some(id)
}

/// `lxc.payload.NAME`, before lxc 4 NAME in `lxc`.
fn lxc<'a>(name: &'a str, above: &str) -> Option<&'a str> {
    let name = name.strip_prefix("lxc.payload.").or_else(|| ["lxc", "lxc.payload"].contains(&above).then_some(name));
    name.filter(|name| !name.is_empty())
}

/// `machine-NAME.scope` or `systemd-nspawn@NAME.service`; those of libvirt's virtual machines are no containers.
fn nspawn(name: &str) -> Option<Arc<str>> {
    if let Some(machine) = name.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service")) {
        return Some(Arc::from(machine));
    }
    let machine = name.strip_prefix("machine-")?.strip_suffix(".scope")?;
    // Of what a host's name may have in it, systemd escapes nothing else.
    (!machine.starts_with("qemu\\x2d")).then(|| Arc::from(machine.replace("\\x2d", "-")))
}

/// `podUID`, `kubepods-burstable-podUID.slice` with underscores for the dashes, or podman's
/// `machine-libpod_pod_ID.slice`.
fn pod(name: &str) -> Option<Arc<str>> {
    let Some(slice) = name.strip_suffix(".slice") else {
        return name.strip_prefix("pod").filter(|uid| is_pod_uid(uid)).map(Arc::from);
    };
    if let Some((_, id)) = slice.rsplit_once("libpod_pod_") {
        return (id.len() == ID_DIGITS && is_hex(id)).then(|| Arc::from(id));
    }
    let (kubepods, uid) = slice.rsplit_once("-pod")?;
    let uid = uid.replace('_', "-");
    (kubepods.contains("kubepods") && is_pod_uid(&uid)).then(|| Arc::from(uid))
}

fn is_pod_uid(text: &str) -> bool {
    let parts = || text.split('-').map(str::len);
    is_hex_or(text, b'-') && (parts().eq([HASH_DIGITS]) || parts().eq([8, 4, 4, 4, 12]))
}

fn is_hex(text: &str) -> bool {
    is_hex_or(text, b'0')
}

fn is_hex_or(text: &str, other: u8) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f') || byte == other)
}

fn short(name: &str) -> &str {
    if name.len() == ID_DIGITS && is_hex(name) { &name[..SHORT_ID_DIGITS] } else { name }
}

#[cfg(test)]
mod tests;
