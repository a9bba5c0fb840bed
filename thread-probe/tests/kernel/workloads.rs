//! Workloads: this program in another role. Each reports facts it knows of itself, a line each, and waits for a line
//! on its standard input before it goes on.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, CpuSet, sched_setaffinity, unshare},
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous},
        resource::{Resource, UsageWho, getrusage, setrlimit},
    },
    unistd::{Gid, Pid, Uid, pipe, read, setgid, setuid, write},
};

use crate::probe::Probe;

/// The first argument that makes this program a workload.
pub const ROLE: &str = "workload";

/// A workload that was started.
pub struct Workload {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Workload {
    /// Starts one under a name of its own, which is its comm and so its group.
    pub fn start(name: &str, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ROLE).arg(name).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting workload {name}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("piped above")?);
        Ok(Self { child, input, output })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The numbers of the next line it reports.
    pub fn facts(&mut self) -> Result<Vec<u64>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the workload ended: {:?}", self.child.wait()?);
        line.split_whitespace().map(|word| word.parse().with_context(|| format!("workload said {line:?}"))).collect()
    }

    /// The same, while the probe takes in what ends, as the daemon does: when the ring is a quarter full.
    pub fn facts_while_draining(&mut self, probe: &mut Probe) -> Result<Vec<u64>> {
        let ring = probe.ring_fd()?;
        loop {
            let mut ready = [
                PollFd::new(ring.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN),
            ];
            poll(&mut ready, PollTimeout::NONE)?;
            if ready[0].any() == Some(true) {
                probe.drain()?;
            }
            if ready[1].any() == Some(true) {
                return self.facts();
            }
        }
    }

    /// The same, while the probe samples without a pause.
    pub fn facts_while_sampling(&mut self, probe: &mut Probe) -> Result<Vec<u64>> {
        loop {
            probe.sample()?;
            let mut ready = [PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::ZERO)? > 0 {
                return self.facts();
            }
        }
    }

    /// Lets it go on.
    pub fn go(&mut self) -> Result<()> {
        self.input.as_mut().context("its input is open")?.write_all(b"\n")?;
        Ok(())
    }

    /// Closes its input, which ends it, and waits for it.
    pub fn finish(&mut self) -> Result<()> {
        self.input = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "the workload ended with {status}");
        Ok(())
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays a role.
pub fn play(args: Vec<String>) -> ExitCode {
    let name = args.first().map_or("", String::as_str);
    let number = |index: usize| args.get(index).and_then(|arg| arg.parse().ok()).unwrap_or(0);
    let outcome = rename(name.as_bytes()).and_then(|()| match name {
        "tp-threads" => threads(number(1)),
        "tp-switches" => switches(number(1)),
        "tp-sleeper" => report(&[]).and_then(|()| wait_for_line()),
        "tp-short" => short_threads(number(1)),
        "tp-pingpong" => pingpong_threads(number(1)),
        "tp-pingproc" => pingpong_processes(number(1)),
        "tp-churn" => churn(number(1), number(2)),
        "tp-nproc" => beyond_nproc(number(1)),
        "tp-user-ns" => fill_user_namespace(number(1)),
        "tp-root-nproc" => root_beyond_nproc(number(1)),
        "tp-fill" => report(&[]).and_then(|()| wait_for_line()).and_then(|()| fill(number(1))),
        "tp-deadline" => deadline_task(),
        "tp-mappings" => map_until_refused(),
        "tp-address-space" => fill_address_space(number(1)),
        "tp-leak" => leak(number(1)),
        "tp-pid-namespace" => fill_pid_namespace(number(1)),
        "tp-memory" => fill_memory(number(1)),
        "tp-exec" => exec_from_thread(),
        // What tp-exec becomes: its usage goes on across the exec.
        "tp-execd" => report_usage_when_asked(),
        "tp-zombie" => zombie_leader(),
        "tp-io-uring" => io_uring_worker(),
        "tp-hostile" => rename(b"a\"b\\c\nd\xffe").and_then(|()| report(&[])).and_then(|()| wait_for_line()),
        other => bail!("no workload {other:?}"),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "workload {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Changes the comm of this thread; a process's is that of its main thread.
fn rename(name: &[u8]) -> Result<()> {
    std::fs::write("/proc/thread-self/comm", name).context("renaming")
}

fn report(facts: &[u64]) -> Result<()> {
    let line: Vec<String> = facts.iter().map(u64::to_string).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", line.join(" "))?;
    Ok(out.flush()?)
}

fn wait_for_line() -> Result<()> {
    let mut byte = [0];
    // Unbuffered: one byte is one line.
    let _ = io::stdin().lock().read(&mut byte)?;
    Ok(())
}

/// Reports `voluntary involuntary` so far.
fn report_usage() -> Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    report(&[usage.voluntary_context_switches() as u64, usage.involuntary_context_switches() as u64])
}

/// Creates and joins threads; reports when done; waits.
fn threads(count: u64) -> Result<()> {
    for _ in 0..count {
        thread::Builder::new().stack_size(64 << 10).spawn(|| {})?.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    }
    report(&[count])?;
    wait_for_line()
}

/// Switches in several threads that end; then reports its usage, each time it is let go on.
fn switches(rounds: u64) -> Result<()> {
    let sleepers: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || (0..rounds).for_each(|_| thread::sleep(Duration::from_micros(50)))))
        .collect();
    for sleeper in sleepers {
        sleeper.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    }
    report_usage_when_asked()
}

