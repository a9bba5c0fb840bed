//! Parsing the two roads: the scan's stream and the ring buffer's records.

use std::io::{self, Read};

use thread_probe_ebpf::abi::record::{
    Head, PART_ENDED, PART_PROCESS, PART_THREAD, PART_WAITS, ProcessPart, ShortRecord, ThreadPart, ThreadRecord, Waits,
};

use crate::sample::{Observation, ThreadObservation};

/// Bytes asked of the kernel at a time. It fills a buffer of 8 pages per read (`bpf_seq_read`); more is never used.
const READ_BYTES: usize = 64 << 10;

/// What may be copied from a record's bytes: plain data without padding or invalid values.
///
/// # Safety
/// Every bit pattern of the type's size is a valid value.
unsafe trait Plain: Copy {}
// SAFETY: integers and arrays of integers only; record.rs asserts that there is no padding.
unsafe impl Plain for Head {}
// SAFETY: as above.
unsafe impl Plain for ThreadPart {}
// SAFETY: as above.
unsafe impl Plain for ProcessPart {}
// SAFETY: as above.
unsafe impl Plain for Waits {}
// SAFETY: as above.
unsafe impl Plain for ThreadRecord {}
// SAFETY: as above.
unsafe impl Plain for ShortRecord {}

/// Takes a part off the front of `bytes`; `None` if they are too few.
fn take<T: Plain>(bytes: &mut &[u8]) -> Option<T> {
    let (part, rest) = bytes.split_at_checked(size_of::<T>())?;
    *bytes = rest;
    // SAFETY: `part` is as long as T, whose every bit pattern is valid; the read need not be aligned.
    Some(unsafe { part.as_ptr().cast::<T>().read_unaligned() })
}

/// Reads a whole scan and hands each record on. Returns the number of threads.
///
/// # Errors
/// What reading said. What was handed on stays valid, but the kernel counts it as sent: a scan can't be resumed.
pub(super) fn read(mut stream: impl Read, sink: &mut dyn FnMut(Observation<'_>)) -> io::Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    let mut threads = 0;
    loop {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(threads),
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the scan ended within a record")),
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let mut rest = &buffer[..filled];
        while let Some(length) = parse_alive(rest, sink) {
            rest = &rest[length..];
            threads += 1;
        }
        let left = rest.len();
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
    }
}

/// Parses one record of the scan and returns its length; `None` if it is not whole.
fn parse_alive(bytes: &[u8], sink: &mut dyn FnMut(Observation<'_>)) -> Option<usize> {
    let head: Head = take(&mut &*bytes)?;
    if head.parts & PART_THREAD == 0 {
        sink(Observation::Unchanged { task: head.task });
        return Some(size_of::<Head>());
    }
    let mut rest = bytes;
    let thread: ThreadPart = take(&mut rest)?;
    let process = if head.parts & PART_PROCESS != 0 { Some(take::<ProcessPart>(&mut rest)?) } else { None };
    let waits = if head.parts & PART_WAITS != 0 { Some(take::<Waits>(&mut rest)?) } else { None };
    sink(Observation::Alive(ThreadObservation { thread: &thread, process: process.as_ref(), waits: waits.as_ref() }));
    Some(bytes.len() - rest.len())
}

/// Parses one record of the ring, whole or short; false if it is neither.
pub(super) fn parse_ended(mut bytes: &[u8], sink: &mut dyn FnMut(Observation<'_>)) -> bool {
    let (thread, process, waits) = if bytes.len() == size_of::<ShortRecord>() {
        let Some(record) = take::<ShortRecord>(&mut bytes) else { return false };
        (record.thread, None, record.waits())
    } else {
        let Some(record) = take::<ThreadRecord>(&mut bytes) else { return false };
        let leads = record.thread.head.tid == record.thread.tgid;
        (record.thread, leads.then_some(record.process), record.waits)
    };
    if thread.head.parts & PART_ENDED == 0 {
        return false;
    }
    sink(Observation::Ended(ThreadObservation { thread: &thread, process: process.as_ref(), waits: Some(&waits) }));
    true
}

#[cfg(test)]
mod tests {
    use thread_probe_ebpf::abi::record::PART_STORAGE;

    use super::*;

    fn bytes_of<T: Plain>(value: &T) -> Vec<u8> {
        // SAFETY: plain data without padding.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }.to_vec()
    }

    fn thread(task: u64, parts: u32) -> ThreadPart {
        ThreadPart { head: Head { task, parts: PART_THREAD | parts, tid: 7 }, ..ThreadPart::default() }
    }

    /// Hands out a few bytes at a time, as no kernel does, to prove that no record depends on where a read ends.
    struct Trickle(Vec<u8>);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(13);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn tasks_of(stream: Vec<u8>) -> io::Result<Vec<(u64, bool, bool)>> {
        let mut seen = Vec::new();
        read(Trickle(stream), &mut |observation| match observation {
            Observation::Unchanged { task } => seen.push((task, false, false)),
            Observation::Alive(o) => seen.push((o.thread.head.task, o.process.is_some(), o.waits.is_some())),
            Observation::Ended(_) => {}
        })?;
        Ok(seen)
    }

    #[test]
    fn records_of_every_cut_are_told_apart_wherever_a_read_ends() -> io::Result<()> {
        let mut stream = bytes_of(&thread(1, 0));
        stream.extend(bytes_of(&Head { task: 2, parts: PART_STORAGE, tid: 2 }));
        stream.extend(bytes_of(&thread(3, PART_PROCESS | PART_WAITS)));
        stream.extend(bytes_of(&ProcessPart::default()));
        stream.extend(bytes_of(&Waits::default()));
        stream.extend(bytes_of(&thread(4, PART_WAITS)));
        stream.extend(bytes_of(&Waits::default()));
        let expected = [(1, false, false), (2, false, false), (3, true, true), (4, false, true)];
        assert_eq!(tasks_of(stream)?, expected);
        Ok(())
    }

    #[test]
    fn a_stream_that_ends_within_a_record_is_an_error_not_a_shorter_scan() {
        let mut stream = bytes_of(&thread(1, 0));
        stream.truncate(100);
        assert!(tasks_of(stream).is_err());
    }

    #[test]
    fn a_ring_record_that_is_no_final_one_is_refused() {
        let mut record = ThreadRecord { thread: thread(1, PART_ENDED), ..ThreadRecord::default() };
        assert!(parse_ended(&bytes_of(&record), &mut |_| {}));
        let short = ShortRecord { thread: record.thread, ..ShortRecord::default() };
        assert!(parse_ended(&bytes_of(&short), &mut |_| {}));
        record.thread.head.parts = PART_THREAD;
        assert!(!parse_ended(&bytes_of(&record), &mut |_| {}));
        assert!(!parse_ended(&[0; 16], &mut |_| {}));
    }
}
