//! What a process is written in and how that has its threads, by what can be seen from outside: what its file was made
//! with, what it has mapped, what its threads are named and began with. Each claim with its evidence.

use std::{fmt, path::Path};

use serde::Serialize;

use super::elf::Elf;
use crate::{
    model::without_numbers,
    text::{human, named::named},
};

named! {
    /// A language's runtime, or a library with a pool of its own.
    pub enum RuntimeKind {
        /// Go.
        Go = "go",
        /// A Java virtual machine: HotSpot or OpenJ9.
        Jvm = "jvm",
        /// Erlang and Elixir.
        Beam = "beam",
        /// Node.js.
        Node = "node",
        /// Python.
        CPython = "cpython",
        /// Ruby.
        Ruby = "ruby",
        /// .NET.
        DotNet = "dotnet",
        /// Rust with tokio.
        Tokio = "tokio",
        /// Rust.
        Rust = "rust",
        /// OpenMP: of GCC, LLVM or Intel.
        OpenMp = "openmp",
        /// OpenBLAS.
        OpenBlas = "openblas",
        /// Intel's MKL.
        Mkl = "mkl",
        /// BLIS.
        Blis = "blis",
        /// POSIX threads, of C and what is not known.
        Pthreads = "pthreads",
    }
}

impl RuntimeKind {
    /// Whether it is a library with a pool of its own, which any program may use.
    pub const fn is_library(self) -> bool {
        matches!(self, Self::OpenMp | Self::OpenBlas | Self::Mkl | Self::Blis)
    }
}

named! {
    /// How many of what a program calls a thread, a task or a process share how many of the kernel's threads.
    pub enum ThreadModel {
        /// Each is one of the kernel's.
        OneToOne = "1:1",
        /// All share one.
        ManyToOne = "N:1",
        /// They share some.
        ManyToMany = "M:N",
    }
}

/// A runtime that was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// Which.
    pub kind: RuntimeKind,
    /// Its version, if that can be seen.
    pub version: Option<String>,
    /// How it has its threads.
    pub model: ThreadModel,
    /// The same in words.
    pub threads: &'static str,
    /// How many of its threads work at a time at most, and what says so; null where that can't be seen.
    pub parallelism: Option<Parallelism>,
    /// What it was recognised by.
    pub evidence: Vec<String>,
}

/// How many threads work at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parallelism {
    /// So many.
    pub threads: u64,
    /// What sets it, as in `GOMAXPROCS`.
    pub set_by: &'static str,
    /// Where it was seen.
    pub seen_in: String,
}

/// What can be seen of a process from outside.
pub(super) struct Evidence<'a> {
    /// Its executable.
    pub(super) executable: &'a Elf,
    /// Where that is.
    pub(super) path: &'a Path,
    /// The files that it has mapped.
    pub(super) files: Vec<&'a Path>,
    /// The names of its threads.
    pub(super) comms: Vec<&'a str>,
    /// What its threads began with: of each, in the file of which name, if that is known.
    pub(super) entries: Vec<&'a str>,
    /// Its environment when it was executed: `NAME=value` with a 0 after each.
    pub(super) environment: &'a [u8],
    /// Its arguments, likewise.
    pub(super) arguments: &'a [u8],
    /// Reads a variable of the executable that has 4 bytes.
    pub(super) variable: &'a dyn Fn(&str) -> Option<u32>,
    /// Reads a text file, by its path as the process sees it.
    pub(super) text: &'a dyn Fn(&Path) -> Option<String>,
}

