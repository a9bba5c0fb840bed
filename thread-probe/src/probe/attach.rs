//! Attaching the programs, each where it belongs, and saying what is attached and from where.

use std::{
    io::ErrorKind,
    os::fd::{AsFd, BorrowedFd},
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Iter, Program, ProgramError, TracePoint, trace_point::TracePointLink},
};
use clap::ValueEnum;

use super::requirements::{LoadError, chain};
use crate::{
    privileges::with_tracefs,
    sample::{AttachedProgram, Source},
};

/// The function that every clone, fork and vfork ends in.
const KERNEL_CLONE: &str = "kernel_clone";
const FENTRY: &str = "clone_enter_fentry";
const SYSCALL_ENTER: &str = "clone_enter_syscall";
const FEXIT: &str = "clone_exit_fexit";
const SYSCALL_EXIT: &str = "clone_exit_syscall";

/// How to see clones that fail and how long others take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CloneProbe {
    /// At kernel_clone where the kernel allows it, else at the system calls' tracepoints
    #[default]
    Auto,
    /// Only at kernel_clone: tracepoints cost every system call of the host some nanoseconds
    Fexit,
    /// Not at all
    Off,
}

/// What the tracepoints don't see: arch/x86/include/asm/ftrace.h leaves out system calls of the other kind.
const UNSEEN: &str = if cfg!(target_arch = "x86_64") { "; failed clones of 32-bit programs are not seen" } else { "" };

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
    program.try_into().map_err(|_| LoadError::Missing(name))
}

/// Loads a program; again if a signal came while the verifier was at work, which then gives up with EAGAIN.
fn load(name: &'static str, mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), LoadError> {
    const ATTEMPTS: u32 = 10;
    for _ in 1..ATTEMPTS {
        match load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == ErrorKind::WouldBlock => {}
            outcome => return outcome.map_err(|error| LoadError::load(name, error)),
        }
    }
    load().map_err(|error| LoadError::load(name, error))
}

/// Loads a program and attaches it to the tracepoint of its name.
pub(super) fn tp_btf(ebpf: &mut Ebpf, btf: &Btf, name: &'static str) -> Result<AttachedProgram, LoadError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    load(name, || program.load(name, btf))?;
    program.attach().map_err(|error| LoadError::attach(name, error))?;
    Ok(AttachedProgram::new(name, Source::TpBtf))
}

/// The descriptor of a program that [`tp_btf`] attached.
pub(super) fn tp_btf_fd<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, LoadError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.fd().map(AsFd::as_fd).map_err(|error| LoadError::attach(name, error))
}

/// Loads the iterator; each scan attaches it anew.
pub(super) fn iter(ebpf: &mut Ebpf, btf: &Btf, name: &'static str) -> Result<AttachedProgram, LoadError> {
    let program: &mut Iter = program(ebpf, name)?;
    load(name, || program.load("task", btf))?;
    Ok(AttachedProgram::new(name, Source::Iter))
}

/// The iterator that [`iter`] loaded.
pub(super) fn iter_program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Iter, LoadError> {
    program(ebpf, name)
}

/// Attaches the clone programs: to `kernel_clone` itself where the kernel allows it, as that costs nothing elsewhere,
/// else to the tracepoints of its system calls, which put every system call of the host on the slow path; else
/// nowhere, and all but clone failures and durations still works.
pub(super) fn clone(ebpf: &mut Ebpf, btf: &Btf, wanted: CloneProbe) -> (AttachedProgram, SlowToDetach) {
    let at = |source, reason| AttachedProgram { program: "clone".into(), source, reason };
    if wanted == CloneProbe::Off {
        return (at(Source::None, "--clone-probe off".to_owned()), SlowToDetach::default());
    }
    let refused = match clone_fexit(ebpf, btf) {
        Ok(()) => return (at(Source::Fexit, String::new()), SlowToDetach::default()),
        Err(error) => format!("no fexit: {error}"),
    };
    unload(ebpf, &[FENTRY, FEXIT]);
    if wanted == CloneProbe::Fexit {
        return (at(Source::None, refused), SlowToDetach::default());
    }
    let attached = with_tracefs(|| clone_tracepoints(ebpf));
    match attached.unwrap_or_else(|error| Err(LoadError::Thread(error.to_string()))) {
        Ok(links) => (at(Source::Tracepoint, format!("{refused}{UNSEEN}")), links),
        Err(error) => {
            unload(ebpf, &[SYSCALL_ENTER, SYSCALL_EXIT]);
            (at(Source::None, format!("{refused}; no tracepoints: {error}")), SlowToDetach::default())
        }
    }
}

