//! The loaded programs: start them, scan, drain, read their counters.

use std::{
    error::Error,
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::{
    Btf, Ebpf, EbpfLoader, Pod, include_bytes_aligned,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf},
};
use aya_log::EbpfLogger;
use log::Log;
use nix::{errno::Errno, sys::utsname::uname};
use thread_probe_ebpf::abi::{
    fold::{
        ENDED_LEADER_WORDS, EndedLeader, FOLDED_WORDS, Folded, FoldedLeader, FoldedProcess, LEADER_WORDS, PROCESS_WORDS,
    },
    histogram::BUCKETS,
    names::Lost,
    record::HostLimits,
    taken::Pair,
};

use super::{
    attach::{self, CloneProbe, SlowToDetach},
    btf::{KernelTypes, kernel_types},
    cost::thread_cost,
    relocate::relocated,
    requirements::{self, LoadError, chain},
    runs::RunFiles,
    scan, syscalls,
};
use crate::{
    os::memory,
    sample::{AttachedProgram, FoldOf, HostCounters, Observation, ThreadCost},
};

/// The object that build.rs compiled.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/thread-probe-ebpf"));

const SCAN: &str = "scan_tasks";
const SWITCH: &str = "sched_switch";
/// The end before the beginning: what is seen to begin must be seen to end.
const OF_A_TASKS_LIFE: [&str; 4] = ["sched_process_free", "sched_process_exit", "sched_process_fork", "task_newtask"];
/// What counts in a thread's storage, which each has only after the first scan.
const AFTER_THE_FIRST_SCAN: [&str; 2] = ["sched_wakeup_new", SWITCH];
/// Programs of which a skipped run loses something: they make up for what the others missed.
const MUST_RUN: [&str; 3] = ["sched_process_free", "sched_wakeup_new", SWITCH];

/// How to load.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub struct LoadOptions {
    /// Let the programs log what is rare: a failed clone, a full ring.
    pub log: bool,
    /// How to see clones.
    pub clone_probe: CloneProbe,
    /// Whether short-lived processes may be added up by what names their group: not where each is a group of its own.
    pub fold_leaders: bool,
    /// Whether to keep the ledger of time.
    pub time_ledger: bool,
    /// Whether to charge waits to who had the CPU.
    pub who: bool,
}

/// The programs, loaded. Dropping it detaches them.
pub struct Probe {
    options: LoadOptions,
    ebpf: Ebpf,
    /// The kernel's types, for programs still to be loaded; many megabytes.
    btf: Option<Btf>,
    ended: RingBuf<MapData>,
    lost: PerCpuArray<MapData, [u64; Lost::ALL.len()]>,
    folded: HashMap<MapData, [u64; PROCESS_WORDS], [u64; FOLDED_WORDS]>,
    folded_known: HashMap<MapData, [u64; PROCESS_WORDS], [u64; FOLDED_WORDS]>,
    folded_leader: HashMap<MapData, [u64; LEADER_WORDS], [u64; FOLDED_WORDS]>,
    orphans: PerCpuArray<MapData, [u64; FOLDED_WORDS]>,
    taken: HashMap<MapData, u64, u64>,
    ended_leaders: HashMap<MapData, u32, [u64; ENDED_LEADER_WORDS]>,
    clone_duration: PerCpuArray<MapData, [u64; BUCKETS + 1]>,
    host_limits: Array<MapData, [u64; size_of::<HostLimits>() / 8]>,
    logger: Option<EbpfLogger<&'static dyn Log>>,
    types: KernelTypes,
    programs: Vec<AttachedProgram>,
    slow_links: SlowToDetach,
    must_run: RunFiles,
    clone_returns: RunFiles,
    switches: RunFiles,
    lost_at_start: [u64; Lost::ALL.len()],
    malformed: u64,
}

