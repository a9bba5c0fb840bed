//! The threads of a process in user space: where each stack is, how much of it was touched, and what each began with.
//!
//! glibc keeps what it knows of a thread (`struct pthread`) at the top of the thread's stack, with the list of robust
//! futexes in it, whose address the kernel tells (get_robust_list(2)). Above that list is the function that the thread
//! began with: the first word there that points into code. Of a thread without such a list the stack pointer tells
//! where the stack is, which the kernel tells of those that sleep (/proc/PID/task/TID/syscall).

use std::{collections::BTreeMap, fs::File, io, ops::Range, os::unix::fs::FileExt as _, ptr};

use nix::{errno::Errno, libc};
use serde::Serialize;

use super::{
    files::Files,
    mappings::{Mapping, Mappings},
    pages::{Kind, Pages, Run},
};

/// A stack in user space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stack {
    /// Address space that it may grow into.
    pub reserved_bytes: u64,
    /// Address space below it that faults.
    pub guard_bytes: u64,
    /// What is in memory or swapped out.
    pub touched_bytes: u64,
    /// From its top to the lowest page that was touched.
    pub deepest_bytes: u64,
    /// What of it is in huge pages; null before Linux 6.7.
    pub huge_bytes: Option<u64>,
}

/// A thread in user space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserThread {
    /// Its name.
    pub comm: String,
    /// Its stack, where that is known and its own; of the main thread as far as it grew.
    pub stack: Option<Stack>,
    /// Where the function that it began with is: an address in the process.
    pub(super) entry: Option<u64>,
}

/// Where a stack is thought to be.
struct Place {
    tid: u32,
    /// The mapping that it is in.
    mapping: u64,
    /// The stack.
    region: Range<u64>,
    guard_bytes: u64,
}

/// Looks at all of them. Returns them by tid.
pub(super) fn of(pid: u32, files: &Files, mappings: &Mappings) -> io::Result<BTreeMap<u32, UserThread>> {
    let memory = files.open("mem")?;
    let mut look = Look { pid, files, mappings, pages: Pages::of(files.open("pagemap")?)?, runs: BTreeMap::new() };
    let mut threads = BTreeMap::new();
    let mut places = Vec::new();
    for tid in files.tids()? {
        // It may have ended meanwhile.
        let Ok(comm) = files.read(&format!("task/{tid}/comm"), 64) else { continue };
        let comm = String::from_utf8_lossy(comm.trim_ascii_end()).into_owned();
        let list = robust_list(tid);
        let entry = list.filter(|_| tid != pid).and_then(|list| entry(&memory, mappings, list));
        threads.insert(tid, UserThread { comm, stack: None, entry });
        places.extend(look.place(tid, list));
    }
    for place in own(places) {
        if let (Some(thread), Some(runs)) = (threads.get_mut(&place.tid), look.runs.get(&place.mapping)) {
            thread.stack = Some(stack(&place, runs, look.pages.tells_huge()));
        }
    }
    Ok(threads)
}

/// Those that no other thread is in: a heap that a runtime has its stacks in is no stack.
fn own(mut places: Vec<Place>) -> Vec<Place> {
    let mut threads_in: BTreeMap<u64, u32> = BTreeMap::new();
    for place in &places {
        *threads_in.entry(place.region.start).or_default() += 1;
    }
    places.retain(|place| threads_in.get(&place.region.start) == Some(&1));
    places
}

/// How far below the end of a mapping glibc's `struct pthread` may be: thread-local variables of all libraries lie there
/// as well.
const TOP_BYTES: u64 = 256 << 10;
/// No stack is larger: what is would be a heap.
const LARGEST_STACK: u64 = 1 << 30;

struct Look<'a> {
    pid: u32,
    files: &'a Files,
    mappings: &'a Mappings,
    pages: Pages,
    /// What is there of each mapping that was looked at, by where it starts: many stacks may be in one.
    runs: BTreeMap<u64, Vec<Run>>,
}