/// Reports its usage before it sleeps and after it is woken, again and again.
fn report_usage_when_asked() -> Result<()> {
    for _ in 0..20 {
        report_usage()?;
        wait_for_line()?;
        report_usage()?;
        wait_for_line()?;
    }
    Ok(())
}

/// Threads that end at once. Reports the time from before each was created until after it was gone, summed, in ns.
fn short_threads(count: u64) -> Result<()> {
    let mut total = Duration::ZERO;
    for _ in 0..count {
        let started = Instant::now();
        thread::spawn(|| {}).join().map_err(|_| anyhow::anyhow!("panicked"))?;
        wait_until_alone()?;
        total += started.elapsed();
    }
    report(&[total.as_nanos() as u64])?;
    wait_for_line()
}

/// Waits until no other thread of this process is left. Joining one does not do: it is told as the thread gives up its
/// memory, before `sched_process_exit`.
fn wait_until_alone() -> Result<()> {
    /// Links of a directory with one entry: `proc_task_getattr` adds the threads to the two that any has.
    const ALONE: u64 = 3;
    while fs::metadata("/proc/self/task")?.nlink() > ALONE {
        thread::yield_now();
    }
    Ok(())
}

fn pin_to_first_cpu() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// Passes a byte back and forth over two pipes.
fn bounce(rounds: u64, mine: &OwnedFd, theirs: &OwnedFd, first: bool) -> Result<()> {
    let mut byte = [0];
    for _ in 0..rounds {
        if first {
            write(theirs.as_fd(), &byte)?;
        }
        ensure!(read(mine.as_fd(), &mut byte)? == 1, "the other side is gone");
        if !first {
            write(theirs.as_fd(), &byte)?;
        }
    }
    Ok(())
}

fn pingpong_threads(rounds: u64) -> Result<()> {
    pin_to_first_cpu()?;
    let ((ping_out, ping_in), (pong_out, pong_in)) = (pipe()?, pipe()?);
    let other = thread::spawn(move || bounce(rounds, &ping_out, &pong_in, false));
    bounce(rounds, &pong_out, &ping_in, true)?;
    other.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    report(&[])?;
    wait_for_line()
}

