//! Whole recordings: of hosts whose processes come and go, read back; and damaged ones.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;
use thread_probe_ebpf::abi::{histogram::BUCKETS, time::TimeState};

use super::*;
use crate::{
    limits::{Headroom, Limit, Scope},
    model::{
        Activity, CpuTaken, Group, IntervalWaits, LostCount, Process, Rates, TakenBy, ThreadCounts, Times, histogram,
    },
    testing::{alert, empty_model, idle_group, limit_use, process},
};

/// Numbers that look like chance and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

const INTERVAL_NS: u64 = 5_000_123_457;

/// A host whose processes come, work and go; each of its samples is as a probe would tell it.
struct World {
    dice: Dice,
    model: Model,
    next_pid: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut model = empty_model();
        model.groups = ["a", "b", "c"].map(idle_group).to_vec();
        Self { dice: Dice(seed), model, next_pid: 1 }
    }

    fn sample(&mut self) -> Model {
        let Self { dice, model, next_pid } = self;
        let seconds = INTERVAL_NS as f64 / 1e9;
        model.time_unix_seconds += seconds;
        model.interval_seconds = Some(seconds);
        let before = model.clone();
        model.processes.retain(|_| dice.below(20) != 0);
        while model.processes.len() < 12 {
            let group = ["a", "b", "c"][dice.below(3) as usize];
            let threads = ThreadCounts { total: 1 + dice.below(20), ..Default::default() };
            model.processes.push(Process { group: group.into(), threads, ..process(*next_pid, "worker") });
            *next_pid += 1;
        }
        for process in &mut model.processes {
            let waits = work(dice, &mut process.totals, process.threads.total);
            process.interval_waits = IntervalWaits::new(&waits);
            process.cpu_taken = taken(dice, &process.cpu_taken, seconds);
            let was = before.processes.iter().find(|was| was.pid == process.pid);
            let nothing = Activity::default();
            let mut rates = Rates::between(was.map_or(&nothing, |was| &was.totals), &process.totals, &waits, seconds);
            rates.burst_max_seconds = (dice.below(3) == 0).then(|| dice.below(1 << 40) as f64 / 1e9);
            process.rates = Some(rates);
            let limit = limit_use((Limit::CgroupPids, Scope::Cgroup), &process.group, dice.below(90), 100);
            process.headroom = Some(Headroom { binding: limit, first_exhausted: None });
        }
        for group in &mut model.groups {
            grow(dice, group, &model.processes, seconds);
        }
        let host = &mut model.host;
        work(dice, &mut host.totals, 30);
        host.rates = Some(Rates::between(&before.host.totals, &host.totals, &[0; BUCKETS], seconds));
        let lost = LostCount { reason: "ring_full".into(), count: dice.below(3) };
        model.probe.lost = vec![lost];
        let is_firing = dice.below(4) == 0;
        model.alerts = is_firing.then(|| alert(crate::model::alert::State::Firing, "a")).into_iter().collect();
        model.clone()
    }
}

/// Lets threads do something; their waits.
fn work(dice: &mut Dice, totals: &mut Activity, threads: u64) -> [u64; BUCKETS] {
    let mut waits = [0; BUCKETS];
    let more = |seconds: &mut f64, ns: u64| *seconds = ((*seconds * 1e9).round() + ns as f64) / 1e9;
    let is_idle = dice.below(2) == 0;
    let (cpu_ns, wait_ns) = if is_idle { (0, 0) } else { (dice.below(1 << 30), dice.below(1 << 31)) };
    more(&mut totals.cpu_seconds, cpu_ns);
    more(&mut totals.wait_seconds, wait_ns);
    let mut times = totals.time_seconds;
    let mut spend = |state: TimeState, ns: u64| {
        let mut seconds = times.get(state);
        more(&mut seconds, ns);
        times = Times::of(times.iter().filter(|(other, _)| *other != state).chain([(state, seconds)]));
    };
    spend(TimeState::Running, cpu_ns);
    spend(TimeState::WaitWakeup, wait_ns);
    spend(TimeState::Lock, (threads * INTERVAL_NS).saturating_sub(cpu_ns + wait_ns));
    totals.time_seconds = times;
    if !is_idle {
        totals.voluntary_switches += dice.below(1000);
        totals.runs += dice.below(1000);
        for _ in 0..dice.below(6) {
            waits[dice.below(BUCKETS as u64) as usize] += 1 + dice.below(50);
        }
    }
    waits
}

