//! A workload that a test started, and what it says.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::fd::AsFd as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::kernel::{probe::Probe, roles::ROLE};

/// A workload that was started.
pub(super) struct Workload {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Workload {
    /// Starts one under a name of its own, which is its comm and so its group.
    pub(super) fn start(name: &str, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ROLE).arg(name).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting workload {name}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("piped above")?);
        Ok(Self { child, input, output })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The numbers of the next line it reports.
    pub(super) fn facts(&mut self) -> Result<Vec<u64>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the workload ended: {:?}", self.child.wait()?);
        line.split_whitespace().map(|word| word.parse().with_context(|| format!("workload said {line:?}"))).collect()
    }

    /// The same, while the probe takes in what ends, as the daemon does: when the ring is a quarter full.
    pub(super) fn facts_while_draining(&mut self, probe: &mut Probe) -> Result<Vec<u64>> {
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
    pub(super) fn facts_while_sampling(&mut self, probe: &mut Probe) -> Result<Vec<u64>> {
        loop {
            probe.sample()?;
            let mut ready = [PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::ZERO)? > 0 {
                return self.facts();
            }
        }
    }

    /// Lets it go on.
    pub(super) fn go(&mut self) -> Result<()> {
        self.input.as_mut().context("its input is open")?.write_all(b"\n")?;
        Ok(())
    }

    /// Closes its input, which ends it, and waits for it.
    pub(super) fn finish(&mut self) -> Result<()> {
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