impl Evidence<'_> {
    /// The file among those that are mapped whose name begins so.
    fn mapped(&self, beginning: &str) -> Option<&Path> {
        let begins = |path: &&&Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning));
        self.files.iter().find(begins).copied()
    }

    fn set(&self, name: &str) -> Option<String> {
        let mut all = self.environment.split(|byte| *byte == 0);
        let of = |entry: &[u8]| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
        all.find_map(of).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// A number that one of these variables is set to.
    fn parallelism(&self, names: &[&'static str]) -> Option<Parallelism> {
        let of = |name: &&'static str| {
            // OMP_NUM_THREADS may be a list, of which the first is the outermost.
            let threads = self.set(name)?.split(',').next()?.trim().parse().ok()?;
            Some(Parallelism {
                threads,
                set_by: name,
                seen_in: "in the environment that it was executed with".to_owned(),
            })
        };
        names.iter().find_map(of)
    }

    /// How many threads have one of these names, the numbers in them aside.
    fn named(&self, names: &[&str]) -> u64 {
        self.comms.iter().filter(|comm| names.contains(&without_numbers(comm).as_str())).count() as u64
    }

    /// How many threads began in a file whose name begins so.
    fn began_in(&self, beginning: &str) -> u64 {
        self.entries.iter().filter(|file| file.starts_with(beginning)).count() as u64
    }
}

/// All that is recognised.
pub(super) fn recognise(evidence: &Evidence<'_>) -> Vec<Runtime> {
    let mut found: Vec<_> = RuntimeKind::ALL.into_iter().filter_map(|kind| look(kind, evidence)).collect();
    // Rust is said by tokio; and what has a runtime is more than its C library.
    if found.iter().any(|runtime| runtime.kind == RuntimeKind::Tokio) {
        found.retain(|runtime| runtime.kind != RuntimeKind::Rust);
    }
    if found.iter().any(|runtime| runtime.kind != RuntimeKind::Pthreads && !runtime.kind.is_library()) {
        found.retain(|runtime| runtime.kind != RuntimeKind::Pthreads);
    }
    found
}

fn look(kind: RuntimeKind, evidence: &Evidence<'_>) -> Option<Runtime> {
    match kind {
        RuntimeKind::Go => go(evidence),
        RuntimeKind::Jvm => jvm(evidence),
        RuntimeKind::Beam => beam(evidence),
        RuntimeKind::Node => node(evidence),
        RuntimeKind::CPython => cpython(evidence),
        RuntimeKind::Ruby => ruby(evidence),
        RuntimeKind::DotNet => dotnet(evidence),
        RuntimeKind::Tokio => tokio(evidence),
        RuntimeKind::Rust => rust(evidence),
        RuntimeKind::OpenMp => pool(kind, evidence, &["libgomp.so", "libomp.so", "libiomp5.so"], &["OMP_NUM_THREADS"]),
        RuntimeKind::OpenBlas => {
            pool(kind, evidence, &["libopenblas"], &["OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"])
        }
        RuntimeKind::Mkl => {
            pool(kind, evidence, &["libmkl_rt", "libmkl_core"], &["MKL_NUM_THREADS", "OMP_NUM_THREADS"])
        }
        RuntimeKind::Blis => pool(kind, evidence, &["libblis"], &["BLIS_NUM_THREADS", "OMP_NUM_THREADS"]),
        RuntimeKind::Pthreads => pthreads(evidence),
    }
}

fn mapped(path: &Path) -> String {
    format!("{} is mapped", path.display())
}

fn symbol(name: impl fmt::Display) -> String {
    format!("its executable has the symbol {name}")
}

fn go(evidence: &Evidence<'_>) -> Option<Runtime> {
    const VARIABLE: &str = "runtime.gomaxprocs";
    let version = evidence.executable.go.clone()?;
    let read = (evidence.variable)(VARIABLE).filter(|threads| *threads > 0).map(|threads| Parallelism {
        threads: threads.into(),
        set_by: "GOMAXPROCS",
        seen_in: format!("in its memory at {VARIABLE}"),
    });
    Some(Runtime {
        kind: RuntimeKind::Go,
        evidence: vec![format!(".go.buildinfo of its executable says {version}")],
        version: Some(version),
        model: ThreadModel::ManyToMany,
        threads: "goroutines, of which GOMAXPROCS run at a time; more threads wait in system calls and in C",
        parallelism: read.or_else(|| evidence.parallelism(&["GOMAXPROCS"])),
    })
}

