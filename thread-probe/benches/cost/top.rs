//! `thread-probe top` on a large host, beside its peers on the same terminal.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::pty::{Winsize, openpty};
use ratatui::{Terminal, backend::TestBackend};
use thread_probe::{
    sampler::{Sampler, SamplerConfig},
    top::{
        app::{App, Key},
        feed::Sample,
        render::{Theme, draw},
        settings::Settings,
    },
};

use crate::{daemon::cpu_seconds_of, load::Load, median, scan::resident_kb_of, sysctl::Sysctl};

const PROCESSES: &str = "2000";
const THREADS: &str = "20000";
const SIZE: Winsize = Winsize { ws_row: 60, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
const WATCHED: Duration = Duration::from_secs(20);
const FRAMES: usize = 50;

pub(crate) fn measure() -> Result<()> {
    let _pids = Sysctl::set("kernel/pid_max", "4194304")?;
    // Each thread takes some mappings.
    let _mappings = Sysctl::set("vm/max_map_count", "1048576")?;
    let one = Load::start(&["sleepers", "1", THREADS])?;
    println!("| top at 200x60 | state: sort, trees, history | frame |\n|---|---|---|");
    frames(&[("one process", "", Some(one.pid()))])?;
    drop(one);
    let _load = Load::start(&["sleepers", PROCESSES, THREADS])?;
    frames(&[("all processes", "", None), ("tree by cgroup", "t", None), ("tree by parent", "tt", None)])?;
    println!("\n| the whole tool at 1 s | CPU | RSS |\n|---|---|---|");
    let own = env!("CARGO_BIN_EXE_thread-probe");
    watch("thread-probe top", &[own, "top", "-d", "1"])?;
    watch("thread-probe top, tree by cgroup", &[own, "top", "-d", "1", "--tree", "cgroup"])?;
    let daemon = Killed(
        Command::new(own)
            .args([
                "serve",
                "--interval",
                "1s",
                "--web.listen-address",
                ADDRESS,
                "--web.socket=",
                "--log-level",
                "warn",
            ])
            .spawn()?,
    );
    watch("thread-probe top of a daemon", &[own, "top", "-d", "1", "--url", &format!("http://{ADDRESS}")])?;
    drop(daemon);
    watch("htop", &["htop", "-d", "10"])?;
    watch("top (procps)", &["top", "-d", "1"])?;
    println!();
    Ok(())
}

const ADDRESS: &str = "127.0.0.1:10498";

/// What is drawn: its name, the keys that lead there, and the process of which the threads are shown.
type Drawn<'a> = (&'a str, &'a str, Option<u32>);

/// Each frame is of a new sample, as in the view.
fn frames(drawn: &[Drawn<'_>]) -> Result<()> {
    let (mut sampler, _) = Sampler::start(&SamplerConfig::default())?;
    let mut terminal = Terminal::new(TestBackend::new(SIZE.ws_col, SIZE.ws_row))?;
    for (name, keys, pid) in drawn {
        let mut app = App::new(Settings::default(), "bench".to_owned());
        if let Some(pid) = pid {
            app = app.with_process(*pid);
        }
        keys.chars().for_each(|key| drop(app.on_key(Key::Char(key))));
        let (mut states, mut frames, mut seen) = (Vec::new(), Vec::new(), (0, 0));
        for _ in 0..FRAMES {
            let model = sampler.sample()?;
            seen = (model.processes.len(), model.host.threads.total);
            let sample = Sample { model, one: pid.map(|pid| sampler.one_process(pid)), command_line: None };
            let started = Instant::now();
            app.on_sample(sample);
            states.push(started.elapsed().as_secs_f64() * 1e3);
            let started = Instant::now();
            terminal.draw(|frame| draw(frame, &app, &Theme::default()))?;
            frames.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let (processes, threads) = seen;
        println!(
            "| {name}, {processes} processes with {threads} threads | {:.2} ms | {:.2} ms |",
            median(states),
            median(frames)
        );
    }
    Ok(())
}

/// A program that does not outlive this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program in a terminal that nobody looks at, if it is installed.
fn watch(name: &str, command: &[&str]) -> Result<()> {
    let pty = openpty(&SIZE, None)?;
    let end = || -> Result<OwnedFd> { Ok(pty.slave.try_clone()?) };
    let mut started = Command::new(command[0]);
    started.args(&command[1..]).env("TERM", "xterm-256color").env("XDG_STATE_HOME", "/nonexistent");
    let child = started.stdin(end()?).stdout(end()?).stderr(Stdio::null()).spawn();
    let Ok(child) = child else {
        println!("| {name} | not installed | |");
        return Ok(());
    };
    let mut child = Killed(child);
    let mut screen = File::from(pty.master);
    std::thread::spawn(move || {
        let mut some = [0; 1 << 14];
        while screen.read(&mut some).is_ok_and(|length| length > 0) {}
    });
    let pid = child.0.id();
    std::thread::sleep(Duration::from_secs(5));
    let (before, started) = (cpu_seconds_of(pid)?, Instant::now());
    std::thread::sleep(WATCHED);
    ensure!(child.0.try_wait()?.is_none(), "{name} ended early");
    let share = (cpu_seconds_of(pid)? - before) / started.elapsed().as_secs_f64();
    let resident_mb = resident_kb_of(&pid.to_string()).context("its memory")? as f64 / 1024.0;
    println!("| {name} | {:.2} % of a core | {resident_mb:.0} MB |", share * 100.0);
    Ok(())
}
