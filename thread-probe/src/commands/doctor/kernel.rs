//! What the kernel is and how it was built and booted.

use std::{collections::HashMap, fs, path::Path};

use procfs::{ConfigSetting, KernelConfig, prelude::Current as _};

use super::report::Check;
use crate::{
    os::release::parse_release,
    probe::{self, LOCKDOWN, LoadError, MIN_KERNEL},
    sampler::this_host,
};

/// What the programs need.
const NEEDED: [&str; 6] = [
    "CONFIG_BPF_SYSCALL",
    "CONFIG_BPF_EVENTS",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_SCHED_INFO",
    "CONFIG_FAIR_GROUP_SCHED",
    "CONFIG_CGROUPS",
];
/// What else is used, and for what.
const USED: [(&str, &str); 5] = [
    ("CONFIG_BPF_JIT", "programs at the speed of machine code, and fexit"),
    ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "fexit; it needs CONFIG_FUNCTION_TRACER"),
    ("CONFIG_FTRACE_SYSCALLS", "clones where fexit is refused"),
    ("CONFIG_CGROUP_PIDS", "limits of cgroups on threads"),
    ("CONFIG_MEMCG", "limits of cgroups on memory"),
];
const SECURITYFS: &str = "/sys/kernel/security";
const BOOT_ANOTHER: &str = "boot a distribution's kernel";

/// `loads` says whether the programs do: that proves what no file may tell.
pub(super) fn checks(loads: bool) -> Vec<Check> {
    let release = this_host().kernel_release;
    let types = probe::kernel_types();
    let quota_waits = types.as_ref().ok().map(|types| quota_waits(types.tells_throttling()));
    let mut checks = vec![
        version(&release),
        btf(types.map(|_| ())),
        built(KernelConfig::current().ok().map(|KernelConfig(config)| config).as_ref(), loads),
        lockdown(fs::read_to_string(LOCKDOWN).ok().as_deref(), is_securityfs_mounted(), loads),
        setting("net.core.bpf_jit_enable", bpf_jit),
        setting("kernel.bpf_stats_enabled", bpf_stats),
    ];
    checks.extend(quota_waits);
    checks
}

/// Whether the state `throttled` can be told.
fn quota_waits(are_told: bool) -> Check {
    const NAME: &str = "quota waits";
    if are_told {
        return Check::ok(NAME, "are told from other waits for a CPU");
    }
    Check::warning(
        NAME,
        "are not told from other waits for a CPU: threadprobe_cpu_throttled_seconds_total has each cgroup's",
        "boot Linux 6.6 or later if you want that",
    )
}

fn version(release: &str) -> Check {
    let (major, minor) = MIN_KERNEL;
    let found = format!("Linux {release}; {major}.{minor} or later has all that is needed");
    match parse_release(release) {
        Some(version) if version < MIN_KERNEL => {
            Check::warning("kernel", found, "see below whether this one has it as backports; else boot a newer kernel")
        }
        Some(_) => Check::ok("kernel", found),
        None => Check::unknown("kernel", found, "compare it yourself"),
    }
}

fn btf(resolved: Result<(), LoadError>) -> Check {
    match resolved {
        Ok(()) => Check::ok("btf", "has every structure and member that the programs read"),
        Err(LoadError::NoBtf { error }) => Check::missing(
            "btf",
            format!("/sys/kernel/btf/vmlinux: {error}"),
            format!("{BOOT_ANOTHER}: CONFIG_DEBUG_INFO_BTF"),
        ),
        Err(LoadError::MissingOption { member, option }) => {
            Check::missing("btf", format!("has no {member}"), format!("{BOOT_ANOTHER}: {option}"))
        }
        Err(LoadError::UnreadableBtf { error }) => Check::missing(
            "btf",
            format!("/sys/kernel/btf/vmlinux: {error}"),
            "see that there is memory: it takes 30 MB",
        ),
        Err(error) => Check::missing("btf", error.to_string(), "report it, with the release of the kernel"),
    }
}

fn built(config: Option<&HashMap<String, ConfigSetting>>, loads: bool) -> Check {
    const NAME: &str = "config";
    let Some(config) = config else {
        return match loads {
            true => Check::ok(NAME, "not readable; the programs load, so what they need is there"),
            false => Check::unknown(
                NAME,
                "neither /proc/config.gz nor /boot/config-RELEASE is readable",
                "none is needed if all else is ok",
            ),
        };
    };
    let lacks = |option: &&str| !matches!(config.get(*option), Some(ConfigSetting::Yes));
    let needed: Vec<&str> = NEEDED.into_iter().filter(lacks).collect();
    let used: Vec<String> =
        USED.iter().filter(|(option, _)| lacks(option)).map(|(option, what)| format!("{option} ({what})")).collect();
    match (needed.as_slice(), used.as_slice()) {
        ([_, ..], _) if !loads => Check::missing(NAME, format!("without {}", needed.join(", ")), BOOT_ANOTHER),
        (_, []) => Check::ok(NAME, "has every option that is needed or used"),
        _ => Check::warning(NAME, format!("without {}", used.join(", ")), format!("{BOOT_ANOTHER} if you want that")),
    }
}

