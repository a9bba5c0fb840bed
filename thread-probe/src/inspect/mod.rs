//! What is in a process, by what can be read of it: its runtime, its threads' stacks, what they began with, its pools.
//! Nothing is traced and nothing is stopped.

mod elf;
mod files;
mod inspection;
mod mappings;
mod pages;
mod pools;
mod runtimes;
mod threads;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process,
};

use self::{
    elf::Elf,
    files::Files,
    inspection::Entry,
    mappings::{Mapping, Mappings},
    runtimes::Evidence,
};
pub use self::{
    inspection::Inspection,
    pools::{Pool, PoolStacks, pools, pools_at_rest},
    runtimes::{Parallelism, Runtime, RuntimeKind, ThreadModel},
    threads::{Stack, UserThread},
};

/// The most that is read of the files of /proc.
const MAX_MAPS_BYTES: u64 = 256 << 20;
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Looks at a process. Called with the privileges that it takes to look at it: those of its user, or CAP_SYS_PTRACE.
///
/// # Errors
/// There is no such process, its memory may not be looked at, or it is a thread of the kernel.
pub fn inspect(pid: u32) -> io::Result<Inspection> {
    let files = Files::of(pid);
    let mappings = Mappings::parse(&files.read("maps", MAX_MAPS_BYTES)?);
    if mappings.is_empty() {
        return Err(io::Error::other("it has no memory: it is a thread of the kernel, or has ended"));
    }
    let mut inspection = Inspection::default();
    let executable = inspection.noted("its executable", files.open("exe").and_then(read_elf)).unwrap_or_default();
    inspection.executable = files.link("exe").unwrap_or_default();
    inspection.threads = inspection.noted("its threads", threads::of(pid, &files, &mappings)).unwrap_or_default();
    inspection.entries = entries(&inspection.threads, &files, &mappings, (&inspection.executable, &executable));
    let environment = inspection.noted("its environment", files.read("environ", MAX_TEXT_BYTES)).unwrap_or_default();
    let arguments = files.read("cmdline", MAX_TEXT_BYTES).unwrap_or_default();
    let file_of =
        |thread: &UserThread| thread.entry.and_then(|entry| Some(inspection.entries.get(&entry)?.file.as_str()));
    let evidence = Evidence {
        executable: &executable,
        path: &inspection.executable,
        files: mapped_files(&mappings),
        comms: inspection.threads.values().map(|thread| thread.comm.as_str()).collect(),
        entries: inspection.threads.values().filter_map(file_of).collect(),
        environment: &environment,
        arguments: &arguments,
        variable: &|name| variable(name, &executable, &inspection.executable, &files, &mappings),
        text: &|path| text(&files, path),
    };
    inspection.runtimes = runtimes::recognise(&evidence);
    Ok(inspection)
}

/// The same of the processes with the most threads, of those that may be looked at: so many at most, this one not
/// included.
pub fn inspect_largest(most: usize) -> BTreeMap<u32, Inspection> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((threads_of(pid)?, pid)).filter(|_| pid != process::id())
    });
    let mut pids: Vec<_> = pids.collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    let inspected = |(_, pid): (u64, u32)| Some((pid, inspect(pid).ok()?));
    pids.into_iter().filter_map(inspected).take(most).collect()
}

/// How many threads a process has that has memory: the 20th word of its stat. Threads of the kernel have none: the 23rd.
fn threads_of(pid: u32) -> Option<u64> {
    let stat = Files::of(pid).read("stat", MAX_TEXT_BYTES).ok()?;
    // The second is its name, in brackets, which may have blanks and brackets.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut words = str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace();
    let threads = words.nth(17)?.parse().ok()?;
    (words.nth(2)? != "0").then_some(threads)
}

fn read_elf(file: fs::File) -> io::Result<Elf> {
    Elf::read(file).map_err(io::Error::other)
}

/// Each once.
fn mapped_files(mappings: &Mappings) -> Vec<&Path> {
    let mut files: Vec<_> = mappings.iter().filter_map(Mapping::path).collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// Names what threads began with: few functions, as a rule.
fn entries(
    threads: &BTreeMap<u32, UserThread>,
    files: &Files,
    mappings: &Mappings,
    executable: (&Path, &Elf),
) -> BTreeMap<u64, Entry> {
    let mut elves: BTreeMap<PathBuf, Option<Elf>> = BTreeMap::new();
    let mut entries = BTreeMap::new();
    for address in threads.values().filter_map(|thread| thread.entry) {
        let mapped = mappings.at(address).and_then(|mapping| Some((mapping, mapping.path()?)));
        let (Some((mapping, path)), false) = (mapped, entries.contains_key(&address)) else { continue };
        // A file that was replaced since is no longer at its path; the executable was read as what it is.
        let read = || files.open_mapped(path).and_then(read_elf).ok();
        let elf = match executable {
            (of, elf) if of == path => Some(elf),
            _ => elves.entry(path.to_owned()).or_insert_with(read).as_ref(),
        };
        let function = elf.and_then(|elf| elf.function_at(address - mapping.start + mapping.offset));
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        entries.insert(address, Entry { file, function });
    }
    entries
}

/// Four bytes at a symbol of the executable.
fn variable(name: &str, executable: &Elf, path: &Path, files: &Files, mappings: &Mappings) -> Option<u32> {
    let first = mappings.iter().find(|mapping| mapping.offset == 0 && mapping.path() == Some(path))?;
    let address = executable.address_of(name)?.wrapping_add(executable.bias(first.start));
    let mut bytes = [0; 4];
    files.open("mem").ok()?.read_exact_at(&mut bytes, address).ok()?;
    Some(u32::from_ne_bytes(bytes))
}

fn text(files: &Files, path: &Path) -> Option<String> {
    let mut text = Vec::new();
    files.open_mapped(path).ok()?.take(MAX_TEXT_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_threads_and_is_written_in_rust() -> io::Result<()> {
        let inspection = inspect(process::id())?;
        let kinds: Vec<_> = inspection.runtimes.iter().map(|runtime| runtime.kind).collect();
        assert!(matches!(kinds[..], [RuntimeKind::Rust | RuntimeKind::Tokio]), "{kinds:?}");
        assert_eq!(inspection.unreadable, Vec::<String>::new());
        assert_eq!(threads_of(process::id()).map(|threads| threads > 1), Some(true));
        let pools = pools_at_rest(process::id(), &inspection);
        let threads: u64 = pools.iter().map(|pool| pool.threads.total).sum();
        assert_eq!(threads, inspection.threads.len() as u64);
        Ok(())
    }

    #[test]
    fn what_does_not_exist_is_an_error_and_among_the_largest_this_process_is_not() {
        assert_eq!(inspect(u32::MAX).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
        assert!(!inspect_largest(3).contains_key(&process::id()));
    }
}
