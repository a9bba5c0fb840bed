//! Nanoseconds a context switch costs more: measured by the kernel in the programs, and by a ping-pong from outside.

use std::{
    collections::HashMap,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{BtfTracePoint, loaded_programs},
};
use thread_probe::{
    probe::CloneProbe,
    sampler::{ProbeConfig, Sampler, SamplerConfig},
};

use crate::{load::ping_pong, median, sysctl::Sysctl};

static BASELINE: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/baseline"));

const ROUNDS: u64 = 100_000;
const REPEATS: usize = 7;

/// What may watch the switches.
#[derive(Clone, Copy, PartialEq)]
enum Watcher {
    Nobody,
    Floor(&'static Floor),
    ThreadProbe { clone_probe: CloneProbe, time_ledger: bool, who: bool },
    Peer(&'static Peer),
}

/// The least that a program could cost.
#[derive(PartialEq)]
struct Floor {
    name: &'static str,
    program: &'static str,
}

static FLOORS: [Floor; 2] = [
    Floor { name: "empty program", program: "empty_switch" },
    Floor { name: "one look-up in task storage and one addition", program: "lookup_switch" },
];

/// What else watches switches, as its own help advises. Debian has them in libbpf-tools.
#[derive(PartialEq)]
struct Peer {
    name: &'static str,
    path: &'static str,
    args: &'static [&'static str],
}

static PEERS: [Peer; 3] = [
    Peer { name: "runqlat -P", path: "/usr/sbin/runqlat", args: &["-P", "3600"] },
    Peer { name: "runqslower (over 10 ms)", path: "/usr/sbin/runqslower", args: &[] },
    Peer { name: "offcputime", path: "/usr/sbin/offcputime", args: &["3600"] },
];

/// Held while it watches.
enum Watching {
    Nobody,
    Floor { _ebpf: Ebpf },
    ThreadProbe { _sampler: Box<Sampler> },
    Peer(Child),
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Self::Peer(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Watcher {
    fn all() -> Vec<Self> {
        let ours = |clone_probe, time_ledger, who| Self::ThreadProbe { clone_probe, time_ledger, who };
        let all_of_ours = [
            ours(CloneProbe::Auto, true, true),
            ours(CloneProbe::Fexit, true, true),
            ours(CloneProbe::Fexit, true, false),
            ours(CloneProbe::Fexit, false, true),
            ours(CloneProbe::Fexit, false, false),
        ];
        let peers = PEERS.iter().filter(|peer| Path::new(peer.path).exists()).map(Self::Peer);
        [Self::Nobody].into_iter().chain(FLOORS.iter().map(Self::Floor)).chain(all_of_ours).chain(peers).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "no program",
            Self::Floor(floor) => floor.name,
            Self::ThreadProbe { clone_probe: CloneProbe::Auto, .. } => "thread-probe, clones as this kernel allows",
            Self::ThreadProbe { time_ledger: true, who: true, .. } => "thread-probe, no tracepoints on system calls",
            Self::ThreadProbe { time_ledger: true, .. } => "the same without who took the CPU",
            Self::ThreadProbe { who: true, .. } => "the same without the ledger of time",
            Self::ThreadProbe { .. } => "the same without either",
            Self::Peer(peer) => peer.name,
        }
    }

    fn start(self) -> Result<Watching> {
        Ok(match self {
            Self::Nobody => Watching::Nobody,
            Self::Floor(floor) => Watching::Floor { _ebpf: load(floor)? },
            Self::ThreadProbe { clone_probe, time_ledger, who } => {
                let probe = ProbeConfig { clone_probe, time_ledger, who, ..ProbeConfig::default() };
                let config = SamplerConfig { probe, ..SamplerConfig::default() };
                Watching::ThreadProbe { _sampler: Box::new(Sampler::start(&config)?.0) }
            }
            Self::Peer(peer) => {
                let mut command = Command::new(peer.path);
                let child = command.args(peer.args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
                let mut child = child.with_context(|| format!("starting {}", peer.path))?;
                std::thread::sleep(Duration::from_secs(1));
                ensure!(child.try_wait()?.is_none(), "{} ended at once", peer.path);
                Watching::Peer(child)
            }
        })
    }
}

fn load(floor: &Floor) -> Result<Ebpf> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = EbpfLoader::new().btf(Some(&btf)).allow_unsupported_maps().load(BASELINE)?;
    let program: &mut BtfTracePoint = ebpf.program_mut(floor.program).context("the baseline has it")?.try_into()?;
    program.load("sched_switch", &btf)?;
    program.attach()?;
    Ok(ebpf)
}

/// Run time and number of runs of a program, since it was loaded.
struct RunStats {
    is_switch: bool,
    time: Duration,
    runs: u64,
}

/// Of all programs on wake-ups and switches, by id.
fn run_stats() -> HashMap<u32, RunStats> {
    let counts = |name: &str| name.contains("sched_") || FLOORS.iter().any(|floor| floor.program == name);
    loaded_programs()
        .filter_map(std::result::Result::ok)
        .filter_map(|program| {
            let name = program.name_as_str().filter(|name| counts(name))?;
            let is_switch = name.ends_with("switch");
            Some((program.id(), RunStats { is_switch, time: program.run_time(), runs: program.run_count() }))
        })
        .collect()
}

/// Nanoseconds of BPF per switch: all programs' run time over the runs of the one on the switch.
fn nanoseconds_per_switch(before: &HashMap<u32, RunStats>, after: &HashMap<u32, RunStats>) -> f64 {
    let (mut time, mut switches) = (Duration::ZERO, 0);
    for (id, after) in after {
        let (old_time, old_runs) = before.get(id).map_or((Duration::ZERO, 0), |before| (before.time, before.runs));
        time += after.time.saturating_sub(old_time);
        switches += if after.is_switch { after.runs.saturating_sub(old_runs) } else { 0 };
    }
    time.as_nanos() as f64 / switches.max(1) as f64
}

pub(crate) fn measure() -> Result<()> {
    let watchers = Watcher::all();
    let mut times = vec![Vec::new(); watchers.len()];
    let mut costs = vec![Vec::new(); watchers.len()];
    ping_pong(ROUNDS)?;
    // Interleaved, so that what else the machine does hits all alike.
    for _ in 0..REPEATS {
        for (index, watcher) in watchers.iter().enumerate() {
            let _watching = watcher.start()?;
            times[index].push(ping_pong(ROUNDS)?);
            let _stats = Sysctl::set("kernel/bpf_stats_enabled", "1")?;
            let before = run_stats();
            ping_pong(ROUNDS / 4)?;
            costs[index].push(nanoseconds_per_switch(&before, &run_stats()));
        }
    }
    let alone = median(times[0].clone());
    let empty = median(costs[1].clone());
    println!("| context switch | BPF ns per switch | above empty | ping-pong ns per switch | slower |");
    println!("|---|---|---|---|---|");
    for ((watcher, times), costs) in watchers.iter().zip(times).zip(costs) {
        let (time, cost) = (median(times), median(costs));
        let slower = (time / alone - 1.0) * 100.0;
        match watcher {
            Watcher::Nobody => println!("| {} | - | - | {time:.0} | - |", watcher.name()),
            _ => println!("| {} | {cost:.0} | {:.0} | {time:.0} | {slower:.1} % |", watcher.name(), cost - empty),
        }
    }
    println!();
    Ok(())
}
