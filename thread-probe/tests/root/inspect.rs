//! What is found in real processes: of the runtimes that this host has, and of threads whose truth is known.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{daemon::PROGRAM, skip};

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it, and waits until it has so many threads. `None` where it is not installed.
    fn start(command: &mut Command, threads: usize) -> Result<Option<Self>> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut running = match child {
            Ok(child) => Self(child),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                skip(&format!("{program} is not installed"));
                return Ok(None);
            }
            Err(error) => return Err(error).context(program),
        };
        let begun = Instant::now();
        while fs::read_dir(format!("/proc/{}/task", running.0.id()))?.count() < threads {
            if let Some(status) = running.0.try_wait()? {
                bail!("{program} ended with {status}");
            }
            ensure!(begun.elapsed() < Duration::from_mins(1), "{program} has too few threads");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(running))
    }

    fn inspect(&self) -> Result<Value> {
        run("inspect", self.0.id())
    }
}

fn run(command: &str, pid: u32) -> Result<Value> {
    let args = [command, &pid.to_string(), "--window", "1s", "--format", "json"];
    let output = Command::new(PROGRAM).args(args).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn kinds(inspected: &Value) -> Vec<&str> {
    let runtimes = inspected["runtimes"].as_array().map(Vec::as_slice).unwrap_or_default();
    runtimes.iter().filter_map(|runtime| runtime["kind"].as_str()).collect()
}

/// The pool whose name or beginning has this in it.
fn pool<'a>(inspected: &'a Value, part: &str) -> Result<&'a Value> {
    let pools = inspected["pools"].as_array().context("pools")?;
    let has = |pool: &&Value, key: &str| pool[key].as_str().is_some_and(|text| text.contains(part));
    let found = pools.iter().find(|pool| has(pool, "name") || has(pool, "began_with"));
    found.with_context(|| format!("no pool {part}: {inspected}"))
}

/// A file of a source in a folder of its own, and where it is.
fn source(name: &str, text: &str) -> Result<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(name);
    fs::write(&path, text)?;
    Ok((folder, path.to_string_lossy().into_owned()))
}

/// `None` where there is no such compiler.
fn compiled(compiler: &mut Command) -> Result<Option<()>> {
    let Ok(output) = compiler.stdin(Stdio::null()).output() else {
        skip(&format!("{} is not installed", compiler.get_program().to_string_lossy()));
        return Ok(None);
    };
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(()))
}

/// A thread by `pthread_create` with 1 MiB of stack, of which 200 kB are touched, and 20 of the default that touch little.
const IN_C: &str = r"
#include <pthread.h>
#include <unistd.h>
static void *deep(void *unused) {
    volatile char bytes[200000];
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = 1;
    for (;;) pause();
}
static void *shallow(void *unused) { for (;;) pause(); }
int main(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    pthread_create(&thread, &attributes, deep, 0);
    for (int i = 0; i < 20; i++) pthread_create(&thread, 0, shallow, 0);
    pause();
}
";

#[test]
fn plain_c_is_posix_threads_with_the_stacks_that_it_asked_for() -> Result<()> {
    needs_root!();
    let (folder, path) = source("program.c", IN_C)?;
    for (compiler, options) in [("gcc", &["-pthread"][..]), ("gcc", &["-pthread", "-static"]), ("musl-gcc", &[])] {
        let program = folder.path().join("program");
        let mut compiler = Command::new(compiler);
        if compiled(compiler.args(options).arg("-o").arg(&program).arg(&path))?.is_none() {
            continue;
        }
        let Some(running) = Running::start(&mut Command::new(&program), 22)? else { return Ok(()) };
        // The last one may have to begin yet.
        thread::sleep(Duration::from_millis(100));
        let inspected = running.inspect()?;
        ensure!(kinds(&inspected) == ["pthreads"], "{inspected}");
        let is_glibc = !options.is_empty();
        // musl keeps what a thread began with elsewhere.
        let (deep, others) = if is_glibc { ("deep", "shallow") } else { ("program", "program") };
        let (deep, others) = (&pool(&inspected, deep)?["stacks"], &pool(&inspected, others)?["stacks"]);
        if is_glibc {
            ensure!(deep["stacks"] == 1 && others["stacks"] == 20, "{inspected}");
            ensure!(deep["reserved_bytes"].as_u64() >= Some(1 << 20), "{deep}");
        }
        let deepest = deep["deepest_bytes"].as_u64().unwrap_or(0);
        ensure!((200_000..260_000).contains(&deepest) && deep["enough_bytes"] == 512 << 10, "{deep}");
        ensure!(inspected["unreadable"].as_array().is_some_and(Vec::is_empty), "{inspected}");
    }
    Ok(())
}

const IN_GO: &str = "
package main
import \"time\"
func main() { for { time.Sleep(time.Millisecond) } }
";

