//! What a thread takes of memory: of the kernel's, which can't be swapped, and of its own.
//!
//! Not its `task_struct` and what else is in slabs: what threads that ended leave there counts as in use, and the next
//! ones take it. The probe knows their size from the kernel's types.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    sync::mpsc,
    thread,
};

use nix::{
    libc,
    sys::wait::waitpid,
    unistd::{ForkResult, fork},
};

use super::{
    observer::Observer,
    repeat::until_steady,
    report::{Figure, Part},
};

/// So many at a time: the kernel counts in steps that are little to them all.
const THREADS: usize = 1000;
/// What a thread touches of its stack, where it touches some.
const TOUCHED_BYTES: usize = 128 << 10;

/// A stack: its size, and how much of it is touched besides what every thread touches.
const STACKS_BYTES: [(usize, usize); 4] = [(64 << 10, 0), (2 << 20, 0), (8 << 20, 0), (8 << 20, TOUCHED_BYTES)];

macro_rules! amounts {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)+) => {
        /// Amounts of memory, in bytes.
        #[derive(Clone, Copy, Debug, Default)]
        struct Amounts {
            $($(#[$doc])* $name: u64,)+
        }

        impl Amounts {
            const NAMES: [&str; [$($what),+].len()] = [$($what),+];

            fn to_array(self) -> [u64; Self::NAMES.len()] {
                [$(self.$name),+]
            }
        }
    };
}

amounts! {
    /// KernelStack of /proc/meminfo.
    kernel_stack = "kernel stack";
    /// VmPTE of /proc/self/status.
    page_tables = "page tables";
    /// VmRSS.
    resident = "resident";
    /// AnonHugePages of /proc/self/smaps_rollup.
    huge_pages = "of it in huge pages";
    /// VmSize.
    address_space = "address space";
}

impl Amounts {
    fn now() -> io::Result<Self> {
        let (host, own) = (fs::read_to_string("/proc/meminfo")?, fs::read_to_string("/proc/self/status")?);
        let maps = fs::read_to_string("/proc/self/smaps_rollup")?;
        let of = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| io::Error::other(format!("no {name} in /proc")))
        };
        Ok(Self {
            kernel_stack: of(&host, "KernelStack")?,
            page_tables: of(&own, "VmPTE")?,
            resident: of(&own, "VmRSS")?,
            huge_pages: of(&maps, "AnonHugePages")?,
            address_space: of(&own, "VmSize")?,
        })
    }
}

/// Measures each stack.
pub(super) fn measure(observer: &mut dyn Observer) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (stack_bytes, touched_bytes) in STACKS_BYTES {
        if !observer.goes_on() {
            break;
        }
        let what = match touched_bytes {
            0 => format!("a thread with a stack of {} KiB", stack_bytes >> 10),
            touched => format!("a thread with a stack of {} KiB, {} KiB touched", stack_bytes >> 10, touched >> 10),
        };
        observer.begins(Part::Memory, &what);
        for figure in of_a_stack(&what, (stack_bytes, touched_bytes), observer) {
            observer.has(&figure);
            figures.push(figure);
        }
    }
    Ok(figures)
}

fn of_a_stack(what: &str, stack: (usize, usize), observer: &mut dyn Observer) -> Vec<Figure> {
    let mut runs: Vec<[f64; Amounts::NAMES.len()]> = Vec::new();
    // All are read at once; the kernel's stacks are what varies, as all the host adds to them.
    let repeated = until_steady(
        || observer.goes_on(),
        || {
            let run = grown_in_a_process_of_its_own(stack)?;
            runs.push(run);
            Ok(run[0])
        },
    );
    let figure = |name: &str| Figure::new(Part::Memory, format!("{what}: {name}"));
    let told = |(index, name): (usize, &&str)| {
        let values: Vec<f64> = runs.iter().map(|run| run[index]).collect();
        figure(name).bytes(&values)
    };
    match repeated {
        Ok(Some(_)) => Amounts::NAMES.iter().enumerate().map(told).collect(),
        Ok(None) => vec![figure("all").with_problem("it was ended".into())],
        Err(error) => vec![figure("all").with_problem(format!("{THREADS} threads: {error}"))],
    }
}

/// What each of many threads adds, in a process without any: the C library keeps stacks for the next threads.
fn grown_in_a_process_of_its_own(stack: (usize, usize)) -> io::Result<[f64; Amounts::NAMES.len()]> {
    let (mut told, mut tells) = io::pipe()?;
    // SAFETY: this part comes first, while this process has one thread, whose locks are free; the child ends without returning.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let outcome =
                grown(stack).and_then(|grown| grown.iter().try_for_each(|bytes| tells.write_all(&bytes.to_ne_bytes())));
            // SAFETY: it ends this process, with its threads.
            unsafe { libc::_exit(outcome.err().map_or(0, |error| error.raw_os_error().unwrap_or(1))) }
        }
        ForkResult::Parent { child } => {
            drop(tells);
            let mut bytes = Vec::new();
            told.read_to_end(&mut bytes)?;
            let status = waitpid(child, None)?;
            let words = bytes
                .chunks_exact(size_of::<f64>())
                .map(|word| f64::from_ne_bytes(word.try_into().unwrap_or_default()));
            words.collect::<Vec<_>>().try_into().map_err(|_| match status {
                nix::sys::wait::WaitStatus::Exited(_, errno) => io::Error::from_raw_os_error(errno),
                other => io::Error::other(format!("{other:?}")),
            })
        }
    }
}

fn grown((stack_bytes, touched_bytes): (usize, usize)) -> io::Result<[f64; Amounts::NAMES.len()]> {
    let (runs, all_run) = mpsc::channel();
    // The first one has the C library set up what it needs once.
    let start = |runs: mpsc::Sender<()>| {
        thread::Builder::new().stack_size(stack_bytes).spawn(move || {
            if touched_bytes > 0 {
                touch_stack();
            }
            let _ = runs.send(());
            loop {
                thread::park();
            }
        })
    };
    start(runs.clone())?;
    all_run.recv().map_err(io::Error::other)?;
    let before = Amounts::now()?.to_array();
    for _ in 0..THREADS {
        start(runs.clone())?;
    }
    for _ in 0..THREADS {
        all_run.recv().map_err(io::Error::other)?;
    }
    let after = Amounts::now()?.to_array();
    Ok(std::array::from_fn(|index| (after[index] as f64 - before[index] as f64) / THREADS as f64))
}

#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "the stack is what is to be touched")]
fn touch_stack() {
    let mut touched = [0u8; TOUCHED_BYTES];
    touched.iter_mut().step_by(1024).for_each(|byte| *byte = 1);
    std::hint::black_box(&touched);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_now_has_a_part_of_each() -> io::Result<()> {
        let now = Amounts::now()?;
        assert!(now.kernel_stack >= 16 << 10 && now.page_tables > 0, "{now:?}");
        assert!(now.resident < now.address_space, "{now:?}");
        Ok(())
    }
}
