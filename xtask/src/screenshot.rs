//! The README's picture of `thread-probe top`, from a real run in a real terminal.

use std::{
    ffi::OsString,
    fs,
    os::fd::AsFd as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anstyle_svg::Term;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::SignalFd,
    },
};

use crate::{
    build::release_binary,
    setup::{root, setup},
    tmux::{Size, Tmux},
    workload::Workloads,
};

/// From one key to the next.
const BETWEEN_KEYS: Duration = Duration::from_millis(300);
/// From the last key to the picture: another sample or two.
const AFTER_KEYS: Duration = Duration::from_secs(3);

/// Options of `screenshot`
#[derive(Args)]
pub(crate) struct Options {
    /// Where the picture goes [default: docs/top.svg]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Columns and rows of the terminal
    #[arg(long, default_value = "160x45")]
    size: Size,
    /// How long the program runs before keys are pressed, as in 8s
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// A key to press then, as tmux names it (Enter, Down, F5, a); may be given more than once
    #[arg(long, value_name = "KEY")]
    keys: Vec<String>,
    /// Another program to run in place of thread-probe
    #[arg(long, hide = true)]
    program: Option<PathBuf>,
    /// Arguments of thread-probe
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, default_value = "top")]
    arguments: Vec<OsString>,
}

impl Options {
    /// From the program's start to the picture.
    fn time(&self) -> Duration {
        if self.keys.is_empty() { self.wait } else { self.wait + AFTER_KEYS }
    }
}

/// Takes the picture.
///
/// # Errors
/// The build failed, there is no tmux or no way to become root, or a program ended before the picture was taken.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = if let Some(program) = &options.program {
        program.clone()
    } else {
        setup()?;
        release_binary()?
    };
    let screen = film(options, program)?;
    let file = options.output.clone().unwrap_or_else(|| root().join("docs/top.svg"));
    fs::write(&file, Term::new().render_svg(&screen)).with_context(|| format!("writing {}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}

/// What the program shows of processes at work.
fn film(options: &Options, program: PathBuf) -> Result<String> {
    let home = tempfile::tempdir()?;
    let command: Vec<OsString> = std::iter::once(program.into()).chain(options.arguments.iter().cloned()).collect();
    let tmux = Tmux::start(options.size, home.path(), &command)?;
    // After the terminal's start: it would inherit them as blocked, and its program would not end with it.
    let interrupts = Interrupts::catch()?;
    let mut workloads = Workloads::start(options.time())?;
    interrupts.pause(options.wait)?;
    tmux.check()?;
    for key in &options.keys {
        tmux.press(key)?;
        interrupts.pause(BETWEEN_KEYS)?;
    }
    if !options.keys.is_empty() {
        interrupts.pause(AFTER_KEYS)?;
    }
    tmux.check()?;
    workloads.check()?;
    ensure!(!tmux.text()?.trim().is_empty(), "the program has shown nothing: try a longer --wait");
    tmux.coloured()
}

/// Signals that would end this program before it has ended what it started.
struct Interrupts {
    signals: SignalFd,
}

impl Interrupts {
    fn catch() -> Result<Self> {
        let mask: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        mask.thread_block()?;
        Ok(Self { signals: SignalFd::new(&mask)? })
    }

    /// Waits, unless a signal ends it.
    fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            // Rounded up, so as not to spin in the last millisecond.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut ready = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, timeout)? > 0 {
                bail!("interrupted");
            }
        }
    }
}