#[test]
fn go_says_its_version_and_how_many_it_runs_at_a_time_also_in_advice() -> Result<()> {
    needs_root!();
    let (folder, path) = source("program.go", IN_GO)?;
    let program = folder.path().join("program");
    let mut compiler = Command::new("go");
    compiler.env("GOCACHE", folder.path().join("cache")).env("HOME", folder.path()).env("GO111MODULE", "off");
    if compiled(compiler.args(["build", "-o"]).arg(&program).arg(&path))?.is_none() {
        return Ok(());
    }
    let threads = 4 * thread::available_parallelism()?.get();
    let Some(running) = Running::start(Command::new(&program).env("GOMAXPROCS", threads.to_string()), 3)? else {
        return Ok(());
    };
    let inspected = running.inspect()?;
    ensure!(kinds(&inspected) == ["go"], "{inspected}");
    let runtime = &inspected["runtimes"][0];
    ensure!(runtime["version"].as_str().is_some_and(|version| version.starts_with("1.")), "{runtime}");
    let parallelism = &runtime["parallelism"];
    ensure!(parallelism["threads"] == threads, "{runtime}");
    ensure!(parallelism["seen_in"].as_str().is_some_and(|seen| seen.contains("memory")), "{runtime}");
    let advice = run("advise", running.0.id())?;
    ensure!(advice["looked_into"] == 1, "{advice}");
    let findings = advice["findings"].as_array().context("findings")?;
    ensure!(findings.iter().any(|finding| finding["rule"] == "runtime_cpus"), "{advice}");
    Ok(())
}

const IN_JAVA: &str = "
public class Program {
    public static void main(String[] args) throws Exception {
        for (int i = 0; i < 20; i++) new Thread(() -> {
            try { Thread.sleep(1000000); } catch (InterruptedException e) { }
        }, \"order-\" + i).start();
        Thread.sleep(1000000);
    }
}
";

#[test]
fn a_jvm_says_its_version_its_cpus_and_what_its_threads_are_for() -> Result<()> {
    needs_root!();
    let (_folder, path) = source("Program.java", IN_JAVA)?;
    let mut java = Command::new("java");
    let Some(running) = Running::start(java.args(["-XX:ActiveProcessorCount=3", &path]), 30)? else { return Ok(()) };
    // The program is compiled first.
    let begun = Instant::now();
    let inspected = loop {
        let inspected = running.inspect()?;
        if pool(&inspected, "order-#").is_ok_and(|pool| pool["threads"]["total"] == 20) {
            break inspected;
        }
        ensure!(begun.elapsed() < Duration::from_mins(1), "{inspected}");
    };
    ensure!(kinds(&inspected) == ["jvm"], "{inspected}");
    let runtime = &inspected["runtimes"][0];
    ensure!(runtime["parallelism"]["threads"] == 3 && runtime["version"].is_string(), "{runtime}");
    ensure!(pool(&inspected, "GC Thread#")?["role"] == "garbage collection", "{inspected}");
    Ok(())
}

#[test]
fn interpreters_are_told_by_what_they_export_and_map_and_a_blas_by_its_threads() -> Result<()> {
    needs_root!();
    let python = "import threading, time\nfor i in range(3): threading.Thread(target=time.sleep, args=(1000,)).start()";
    let ruby = "3.times { Thread.new { sleep } }; sleep";
    let node = "setInterval(() => require('fs').readFile('/etc/passwd', () => {}), 10)";
    let erlang = ["-noshell"];
    for (kind, program, args, threads) in [
        ("cpython", "/usr/bin/python3", &["-c", python][..], 4),
        ("ruby", "ruby", &["-e", ruby], 4),
        ("node", "node", &["-e", node], 7),
        ("beam", "erl", &erlang, 10),
    ] {
        let Some(running) = Running::start(Command::new(program).args(args), threads)? else { continue };
        let inspected = running.inspect()?;
        ensure!(kinds(&inspected) == [kind], "{inspected}");
    }
    let blas = "import numpy, time\na = numpy.ones((300, 300))\nwhile True: a @ a; time.sleep(0.01)";
    let cpus = thread::available_parallelism()?.get();
    let has_numpy = Path::new("/usr/lib/python3/dist-packages/numpy").exists();
    if !has_numpy || cpus < 2 {
        skip("there is no numpy, or one CPU");
        return Ok(());
    }
    let Some(running) = Running::start(Command::new("/usr/bin/python3").args(["-c", blas]), cpus)? else {
        return Ok(());
    };
    thread::sleep(Duration::from_millis(200));
    let inspected = running.inspect()?;
    let found = kinds(&inspected);
    if !found.contains(&"openblas") {
        skip(&format!("numpy uses another BLAS than OpenBLAS: {found:?}"));
        return Ok(());
    }
    ensure!(found == ["cpython", "openblas"], "{inspected}");
    ensure!(inspected["runtimes"][1]["parallelism"]["threads"] == cpus, "{inspected}");
    ensure!(pool(&inspected, "openblas")?["threads"]["total"] == cpus - 1, "{inspected}");
    Ok(())
}

#[test]
fn what_is_not_there_or_on_another_host_is_an_error_that_says_so() -> Result<()> {
    needs_root!();
    let has_kernel_threads = fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n");
    let of_kernel = if has_kernel_threads { ("2", "thread of the kernel") } else { ("4194304", "no process") };
    for (args, part) in [
        (&["inspect", of_kernel.0][..], of_kernel.1),
        (&["inspect", "4194304"], "no process 4194304"),
        (&["inspect", "1", "--url", "http://127.0.0.1:1"], "on this host"),
        (&["inspect"], "PID"),
    ] {
        let output = Command::new(PROGRAM).args(args).stdin(Stdio::null()).output()?;
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && line.contains(part) && line.lines().count() == 1, "{args:?}: {line}");
    }
    Ok(())
}