/// Who took the CPU: some who took more, one who is new, one who is not told by name.
fn taken(dice: &mut Dice, before: &CpuTaken, seconds: f64) -> CpuTaken {
    let mut parts: Vec<TakenBy> = before.iter().filter(|part| part.seconds > 0.0).cloned().collect();
    if parts.len() < 3 && dice.below(3) == 0 {
        let by = format!("taker {}", dice.below(100));
        parts.retain(|part| *part.by != *by);
        parts.push(TakenBy { by: by.into(), ..Default::default() });
    }
    for part in &mut parts {
        let ns = if part.seconds > 0.0 && dice.below(2) == 0 { 0 } else { 1 + dice.below(1 << 30) };
        part.seconds = ((part.seconds * 1e9).round() + ns as f64) / 1e9;
        part.ratio = ns as f64 / 1e9 / seconds;
    }
    if dice.below(2) == 0 {
        parts.push(TakenBy {
            by: "unnamed".into(),
            seconds: 0.0,
            ratio: (1 + dice.below(1 << 20)) as f64 / 1e9 / seconds,
        });
    }
    parts.into_iter().collect()
}

/// A group is more than its processes: some have ended.
fn grow(dice: &mut Dice, group: &mut Group, processes: &[Process], seconds: f64) {
    let before = group.clone();
    let mut buckets = crate::model::histogram_counts(&group.wait_histogram);
    for process in processes.iter().filter(|process| process.group == group.group) {
        process.interval_waits.add_to(&mut buckets);
        group.totals.voluntary_switches += 7;
        group.cpu_taken = process.cpu_taken.clone();
    }
    let waits = work(dice, &mut group.totals, 3);
    buckets.iter_mut().zip(waits).for_each(|(bucket, count)| *bucket += count);
    group.wait_histogram = histogram(&buckets);
    let grown = crate::model::histogram_counts(&before.wait_histogram);
    let grown = std::array::from_fn(|bucket| buckets[bucket] - grown[bucket]);
    group.rates = Some(Rates::between(&before.totals, &group.totals, &grown, seconds));
}

/// A recording of so many samples, and these.
fn recorded(samples: usize, seed: u64) -> Result<(TempDir, PathBuf, Vec<Arc<Model>>)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.tprec");
    let mut recording = Recording::create(&path)?;
    let mut world = World::new(seed);
    let mut models = Vec::new();
    for number in 0..samples {
        let model = Arc::new(world.sample());
        let one = OneProcess { process_wait_histogram: model.host.wait_histogram.clone(), ..Default::default() };
        let looked_into: Vec<_> = (0..number % 3).map(|pid| LookedInto { pid: pid as u32, one: one.clone() }).collect();
        recording.write(Arc::clone(&model), &looked_into)?;
        models.push(model);
    }
    Ok((folder, path, models))
}

fn json(model: &Model) -> Result<String> {
    Ok(serde_json::to_string(model)?)
}

#[test]
fn what_is_read_is_what_was_written_to_the_bit_forward_backward_and_anywhere() -> Result<()> {
    let (_folder, path, models) = recorded(300, 7)?;
    let mut track = Track::open(&path)?;
    assert_eq!(track.len(), models.len());
    let mut dice = Dice(3);
    let anywhere: Vec<usize> = (0..60).map(|_| dice.below(300) as usize).collect();
    for number in (0..300).chain((0..300).rev().step_by(7)).chain(anywhere) {
        let read = track.sample(number)?;
        assert_eq!(json(&read.model)?, json(&models[number])?, "sample {number}");
        assert_eq!(read.looked_into.len(), number % 3);
    }
    let glances: Vec<_> = track.glances().copied().collect();
    let expected: Vec<_> = models.iter().map(|model| Glance::of(model)).collect();
    assert!(glances == expected);
    Ok(())
}

#[test]
fn a_sample_whose_numbers_no_probe_has_counted_is_kept_as_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.tprec");
    let mut recording = Recording::create(&path)?;
    let mut world = World::new(1);
    let mut models = Vec::new();
    for strange in [1.0, 0.1 + 0.2, f64::MAX, -1.0, f64::MIN_POSITIVE, 1e300] {
        let mut model = world.sample();
        model.processes[0].totals.cpu_seconds = strange;
        model.groups[0].cpu_taken = [TakenBy { by: "x".into(), seconds: 1.0, ratio: strange }].into_iter().collect();
        models.push(json(&model)?);
        recording.write(Arc::new(model), &[])?;
    }
    let mut track = Track::open(&path)?;
    for (number, model) in models.iter().enumerate() {
        assert_eq!(json(&track.sample(number)?.model)?, *model, "sample {number}");
    }
    Ok(())
}

