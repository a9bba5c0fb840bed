//! Paths as runtimes make them, with `ID` and `ID2` for ids of containers, `UID` for a pod's uid, `U_I_D` for the same
//! with underscores, `HASH` for a static pod's.

use proptest::prelude::*;

use super::*;

const ID: &str = "3f4e8d1c9b7a65f2e0d1c2b3a4958677685a4b3c2d1e0f9a8b7c6d5e4f302112";
const OTHER_ID: &str = "aa4e8d1c9b7a65f2e0d1c2b3a4958677685a4b3c2d1e0f9a8b7c6d5e4f3021ff";
const UID: &str = "0f5a3c1e-7b2d-4e6f-8a9b-0c1d2e3f4a5b";
const HASH: &str = "4b0a8d1c7f2e3d4c5b6a79880716253f";

/// The path, and its unit, container and pod; `-` for none.
const PATHS: &[[&str; 4]] = &[
    // No container.
    ["/", "-", "-", "-"],
    ["/system.slice/nginx.service", "nginx.service", "-", "-"],
    ["/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "-", "-"],
    ["/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "x.service", "-", "-"],
    ["/system.slice/dev-disk-by\\x2duuid.service/worker", "dev-disk-by\\x2duuid.service", "-", "-"],
    ["/system.slice/pod-maker.service", "pod-maker.service", "-", "-"],
    ["/system.slice/system-pod1.slice", "system-pod1.slice", "-", "-"],
    // Docker: systemd driver, cgroupfs driver and version 1, a parent of its own, rootless, a cgroup within, another
    // cgroup namespace.
    ["/system.slice/docker-ID.scope", "docker-ID.scope", "ID", "-"],
    ["/docker/ID", "-", "ID", "-"],
    ["/batch.slice/docker-ID.scope", "docker-ID.scope", "ID", "-"],
    ["/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", "docker-ID.scope", "ID", "-"],
    ["/system.slice/docker-ID.scope/init.scope", "init.scope", "ID", "-"],
    ["/../docker-ID.scope", "docker-ID.scope", "ID", "-"],
    ["/ecs/HASH/ID", "-", "ID", "-"],
    // nerdctl.
    ["/system.slice/nerdctl-ID.scope", "nerdctl-ID.scope", "ID", "-"],
    ["/default/ID", "-", "ID", "-"],
    // podman: systemd driver, rootless, its pods, cgroupfs driver, of a unit (split), and who watches over it.
    ["/machine.slice/libpod-ID.scope/container", "libpod-ID.scope", "ID", "-"],
    ["/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", "libpod-ID.scope", "ID", "-"],
    ["/machine.slice/machine-libpod_pod_ID2.slice/libpod-ID.scope", "libpod-ID.scope", "ID", "ID2"],
    ["/libpod_parent/libpod-ID", "-", "ID", "-"],
    ["/system.slice/web.service/libpod-payload-ID", "web.service", "ID", "-"],
    ["/machine.slice/libpod-conmon-ID.scope", "libpod-conmon-ID.scope", "-", "-"],
    // Kubernetes: containerd and cri-o, each quality of service, both drivers, static pods.
    [
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope",
        "cri-containerd-ID.scope",
        "ID",
        "UID",
    ],
    ["/kubepods.slice/kubepods-podU_I_D.slice/cri-containerd-ID.scope", "cri-containerd-ID.scope", "ID", "UID"],
    [
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_I_D.slice/crio-ID.scope/container",
        "crio-ID.scope",
        "ID",
        "UID",
    ],
    [
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_I_D.slice/crio-conmon-ID.scope",
        "crio-conmon-ID.scope",
        "-",
        "UID",
    ],
    [
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podHASH.slice/docker-ID.scope",
        "docker-ID.scope",
        "ID",
        "HASH",
    ],
    ["/kubepods/burstable/podUID/ID", "-", "ID", "UID"],
    ["/kubepods/podUID/ID", "-", "ID", "UID"],
    ["/kubepods/besteffort/podUID/crio-ID", "-", "ID", "UID"],
    ["/kubepods/burstable/podUID/kata_ID", "-", "ID", "UID"],
    [
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice",
        "kubepods-burstable-podU_I_D.slice",
        "-",
        "UID",
    ],
    [
        "/system.slice/containerd.service/kubepods-burstable-podU_I_D.slice:cri-containerd:ID",
        "containerd.service",
        "ID",
        "UID",
    ],
    // One in the other: docker in docker, docker in a pod, kind's node and a pod in it.
    ["/docker/ID2/docker/ID", "-", "ID", "-"],
    ["/kubepods/burstable/podUID/ID2/docker/ID", "-", "ID", "UID"],
    [
        "/system.slice/docker-ID2.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podU_I_D.slice/cri-containerd-ID.scope",
        "cri-containerd-ID.scope",
        "ID",
        "UID",
    ],
    ["/docker/ID/kubelet/kubepods/besteffort", "-", "ID", "-"],
    // lxc and systemd-nspawn, and a virtual machine that is none.
    ["/lxc.payload.web.example/system.slice/nginx.service", "nginx.service", "web.example", "-"],
    ["/lxc.payload/web", "-", "web", "-"],
    ["/lxc/web/system.slice/cron.service", "cron.service", "web", "-"],
    ["/lxc.monitor.web", "-", "-", "-"],
    ["/machine.slice/machine-my\\x2dbox.scope/payload", "machine-my\\x2dbox.scope", "my-box", "-"],
    ["/machine.slice/systemd-nspawn@my-box.service/payload", "systemd-nspawn@my-box.service", "my-box", "-"],
    ["/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "machine-qemu\\x2d1\\x2dvm.scope", "-", "-"],
];

fn filled(text: &str) -> String {
    let underscored = UID.replace('-', "_");
    let names = [("U_I_D", &*underscored), ("UID", UID), ("HASH", HASH), ("ID2", OTHER_ID), ("ID", ID)];
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[test]
fn each_runtimes_paths_name_unit_container_and_pod() {
    for [path, unit, container, pod] in PATHS {
        let found = Owner::of(&filled(path));
        let expected = [unit, container, pod].map(|name| Some(filled(name)).filter(|name| name != "-"));
        let found = [found.unit, found.container, found.pod].map(|name| name.map(|name| name.to_string()));
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn an_id_is_64_digits_and_no_other_number_of_them() {
    for name in [&ID[1..], &format!("{ID}0"), &ID.to_uppercase(), &format!("docker{ID}"), &format!("{ID}.service")] {
        assert_eq!(Owner::of(&format!("/docker/{name}")).container, None, "{name}");
    }
}

#[test]
fn the_own_unit_of_a_cgroup_is_not_one_that_it_is_within() {
    assert_eq!(own_unit("/system.slice/a.service"), Some("a.service"));
    assert_eq!(own_unit("/system.slice/a.service/worker"), None);
}

#[test]
fn what_differs_once_stays_away() {
    let [one, two] = [format!("/kubepods/pod{UID}/{ID}"), format!("/kubepods/pod{UID}/{OTHER_ID}")];
    let mut common = Owner::of(&one);
    common.keep_common(&Owner::of(&two));
    assert_eq!((common.container.as_deref(), common.pod.as_deref()), (None, Some(UID)));
    common.keep_common(&Owner::of(&one));
    assert_eq!((common.container.as_deref(), common.pod.as_deref()), (None, Some(UID)));
}

proptest! {
    #[test]
    fn any_path_has_an_owner_whose_names_are_parts_of_it(
        parts in prop::collection::vec("(docker-|pod|kubepods-pod|machine-|lxc.payload.|\u{e4})?[0-9a-f_é]{0,70}(\\.scope|\\.slice|\\.service)?", 0..6)
    ) {
        let path = format!("/{}", parts.join("/"));
        let owner = Owner::of(&path);
        let is_part = |name: &Option<Arc<str>>| name.as_deref().is_none_or(|name| path.contains(name));
        prop_assert!(is_part(&owner.unit) && is_part(&owner.container));
        let pod = owner.pod.as_deref().unwrap_or_default();
        prop_assert!(path.contains(pod) || path.contains(&pod.replace('-', "_")));
    }

    #[test]
    fn any_text_at_all_is_no_reason_to_panic(path in any::<String>()) {
        Owner::of(&path);
    }
}
