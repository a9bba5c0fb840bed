//! Whether the programs load, and where each is attached.

use std::{io, os::fd::OwnedFd};

use anyhow::{Error, Result, anyhow};

use thiserror::Error;

use super::report::Check;
use crate::{
    config::Config,
    privileges::{self, DropError},
    probe::{self, LoadError},
    sample::{AttachedProgram, Source},
    sampler::Sampler,
};

/// The probe, without privileges.
pub(super) struct Loaded {
    pub(super) sampler: Sampler,
    /// Has the kernel time the programs as long as it is held.
    pub(super) timing: io::Result<OwnedFd>,
}

/// Loads and attaches the programs as the daemon does; an error is what the host lacks. And then, whether privileges
/// could be given up: where not, no program stays loaded.
pub(super) fn load(config: &Config) -> (Result<Loaded>, Result<(), DropError>) {
    let user = match config.probe.user.as_deref().map(privileges::find_user).transpose() {
        Ok(user) => user,
        Err(no_user) => return (Err(anyhow!(NotKept)), Err(no_user)),
    };
    let started = Sampler::start(&config.sampler()).map(|(sampler, _)| Loaded { sampler, timing: probe::time_runs() });
    match privileges::drop_all(user.as_ref()) {
        Ok(_) => (started, Ok(())),
        Err(error) => (started.and_then(|_| Err(anyhow!(NotKept))), Err(error)),
    }
}

/// Privileges can't be given up as configured, so the programs are not to run.
#[derive(Debug, Error)]
#[error("privileges can't be given up")]
struct NotKept;

/// A line for each program.
pub(super) fn attached(programs: &[AttachedProgram]) -> Vec<Check> {
    programs.iter().map(program).collect()
}

fn program(program: &AttachedProgram) -> Check {
    let name = format!("program {}", program.program);
    let source = program.source.label();
    match program.source {
        Source::None => Check::warning(
            &name,
            format!("not attached, so failed clones and durations are missing: {}", program.reason),
            "boot a kernel that allows fexit, or let it have tracepoints: --clone-probe auto, as root or with CAP_SYS_ADMIN",
        ),
        Source::Tracepoint => Check::warning(
            &name,
            format!("{source}, which costs each system call of the host some nanoseconds; {}", program.reason),
            "boot a kernel that allows fexit, or do without failed clones: --clone-probe off",
        ),
        Source::TpBtf | Source::Iter | Source::Fexit => Check::ok(&name, source),
    }
}

/// Why there are none.
pub(super) fn refused(error: &Error) -> Check {
    const NAME: &str = "programs";
    if error.is::<NotKept>() {
        return Check::unknown(NAME, "not loaded: privileges can't be given up", "see what is missing above");
    }
    match error.downcast_ref::<LoadError>() {
        // Each has a line of its own.
        Some(
            LoadError::KernelTooOld { .. }
            | LoadError::NoBtf { .. }
            | LoadError::UnreadableBtf { .. }
            | LoadError::MissingMember { .. }
            | LoadError::MissingOption { .. }
            | LoadError::MissingCapabilities { .. }
            | LoadError::LockedDown { .. },
        ) => Check::unknown(NAME, "not loaded", "see what is missing above"),
        Some(LoadError::NotPermitted(_)) => Check::missing(
            NAME,
            error.to_string(),
            "look for what forbids bpf(2): a user namespace, a seccomp filter, a security module",
        ),
        _ => Check::missing(NAME, format!("{error:#}"), "report it with all of this output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::report::Status;

    #[test]
    fn a_program_at_a_dearer_place_or_at_none_is_a_warning_that_says_why() {
        let at = |source| program(&AttachedProgram { program: "clone".into(), source, reason: "no fexit".into() });
        assert_eq!(at(Source::Fexit).status, Status::Ok);
        for source in [Source::Tracepoint, Source::None] {
            let check = at(source);
            assert!(check.status == Status::Warning && check.found.contains("no fexit"), "{check:?}");
        }
    }

    #[test]
    fn what_has_a_line_of_its_own_is_not_told_twice() {
        let known = LoadError::MissingCapabilities { missing: "CAP_BPF".into() };
        assert_eq!(refused(&known.into()).status, Status::Unknown);
        assert_eq!(refused(&LoadError::Object("no memory".into()).into()).status, Status::Missing);
    }
}