impl<'a> Look<'a> {
    fn place(&mut self, tid: u32, list: Option<u64>) -> Option<Place> {
        if tid == self.pid {
            let main = self.mappings.iter().find(|mapping| mapping.name == b"[stack]")?;
            self.runs_of(main)?;
            return Some(Place { tid, mapping: main.start, region: main.start..main.end, guard_bytes: 0 });
        }
        let by_list = list.and_then(|list| Some((list, self.stack_like(list)?)));
        let is_known = by_list.is_some();
        let by_pointer = || {
            let pointer = stack_pointer(&self.files.read(&format!("task/{tid}/syscall"), 512).ok()?)?;
            let mapping = self.stack_like(pointer)?;
            (mapping.bytes() <= LARGEST_STACK).then_some((pointer, mapping))
        };
        let (address, mapping) = by_list.or_else(by_pointer)?;
        let (region, guard_bytes) = self.between_guards(mapping, address)?;
        let is_at_its_top = region.end - address <= TOP_BYTES;
        // A pointer alone may point into anything that a runtime made: a stack has a guard.
        let is_stack = if is_known { is_at_its_top } else { guard_bytes > 0 };
        is_stack.then_some(Place { tid, mapping: mapping.start, region, guard_bytes })
    }

    fn stack_like(&self, address: u64) -> Option<&'a Mapping> {
        self.mappings.at(address).filter(|mapping| mapping.is_writable && mapping.path().is_none())
    }

    fn runs_of(&mut self, mapping: &Mapping) -> Option<&[Run]> {
        if !self.runs.contains_key(&mapping.start) {
            self.runs.insert(mapping.start, self.pages.runs(mapping.start..mapping.end).ok()?);
        }
        self.runs.get(&mapping.start).map(Vec::as_slice)
    }

    /// The part of a mapping around an address that ends at guards within it, and the bytes of the guard below.
    fn between_guards(&mut self, mapping: &Mapping, address: u64) -> Option<(Range<u64>, u64)> {
        let mut guard_bytes = self.mappings.guard_below(mapping.start).map_or(0, Mapping::bytes);
        let mut region = mapping.start..mapping.end;
        for run in self.runs_of(mapping)?.iter().filter(|run| run.kind == Kind::Guard) {
            if run.range.start > address {
                region.end = run.range.start;
                break;
            }
            region.start = run.range.end;
            guard_bytes = run.range.end - run.range.start;
        }
        Some((region, guard_bytes))
    }
}

fn stack(place: &Place, runs: &[Run], tells_huge: bool) -> Stack {
    let is_within = |run: &&Run| run.range.start >= place.region.start && run.range.end <= place.region.end;
    let touched = || runs.iter().filter(is_within).filter(|run| run.kind != Kind::Guard);
    let bytes = |run: &Run| run.range.end - run.range.start;
    let huge = touched().filter(|run| run.kind == Kind::Huge).map(bytes).sum();
    Stack {
        reserved_bytes: place.region.end - place.region.start,
        guard_bytes: place.guard_bytes,
        touched_bytes: touched().map(bytes).sum(),
        deepest_bytes: touched().next().map_or(0, |lowest| place.region.end - lowest.range.start),
        huge_bytes: tells_huge.then_some(huge),
    }
}

/// get_robust_list(2): where the list of a thread's robust futexes is, if its library made one.
fn robust_list(tid: u32) -> Option<u64> {
    let (mut head, mut bytes) = (ptr::null_mut::<libc::c_void>(), 0_usize);
    // SAFETY: the kernel writes the two words.
    let outcome = unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut bytes) };
    Errno::result(outcome).ok()?;
    Some(head.addr() as u64).filter(|head| *head != 0)
}

/// The first word above the list that points into code of a file.
fn entry(memory: &File, mappings: &Mappings, list: u64) -> Option<u64> {
    /// More than `struct pthread` has above the list.
    const BYTES: u64 = 2048;
    let end = mappings.at(list)?.end.min(list + BYTES);
    let mut bytes = [0; BYTES as usize];
    let got = memory.read_at(&mut bytes[..(end - list) as usize], list).ok()?;
    let mut words = bytes[..got].as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
    words.find(|word| mappings.at(*word).is_some_and(|to| to.is_executable && to.path().is_some()))
}