/// Where it is not, it is an empty folder.
fn is_securityfs_mounted() -> bool {
    fs::read_dir(SECURITYFS).is_ok_and(|mut entries| entries.next().is_some())
}

/// `modes` is what the file says: all of them, the one in force in brackets.
fn lockdown(modes: Option<&str>, is_mounted: bool, loads: bool) -> Check {
    const NAME: &str = "lockdown";
    let in_force = modes.and_then(|modes| modes.split_once('[')?.1.split_once(']')).map(|(mode, _)| mode);
    match in_force {
        Some("confidentiality") => Check::missing(
            NAME,
            "confidentiality: eBPF may not read kernel memory",
            "boot with lockdown=integrity or none",
        ),
        Some(mode) => Check::ok(NAME, mode),
        None if is_mounted => Check::ok(NAME, "this kernel has none"),
        None if loads => Check::ok(NAME, "not readable; the programs load, so it does not forbid them"),
        None => Check::unknown(NAME, format!("{LOCKDOWN} is not there"), format!("mount securityfs on {SECURITYFS}")),
    }
}

fn setting(name: &str, judge: fn(&str, &str) -> Check) -> Check {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    match fs::read_to_string(&path) {
        Ok(value) => judge(name, value.trim()),
        Err(error) => Check::unknown(name, format!("{}: {error}", path.display()), "run it as root"),
    }
}

fn bpf_jit(name: &str, value: &str) -> Check {
    match value {
        "0" => Check::warning(
            name,
            "0: the programs are interpreted, several times slower",
            "sysctl net.core.bpf_jit_enable=1",
        ),
        value => Check::ok(name, value),
    }
}

fn bpf_stats(name: &str, value: &str) -> Check {
    match value {
        "0" => Check::ok(name, value),
        value => Check::warning(
            name,
            format!("{value}: each run of any eBPF program is timed, which costs some 20 ns"),
            "sysctl kernel.bpf_stats_enabled=0",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::report::Status;

    fn config(options: &[&str]) -> HashMap<String, ConfigSetting> {
        options.iter().map(|option| ((*option).to_owned(), ConfigSetting::Yes)).collect()
    }

    #[test]
    fn a_kernel_before_5_15_is_a_warning_as_it_may_have_backports() {
        let status = |release| version(release).status;
        assert_eq!(
            ["5.10.0-33-amd64", "5.15.0", "7.2.0", "?"].map(status),
            [Status::Warning, Status::Ok, Status::Ok, Status::Unknown]
        );
    }

    #[test]
    fn an_option_that_is_needed_is_missing_one_that_is_used_a_warning_and_no_file_unknown() {
        let all: Vec<&str> = NEEDED.into_iter().chain(USED.map(|(option, _)| option)).collect();
        assert_eq!(built(Some(&config(&all)), false).status, Status::Ok);
        let lacks_needed = built(Some(&config(&all[1..])), false);
        assert_eq!((lacks_needed.status, &*lacks_needed.found), (Status::Missing, "without CONFIG_BPF_SYSCALL"));
        let lacks_used = |option: &str| {
            let rest: Vec<&str> = all.iter().copied().filter(|have| *have != option).collect();
            built(Some(&config(&rest)), true)
        };
        assert_eq!(lacks_used("CONFIG_MEMCG").status, Status::Warning);
        let no_fexit = lacks_used("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS");
        assert!(no_fexit.status == Status::Warning && no_fexit.found.contains("fexit"), "{no_fexit:?}");
        assert_eq!(built(None, false).status, Status::Unknown);
        assert_eq!(built(None, true).status, Status::Ok);
    }

    #[test]
    fn only_confidentiality_forbids_it_and_what_is_not_readable_is_not_missing() {
        let status = |modes, is_mounted, loads| lockdown(modes, is_mounted, loads).status;
        assert_eq!(status(Some("none integrity [confidentiality]\n"), true, false), Status::Missing);
        assert_eq!(lockdown(Some("none [integrity] confidentiality\n"), true, false).found, "integrity");
        assert_eq!(status(None, false, false), Status::Unknown);
        assert_eq!(status(None, false, true), Status::Ok);
        assert_eq!(status(None, true, false), Status::Ok);
    }

    #[test]
    fn what_makes_programs_slower_is_a_warning() {
        assert_eq!(bpf_jit("", "0").status, Status::Warning);
        assert_eq!(bpf_jit("", "1").status, Status::Ok);
        assert_eq!(bpf_stats("", "1").status, Status::Warning);
        assert_eq!(bpf_stats("", "0").status, Status::Ok);
    }
}
