//! The memory mappings of a process: /proc/PID/maps.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

/// One mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where in the file it starts.
    pub(super) offset: u64,
    pub(super) is_writable: bool,
    pub(super) is_executable: bool,
    /// Whether nothing may be done with it: a guard.
    pub(super) is_guard: bool,
    /// What is mapped: a path, a name in brackets, or nothing.
    pub(super) name: Vec<u8>,
}

impl Mapping {
    /// The path of what is mapped, if that is a file.
    pub(super) fn path(&self) -> Option<&Path> {
        self.name.starts_with(b"/").then(|| Path::new(OsStr::from_bytes(&self.name)))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// All of them, by address.
pub(super) struct Mappings(Vec<Mapping>);

impl Mappings {
    pub(super) fn parse(maps: &[u8]) -> Self {
        let mut mappings: Vec<_> = maps.split(|byte| *byte == b'\n').filter_map(mapping).collect();
        mappings.sort_unstable_by_key(|mapping| mapping.start);
        Self(mappings)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// That which has this address.
    pub(super) fn at(&self, address: u64) -> Option<&Mapping> {
        let next = self.0.partition_point(|mapping| mapping.start <= address);
        self.0.get(next.checked_sub(1)?).filter(|mapping| address < mapping.end)
    }

    /// The guard that ends where this one starts.
    pub(super) fn guard_below(&self, start: u64) -> Option<&Mapping> {
        self.at(start.checked_sub(1)?).filter(|mapping| mapping.is_guard)
    }
}

/// `start-end rwxp offset major:minor inode   name`: proc_pid_maps(5).
fn mapping(line: &[u8]) -> Option<Mapping> {
    let (head, name) = match line.iter().position(|byte| matches!(byte, b'/' | b'[')) {
        Some(name) => line.split_at(name),
        None => (line, &b""[..]),
    };
    let mut fields = str::from_utf8(head).ok()?.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let allowed = fields.next()?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (start, end, offset) = (number(start)?, number(end)?, number(fields.next()?)?);
    Some(Mapping {
        start,
        end: end.max(start),
        offset,
        is_writable: allowed.contains('w'),
        is_executable: allowed.contains('x'),
        is_guard: allowed.starts_with("---"),
        name: name.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"7f01d000-7f01e000 ---p 00000000 00:00 0 
7f01e000-7f81e000 rw-p 00000000 00:00 0 
7f81e000-7f820000 r-xp 00028000 fe:01 1234                      /usr/lib/lib\xff x.so (deleted)
7ffc0000-7ffe1000 rw-p 00000000 00:00 0                          [stack]
not a mapping
";

    #[test]
    fn mappings_have_names_of_any_bytes_and_are_found_by_address() {
        let mappings = Mappings::parse(MAPS);
        let stack = mappings.at(0x7f81_dfff).map(|mapping| (mapping.bytes(), mapping.path().is_some()));
        assert_eq!(stack, Some((0x80_0000, false)));
        assert!(mappings.guard_below(0x7f01_e000).is_some_and(|guard| guard.bytes() == 0x1000));
        assert!(mappings.guard_below(0x7f81_e000).is_none(), "that is the stack");
        let code = mappings.at(0x7f81_e000).and_then(Mapping::path).map(|path| path.as_os_str().as_bytes());
        assert_eq!(code, Some(&b"/usr/lib/lib\xff x.so (deleted)"[..]));
        assert_eq!(mappings.at(0x7f82_0000), None);
        assert_eq!(mappings.iter().count(), 4);
    }

    #[test]
    fn this_process_has_some_and_its_own_stack_among_them() -> std::io::Result<()> {
        let mappings = Mappings::parse(&std::fs::read("/proc/self/maps")?);
        let here = 0_u8;
        let mapping = mappings.at((&raw const here).addr() as u64);
        assert!(mapping.is_some_and(|mapping| mapping.is_writable && !mapping.is_executable));
        Ok(())
    }
}