/// The one but last word of /proc/PID/task/TID/syscall; `running` has none.
fn stack_pointer(line: &[u8]) -> Option<u64> {
    let line = str::from_utf8(line).ok()?;
    let word = line.split_ascii_whitespace().rev().nth(1)?;
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_stack_pointer_is_told_of_who_sleeps() {
        let sleeping = b"202 0x7f1 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd3000 0x7f66\n";
        assert_eq!(stack_pointer(sleeping), Some(0x7ffd_3000));
        assert_eq!(stack_pointer(b"-1 0x7ffd3000 0x7f66\n"), Some(0x7ffd_3000));
        assert_eq!(stack_pointer(b"running\n"), None);
    }

    #[test]
    fn what_two_threads_are_in_is_no_stack() {
        let place = |tid, start| Place { tid, mapping: 0, region: start..start + 100, guard_bytes: 0 };
        let own: Vec<_> = own(vec![place(1, 0), place(2, 100), place(3, 100)]).iter().map(|place| place.tid).collect();
        assert_eq!(own, [1]);
    }

    #[test]
    fn a_stack_is_as_deep_as_its_lowest_page_and_what_lies_beyond_its_guards_is_not_its() {
        let place = Place { tid: 1, mapping: 0, region: 0x4000..0x9000, guard_bytes: 0x1000 };
        let run = |start, end, kind| Run { range: start..end, kind };
        let runs = [
            run(0x1000, 0x3000, Kind::Present),
            run(0x3000, 0x4000, Kind::Guard),
            run(0x5000, 0x6000, Kind::Swapped),
            run(0x7000, 0x9000, Kind::Huge),
            run(0x9000, 0xa000, Kind::Present),
        ];
        let expected = Stack {
            reserved_bytes: 0x5000,
            guard_bytes: 0x1000,
            touched_bytes: 0x3000,
            deepest_bytes: 0x4000,
            huge_bytes: Some(0x2000),
        };
        assert_eq!(stack(&place, &runs, true), expected);
        assert_eq!(stack(&place, &runs, false), Stack { huge_bytes: None, ..expected });
    }

    /// Touches as much of the stack that it is on.
    fn touch(bytes: usize) {
        fn deeper(bytes: usize) -> u8 {
            let page = std::hint::black_box([1_u8; 4096]);
            if bytes <= page.len() { page[0] } else { deeper(bytes - page.len()) | std::hint::black_box(&page)[7] }
        }
        std::hint::black_box(deeper(bytes));
    }

    #[test]
    fn a_thread_has_the_stack_it_asked_for_of_which_as_much_is_touched_as_it_touched() -> io::Result<()> {
        let (began, beginning) = mpsc::channel();
        let (end, ending) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("deep".into()).stack_size(3 << 20).spawn(move || {
            touch(1 << 20);
            began.send(()).ok();
            ending.recv().ok();
        })?;
        beginning.recv().map_err(io::Error::other)?;
        let pid = std::process::id();
        let files = Files::of(pid);
        let mappings = Mappings::parse(&files.read("maps", 16 << 20)?);
        let threads = of(pid, &files, &mappings)?;
        end.send(()).ok();
        thread.join().ok();
        let deep = threads.values().find(|thread| thread.comm == "deep").ok_or(io::ErrorKind::NotFound)?;
        let Stack { reserved_bytes, guard_bytes, touched_bytes, deepest_bytes, huge_bytes } =
            deep.stack.ok_or(io::ErrorKind::NotFound)?;
        assert!((3 << 20..(3 << 20) + (64 << 10)).contains(&reserved_bytes), "{deep:?}");
        assert!(guard_bytes >= 4096 && huge_bytes.unwrap_or(0) <= touched_bytes, "{deep:?}");
        assert!((1 << 20..2 << 20).contains(&deepest_bytes) || huge_bytes > Some(0), "{deep:?}");
        assert!(touched_bytes <= deepest_bytes && touched_bytes >= 1 << 20, "{deep:?}");
        let entry = deep.entry.and_then(|entry| mappings.at(entry)).and_then(Mapping::path);
        assert_eq!(entry, Some(std::env::current_exe()?.as_path()), "{deep:?}");
        Ok(())
    }
}
