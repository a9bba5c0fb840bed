//! What it costs to keep samples, how large they are, and how long it takes to see one again.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use ratatui::{Terminal, backend::TestBackend};
use thread_probe::{
    model::Model,
    record::{Recording, Track},
    sampler::{Sampler, SamplerConfig},
    top::{
        app::App,
        feed::Sample,
        render::{Theme, draw},
        settings::Settings,
    },
};

use crate::{load::Load, median, scan::resident_kb_of, sysctl::Sysctl};

const INTERVAL: Duration = Duration::from_secs(5);
/// One whole and all else as changes, as a stretch has it: a tenth of one, and it is added up as if it were all of it.
const SAMPLES: usize = 13;
/// Samples from one that is whole to the next.
const STRETCH: f64 = 120.0;
const DAY: usize = 24 * 3600 / 5;
const LOOKS: usize = 40;

pub(crate) fn measure() -> Result<()> {
    let _pids = Sysctl::set("kernel/pid_max", "4194304")?;
    let _mappings = Sysctl::set("vm/max_map_count", "1048576")?;
    println!(
        "| a sample every 5 s, mixed load | a day | JSON of the same | CPU of recording | RSS |\n|---|---|---|---|---|"
    );
    let models = kept("300", "3000")?;
    kept("2000", "20000")?;
    println!("\n| a recording of a day, 300 processes | median | longest |\n|---|---|---|");
    looked_at(&models)?;
    println!();
    Ok(())
}

/// That the calling thread has used.
fn cpu_seconds() -> Result<f64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?).as_secs_f64())
}

/// Records a load; its samples.
fn kept(processes: &str, threads: &str) -> Result<Vec<Arc<Model>>> {
    let load = Load::start(&["mixed", processes, threads])?;
    let folder = tempfile::tempdir()?;
    let (mut sampler, _) = Sampler::start(&SamplerConfig::default())?;
    let mut recording = Recording::create(&folder.path().join("a.tprec"))?;
    // Rates over a whole interval, of a load that has settled.
    sampler.wait(INTERVAL)?;
    sampler.sample()?;
    let own = std::process::id().to_string();
    let (mut models, mut sizes, mut json, mut cpu) = (Vec::new(), Vec::new(), 0, 0.0);
    let mut resident_kb = (0, 0);
    while models.len() < SAMPLES {
        sampler.wait(INTERVAL)?;
        let model = Arc::new(sampler.sample()?);
        json += serde_json::to_vec(&*model)?.len();
        let (before_kb, before, began) = (resident_kb_of(&own)?, recording.bytes(), cpu_seconds()?);
        let looked_into = sampler.look_into(&model);
        recording.write(Arc::clone(&model), &looked_into)?;
        cpu += cpu_seconds()? - began;
        sizes.push((recording.bytes() - before) as f64);
        resident_kb =
            if models.is_empty() { (before_kb, resident_kb_of(&own)?) } else { (resident_kb.0, resident_kb_of(&own)?) };
        models.push(model);
    }
    drop(load);
    let (whole, changes) = (sizes[0], sizes[1..].iter().sum::<f64>() / (sizes.len() - 1) as f64);
    let day = DAY as f64 * (changes + (whole - changes) / STRETCH) / 1e6;
    let json_day = DAY as f64 * json as f64 / models.len() as f64 / 1e6;
    let share = cpu / (models.len() as f64 * INTERVAL.as_secs_f64());
    let grown = resident_kb.1.saturating_sub(resident_kb.0) as f64 / 1024.0;
    println!(
        "| {processes} processes, {threads} threads | {day:.0} MB ({:.1} kB a sample, {:.0} kB whole) | {json_day:.0} MB, {:.0} times as much | {:.3} % of a core | +{grown:.1} MB |",
        changes / 1e3,
        whole / 1e3,
        json_day / day,
        share * 100.0,
    );
    Ok(models)
}

/// A day of the same samples over and over, and looks at it.
fn looked_at(models: &[Arc<Model>]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.tprec");
    let mut recording = Recording::create(&path)?;
    for number in 0..DAY {
        let mut model = Model::clone(&models[number % models.len()]);
        model.time_unix_seconds = number as f64 * INTERVAL.as_secs_f64();
        recording.write(Arc::new(model), &[])?;
    }
    let (mut opened, mut stepped, mut back) = (Vec::new(), Vec::new(), Vec::new());
    let mut terminal = Terminal::new(TestBackend::new(200, 60))?;
    for look in 0..LOOKS {
        let number = look * 7919 % (DAY - 4) + 2;
        let began = Instant::now();
        let mut track = open(&path)?;
        let sample = track.sample(number)?.model.clone();
        let mut app = App::new(Settings::default(), String::new()).with_timeline(track.glances().copied().collect());
        app.on_sample(Sample { model: sample, one: None, command_line: None });
        terminal.draw(|frame| draw(frame, &app, &Theme::default()))?;
        opened.push(began.elapsed().as_secs_f64() * 1e3);
        for (step, times) in [(number + 1, &mut stepped), (number, &mut back)] {
            let began = Instant::now();
            let sample = track.sample(step)?.model.clone();
            app.on_sample(Sample { model: sample, one: None, command_line: None });
            terminal.draw(|frame| draw(frame, &app, &Theme::default()))?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    for (what, times) in [("any time, with the first frame", opened), ("a step on", stepped), ("a step back", back)] {
        let longest = times.iter().copied().fold(0.0, f64::max);
        println!("| {what} | {:.1} ms | {longest:.1} ms |", median(times));
    }
    Ok(())
}

fn open(path: &Path) -> Result<Track> {
    Track::open(path).context("opening the recording failed")
}