/// Detaches and unloads what of a pair was loaded: half of it would count twice, or cost for nothing.
fn unload(ebpf: &mut Ebpf, names: &[&str]) {
    for name in names {
        // An error says that it was not loaded: nothing to undo.
        let _ = match ebpf.program_mut(name) {
            Some(Program::FEntry(program)) => program.unload(),
            Some(Program::FExit(program)) => program.unload(),
            Some(Program::TracePoint(program)) => program.unload(),
            _ => Ok(()),
        };
    }
}

/// The descriptor of the program that sees clones return, if one is attached.
pub(super) fn clone_exit_fd(ebpf: &mut Ebpf, source: Source) -> Result<Option<BorrowedFd<'_>>, LoadError> {
    let failed = |error| LoadError::attach("clone", error);
    match source {
        Source::Fexit => {
            let exit: &mut FExit = program(ebpf, FEXIT)?;
            exit.fd().map(|fd| Some(fd.as_fd())).map_err(failed)
        }
        Source::Tracepoint => {
            let exit: &mut TracePoint = program(ebpf, SYSCALL_EXIT)?;
            exit.fd().map(|fd| Some(fd.as_fd())).map_err(failed)
        }
        _ => Ok(None),
    }
}

/// Every second of the links to tracepoints. Closing each waits for an RCU grace period (`perf_trace_event_unreg`), 75
/// to 250 ms, so the daemon's two threads share them when it ends.
#[derive(Debug, Default)]
pub struct SlowToDetach(#[expect(dead_code, reason = "held to be dropped")] Vec<TracePointLink>);

fn clone_fexit(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), LoadError> {
    let (enter, exit) = (FENTRY, FEXIT);
    // Both are loaded before either is attached: half of the pair would be worse than none.
    let fentry: &mut FEntry = program(ebpf, enter)?;
    load(enter, || fentry.load(KERNEL_CLONE, btf))?;
    let fexit: &mut FExit = program(ebpf, exit)?;
    load(exit, || fexit.load(KERNEL_CLONE, btf))?;
    fexit.attach().map_err(|error| LoadError::attach(exit, error))?;
    let fentry: &mut FEntry = program(ebpf, enter)?;
    fentry.attach().map_err(|error| LoadError::attach(enter, error))?;
    Ok(())
}

fn clone_tracepoints(ebpf: &mut Ebpf) -> Result<SlowToDetach, LoadError> {
    const SYSCALLS: [&str; 4] = ["clone", "clone3", "fork", "vfork"];
    let mut slow = attach_to_syscalls(ebpf, SYSCALL_EXIT, "sys_exit", &SYSCALLS)?;
    slow.extend(attach_to_syscalls(ebpf, SYSCALL_ENTER, "sys_enter", &SYSCALLS)?);
    Ok(SlowToDetach(slow))
}

/// Attaches to the tracepoint of each system call that the architecture has: clone is on all of them. Returns every
/// second link.
fn attach_to_syscalls(
    ebpf: &mut Ebpf,
    name: &'static str,
    hook: &str,
    syscalls: &[&str],
) -> Result<Vec<TracePointLink>, LoadError> {
    let program: &mut TracePoint = program(ebpf, name)?;
    load(name, || program.load())?;
    let mut links = Vec::new();
    for syscall in syscalls {
        match program.attach("syscalls", &format!("{hook}_{syscall}")) {
            Ok(link) => links.push(link),
            Err(error) if *syscall == "clone" => return Err(LoadError::attach(name, error)),
            Err(error) => tracing::debug!(syscall, error = chain(&error), "no tracepoint"),
        }
    }
    let every_second = links.into_iter().step_by(2).map(|link| program.take_link(link));
    every_second.collect::<Result<_, _>>().map_err(|error| LoadError::attach(name, error))
}
