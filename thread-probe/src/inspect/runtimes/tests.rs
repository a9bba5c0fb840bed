use super::*;

fn evidence<'a>(executable: &'a Elf, files: &[&'a str]) -> Evidence<'a> {
    Evidence {
        executable,
        path: Path::new("/usr/bin/program"),
        files: files.iter().map(|file| Path::new(*file)).collect(),
        comms: Vec::new(),
        entries: Vec::new(),
        environment: b"",
        arguments: b"",
        variable: &|_| None,
        text: &|_| None,
    }
}

fn kinds(evidence: &Evidence<'_>) -> Vec<RuntimeKind> {
    recognise(evidence).iter().map(|runtime| runtime.kind).collect()
}

fn threads(evidence: &Evidence<'_>) -> Vec<Option<(u64, &'static str)>> {
    let told = |runtime: &Runtime| runtime.parallelism.as_ref().map(|told| (told.threads, told.set_by));
    recognise(evidence).iter().map(told).collect()
}

const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";

#[test]
fn what_is_not_known_is_none_of_all_and_a_c_library_is_no_more_than_posix_threads() {
    let elf = Elf::default();
    assert_eq!(kinds(&evidence(&elf, &["/usr/lib/libpythonic.so", "/usr/share/libjvm.txt"])), []);
    assert_eq!(kinds(&evidence(&elf, &[LIBC])), [RuntimeKind::Pthreads]);
    // A name that anybody may give a thread makes no runtime.
    let named = Evidence { comms: vec!["tokio-runtime-w", "GC Thread#0"], ..evidence(&elf, &[LIBC]) };
    assert_eq!(kinds(&named), [RuntimeKind::Pthreads]);
}

#[test]
fn what_go_runs_on_is_read_in_its_memory_else_in_its_environment() {
    let elf = Elf::made_by(Some("1.24.4"), &[]);
    let by_environment = Evidence { environment: b"A=1\0GOMAXPROCS=3\0", ..evidence(&elf, &[]) };
    assert_eq!(threads(&by_environment), [Some((3, "GOMAXPROCS"))]);
    let read = Evidence { variable: &|name| (name == "runtime.gomaxprocs").then_some(64), ..by_environment };
    assert_eq!(threads(&read), [Some((64, "GOMAXPROCS"))]);
    assert_eq!(threads(&evidence(&elf, &[LIBC])), [None]);
}

#[test]
fn a_jvm_says_its_version_and_its_last_option_counts() {
    let elf = Elf::default();
    let jvm = Evidence {
        arguments: b"java\0-XX:ActiveProcessorCount=8\0-XX:ActiveProcessorCount=2\0A",
        environment: b"JAVA_TOOL_OPTIONS=-XX:ActiveProcessorCount=5\0",
        text: &|path| (path == Path::new("/opt/jdk/release")).then(|| "A=1\nJAVA_VERSION=\"21.0.5\"\n".to_owned()),
        ..evidence(&elf, &["/opt/jdk/lib/server/libjvm.so", LIBC])
    };
    assert_eq!(threads(&jvm), [Some((2, "-XX:ActiveProcessorCount"))]);
    let found = recognise(&jvm);
    assert_eq!(found[0].version.as_deref(), Some("21.0.5"));
    assert_eq!(found[0].model, ThreadModel::OneToOne);
    let old = Evidence { comms: vec!["ForkJoinPool-1-"], text: &|_| Some("JAVA_VERSION=\"17.0.1\"".to_owned()), ..jvm };
    assert_eq!(recognise(&old)[0].model, ThreadModel::OneToOne);
    let carried = Evidence { arguments: b"", text: &|_| Some("JAVA_VERSION=\"21\"".to_owned()), ..old };
    assert_eq!(recognise(&carried)[0].model, ThreadModel::ManyToMany);
    assert_eq!(threads(&carried), [Some((5, "-XX:ActiveProcessorCount"))]);
}

#[test]
fn a_librarys_pool_is_counted_by_what_threads_began_with_else_by_what_was_asked_for() {
    let elf = Elf::default();
    let python = ["/usr/lib/libpython3.13t.so.1.0", "/usr/lib/libopenblasp-r0.3.29.so", LIBC];
    let asked = Evidence { environment: b"OMP_NUM_THREADS=4,2\0", ..evidence(&elf, &python) };
    assert_eq!(kinds(&asked), [RuntimeKind::CPython, RuntimeKind::OpenBlas]);
    assert_eq!(threads(&asked), [None, Some((4, "OMP_NUM_THREADS"))]);
    let version = recognise(&asked)[0].version.clone();
    assert_eq!(version.as_deref(), Some("3.13"));
    assert!(recognise(&asked)[0].threads.starts_with("free-threaded"));
    let counted = Evidence { entries: vec!["libopenblasp-r0.3.29.so"; 15], ..asked };
    assert_eq!(threads(&counted), [None, Some((16, "OPENBLAS_NUM_THREADS"))]);
    let alone = evidence(&elf, &["/usr/lib/libgomp.so.1", LIBC]);
    assert_eq!(kinds(&alone), [RuntimeKind::OpenMp, RuntimeKind::Pthreads], "a library is no language");
}

#[test]
fn python_is_named_by_its_library_and_its_modules() {
    let told =
        |file| python_version(file).map(|(version, is_free)| format!("{version}{}", if is_free { "t" } else { "" }));
    assert_eq!(told("libpython3.11.so.1.0").as_deref(), Some("3.11"));
    assert_eq!(told("_bisect.cpython-313t-x86_64-linux-gnu.so").as_deref(), Some("3.13t"));
    assert_eq!(["libpython3.so", "cpython-311.so", "libc.so.6"].map(told), [None, None, None]);
}

#[test]
fn rust_is_told_by_its_compiler_and_tokio_by_its_workers() {
    let elf = Elf::made_by(None, &["rustc version 1.95.0 (f2d3ce0bd)"]);
    assert_eq!(kinds(&evidence(&elf, &[LIBC])), [RuntimeKind::Rust]);
    let workers = Evidence { comms: vec!["main", "tokio-rt-worker"], ..evidence(&elf, &[LIBC]) };
    assert_eq!(kinds(&workers), [RuntimeKind::Tokio]);
}

#[test]
fn threads_have_a_role_in_the_runtime_that_names_them_and_in_no_other() {
    let of = |kind, name| role(&[kind, RuntimeKind::OpenMp], name);
    assert_eq!(of(RuntimeKind::Jvm, "GC Thread#"), Some("garbage collection"));
    assert_eq!(of(RuntimeKind::Beam, "#_dirty_cpu_sch"), Some("dirty CPU scheduler"));
    assert_eq!(of(RuntimeKind::Go, "GC Thread#"), None);
    assert_eq!(of(RuntimeKind::Jvm, "worker-#"), None);
}
