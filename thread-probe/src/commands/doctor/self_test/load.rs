//! The load: threads of this very process.

use std::{
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, Builder},
    time::Duration,
};

use anyhow::{Context as _, Result};
use procfs::process::Process;

/// How often the byte goes there and back.
pub(super) const PASSES: u64 = 20_000;
/// Threads that are created and end.
pub(super) const ENDED: u64 = 200;
/// More than any host takes for it.
const AT_MOST: Duration = Duration::from_mins(1);

/// What the kernel itself says of a thread, in /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) voluntary_switches: u64,
    pub(super) involuntary_switches: u64,
    pub(super) waited_ns: u64,
    pub(super) runs: u64,
}

/// Lets two threads pass a byte, and examines them while they sleep.
pub(super) fn run<T>(examine: impl FnOnce([u32; 2]) -> Result<T>) -> Result<T> {
    let (there, back) = (io::pipe().context("making a pipe")?, io::pipe().context("making a pipe")?);
    let (done, are_done) = mpsc::channel();
    thread::scope(|scope| {
        // Dropped on every way out, which lets the threads end.
        let mut may_end = Vec::new();
        for (is_first, ends) in [(true, (back.0, there.1)), (false, (there.0, back.1))] {
            let (let_end, end) = mpsc::channel();
            may_end.push(let_end);
            let done = done.clone();
            Builder::new()
                .spawn_scoped(scope, move || pass(is_first, ends, &done, &end))
                .context("creating a thread")?;
        }
        drop(done);
        let tid = || are_done.recv_timeout(AT_MOST).context("a byte got lost between two threads");
        let tids = [tid()??, tid()??];
        examine(tids)
    })
}

/// Passes the byte, says so, and sleeps until nobody holds the other end of `end`.
fn pass(is_first: bool, ends: (PipeReader, PipeWriter), done: &Sender<io::Result<u32>>, end: &Receiver<()>) {
    let (mut from, mut to) = ends;
    let mut byte = [0];
    let passed = (0..PASSES).try_for_each(|_| match is_first {
        true => to.write_all(&byte).and_then(|()| from.read_exact(&mut byte)),
        false => from.read_exact(&mut byte).and_then(|()| to.write_all(&byte)),
    });
    let tid = nix::unistd::gettid().as_raw().unsigned_abs();
    // An error says in both cases that nobody waits for it any more.
    let _ = done.send(passed.map(|()| tid));
    let _ = end.recv();
}

/// Creates threads that end at once.
pub(super) fn create_threads() -> Result<()> {
    for _ in 0..ENDED {
        let thread = Builder::new().spawn(|| {}).context("creating a thread")?;
        thread.join().ok().context("a thread that does nothing panicked")?;
    }
    Ok(())
}

/// What the kernel says of these threads.
pub(super) fn kernel_says(tids: [u32; 2]) -> Result<Vec<Kernel>> {
    let process = Process::myself().context("reading /proc/self")?;
    let of = |tid: u32| {
        let thread = process.task_from_tid(tid.cast_signed())?;
        let (status, times) = (thread.status()?, thread.schedstat()?);
        Ok(Kernel {
            voluntary_switches: status.voluntary_ctxt_switches.unwrap_or(0),
            involuntary_switches: status.nonvoluntary_ctxt_switches.unwrap_or(0),
            waited_ns: times.run_delay,
            runs: times.pcount,
        })
    };
    tids.into_iter().map(of).collect::<procfs::ProcResult<_>>().context("reading /proc/self/task")
}