/// The same between two processes: the child is a copy that has one thread and only bounces.
fn pingpong_processes(rounds: u64) -> Result<()> {
    pin_to_first_cpu()?;
    let ((ping_out, ping_in), (pong_out, pong_in)) = (pipe()?, pipe()?);
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            let bounced = bounce(rounds, &ping_out, &pong_in, false);
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { nix::libc::_exit(i32::from(bounced.is_err())) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            bounce(rounds, &pong_out, &ping_in, true)?;
            nix::sys::wait::waitpid(child, None)?;
        }
    }
    report(&[])?;
    wait_for_line()
}

/// Creates threads and processes as fast as it can; reports how many of each.
fn churn(threads: u64, processes: u64) -> Result<()> {
    for _ in 0..processes {
        // SAFETY: this process has one thread at this point.
        match unsafe { nix::unistd::fork() }? {
            // SAFETY: ends the process without running what belongs to the parent.
            nix::unistd::ForkResult::Child => unsafe { nix::libc::_exit(0) },
            nix::unistd::ForkResult::Parent { child } => nix::sys::wait::waitpid(child, None)?,
        };
    }
    let each = threads / 4;
    let creators: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || (0..each - 1).filter(|_| thread::spawn(|| {}).join().is_ok()).count() as u64))
        .collect();
    let mut created = 4;
    for creator in creators {
        created += creator.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    }
    report(&[created, processes])?;
    wait_for_line()
}

/// How many threads `tp-nproc` creates before it may not.
pub const CREATED_BEFORE_NPROC: u64 = 3;

/// Becomes another user at its limit, and reports how many of the attempts to create a thread failed.
fn beyond_nproc(attempts: u64) -> Result<()> {
    const NOBODY_ELSE: u32 = 64_321;
    for _ in 0..CREATED_BEFORE_NPROC {
        let _ = thread::Builder::new().spawn(|| {})?.join();
    }
    setrlimit(Resource::RLIMIT_NPROC, 1, 1)?;
    setgid(Gid::from_raw(NOBODY_ELSE))?;
    setuid(Uid::from_raw(NOBODY_ELSE))?;
    let failed = (0..attempts).filter(|_| thread::Builder::new().spawn(|| {}).is_err()).count();
    report(&[failed as u64])?;
    wait_for_line()
}

/// Makes a user namespace as a user with that limit, reports whether it could, and creates threads until it is refused.
fn fill_user_namespace(limit: u64) -> Result<()> {
    const NOBODY_ELSE: u32 = 64_322;
    setrlimit(Resource::RLIMIT_NPROC, limit, limit)?;
    setgid(Gid::from_raw(NOBODY_ELSE))?;
    setuid(Uid::from_raw(NOBODY_ELSE))?;
    if unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        report(&[0])?;
        return wait_for_line();
    }
    report(&[1])?;
    wait_for_line()?;
    fill(5)
}

/// Reports how many threads it may not create, under a limit that does not hold for root.
fn root_beyond_nproc(attempts: u64) -> Result<()> {
    setrlimit(Resource::RLIMIT_NPROC, 1, 1)?;
    let failed = (0..attempts).filter(|_| thread::Builder::new().spawn(|| {}).is_err()).count();
    report(&[failed as u64])?;
    wait_for_line()
}

/// Threads that sleep until the process ends.
fn sleeper() -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(64 << 10).spawn(|| {
        loop {
            thread::park();
        }
    })
}

/// Creates threads until it was refused so many; reports that; keeps them.
fn fill(refusals: u64) -> Result<()> {
    let refused = refused_of(refusals);
    report(&[refused])?;
    wait_for_line()
}

/// Creates threads until so many were refused, or until it is clear that none will be.
fn refused_of(refusals: u64) -> u64 {
    const ENOUGH: usize = 20_000;
    let mut refused = 0;
    for _ in 0..ENOUGH {
        if sleeper().is_err() {
            refused += 1;
        }
        if refused == refusals {
            break;
        }
    }
    refused
}

