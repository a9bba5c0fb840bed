//! What an ELF file says of what it was made from: sections, symbols. Of this host's word size and byte order alone.

use std::{
    fmt::{self, Write as _},
    fs::File,
    ops::Range,
};

use cpp_demangle::{BorrowedSymbol, DemangleOptions};
use object::{
    Object as _, ObjectSection as _, ObjectSegment,
    read::{ReadCache, ReadRef},
};

/// The most that is read at once: the symbols of Node.js take half of it.
const MAX_BYTES: u64 = 64 << 20;
/// No function is longer: further away nothing is looked for.
const LARGEST_FUNCTION: u64 = 4 << 20;
/// The longest name that is told: a mangled one can be made to unfold without end.
const MAX_NAME: usize = 256;

/// A file that is read in parts, none of which is huge whatever the file claims.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a ReadCache<File>);

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > MAX_BYTES { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

/// A symbol that has an address.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    /// Where its name is in `Elf::names`.
    name: usize,
    address: u64,
    bytes: u64,
}

/// What is kept of a file.
#[derive(Default)]
pub(super) struct Elf {
    /// The version of Go that made it.
    pub(super) go: Option<String>,
    /// What made it, by its own account: `.comment`.
    pub(super) compilers: Vec<String>,
    names: Vec<u8>,
    symbols: Vec<Symbol>,
    /// Of each loaded segment: where it is in the file, how long, and its address.
    segments: Vec<(u64, u64, u64)>,
}

impl Elf {
    /// One that says no more than that.
    #[cfg(test)]
    pub(super) fn made_by(go: Option<&str>, compilers: &[&str]) -> Self {
        let compilers = compilers.iter().map(|&compiler| compiler.to_owned()).collect();
        Self { go: go.map(str::to_owned), compilers, ..Self::default() }
    }

    /// # Errors
    /// What is wrong with the file.
    pub(super) fn read(file: File) -> object::Result<Self> {
        let cache = ReadCache::new(file);
        let object = object::File::parse(Bounded(&cache))?;
        let mut elf = Self {
            go: section(&object, ".go.buildinfo").and_then(go_version),
            compilers: section(&object, ".comment").map(compilers).unwrap_or_default(),
            segments: object.segments().map(|segment| of_segment(&segment)).collect(),
            ..Self::default()
        };
        // Another's symbols would be read as what they are not.
        let is_this_hosts = object.is_64() && object.is_little_endian() == cfg!(target_endian = "little");
        for (symbols, names) in [(".dynsym", ".dynstr"), (".symtab", ".strtab")] {
            if is_this_hosts && let (Some(symbols), Some(names)) = (section(&object, symbols), section(&object, names))
            {
                elf.take(symbols, names);
            }
        }
        elf.symbols.sort_unstable_by_key(|symbol| symbol.address);
        Ok(elf)
    }

    /// Takes in a table of `Elf64_Sym`: elf(5).
    fn take(&mut self, symbols: &[u8], names: &[u8]) {
        let base = self.names.len();
        self.names.extend_from_slice(names);
        for symbol in symbols.as_chunks::<24>().0 {
            let half = |at: usize| u16::from_ne_bytes([symbol[at], symbol[at + 1]]);
            let long = |at: usize| symbol[at..].first_chunk::<8>().copied().map_or(0, u64::from_ne_bytes);
            let name = symbol.first_chunk::<4>().copied().map_or(0, u32::from_ne_bytes);
            let is_defined = half(6) != 0;
            if is_defined && name != 0 {
                self.symbols.push(Symbol { name: base + name as usize, address: long(8), bytes: long(16) });
            }
        }
    }