impl Probe {
    /// Loads the programs and attaches those that must see every task from its creation to its end.
    ///
    /// # Errors
    /// What the host lacks, in one line.
    pub fn load(options: LoadOptions) -> Result<Self, LoadError> {
        requirements::check()?;
        Self::load_on_this_kernel(options).map_err(|error| match uname() {
            Ok(names) => error.on_kernel(&names.release().to_string_lossy()),
            Err(_) => error,
        })
    }

    fn load_on_this_kernel(options: LoadOptions) -> Result<Self, LoadError> {
        let types = kernel_types()?;
        let mut ebpf = load_object(&types, options)?;
        // Not before: the loader has the kernel's types in memory for itself, and twice that is most of what a start
        // takes.
        let btf = Btf::from_sys_fs().map_err(|error| LoadError::UnreadableBtf { error: chain(&error) })?;
        let logger = match options.log {
            true => Some(EbpfLogger::init(&mut ebpf).map_err(|_| LoadError::Missing("AYA_LOGS"))?),
            false => None,
        };
        let mut programs = Vec::new();
        for name in OF_A_TASKS_LIFE {
            programs.push(attach::tp_btf(&mut ebpf, &btf, name)?);
        }
        programs.push(attach::iter(&mut ebpf, &btf, SCAN)?);
        Ok(Self {
            options,
            ended: map(&mut ebpf, "ENDED")?,
            lost: map(&mut ebpf, "LOST")?,
            folded: map(&mut ebpf, "FOLDED")?,
            folded_known: map(&mut ebpf, "FOLDED_KNOWN")?,
            folded_leader: map(&mut ebpf, "FOLDED_LEADER")?,
            orphans: map(&mut ebpf, "ORPHANS")?,
            taken: map(&mut ebpf, "TAKEN")?,
            ended_leaders: map(&mut ebpf, "ENDED_LEADERS")?,
            clone_duration: map(&mut ebpf, "CLONE_DURATION")?,
            host_limits: map(&mut ebpf, "HOST_LIMITS")?,
            ebpf,
            btf: Some(btf),
            logger,
            types,
            programs,
            slow_links: SlowToDetach::default(),
            must_run: RunFiles::default(),
            clone_returns: RunFiles::default(),
            switches: RunFiles::default(),
            lost_at_start: [0; Lost::ALL.len()],
            malformed: 0,
        })
    }