/// `struct sched_attr` of include/uapi/linux/sched/types.h.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Becomes a deadline task, and reports how many threads it may not create; 0 where it may not become one.
fn deadline_task() -> Result<()> {
    const SCHED_DEADLINE: u32 = 6;
    let size = size_of::<SchedAttr>() as u32;
    let (runtime, deadline) = (5_000_000, 100_000_000);
    let (policy, period) = (SCHED_DEADLINE, deadline);
    let attr = SchedAttr { size, policy, flags: 0, nice: 0, priority: 0, runtime, deadline, period };
    // SAFETY: the structure is as large as it says, and the kernel only reads it.
    if unsafe { nix::libc::syscall(nix::libc::SYS_sched_setattr, 0, &raw const attr, 0) } != 0 {
        report(&[0])?;
        return wait_for_line();
    }
    let refused = (0..3).filter(|_| sleeper().is_err()).count();
    report(&[refused as u64])?;
    wait_for_line()
}

/// Maps pages that can't be merged until it may not; reports how many.
fn map_until_refused() -> Result<()> {
    let page = std::num::NonZeroUsize::MIN.saturating_add(4095);
    let mut mapped = 0;
    loop {
        let protection = if mapped % 2 == 0 { ProtFlags::PROT_READ } else { ProtFlags::PROT_NONE };
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS;
        // SAFETY: a new mapping that nothing refers to.
        if unsafe { mmap_anonymous(None, page, protection, flags) }.is_err() {
            break;
        }
        mapped += 1;
    }
    report_without_memory(mapped)?;
    wait_for_line()
}

/// What [`report`] does, where there is no mapping left for the allocator.
fn report_without_memory(fact: u64) -> Result<()> {
    let mut line = *b"00000000000000000000\n";
    let mut rest = fact;
    for digit in line[..20].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    ensure!(write(io::stdout(), &line)? == line.len(), "the pipe is full");
    Ok(())
}

/// Allows itself so many stacks more; reports 0; reports how many threads it could create.
fn fill_address_space(stacks: u64) -> Result<()> {
    const STACK_BYTES: u64 = 8 << 20;
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")?.split(' ').next().unwrap_or_default().parse()?;
    setrlimit(Resource::RLIMIT_STACK, STACK_BYTES, STACK_BYTES)?;
    let limit = pages * 4096 + stacks * STACK_BYTES + (1 << 20);
    setrlimit(Resource::RLIMIT_AS, limit, limit)?;
    report(&[0])?;
    wait_for_line()?;
    let spawn = || thread::Builder::new().stack_size(STACK_BYTES as usize).spawn(|| thread::sleep(Duration::MAX));
    let created = std::iter::repeat_with(spawn).take_while(Result::is_ok).count();
    report(&[created as u64])?;
    wait_for_line()
}

/// Creates so many threads a second, from when it is let go on until it is killed or its input closes.
fn leak(per_second: u64) -> Result<()> {
    report(&[])?;
    wait_for_line()?;
    thread::spawn(move || {
        let started = Instant::now();
        for created in 1.. {
            let due = Duration::from_nanos(created * 1_000_000_000 / per_second);
            thread::sleep(due.saturating_sub(started.elapsed()));
            let _ = sleeper();
        }
    });
    wait_for_line()
}

/// Starts the first process of a pid namespace, which allows itself `pid_max` ids, if the kernel lets it, and uses all
/// of them up. Reports the process, whether it was let, and how many clones were refused.
fn fill_pid_namespace(pid_max: u64) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    let (out, into) = pipe()?;
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            // Before Linux 6.14 this would be the host's.
            let has_own = has_own_pid_max() && std::fs::write("/proc/sys/kernel/pid_max", pid_max.to_string()).is_ok();
            let refused = if has_own { refused_of(10) } else { 0 };
            let _ = write(&into, &[u8::from(has_own), refused as u8]);
            let _ = wait_for_line();
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { nix::libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let mut facts = [0; 2];
            ensure!(read(&out, &mut facts)? == 2, "the first process of the namespace ended");
            report(&[child.as_raw() as u64, u64::from(facts[0]), u64::from(facts[1])])?;
            nix::sys::wait::waitpid(child, None)?;
            Ok(())
        }
    }
}