    fn name(&self, symbol: &Symbol) -> &[u8] {
        let rest = self.names.get(symbol.name..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The address of a symbol.
    pub(super) fn address_of(&self, name: &str) -> Option<u64> {
        self.symbols.iter().find(|symbol| self.name(symbol) == name.as_bytes()).map(|symbol| symbol.address)
    }

    /// Whether a symbol's name has this part.
    pub(super) fn has_symbol_with(&self, part: &str) -> bool {
        let part = part.as_bytes();
        self.names.windows(part.len()).any(|window| window == part)
    }

    /// The function that is at this place of the file, if a symbol says so.
    pub(super) fn function_at(&self, offset: u64) -> Option<String> {
        let address = self.address_at(offset)?;
        let next = self.symbols.partition_point(|symbol| symbol.address <= address);
        let mut before =
            self.symbols[..next].iter().rev().take_while(|symbol| address - symbol.address < LARGEST_FUNCTION);
        let symbol = before.find(|symbol| address < symbol.address.saturating_add(symbol.bytes.max(1)))?;
        Some(demangled(self.name(symbol)))
    }

    fn address_at(&self, offset: u64) -> Option<u64> {
        let holds = |(start, bytes, _): &&(u64, u64, u64)| (*start..start.saturating_add(*bytes)).contains(&offset);
        let (start, _, address) = self.segments.iter().find(holds)?;
        Some(address.wrapping_add(offset - start))
    }

    /// What its addresses are off by where its first byte is mapped at `start`.
    pub(super) fn bias(&self, start: u64) -> u64 {
        let first = self.segments.iter().min_by_key(|(offset, ..)| *offset);
        first.map_or(0, |(offset, _, address)| start.wrapping_sub(address.wrapping_sub(*offset)))
    }
}

/// The name of a function in Rust or C++ as its source has it, without parameters; else as it is.
fn demangled(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut short = Short(String::new());
    // What does not fit is an error, and what was written by then is told.
    if let Ok(name) = rustc_demangle::try_demangle(&text) {
        let _ = write!(short, "{name:#}");
    } else if let Ok(name) = BorrowedSymbol::new(name) {
        let _ = name.structured_demangle(&mut short, &DemangleOptions::new().no_params());
    }
    if short.0.is_empty() {
        let _ = short.write_str(&text);
    }
    short.0
}

/// Text that ends where it becomes too long.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_NAME.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Where it is in the file, how long, and its address.
fn of_segment<'a>(segment: &impl ObjectSegment<'a>) -> (u64, u64, u64) {
    let (offset, bytes) = segment.file_range();
    (offset, bytes, segment.address())
}

fn section<'a>(object: &object::File<'a, Bounded<'a>>, name: &str) -> Option<&'a [u8]> {
    object.section_by_name(name).and_then(|section| section.data().ok()).filter(|data| !data.is_empty())
}

/// Of `.go.buildinfo`, as Go 1.18 and later write it: the magic, at 15 a byte of flags, at 32 the version with its
/// length before it. Of an older one "before 1.18".
fn go_version(section: &[u8]) -> Option<String> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    const INLINE: u8 = 2;
    if !section.starts_with(MAGIC) {
        return None;
    }
    let inline = section.get(15).is_some_and(|flags| flags & INLINE != 0);
    let length = usize::from(*section.get(32)?);
    let version = section.get(33..33 + length).filter(|_| inline && length < 128);
    Some(version.map_or_else(
        || "before 1.18".to_owned(),
        |version| String::from_utf8_lossy(version).trim_start_matches("go").to_owned(),
    ))
}

