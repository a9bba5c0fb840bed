//! `thread-probe top` as its users see it: in a real terminal, with real workloads.

use std::{
    fs,
    io::{self, Write as _, pipe},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::support::{
    daemon::{Daemon, PROGRAM},
    terminal::{Terminal, turn},
};
use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Runs `body` while two threads of this process, on one CPU and under this name, pass a byte to and fro.
fn while_churning<T>(name: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    fs::write("/proc/self/comm", name)?;
    let stop = AtomicBool::new(false);
    let ((mut to_first, mut to_second), mut cpus) = ((pipe()?, pipe()?), CpuSet::new());
    cpus.set(0)?;
    let play = |from: &mut dyn io::Read, to: &mut dyn io::Write| {
        let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
        let mut byte = [0];
        while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() && !stop.load(Ordering::Relaxed) {}
        // The other must not wait for ever.
        let _ = to.write_all(&byte);
    };
    std::thread::scope(|scope| {
        to_first.1.write_all(&[0])?;
        scope.spawn(|| play(&mut to_first.0, &mut to_second.1));
        let mut own_end = to_first.1.try_clone()?;
        scope.spawn(move || play(&mut to_second.0, &mut own_end));
        let outcome = body();
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}

fn top(arguments: &str) -> String {
    format!("{PROGRAM} top {arguments}")
}

/// A way to end or stop it, given its pid.
type End<'a> = (&'static str, &'a dyn Fn(Pid) -> Result<()>);

/// The name in the first row of the table: that below the line with the headings.
fn first_row(screen: &str) -> Option<&str> {
    screen.lines().skip_while(|line| !(line.contains("PID") && line.contains("COMM"))).nth(1)
}

#[test]
fn the_process_that_switches_most_is_the_top_row_within_3_seconds() -> Result<()> {
    let Some(terminal) = Terminal::alone(120, 40, &[])? else { return Ok(()) };
    while_churning("tp-top-churner", || {
        let started = Instant::now();
        terminal.enter(&top(""))?;
        terminal.wait_until("tp-top-churner in the first row", |screen| {
            first_row(screen).is_some_and(|row| row.contains("tp-top-churner"))
        })?;
        let took = started.elapsed();
        ensure!(took < Duration::from_secs(3), "it took {took:?}");
        // Its threads are one key away.
        terminal.press("Enter")?;
        terminal.wait_for("TID")?;
        Ok(())
    })
}

#[test]
fn a_serial_console_which_knows_no_size_of_its_own_is_drawn_on() -> Result<()> {
    let Some(terminal) = Terminal::alone(120, 40, &[])? else { return Ok(()) };
    terminal.enter("stty cols 0 rows 0")?;
    terminal.enter(&top(""))?;
    terminal.wait_until("a row", |screen| first_row(screen).is_some_and(|row| !row.trim().is_empty()))?;
    terminal.press("q")?;
    terminal.enter(&format!("clear; {PROGRAM} doctor"))?;
    terminal.wait_for(" program sched_switch        tp_btf")?;
    Ok(())
}

#[test]
fn a_key_is_answered_within_3_ms_at_the_median() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let size = nix::pty::Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None)?;
    let home = tempfile::tempdir()?;
    let mut child = std::process::Command::new(PROGRAM)
        .args(["top", "--interval", "10s"])
        .env("TERM", "xterm-256color")
        .env("XDG_STATE_HOME", home.path())
        .stdin(pty.slave.try_clone()?)
        .stdout(pty.slave)
        .spawn()?;
    let mut terminal = fs::File::from(pty.master);
    let outcome = median_of_keys(&mut terminal);
    terminal.write_all(b"q")?;
    child.wait()?;
    let median = outcome?;
    ensure!(median <= Duration::from_millis(3), "the median is {median:?}");
    Ok(())
}

/// Whether the view has written within that time; it is read.
fn has_drawn(terminal: &mut fs::File, within: Duration) -> Result<bool> {
    let mut ready = [nix::poll::PollFd::new(terminal.as_fd(), nix::poll::PollFlags::POLLIN)];
    let is_ready = nix::poll::poll(&mut ready, nix::poll::PollTimeout::try_from(within)?)? > 0;
    Ok(is_ready && io::Read::read(terminal, &mut [0; 1 << 14])? > 0)
}

/// From a key that moves the cursor to the first byte that is drawn.
fn median_of_keys(terminal: &mut fs::File) -> Result<Duration> {
    const QUIET: Duration = Duration::from_millis(100);
    ensure!(has_drawn(terminal, Duration::from_secs(30))?, "nothing is drawn");
    std::thread::sleep(Duration::from_secs(4));
    let mut times = Vec::new();
    for key in [b"j", b"k"].repeat(25) {
        while has_drawn(terminal, QUIET)? {}
        let pressed = Instant::now();
        terminal.write_all(key)?;
        ensure!(has_drawn(terminal, Duration::from_secs(2))?, "a key is not answered");
        times.push(pressed.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// What a shell has of its terminal: modes, cursor, whether anything is in front of what it wrote, and who has the
/// mouse.
type State = (String, bool, bool, bool);

fn state_of(terminal: &Terminal) -> Result<State> {
    terminal.enter("clear; stty -a > modes; echo saved' 'them")?;
    terminal.wait_for("saved them\n")?;
    let modes = fs::read_to_string(terminal.folder().join("modes"))?;
    Ok((modes, terminal.has_cursor()?, terminal.is_alternate()?, terminal.gives_mouse()?))
}

/// The shell may still be about to take its terminal back.
fn ensure_state(terminal: &Terminal, before: &State, after: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let now = state_of(terminal)?;
        if now == *before {
            return Ok(());
        }
        ensure!(
            started.elapsed() < Duration::from_secs(5),
            "after {after} the terminal is {now:?}, and was {before:?}"
        );
    }
}

/// Starts top in the background and brings it to the front. Returns its pid.
fn start_as_job(terminal: &Terminal) -> Result<Pid> {
    terminal.enter(&format!("clear; {} & echo $! > pid; fg", top("")))?;
    terminal.wait_for("COMM")?;
    ensure!(
        terminal.is_alternate()? && terminal.gives_mouse()?,
        "the view is on the alternate screen and has the mouse"
    );
    Ok(Pid::from_raw(fs::read_to_string(terminal.folder().join("pid"))?.trim().parse()?))
}

#[test]
fn the_terminal_is_given_back_at_the_end_and_at_sigterm() -> Result<()> {
    let Some(terminal) = Terminal::alone(100, 30, &[])? else { return Ok(()) };
    let before = state_of(&terminal)?;
    let ends: [End<'_>; 3] = [
        ("q", &|_| terminal.press("q")),
        ("SIGTERM", &|pid| Ok(kill(pid, Signal::SIGTERM)?)),
        ("Ctrl-C", &|_| terminal.press("C-c")),
    ];
    for (name, end) in ends {
        let pid = start_as_job(&terminal)?;
        end(pid)?;
        let screen = terminal.wait_for_prompt()?;
        ensure!(!screen.contains("COMM"), "{name} left this:\n{screen}");
        ensure_state(&terminal, &before, name)?;
    }
    Ok(())
}

#[test]
fn the_terminal_is_the_shells_while_it_is_stopped() -> Result<()> {
    let Some(terminal) = Terminal::alone(100, 30, &[])? else { return Ok(()) };
    let before = state_of(&terminal)?;
    let pid = start_as_job(&terminal)?;
    let stops: [End<'_>; 2] =
        [("Ctrl-Z", &|_| terminal.press("C-z")), ("SIGTSTP", &|pid| Ok(kill(pid, Signal::SIGTSTP)?))];
    for (name, stop) in stops {
        stop(pid)?;
        let screen = terminal.wait_for("Stopped")?;
        ensure!(!screen.contains("COMM"), "{name} left this:\n{screen}");
        ensure_state(&terminal, &before, name)?;
        terminal.enter("fg")?;
        terminal.wait_for("COMM")?;
    }
    terminal.press("q")?;
    let screen = terminal.wait_for_prompt()?;
    ensure!(!screen.contains("COMM"), "coming back drew on the shell's screen:\n{screen}");
    Ok(())
}

/// Set in the terminal in which this very program is to show a panic.
const PANICS: &str = "THREAD_PROBE_TEST_PANICS";

#[test]
fn the_terminal_is_given_back_before_a_panic_and_an_error_are_told() -> Result<()> {
    if std::env::var_os(PANICS).is_some() {
        let _screen = thread_probe::top::terminal::Screen::enter()?;
        // Of another thread: it must not end the view.
        let _ = std::thread::spawn(|| [0][std::hint::black_box(1)]).join();
        ensure!([0, 1][std::hint::black_box(2)] == 0, "unreachable: it panics");
    }
    let Some(terminal) = Terminal::alone(100, 30, &[])? else { return Ok(()) };
    let before = state_of(&terminal)?;
    let own = std::env::current_exe()?.display().to_string();
    let test = std::thread::current().name().map(str::to_owned).context("this test has a name")?;
    terminal.enter(&format!("clear; {PANICS}=1 {own} --exact {test} --nocapture --test-threads 1"))?;
    let screen = terminal.wait_for("the len is 2 but the index is 2")?;
    ensure!(!screen.contains("the len is 1"), "the other thread's panic is on the screen:\n{screen}");
    terminal.wait_for_prompt()?;
    ensure_state(&terminal, &before, "a panic")?;
    terminal.enter(&format!("clear; {} < /dev/null", top("--config nowhere.toml")))?;
    terminal.wait_for("nowhere.toml")?;
    ensure_state(&terminal, &before, "an error")?;
    Ok(())
}

/// Milliseconds of CPU that a process used so far; `None` once it has ended.
fn cpu_ms(pid: Pid) -> Option<u64> {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(schedstat.split_whitespace().next()?.parse::<u64>().ok()? / 1_000_000)
}

#[test]
fn whatever_is_typed_it_neither_hangs_nor_spins_and_ends_with_its_terminal() -> Result<()> {
    let Some(terminal) = Terminal::alone(100, 30, &[])? else { return Ok(()) };
    let pid = start_as_job(&terminal)?;
    // A sequence that is none, half a sequence, and more than is read at once.
    terminal.send(b"\x1b[99z\x1b[")?;
    terminal.send(&[b'j'; 3000])?;
    std::thread::sleep(Duration::from_millis(500));
    let before = cpu_ms(pid).context("it has ended")?;
    std::thread::sleep(Duration::from_secs(1));
    let used = cpu_ms(pid).context("it has ended")? - before;
    ensure!(used < 500, "{used} ms of CPU in a second in which nothing was typed");
    terminal.press("?")?;
    terminal.wait_for("PgUp")?;
    terminal.close()?;
    let started = Instant::now();
    while cpu_ms(pid).is_some() {
        ensure!(started.elapsed() < Duration::from_secs(10), "it outlives its terminal");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn a_daemon_that_dies_is_shown_and_one_that_comes_back_is_seen() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut daemon = Daemon::start(&[])?;
    let terminal = Terminal::start(100, 30, &[])?;
    terminal.enter(&top(&format!("--url http://127.0.0.1:{}", daemon.port)))?;
    terminal.wait_for("COMM")?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.child.wait()?;
    let screen = terminal.wait_for("LOST")?;
    ensure!(screen.contains("COMM"), "what was seen last is gone:\n{screen}");
    let address = format!("127.0.0.1:{}", daemon.port);
    let again = std::process::Command::new(PROGRAM)
        .args(["serve", "--interval", "200ms", "--web.socket", "", "--web.listen-address", &address])
        .stderr(daemon.log.reopen()?)
        .spawn()?;
    let _again = Killed(again);
    terminal.wait_until("no LOST", |screen| !screen.contains("LOST"))?;
    Ok(())
}

/// A process that does not outlive this.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_click_on_a_view_leads_there() -> Result<()> {
    let Some(terminal) = Terminal::alone(100, 30, &[])? else { return Ok(()) };
    terminal.enter(&top(""))?;
    let screen = terminal.wait_for("2 Limits")?;
    let found =
        screen.lines().enumerate().find_map(|(row, line)| Some((row, line[..line.find("2 Limits")?].chars().count())));
    let (row, column) = found.context("the line of views")?;
    // Both from 1, as terminals count.
    terminal.send(format!("\x1b[<0;{};{}M", column + 1, row + 1).as_bytes())?;
    terminal.wait_for("USE%").map(drop)
}

#[test]
fn it_fills_the_terminal_whatever_its_size() -> Result<()> {
    let Some(terminal) = Terminal::alone(80, 24, &[])? else { return Ok(()) };
    terminal.enter(&top(""))?;
    let footer =
        |rows: usize| move |screen: &str| screen.lines().nth(rows - 1).is_some_and(|line| line.contains("Quit"));
    terminal.wait_until("the keys in the last of 24 lines", footer(24))?;
    terminal.resize(200, 60)?;
    let screen = terminal.wait_until("the keys in the last of 60 lines", footer(60))?;
    ensure!(screen.contains("KSTACK"), "200 columns have room for all:\n{screen}");
    terminal.resize(20, 5)?;
    terminal.wait_until("that it is too small", |screen| !screen.contains("COMM"))?;
    terminal.resize(80, 24)?;
    terminal.wait_until("the keys in the last of 24 lines", footer(24))?;
    Ok(())
}

#[test]
fn without_colour_none_is_set_and_without_utf_8_all_is_ascii() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let coloured = |screen: &str| {
        // SGR 30 to 49 and 90 to 107: as ESC [ 31 m, or after other attributes.
        screen.split("\x1b[").skip(1).filter_map(|rest| rest.split_once('m')).any(|(attributes, _)| {
            attributes
                .split(';')
                .filter_map(|number| number.parse().ok())
                .any(|n: u32| matches!(n, 30..=38 | 40..=48 | 90..=107))
        })
    };
    for (environment, is_coloured) in [("NO_COLOR=1", false), ("NO_COLOR=", true)] {
        let terminal = Terminal::start(100, 30, &[environment, "LC_ALL=C"])?;
        terminal.enter(&top(""))?;
        terminal.wait_for("COMM")?;
        ensure!(coloured(&terminal.screen_with_colours()?) == is_coloured, "with {environment}");
        let screen = terminal.screen()?;
        ensure!(screen.is_ascii(), "not ASCII:\n{screen}");
    }
    Ok(())
}

#[test]
fn what_is_chosen_is_kept_and_what_is_seen_exported() -> Result<()> {
    let Some(terminal) = Terminal::alone(100, 30, &[])? else { return Ok(()) };
    terminal.enter(&top(""))?;
    terminal.wait_for("COMM")?;
    // The first column to the left of none: sorted by pid, the first process on top.
    terminal.press("<")?;
    terminal.press("e")?;
    terminal.wait_for("wrote thread-probe-processes-")?;
    terminal.press("q")?;
    terminal.wait_for_prompt()?;
    let mut files = fs::read_dir(terminal.folder())?.filter_map(|entry| Some(entry.ok()?.path()));
    let exported = files.find(|path| path.extension().is_some_and(|ending| ending == "json")).context("a file")?;
    let exported: serde_json::Value = serde_json::from_slice(&fs::read(exported)?)?;
    let pids: Vec<u64> = exported["processes"]
        .as_array()
        .context("processes")?
        .iter()
        .filter_map(|process| process["pid"].as_u64())
        .collect();
    ensure!(pids.len() > 2 && pids.is_sorted(), "{pids:?}");
    let state = terminal.folder().join(".local/state/thread-probe/top.toml");
    let kept = fs::read_to_string(&state)?;
    ensure!(kept.contains("pid"), "{kept}");
    // A file that is wrong is said to be, and left as it is.
    fs::write(&state, "process_sort = 7\n")?;
    terminal.enter(&format!("clear; {}", top("")))?;
    terminal.wait_for("top.toml:1")?;
    terminal.press("<")?;
    terminal.press("q")?;
    terminal.wait_for_prompt()?;
    ensure!(fs::read_to_string(&state)? == "process_sort = 7\n");
    Ok(())
}