fn has_own_pid_max() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// Creates tasks that take nothing but kernel memory, until so many were refused: their stacks are there already, and
/// nothing may be killed for memory.
fn fill_memory(most: u64) -> Result<()> {
    const STACK_BYTES: usize = 16 << 10;
    extern "C" fn rest(_: *mut std::ffi::c_void) -> nix::libc::c_int {
        loop {
            // SAFETY: no preconditions.
            unsafe { nix::libc::pause() };
        }
    }
    // Where the caller has not switched killing off in the cgroup itself, as it can in version 1.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    report(&[])?;
    wait_for_line()?;
    let mut stacks = vec![1u8; most as usize * STACK_BYTES];
    report(&[])?;
    wait_for_line()?;
    let flags = nix::libc::CLONE_VM
        | nix::libc::CLONE_FS
        | nix::libc::CLONE_FILES
        | nix::libc::CLONE_SIGHAND
        | nix::libc::CLONE_THREAD
        | nix::libc::CLONE_SYSVSEM;
    let mut refused = 0;
    for stack in stacks.chunks_exact_mut(STACK_BYTES) {
        let top = stack.as_mut_ptr_range().end;
        // SAFETY: a stack of its own that lives as long as the process; the task touches nothing else.
        if unsafe { nix::libc::clone(rest, top.cast(), flags, std::ptr::null_mut()) } < 0 {
            refused += 1;
        }
        if refused == 3 {
            break;
        }
    }
    report_without_memory(refused)?;
    wait_for_line()?;
    std::mem::forget(stacks);
    Ok(())
}

/// Executes another program from a thread that is not the leader, after both have switched.
fn exec_from_thread() -> Result<()> {
    thread::sleep(Duration::from_millis(5));
    let (started, error) = std::sync::mpsc::channel();
    thread::spawn(move || {
        (0..200).for_each(|_| thread::sleep(Duration::from_micros(50)));
        let _ = report(&[]);
        let _ = wait_for_line();
        let executable = std::env::current_exe().unwrap_or_default();
        let _ = started.send(Command::new(executable).args([ROLE, "tp-execd"]).exec());
    });
    Err(error.recv()?.into())
}

/// Ends its main thread while another goes on.
#[expect(clippy::exit, reason = "there is no main thread left to return from")]
fn zombie_leader() -> Result<()> {
    thread::spawn(|| {
        let _ = wait_for_line();
        std::process::exit(0);
    });
    report(&[])?;
    // SAFETY: ends this thread alone, and the other needs nothing of it. pthread_exit would unwind through main.
    unsafe { nix::libc::syscall(nix::libc::SYS_exit, 0) };
    bail!("exit returned")
}

/// Makes the kernel create an io_uring worker: a read that must not wait in the submitter. Reports 0 where io_uring
/// is not to be had.
fn io_uring_worker() -> Result<()> {
    let Ok(mut ring) = io_uring::IoUring::new(4) else {
        report(&[0])?;
        return wait_for_line();
    };
    let (out, into) = pipe()?;
    let mut byte = [0u8];
    let read =
        io_uring::opcode::Read::new(io_uring::types::Fd(std::os::fd::AsRawFd::as_raw_fd(&out)), byte.as_mut_ptr(), 1)
            .build()
            .flags(io_uring::squeue::Flags::ASYNC);
    // SAFETY: the buffer outlives the ring's use of it: the read completes below.
    unsafe { ring.submission().push(&read) }.map_err(|_| anyhow::anyhow!("the queue is full"))?;
    ring.submit()?;
    thread::sleep(Duration::from_millis(20));
    write(into.as_fd(), b"x")?;
    ring.submit_and_wait(1)?;
    report(&[1])?;
    wait_for_line()
}