fn jvm(evidence: &Evidence<'_>) -> Option<Runtime> {
    let library = evidence.mapped("libjvm.so").or_else(|| evidence.mapped("libj9vm"))?;
    // $JAVA_HOME/lib/server/libjvm.so, and $JAVA_HOME/release.
    let release = library.ancestors().nth(3).and_then(|home| (evidence.text)(&home.join("release")));
    let version = release.as_deref().and_then(java_version);
    // Other pools of that kind have such names, too; before 21 there is nothing to carry.
    let may_carry = evidence.named(&["ForkJoinPool-#-", "ForkJoinPool-#"]) > 0
        && version
            .as_deref()
            .and_then(|version| version.split('.').next()?.parse().ok())
            .is_some_and(|major: u32| major >= 21);
    let (model, threads) = match may_carry {
        true => (
            ThreadModel::ManyToMany,
            "Java threads 1:1; virtual threads, if there are some, on those of ForkJoinPool-1",
        ),
        false => (ThreadModel::OneToOne, "Java threads, beside those of garbage collection and of the JIT compilers"),
    };
    Some(Runtime {
        kind: RuntimeKind::Jvm,
        version,
        model,
        threads,
        parallelism: jvm_cpus(evidence),
        evidence: vec![mapped(library)],
    })
}

/// `JAVA_VERSION="21.0.5"`
fn java_version(release: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    Some(value.trim_matches('"').to_owned())
}

/// The last one counts; options of the environment come before those of the command line.
fn jvm_cpus(evidence: &Evidence<'_>) -> Option<Parallelism> {
    const OPTION: &str = "-XX:ActiveProcessorCount=";
    let arguments = String::from_utf8_lossy(evidence.arguments).replace('\0', " ");
    let places = [
        (Some(arguments), "on its command line"),
        (evidence.set("JDK_JAVA_OPTIONS"), "in JDK_JAVA_OPTIONS"),
        (evidence.set("JAVA_TOOL_OPTIONS"), "in JAVA_TOOL_OPTIONS"),
    ];
    places.into_iter().find_map(|(options, seen_in)| {
        let options = options?;
        let last = options.split_whitespace().filter_map(|option| option.strip_prefix(OPTION)).next_back()?;
        Some(Parallelism {
            threads: last.parse().ok()?,
            set_by: OPTION.trim_end_matches('='),
            seen_in: seen_in.to_owned(),
        })
    })
}

fn beam(evidence: &Evidence<'_>) -> Option<Runtime> {
    const SYMBOL: &str = "enif_make_tuple_from_array";
    evidence.executable.address_of(SYMBOL)?;
    let schedulers = evidence.named(&["#_scheduler", "erts_sched_#"]);
    let parallelism = (schedulers > 0).then(|| Parallelism {
        threads: schedulers,
        set_by: "+S",
        seen_in: "by its threads' names".to_owned(),
    });
    Some(Runtime {
        kind: RuntimeKind::Beam,
        // .../erts-13.1.5/bin/beam.smp
        version: evidence.path.iter().find_map(|part| Some(part.to_str()?.strip_prefix("erts-")?.to_owned())),
        model: ThreadModel::ManyToMany,
        threads: "Erlang's processes on schedulers, and dirty schedulers for calls that take long",
        parallelism,
        evidence: vec![symbol(SYMBOL)],
    })
}

fn node(evidence: &Evidence<'_>) -> Option<Runtime> {
    const START: &str = "_ZN4node5StartEiPPc";
    let evidence_of = match evidence.mapped("libnode.so") {
        Some(library) => mapped(library),
        None => symbol(evidence.executable.address_of(START).map(|_| START)?),
    };
    Some(Runtime {
        kind: RuntimeKind::Node,
        version: None,
        model: ThreadModel::ManyToOne,
        threads: "JavaScript on one; libuv's pool of 4 (UV_THREADPOOL_SIZE) for files and names, V8's for its own",
        parallelism: evidence.parallelism(&["UV_THREADPOOL_SIZE"]),
        evidence: vec![evidence_of],
    })
}