fn compilers(section: &[u8]) -> Vec<String> {
    let all = section.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    all.take(16).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_made_by_rustc_and_its_functions_are_found_by_where_they_are()
    -> Result<(), Box<dyn std::error::Error>> {
        let elf = Elf::read(File::open("/proc/self/exe")?)?;
        assert!(elf.compilers.iter().any(|compiler| compiler.starts_with("rustc version")), "{:?}", elf.compilers);
        assert_eq!(elf.go, None);
        let main = elf.address_of("main").ok_or("main")?;
        let offset = elf.segments.iter().find(|(_, bytes, address)| (*address..address + bytes).contains(&main));
        let (start, _, address) = offset.ok_or("the segment of main")?;
        assert_eq!(elf.function_at(main - address + start + 1).as_deref(), Some("main"));
        assert!(elf.has_symbol_with("_Unwind_Resume") && !elf.has_symbol_with("no such symbol"));
        Ok(())
    }

    #[test]
    fn functions_are_named_as_in_their_source() {
        let named = ["_ZL19thread_native_entryP6Thread", "_ZN4node12_GLOBAL__N_1L6WorkerEPv", "worker", "_Z", "\u{e9}"];
        let named = named.map(|name| demangled(name.as_bytes()));
        assert_eq!(named, ["thread_native_entry", "node::(anonymous namespace)::Worker", "worker", "_Z", "\u{e9}"]);
        assert_eq!(demangled(b"_ZN3std3sys6thread5start17h0123456789abcdefE"), "std::sys::thread::start");
    }

    #[test]
    fn a_name_that_unfolds_without_end_is_cut() {
        // Each part stands for all before it, twice.
        let parts: String = (0..40).map(|part| format!("S{part:x}_S{part:x}_").to_uppercase()).collect();
        let name = demangled(format!("_ZN1aI1b{parts}E1cE").as_bytes());
        assert!(name.len() <= MAX_NAME, "{name}");
        assert_eq!(demangled("x".repeat(1000).as_bytes()).len(), MAX_NAME);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn a_file_with_any_bytes_changed_is_read_or_refused(
            changes in proptest::collection::vec((0..4096_usize, proptest::prelude::any::<u8>()), 1..32)
        ) {
            let mut bytes = std::fs::read("/bin/true")?;
            let length = bytes.len();
            for (at, byte) in changes {
                // The header and the table of sections, which is at the end, say what else there is.
                let at = if byte % 2 == 0 { at % 512 } else { length - 1 - at % 2048 };
                bytes[at] = byte;
            }
            let mut file = tempfile::tempfile()?;
            std::io::Write::write_all(&mut file, &bytes)?;
            if let Ok(elf) = Elf::read(file) {
                elf.function_at(4096);
                elf.bias(4096);
            }
        }
    }

    #[test]
    fn symbols_of_another_byte_order_are_left_alone() -> Result<(), Box<dyn std::error::Error>> {
        const CODE: u64 = 0x1000;
        let read = |data: &[u8]| {
            let mut file = tempfile::tempfile()?;
            std::io::Write::write_all(&mut file, data)?;
            Elf::read(file).map_err(std::io::Error::other)
        };
        let of = |endian: &dyn Fn(u64, usize) -> Vec<u8>| {
            // The header of a file with three sections: none, .dynsym with one symbol, and .dynstr for all names.
            let names = b"\0.dynsym\0.dynstr\0Py_BytesMain\0";
            let (symbols_at, names_at, sections_at) = (64_u64, 64 + 24, 64 + 24 + names.len() as u64);
            let order = if endian(1, 2) == [1, 0] { 1 } else { 2 };
            let mut file = vec![0x7f, b'E', b'L', b'F', 2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            for (value, bytes) in [(3, 2), (62, 2), (1, 4), (0, 8), (0, 8), (sections_at, 8), (0, 4), (64, 2)] {
                file.extend(endian(value, bytes));
            }
            for value in [56, 0, 64, 3, 2] {
                file.extend(endian(value, 2));
            }
            for (value, bytes) in [(17, 4), (0x12, 1), (0, 1), (1, 2), (CODE, 8), (16, 8)] {
                file.extend(endian(value, bytes));
            }
            file.extend(names);
            let section = |name, kind, at, length, size| {
                let words =
                    [(name, 4), (kind, 4), (0, 8), (0, 8), (at, 8), (length, 8), (2, 4), (0, 4), (1, 8), (size, 8)];
                words.into_iter().flat_map(|(value, bytes)| endian(value, bytes)).collect::<Vec<_>>()
            };
            file.extend([0; 64]);
            file.extend(section(1, 11, symbols_at, 24, 24));
            file.extend(section(9, 3, names_at, names.len() as u64, 0));
            file
        };
        let little = read(&of(&|value, bytes| value.to_le_bytes()[..bytes].to_vec()))?;
        let big = read(&of(&|value, bytes| value.to_be_bytes()[8 - bytes..].to_vec()))?;
        let found = [&little, &big].map(|elf| elf.address_of("Py_BytesMain"));
        let expected = if cfg!(target_endian = "little") { [Some(CODE), None] } else { [None, Some(CODE)] };
        assert_eq!(found, expected);
        assert_eq!([little, big].map(|elf| elf.symbols.len()).iter().sum::<usize>(), 1);
        Ok(())
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() -> std::io::Result<()> {
        assert!(Elf::read(File::open("/proc/self/maps")?).is_err());
        Ok(())
    }

    #[test]
    fn the_version_of_go_is_read_as_1_18_writes_it_and_older_ones_are_told_so() {
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(32, 0);
        section.extend(b"\x08go1.24.4\x00");
        assert_eq!(go_version(&section).as_deref(), Some("1.24.4"));
        section[15] = 0;
        assert_eq!(go_version(&section).as_deref(), Some("before 1.18"));
        section.truncate(33);
        section[15] = 2;
        assert_eq!(go_version(&section).as_deref(), Some("before 1.18"));
        assert_eq!(go_version(b"\xff Go"), None);
    }
}
