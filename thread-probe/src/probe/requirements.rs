//! What the kernel and the caller must offer, and what to do where something is missing.

use std::{fs, io, path::Path};

use aya::{EbpfError, programs::ProgramError};
use capctl::caps::{Cap, CapSet, CapState};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use thiserror::Error;

use crate::{os::release::parse_release, text::human::bytes};

/// The kernel's own types; world-readable.
pub(super) const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";
/// The oldest Linux whose task storage and task iterator do what the programs need; older ones may have them as
/// backports.
pub(crate) const MIN_KERNEL: (u32, u32) = (5, 15);
/// Address space that a start takes, with what the kernel's types are for a moment.
const ADDRESS_SPACE_BYTES: u64 = 64 << 20;
/// Which mode of kernel_lockdown(7) is in force.
pub(crate) const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Why the programs can't run here: one line that says what is missing and what to do.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The running kernel is older than 5.15, and lacks what is needed.
    #[error(
        "Linux {release} is too old: {lacks}; {}.{} or later has all that is needed, and older ones with the backports of RHEL 9: \
         boot a newer kernel",
        MIN_KERNEL.0, MIN_KERNEL.1
    )]
    KernelTooOld {
        /// What `uname -r` says.
        release: String,
        /// What was tried in vain.
        lacks: String,
    },
    /// There is no BTF of the running kernel.
    #[error("{VMLINUX_BTF}: {error}: the kernel was built without CONFIG_DEBUG_INFO_BTF; boot a distribution's kernel")]
    NoBtf {
        /// What reading it said.
        error: String,
    },
    /// The kernel's types are there and could not be read.
    #[error("{VMLINUX_BTF}: {error}: where memory is short, note that a start takes some 30 MB for a moment")]
    UnreadableBtf {
        /// What reading it said.
        error: String,
    },
    /// RLIMIT_AS leaves no room for the kernel's types.
    #[error("RLIMIT_AS allows {} of address space, a start takes {}: raise it (ulimit -v, LimitAS=)", bytes(*.allowed_bytes), bytes(ADDRESS_SPACE_BYTES))]
    LittleAddressSpace {
        /// RLIMIT_AS.
        allowed_bytes: u64,
    },
    /// A member that is there if the kernel was built with an option.
    #[error("this kernel has no {member}: it was built without {option}; boot a distribution's kernel")]
    MissingOption {
        /// Structure and member.
        member: String,
        /// The option.
        option: &'static str,
    },
    /// A structure or member that the programs read is not in the kernel's BTF.
    #[error("this kernel has no {member}: thread-probe does not know its layout; please report it with `uname -r`")]
    MissingMember {
        /// Structure and member.
        member: String,
    },
    /// The process may not load programs.
    #[error(
        "no privilege to load eBPF programs: {missing} missing; run as root (sudo), or grant CAP_BPF and CAP_PERFMON"
    )]
    MissingCapabilities {
        /// Which.
        missing: String,
    },
    /// The kernel forbids BPF to read its memory.
    #[error(
        "the kernel is locked down ({mode}), which forbids eBPF to read kernel memory: boot with lockdown=integrity or none"
    )]
    LockedDown {
        /// The mode in force.
        mode: String,
    },
    /// The thread that attaches to tracepoints could not be started.
    #[error("starting the thread that attaches failed: {0}")]
    Thread(String),
    /// A program did not load.
    #[error("loading the eBPF program {program} failed: {error}{}", verifier_tail(.verifier_log))]
    Load {
        /// Which.
        program: &'static str,
        /// What the kernel said.
        error: String,
        /// The verifier's account, which may be long.
        verifier_log: String,
    },
    /// A program did not attach.
    #[error("attaching the eBPF program {program} failed: {error}")]
    Attach {
        /// Which.
        program: &'static str,
        /// What the kernel said.
        error: String,
    },
    /// The object or its maps could not be loaded.
    #[error("loading the eBPF maps failed: {0}")]
    Object(String),
    /// The kernel says no although the capabilities are there: they are those of another user namespace.
    #[error(
        "the kernel refuses to load eBPF: {0}; run as root in the initial user namespace, not in a container's own"
    )]
    NotPermitted(String),
    /// The object lacks a program or map: a build that does not fit together.
    #[error("the eBPF object has no {0}: rebuild thread-probe")]
    Missing(&'static str),
    /// A map could not be opened.
    #[error("opening the eBPF map {map} failed: {error}")]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        error: String,
    },
    /// The first pass over the threads failed.
    #[error("the first scan failed: {0}")]
    FirstScan(String),
}

/// The verifier says what it refused in its last lines.
fn verifier_tail(log: &str) -> String {
    const STATISTICS: [&str; 4] = ["processed ", "stack depth ", "verification time ", "insns processed "];
    let says = |line: &&str| !line.trim().is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start));
    let lines: Vec<&str> = log.lines().filter(says).collect();
    match lines[lines.len().saturating_sub(3)..].join(" | ") {
        tail if tail.is_empty() => tail,
        tail => format!("; verifier: {tail}"),
    }
}

impl LoadError {
    pub(super) fn load(program: &'static str, error: ProgramError) -> Self {
        let (error, verifier_log) = match error {
            ProgramError::LoadError { io_error, verifier_log } => (io_error.to_string(), verifier_log.to_string()),
            other => (chain(&other), String::new()),
        };
        Self::Load { program, error, verifier_log }
    }

    pub(super) fn object(error: &EbpfError) -> Self {
        let line = chain(error);
        let eperm = io::Error::from_raw_os_error(nix::libc::EPERM).to_string();
        if line.contains(&eperm) { Self::NotPermitted(line) } else { Self::Object(line) }
    }