fn cpython(evidence: &Evidence<'_>) -> Option<Runtime> {
    const MAIN: &str = "Py_BytesMain";
    const FREE_THREADED: &str = "_Py_MergeZeroLocalRefcount";
    let found = match evidence.mapped("libpython3") {
        Some(library) => mapped(library),
        None => symbol(evidence.executable.address_of(MAIN).map(|_| MAIN)?),
    };
    let named = evidence.files.iter().find_map(|path| python_version(&path.file_name()?.to_string_lossy()));
    let is_free =
        named.as_ref().is_some_and(|(_, is_free)| *is_free) || evidence.executable.address_of(FREE_THREADED).is_some();
    let threads = match is_free {
        true => "free-threaded: all of them run Python at a time",
        false => "one of them runs Python at a time: the GIL",
    };
    Some(Runtime {
        kind: RuntimeKind::CPython,
        version: named.map(|(version, _)| version),
        model: ThreadModel::OneToOne,
        threads,
        parallelism: None,
        evidence: vec![found],
    })
}

/// The version that a library or a module names, and whether that is free-threaded: `libpython3.13t.so.1.0`,
/// `_bisect.cpython-313t-x86_64-linux-gnu.so`.
fn python_version(file: &str) -> Option<(String, bool)> {
    let of_library = || file.strip_prefix("libpython3.");
    let of_module = || file.split_once(".cpython-3").map(|(_, rest)| rest);
    let rest = of_library().or_else(of_module)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (minor, rest) = rest.split_at(digits);
    (!minor.is_empty()).then(|| (format!("3.{minor}"), rest.starts_with('t')))
}

fn ruby(evidence: &Evidence<'_>) -> Option<Runtime> {
    const MAIN: &str = "ruby_run_node";
    let library = evidence.mapped("libruby");
    let evidence_of = match library {
        Some(library) => mapped(library),
        None => symbol(evidence.executable.address_of(MAIN).map(|_| MAIN)?),
    };
    let name = library.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = name.split(".so.").nth(1).filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    let many = evidence.set("RUBY_MN_THREADS").is_some_and(|value| value == "1");
    Some(Runtime {
        kind: RuntimeKind::Ruby,
        version: version.map(str::to_owned),
        model: if many { ThreadModel::ManyToMany } else { ThreadModel::OneToOne },
        threads: "one of them runs Ruby at a time, of each Ractor: the GVL",
        parallelism: None,
        evidence: vec![evidence_of],
    })
}

fn dotnet(evidence: &Evidence<'_>) -> Option<Runtime> {
    let library = evidence.mapped("libcoreclr.so")?;
    // .../Microsoft.NETCore.App/8.0.1/libcoreclr.so
    let folder = library.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    Some(Runtime {
        kind: RuntimeKind::DotNet,
        version: folder.filter(|name| name.starts_with(|c: char| c.is_ascii_digit())),
        model: ThreadModel::ManyToMany,
        threads: "tasks on a pool that grows while all of it is busy, beside threads of its own",
        parallelism: evidence.parallelism(&["DOTNET_PROCESSOR_COUNT"]),
        evidence: vec![mapped(library)],
    })
}

fn rust_version<'a>(evidence: &Evidence<'a>) -> Option<&'a str> {
    evidence
        .executable
        .compilers
        .iter()
        .find_map(|compiler| compiler.strip_prefix("rustc version "))
        .map(|version| version.split_whitespace().next().unwrap_or(version))
}

fn tokio(evidence: &Evidence<'_>) -> Option<Runtime> {
    const WORKERS: [&str; 2] = ["tokio-runtime-w", "tokio-rt-worker"];
    rust_version(evidence)?;
    let workers = evidence.named(&WORKERS);
    let found = match evidence.executable.has_symbol_with("tokio7runtime") {
        true => "its executable has symbols of tokio::runtime".to_owned(),
        false if workers > 0 => format!("{workers} threads have the names of tokio's workers"),
        false => return None,
    };
    Some(Runtime {
        kind: RuntimeKind::Tokio,
        version: None,
        model: ThreadModel::ManyToMany,
        threads: "tasks on workers, and a pool for calls that block",
        parallelism: evidence.parallelism(&["TOKIO_WORKER_THREADS"]),
        evidence: vec![found],
    })
}