#[test]
fn what_is_torn_is_cut_when_a_recording_goes_on_and_no_whole_sample_is() -> Result<()> {
    let (folder, path, _) = recorded(4, 5)?;
    let whole = fs::read(&path)?;
    let track = Track::open(&path)?;
    let ends: Vec<usize> = track.ends().collect();
    for cut in (ends[2] + 1..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let torn = folder.path().join(format!("{cut}.tprec"));
        fs::write(&torn, &whole[..cut])?;
        assert_eq!(Track::open(&torn)?.len(), 3);
        let mut continued = Recording::go_on(&torn)?;
        assert_eq!(continued.1 as usize, cut - ends[2]);
        let model = Arc::new(World::new(9).sample());
        continued.0.write(Arc::clone(&model), &[])?;
        let mut track = Track::open(&torn)?;
        assert_eq!((track.len(), track.warnings()), (4, &[][..]));
        assert_eq!(json(&track.sample(3)?.model)?, json(&model)?);
    }
    Ok(())
}

#[test]
fn what_is_no_recording_or_one_of_a_later_program_is_refused_with_its_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let refused = |name: &str, bytes: &[u8]| -> Result<String> {
        let path = folder.path().join(name);
        fs::write(&path, bytes)?;
        let error = Track::open(&path).err().context("it was opened")?.to_string();
        assert!(error.contains(name), "{error}");
        Ok(error)
    };
    assert!(refused("empty", b"")?.contains("no recording"));
    assert!(refused("text", b"[Unit]\nDescription=x\n")?.contains("no recording"));
    assert!(refused("later", b"thread-probe\0\0\x02\0")?.contains("later version"));
    assert!(refused("bare", b"thread-probe\0\0\x01\0")?.contains("no recorded sample"));
    assert!(Track::open(folder.path()).is_err_and(|error| error.to_string().contains("no recorded sample")));
    Ok(())
}

#[test]
fn a_recording_of_version_1_is_read_by_every_later_program() -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/version-1.tprec");
    let mut track = Track::open(&path)?;
    assert_eq!(track.len(), 5);
    let read = serde_json::to_value(&track.sample(4)?.model)?;
    let was: Value = serde_json::from_slice(&fs::read(path.with_extension("json"))?)?;
    assert_eq!(missing(&was, &read, String::new()), [""; 0]);
    Ok(())
}

/// Where something of the one is not in the other as it is. A later program may tell more.
fn missing(of: &Value, other: &Value, path: String) -> Vec<String> {
    let below = |key: String, of: &Value, other: Option<&Value>| match other {
        Some(other) => missing(of, other, format!("{path}/{key}")),
        None => vec![format!("{path}/{key}")],
    };
    match (of, other) {
        (Value::Object(of), other) => of.iter().flat_map(|(key, of)| below(key.clone(), of, other.get(key))).collect(),
        (Value::Array(of), Value::Array(others)) if of.len() == others.len() => {
            of.iter().enumerate().flat_map(|(at, of)| below(at.to_string(), of, others.get(at))).collect()
        }
        _ if of == other => Vec::new(),
        _ => vec![path],
    }
}

#[test]
fn zeros_as_a_power_loss_leaves_them_are_cut() -> Result<()> {
    let (_folder, path, models) = recorded(3, 2)?;
    let whole = fs::metadata(&path)?.len();
    fs::OpenOptions::new().write(true).open(&path)?.set_len(whole + 1000)?;
    assert_eq!(Track::open(&path)?.len(), 3);
    let (mut recording, cut_bytes) = Recording::go_on(&path)?;
    assert_eq!(cut_bytes, 1000);
    recording.write(Arc::clone(&models[0]), &[])?;
    let mut track = Track::open(&path)?;
    assert_eq!((track.len(), track.warnings()), (4, &[][..]));
    assert_eq!(json(&track.sample(3)?.model)?, json(&models[0])?);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn of_a_damaged_file_all_before_the_damage_is_read_and_the_rest_refused(
        at in any::<prop::sample::Index>(),
        byte in 1..=u8::MAX,
        is_cut in any::<bool>(),
    ) {
        let outcome = damage(at, byte, is_cut);
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
    }
}

fn damage(at: prop::sample::Index, byte: u8, is_cut: bool) -> Result<()> {
    let (_folder, path, models) = recorded(4, 11)?;
    let mut bytes = fs::read(&path)?;
    let ends: Vec<usize> = Track::open(&path)?.ends().collect();
    let at = at.index(bytes.len());
    bytes[at] ^= byte;
    bytes.truncate(if is_cut { at } else { bytes.len() });
    fs::write(&path, &bytes)?;
    let whole = ends.iter().take_while(|end| **end <= at).count();
    let mut track = match Track::open(&path) {
        Ok(track) => track,
        Err(error) => {
            anyhow::ensure!(whole == 0, "{whole} whole samples are not read: {error}");
            return Ok(());
        }
    };
    for (number, model) in models.iter().enumerate().take(whole) {
        anyhow::ensure!(json(&track.sample(number)?.model)? == json(model)?, "sample {number}");
    }
    for number in whole..track.len() {
        anyhow::ensure!(track.sample(number).is_err(), "sample {number} is damaged, and was read");
    }
    Ok(())
}