    /// Scans once, so that every thread has its storage, and only then attaches what counts in it.
    ///
    /// # Errors
    /// The scan failed, or the context switch can't be attached to.
    pub fn start(&mut self, sink: &mut dyn FnMut(Observation<'_>)) -> Result<(), LoadError> {
        let failed = |error: io::Error| LoadError::FirstScan(error.to_string());
        self.scan(sink).map_err(failed)?;
        let btf = self.btf.take().ok_or(LoadError::Missing("program left to attach"))?;
        // Threads that ended before the scan reached them had no storage: that is no loss.
        self.lost_at_start = sum_of_cpus(&self.lost).map_err(failed)?;
        for name in AFTER_THE_FIRST_SCAN {
            self.programs.push(attach::tp_btf(&mut self.ebpf, &btf, name)?);
        }
        for name in MUST_RUN {
            self.must_run.include(attach::tp_btf_fd(&mut self.ebpf, name)?).map_err(failed)?;
        }
        self.switches.include(attach::tp_btf_fd(&mut self.ebpf, SWITCH)?).map_err(failed)?;
        let (clone, links) = attach::clone(&mut self.ebpf, &btf, self.options.clone_probe);
        if let Some(fd) = attach::clone_exit_fd(&mut self.ebpf, clone.source)? {
            self.clone_returns.include(fd).map_err(failed)?;
        }
        self.programs.push(clone);
        self.slow_links = links;
        drop(btf);
        memory::return_freed();
        Ok(())
    }

    /// Reads the record of every thread. Returns how many there are.
    ///
    /// # Errors
    /// What the kernel said. A scan that failed half-way can't be repeated: what it handed out is not sent again.
    pub fn scan(&mut self, sink: &mut dyn FnMut(Observation<'_>)) -> io::Result<u64> {
        let stream = self.open_scan()?;
        scan::read(stream, sink)
    }

    /// Nothing is handed out yet, so what the process or the host lacks for a moment may be waited for.
    fn open_scan(&mut self) -> io::Result<File> {
        const TRIES: u32 = 10;
        const PAUSE: Duration = Duration::from_millis(100);
        let program = attach::iter_program(&mut self.ebpf, SCAN).map_err(io::Error::other)?;
        let mut open = || {
            let link = program.attach().map_err(io::Error::other)?;
            let link = program.take_link(link).map_err(io::Error::other)?;
            link.into_file().map_err(io::Error::other)
        };
        for _ in 1..TRIES {
            match open() {
                Err(error) if is_shortage(&error) => std::thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
        open()
    }

    /// Takes the final records of the threads that ended. Returns how many.
    pub fn drain(&mut self, sink: &mut dyn FnMut(Observation<'_>)) -> u64 {
        let mut records = 0;
        while let Some(record) = self.ended.next() {
            if scan::parse_ended(&record, sink) {
                records += 1;
            } else {
                self.malformed += 1;
            }
        }
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        records
    }

    /// Reads what the programs added up. The sums are those since each entry was made.
    ///
    /// # Errors
    /// A map could not be read.
    pub fn read_folds(&self, sink: &mut dyn FnMut(FoldOf, &Folded)) -> io::Result<()> {
        let sums = |words: &_| Folded::from_words(*words);
        each(&self.folded, |key, words| sink(FoldOf::Process(FoldedProcess::from_words(key)), &sums(words)))?;
        each(&self.folded_known, |key, words| sink(FoldOf::Known(FoldedProcess::from_words(key)), &sums(words)))?;
        each(&self.folded_leader, |key, words| sink(FoldOf::Leader(FoldedLeader::from_words(key)), &sums(words)))
    }

    /// Makes room: of what these are, nothing more is to come.
    ///
    /// # Errors
    /// A map could not be written.
    pub fn forget_folds(&mut self, over: &[FoldOf]) -> io::Result<()> {
        for of in over {
            match of {
                FoldOf::Process(key) => self.folded.remove(&key.to_words()),
                FoldOf::Known(key) => self.folded_known.remove(&key.to_words()),
                FoldOf::Leader(key) => self.folded_leader.remove(&key.to_words()),
            }
            .map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Reads for how long processes had the CPU while others waited for it, since each pair was made, in nanoseconds.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn read_taken(&self, mut sink: impl FnMut(Pair, u64)) -> io::Result<()> {
        each(&self.taken, |word, ns| sink(Pair::from_word(word), *ns))
    }

    /// Makes room: of these pairs, nothing more is to come.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn forget_taken(&mut self, over: &[Pair]) -> io::Result<()> {
        over.iter().try_for_each(|pair| self.taken.remove(&pair.to_word())).map_err(io::Error::other)
    }

    /// What names a process that ended before a scan saw it, of one that had the CPU, or waited for one, for long.
    pub fn ended_leader(&self, tgid: u32) -> Option<EndedLeader> {
        self.ended_leaders.get(&tgid, 0).ok().map(EndedLeader::from_words)
    }

    /// Tells the programs what they can't see of the host's limits, by which they say why a clone failed.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn set_host_limits(&mut self, limits: HostLimits) -> io::Result<()> {
        self.host_limits.set(0, limits.to_array(), 0).map_err(io::Error::other)
    }

    /// A descriptor that becomes readable when the ring is a quarter full.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn ring_fd(&self) -> io::Result<OwnedFd> {
        self.ended.as_fd().try_clone_to_owned()
    }

    /// What the programs counted for the host as a whole.
    ///
    /// # Errors
    /// A map could not be read.
    pub fn host_counters(&self) -> io::Result<HostCounters> {
        let clones = sum_of_cpus(&self.clone_duration)?;
        let mut duration_buckets = [0; BUCKETS];
        duration_buckets.copy_from_slice(&clones[..BUCKETS]);
        let mut lost = sum_of_cpus(&self.lost)?;
        for (count, at_start) in lost.iter_mut().zip(self.lost_at_start) {
            *count -= at_start;
        }
        Ok(HostCounters {
            lost,
            malformed_records: self.malformed,
            missed_runs: self.must_run.total()?.skipped,
            missed_clone_returns: self.clone_returns.total()?.skipped,
            log_lines_left_out: 0,
            switch_runs: self.switches.total()?,
            orphans: self.orphans()?,
            clone_duration_buckets: duration_buckets,
            clone_duration_sum_ns: clones[BUCKETS],
        })
    }

    /// Each CPU's sums are added field by field: two buckets share a word.
    fn orphans(&self) -> io::Result<Folded> {
        let per_cpu = self.orphans.get(&0, 0).map_err(io::Error::other)?;
        let sums = per_cpu.iter().map(|words| Folded::from_words(*words));
        Ok(sums.fold(Folded::default(), Folded::plus))
    }

    /// What another thread may drop while this one drops the rest, to detach in half the time.
    pub fn take_slow_links(&mut self) -> SlowToDetach {
        std::mem::take(&mut self.slow_links)
    }

    /// The programs and where they are attached.
    pub fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    /// Whether what a quota takes can be told from other waits: see [`KernelTypes::tells_throttling`].
    pub fn tells_throttling(&self) -> bool {
        self.types.tells_throttling()
    }

    /// What one thread costs this kernel. Reads a file that is root's alone: call it before privileges are dropped.
    pub fn thread_cost(&self) -> ThreadCost {
        thread_cost(self.types.task_struct_bytes, self.types.task_storage_bytes)
    }
}

/// Whether an error says that there are no descriptors, or no memory, just now.
fn is_shortage(error: &io::Error) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        let number = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if matches!(number.map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn load_object(types: &KernelTypes, options: LoadOptions) -> Result<Ebpf, LoadError> {
    let object = relocated(OBJECT, &types.offsets).map_err(|fault| LoadError::Object(fault.to_owned()))?;
    // The levels are those of the crate log; 0 is off and lets the verifier remove the calls.
    let log_level: u8 = if options.log { 5 } else { 0 };
    let mut loader = EbpfLoader::new();
    loader.allow_unsupported_maps().override_global(aya_log::LEVEL, &log_level, true);
    let fold_leaders = u8::from(options.fold_leaders);
    loader.override_global("FOLD_LEADERS", &fold_leaders, true);
    let (time_ledger, classes) = (u8::from(options.time_ledger), syscalls::classes());
    loader.override_global("TIME_LEDGER", &time_ledger, true);
    let who = u8::from(options.who);
    loader.override_global("WHO", &who, true);
    loader.override_global("SYSCALL_CLASSES", &classes[..], true);
    loader.load(&object).map_err(|error| LoadError::object(&error))
}

fn map<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(LoadError::Missing(name))?;
    map.try_into().map_err(|error| LoadError::map(name, &error))
}

/// Hands on each entry of a map. One that is made meanwhile may be left out until the next time.
fn each<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>, mut sink: impl FnMut(K, &V)) -> io::Result<()> {
    for key in map.keys() {
        let key = key.map_err(io::Error::other)?;
        match map.get(&key, 0) {
            Ok(value) => sink(key, &value),
            Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(())
}

fn sum_of_cpus<const N: usize>(map: &PerCpuArray<MapData, [u64; N]>) -> io::Result<[u64; N]> {
    let per_cpu = map.get(&0, 0).map_err(io::Error::other)?;
    let mut sum = [0u64; N];
    for counts in per_cpu.iter() {
        for (total, count) in sum.iter_mut().zip(counts) {
            *total = total.wrapping_add(*count);
        }
    }
    Ok(sum)
}