fn rust(evidence: &Evidence<'_>) -> Option<Runtime> {
    let version = rust_version(evidence)?;
    Some(Runtime {
        kind: RuntimeKind::Rust,
        version: Some(version.to_owned()),
        model: ThreadModel::OneToOne,
        threads: "POSIX threads",
        parallelism: None,
        evidence: vec![format!(".comment of its executable says rustc {version}")],
    })
}

/// A library that has a pool of its own, in which the thread that calls it works as well.
fn pool(kind: RuntimeKind, evidence: &Evidence<'_>, libraries: &[&str], variables: &[&'static str]) -> Option<Runtime> {
    let library = libraries.iter().find_map(|library| evidence.mapped(library))?;
    let began: u64 = libraries.iter().map(|library| evidence.began_in(library)).sum();
    let counted = (began > 0).then(|| Parallelism {
        threads: began + 1,
        set_by: variables.first().copied().unwrap_or_default(),
        seen_in: format!("{} began in it, and who calls it works as well", human::counted(began, "thread")),
    });
    Some(Runtime {
        kind,
        version: None,
        model: ThreadModel::OneToOne,
        threads: "a pool that works on one thing at a time",
        parallelism: counted.or_else(|| evidence.parallelism(variables)),
        evidence: vec![mapped(library)],
    })
}

fn pthreads(evidence: &Evidence<'_>) -> Option<Runtime> {
    let libraries = ["libc.so", "libc-", "ld-musl-", "libpthread"];
    let found = match libraries.iter().find_map(|library| evidence.mapped(library)) {
        Some(library) => mapped(library),
        None => symbol(evidence.executable.address_of("pthread_create").map(|_| "pthread_create")?),
    };
    Some(Runtime {
        kind: RuntimeKind::Pthreads,
        version: None,
        model: ThreadModel::OneToOne,
        threads: "POSIX threads, as far as can be seen",
        parallelism: None,
        evidence: vec![found],
    })
}

/// What a thread is for, by its name, in a runtime.
pub(super) fn role(kinds: &[RuntimeKind], name: &str) -> Option<&'static str> {
    const ROLES: &[(RuntimeKind, &str, &str)] = &[
        (RuntimeKind::Jvm, "GC Thread#", "garbage collection"),
        (RuntimeKind::Jvm, "G# ", "garbage collection"),
        (RuntimeKind::Jvm, "C# CompilerThre", "JIT compiler"),
        (RuntimeKind::Jvm, "VM ", "the virtual machine"),
        (RuntimeKind::Jvm, "ForkJoinPool-#-", "may carry virtual threads"),
        (RuntimeKind::Beam, "#_scheduler", "scheduler"),
        (RuntimeKind::Beam, "erts_sched_#", "scheduler"),
        (RuntimeKind::Beam, "#_dirty_cpu", "dirty CPU scheduler"),
        (RuntimeKind::Beam, "erts_dcpus_#", "dirty CPU scheduler"),
        (RuntimeKind::Beam, "#_dirty_io", "dirty I/O scheduler"),
        (RuntimeKind::Beam, "erts_dios_#", "dirty I/O scheduler"),
        (RuntimeKind::Node, "libuv-worker", "libuv's pool"),
        (RuntimeKind::Tokio, "tokio-r", "workers, and calls that block"),
        (RuntimeKind::DotNet, ".NET TP Worker", "the pool of tasks"),
        (RuntimeKind::DotNet, ".NET ", "the runtime"),
    ];
    let is_it =
        |(kind, beginning, _): &&(RuntimeKind, &str, &'static str)| kinds.contains(kind) && name.starts_with(beginning);
    ROLES.iter().find(is_it).map(|(.., role)| *role)
}

#[cfg(test)]
mod tests;