    pub(super) fn map(map: &'static str, error: &aya::maps::MapError) -> Self {
        Self::Map { map, error: chain(error) }
    }

    /// The same error with why, if it is that the kernel is too old: what it can do is tried, not read from its number.
    pub(super) fn on_kernel(self, release: &str) -> Self {
        use LoadError::{Attach, Load, Map, MissingMember, Object};
        let is_old = parse_release(release).is_some_and(|version| version < MIN_KERNEL);
        let is_lack = matches!(self, MissingMember { .. } | Load { .. } | Map { .. } | Object(_) | Attach { .. });
        match self {
            lack if is_old && is_lack => Self::KernelTooOld { release: release.to_owned(), lacks: lack.to_string() },
            error => error,
        }
    }

    pub(super) fn attach(program: &'static str, error: impl std::error::Error) -> Self {
        Self::Attach { program, error: chain(&error) }
    }
}

/// An error with what caused it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !line.contains(&cause_text) {
            line = format!("{line}: {cause_text}");
        }
        source = cause.source();
    }
    line
}

/// Checks what can be known before anything is loaded, so that each lack has its own line.
///
/// # Errors
/// The first lack found.
pub(super) fn check() -> Result<(), LoadError> {
    check_capabilities(CapState::get_current().map(|caps| caps.effective).unwrap_or_default())?;
    check_lockdown(Path::new(LOCKDOWN))?;
    check_address_space(getrlimit(Resource::RLIMIT_AS).map_or(RLIM_INFINITY, |(soft, _)| soft))?;
    match fs::File::open(VMLINUX_BTF) {
        Ok(_) => Ok(()),
        Err(error) => Err(LoadError::NoBtf { error: error.to_string() }),
    }
}

/// Where an allocation fails, no error could be reported any more.
fn check_address_space(allowed_bytes: u64) -> Result<(), LoadError> {
    if allowed_bytes < ADDRESS_SPACE_BYTES { Err(LoadError::LittleAddressSpace { allowed_bytes }) } else { Ok(()) }
}

/// What of the capabilities that loading takes is not there. CAP_SYS_ADMIN includes both (include/linux/capability.h).
pub(crate) fn missing_capabilities(effective: CapSet) -> Vec<&'static str> {
    let is_missing = |cap| !effective.has(cap) && !effective.has(Cap::SYS_ADMIN);
    let needed = [(Cap::BPF, "CAP_BPF"), (Cap::PERFMON, "CAP_PERFMON")].into_iter();
    needed.filter(|(cap, _)| is_missing(*cap)).map(|(_, name)| name).collect()
}

fn check_capabilities(effective: CapSet) -> Result<(), LoadError> {
    let missing = missing_capabilities(effective);
    if missing.is_empty() { Ok(()) } else { Err(LoadError::MissingCapabilities { missing: missing.join(" and ") }) }
}

/// Only confidentiality mode forbids `bpf_probe_read_kernel` and the like; without securityfs there is no lockdown
/// that could be read, and the load itself says no.
fn check_lockdown(path: &Path) -> Result<(), LoadError> {
    let modes = fs::read_to_string(path).unwrap_or_default();
    if modes.contains("[confidentiality]") {
        return Err(LoadError::LockedDown { mode: "confidentiality".to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<(), LoadError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_kernel_before_5_15_lacks_is_said_to_be_its_age_and_of_a_later_one_not() {
        let on = |release: &str| LoadError::Object("no task storage".into()).on_kernel(release).to_string();
        let old = on("5.10.0-33-cloud-amd64");
        assert!(
            old.starts_with("Linux 5.10.0-33-cloud-amd64 is too old: ") && old.contains("no task storage"),
            "{old}"
        );
        for release in ["5.15.0", "6.1.0-18-amd64", "6.18.44-fc", "7.2.0", "10.0"] {
            assert!(!on(release).contains("too old"), "{release}");
        }
        let other = LoadError::NotPermitted("a".into()).on_kernel("5.10");
        assert!(matches!(other, LoadError::NotPermitted(_)), "{other}");
    }

    #[test]
    fn an_address_space_that_is_too_small_is_said_to_be() {
        assert_eq!(
            message(check_address_space(30_000 << 10)),
            "RLIMIT_AS allows 29.3 MiB of address space, a start takes 64.0 MiB: raise it (ulimit -v, LimitAS=)"
        );
        assert_eq!(message(check_address_space(RLIM_INFINITY)), "");
    }

    #[test]
    fn the_missing_capability_is_named() {
        let mut caps = CapSet::empty();
        assert!(message(check_capabilities(caps)).contains("CAP_BPF and CAP_PERFMON missing"));
        caps.add(Cap::BPF);
        assert!(message(check_capabilities(caps)).contains(": CAP_PERFMON missing"));
        caps.add(Cap::PERFMON);
        assert_eq!(message(check_capabilities(caps)), "");
    }

    #[test]
    fn confidentiality_lockdown_is_refused_and_integrity_is_not() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lockdown");
        fs::write(&path, "none integrity [confidentiality]\n")?;
        assert!(message(check_lockdown(&path)).contains("locked down (confidentiality)"));
        fs::write(&path, "none [integrity] confidentiality\n")?;
        assert_eq!(message(check_lockdown(&path)), "");
        Ok(())
    }

    #[test]
    fn the_verifiers_last_lines_follow_the_error_on_one_line() {
        let error = LoadError::Load {
            program: "sched_switch",
            error: "Permission denied".into(),
            verifier_log: "0: (b7) r0 = 0\n1: R1 invalid mem access\nprocessed 2 insns\n\n".into(),
        };
        assert_eq!(error.to_string().lines().count(), 1);
        assert!(error.to_string().contains("R1 invalid mem access"));
    }
}
