//! Resolving the offsets table from the running kernel's types.

use std::{fs::File, io, os::fd::AsRawFd as _, path::Path};

use btf_rs::{Backend, Btf, Struct, Type};
use nix::sys::memfd::{MFdFlags, memfd_create};
use thread_probe_ebpf::abi::{
    offsets::{Figure, MEMBERS, MISSING, Member, Offsets},
    storage::TaskStorage,
};

use super::requirements::{LoadError, VMLINUX_BTF};

/// What the programs and the memory accounting need to know of the kernel's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTypes {
    /// Where the members are.
    pub(super) offsets: Offsets,
    /// Size of `struct task_struct`, without the FPU area that follows it where the CPU needs more.
    pub task_struct_bytes: u64,
    /// What one thread's task storage takes: its element, and what holds the list of them.
    pub task_storage_bytes: u64,
}

impl KernelTypes {
    /// Whether the kernel keeps for how long a quota stopped a run queue: since Linux 6.6.
    pub fn tells_throttling(&self) -> bool {
        self.offsets.throttled_self_time != MISSING
    }
}

/// Resolves everything from the kernel's BTF, which needs no privilege.
///
/// # Errors
/// No BTF, or a structure or member that is not in it.
pub fn kernel_types() -> Result<KernelTypes, LoadError> {
    types_from(Path::new(VMLINUX_BTF))
}

fn types_from(path: &Path) -> Result<KernelTypes, LoadError> {
    let btf = open(path).map_err(|error| LoadError::UnreadableBtf { error })?;
    let mut offsets = [0; MEMBERS.len()];
    for (offset, member) in offsets.iter_mut().zip(&MEMBERS) {
        *offset = member_offset(&btf, member)?;
    }
    Ok(KernelTypes {
        offsets: Offsets::from_array(offsets),
        task_struct_bytes: find(&btf, "task_struct")?.size() as u64,
        task_storage_bytes: task_storage_bytes(&btf)?,
    })
}

/// Opens a file of types. Parsed whole it takes 45 MB, which was most of what a start took; mapped it is 5. What sysfs
/// has can be mapped since Linux 6.15 only, so it is a copy.
fn open(path: &Path) -> Result<Btf, String> {
    let copy = || {
        let mut copy = File::from(memfd_create(c"btf", MFdFlags::MFD_CLOEXEC)?);
        io::copy(&mut File::open(path)?, &mut copy)?;
        io::Result::Ok(copy)
    };
    let copy = copy().map_err(|error| error.to_string())?;
    let mapped = format!("/proc/self/fd/{}", copy.as_raw_fd());
    Btf::from_file_with_backend(mapped, Backend::Mmap).map_err(|error| error.to_string())
}

/// `bpf_local_storage_map_alloc_check` and `bpf_selem_alloc` of kernel/bpf/bpf_local_storage.c: an element is its head
/// with the value behind it. The first element of a task brings the `bpf_local_storage`.
fn task_storage_bytes(btf: &Btf) -> Result<u64, LoadError> {
    let size = |name| find(btf, name).map(|found| found.size() as u64);
    let element = size("bpf_local_storage_elem")? + size_of::<TaskStorage>() as u64;
    Ok(allocated_bytes(element) + allocated_bytes(size("bpf_local_storage")?))
}

/// What the kernel's allocator takes for an object: kmalloc_info of mm/slab_common.c.
fn allocated_bytes(bytes: u64) -> u64 {
    match bytes {
        65..=96 => 96,
        129..=192 => 192,
        _ => bytes.next_power_of_two(),
    }
}

/// The structure or union of that name, not a forward declaration or a typedef of it.
fn find(btf: &Btf, name: &str) -> Result<Struct, LoadError> {
    let missing = || LoadError::MissingMember { member: format!("struct {name}") };
    btf.resolve_types_by_name(name)
        .map_err(|_| missing())?
        .into_iter()
        .find_map(|found| match found {
            Type::Struct(found) | Type::Union(found) => Some(found),
            _ => None,
        })
        .ok_or_else(missing)
}

fn member_offset(btf: &Btf, member: &Member) -> Result<u64, LoadError> {
    if matches!(member.figure, Figure::Function | Figure::Type) {
        return match type_number(btf, member) {
            Some(number) => Ok(u64::from(number)),
            None if member.is_optional => Ok(MISSING),
            None => Err(LoadError::MissingMember { member: format!("struct {}", member.structure) }),
        };
    }
    let found = find(btf, member.structure).map(|structure| {
        let bits = member.paths.iter().find_map(|path| bit_offset(btf, &structure, path));
        bits.map(|bits| figure(member.figure, u64::from(bits)))
    });
    let name = || format!("{}.{}", member.structure, member.paths.join(" or "));
    match found {
        Ok(Some(offset)) => Ok(offset),
        _ if member.is_optional => Ok(MISSING),
        Ok(None) => Err(match option_of(member) {
            Some(option) => LoadError::MissingOption { member: name(), option },
            None => LoadError::MissingMember { member: name() },
        }),
        Err(error) => Err(error),
    }
}

/// The number of a function's or a structure's type.
fn type_number(btf: &Btf, member: &Member) -> Option<u32> {
    let numbers = btf.resolve_ids_by_name(member.structure).ok()?;
    numbers.into_iter().find(|number| match btf.resolve_type_by_id(*number) {
        Ok(Type::Func(_)) => member.figure == Figure::Function,
        Ok(Type::Struct(_)) => member.figure == Figure::Type,
        _ => false,
    })
}

/// What the table has of a member at that many bits.
fn figure(figure: Figure, bits: u64) -> u64 {
    const WORD_BITS: u64 = 32;
    match figure {
        Figure::Offset => bits / 8,
        Figure::WordOffset => bits / WORD_BITS * (WORD_BITS / 8),
        Figure::Mask if cfg!(target_endian = "little") => 1 << (bits % WORD_BITS),
        Figure::Mask => 1 << (WORD_BITS - 1 - bits % WORD_BITS),
        // They have no bits.
        Figure::Function | Figure::Type => MISSING,
    }
}

/// The option that a member is there with, of those that a kernel may be built without: `#ifdef` in
/// include/linux/sched.h.
fn option_of(member: &Member) -> Option<&'static str> {
    let options = [
        ("se.cfs_rq", "CONFIG_FAIR_GROUP_SCHED"),
        ("sched_info.pcount", "CONFIG_SCHED_INFO"),
        ("cgroups", "CONFIG_CGROUPS"),
    ];
    options.into_iter().find(|(path, _)| member.structure == "task_struct" && member.paths == [*path]).map(|(_, of)| of)
}

/// Offset in bits of a dotted path through embedded structures; anonymous ones count as their members.
fn bit_offset(btf: &Btf, structure: &Struct, path: &str) -> Option<u32> {
    if let Some((array, index)) = path.strip_suffix(']').and_then(|path| path.split_once('[')) {
        let (enumeration, value) = index.split_once('.')?;
        return Some(bit_offset(btf, structure, array)? + ELEMENT_BITS * enumerator(btf, enumeration, value)?);
    }
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    structure.members.iter().find_map(|member| {
        let member_name = btf.resolve_name(member).ok()?;
        let within = if member_name == name {
            match rest {
                None => return Some(member.bit_offset()),
                Some(rest) => rest,
            }
        } else if member_name.is_empty() {
            path
        } else {
            return None;
        };
        let inner = bit_offset(btf, &embedded(btf, member)?, within)?;
        Some(member.bit_offset() + inner)
    })
}

/// Bits of an element of the arrays in the table: pointers and `atomic_long_t`.
const ELEMENT_BITS: u32 = 64;

/// The value of an enumerator.
fn enumerator(btf: &Btf, enumeration: &str, name: &str) -> Option<u32> {
    let found = btf.resolve_types_by_name(enumeration).ok()?;
    let members = found.into_iter().find_map(|found| match found {
        Type::Enum(found) => Some(found.members),
        _ => None,
    })?;
    members.iter().find(|member| btf.resolve_name(*member).is_ok_and(|of| of == name)).map(btf_rs::EnumMember::val)
}

/// The structure a member embeds, behind typedefs and qualifiers.
fn embedded(btf: &Btf, member: &btf_rs::Member) -> Option<Struct> {
    btf.chained_type_iter(member).take_while(|link| !matches!(link, Type::Ptr(_))).find_map(|link| match link {
        Type::Struct(found) | Type::Union(found) => Some(found),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel_btf() -> Option<Btf> {
        Btf::from_file(VMLINUX_BTF).ok()
    }

    #[test]
    fn an_object_takes_the_next_size_that_the_kernel_has() {
        assert_eq!(
            [8, 65, 96, 97, 129, 192, 193, 744, 1024, 1025].map(allocated_bytes),
            [8, 96, 96, 128, 192, 192, 256, 1024, 1024, 2048]
        );
    }

    #[test]
    fn every_member_of_the_table_resolves_on_the_running_kernel() {
        if !Path::new(VMLINUX_BTF).exists() {
            return;
        }
        let types = kernel_types().map_err(|error| error.to_string());
        assert!(types.as_ref().is_ok_and(|types| types.task_struct_bytes > 1024), "{types:?}");
    }

    #[test]
    fn a_member_behind_an_anonymous_union_or_an_embedded_structure_is_found_where_it_is() {
        let Some(btf) = kernel_btf() else { return };
        let offset = |structure, path: &'static [&'static str]| {
            let member = Member { structure, paths: path, figure: Figure::Offset, is_optional: false };
            member_offset(&btf, &member).unwrap_or(u64::MAX)
        };
        let outer = offset("task_struct", &["sched_info"]);
        assert_eq!(offset("task_struct", &["sched_info.run_delay"]), outer + offset("sched_info", &["run_delay"]));
        assert!(offset("mm_struct", &["map_count"]) < 4096);
        assert_eq!(offset("task_struct", &["no_such_member", "pid"]), offset("task_struct", &["pid"]));
    }

    #[test]
    fn a_bit_is_found_in_its_word() {
        assert_eq!([Figure::Offset, Figure::WordOffset].map(|of| figure(of, 64 + 32 + 3)), [12, 12]);
        assert_eq!(figure(Figure::WordOffset, 64 + 17), 8);
        if cfg!(target_endian = "little") {
            assert_eq!(figure(Figure::Mask, 64 + 32 + 3), 8);
        }
    }

    #[test]
    fn a_function_and_a_structure_are_found_by_their_kind() {
        let Some(btf) = kernel_btf() else { return };
        let number = |structure, figure, is_optional| {
            member_offset(&btf, &Member { structure, paths: &[], figure, is_optional })
        };
        let is =
            |number: u64, of: fn(&Type) -> bool| btf.resolve_type_by_id(number as u32).is_ok_and(|found| of(&found));
        let registers = number("pt_regs", Figure::Type, false).unwrap_or(0);
        assert!(is(registers, |found| matches!(found, Type::Struct(_))));
        let function = number("schedule", Figure::Function, true).unwrap_or(0);
        assert!(is(function, |found| matches!(found, Type::Func(_))));
        assert!(number("pt_regs", Figure::Function, true).is_ok_and(|number| number == MISSING));
        assert!(number("schedule", Figure::Type, false).is_err());
    }

    #[test]
    fn a_missing_member_is_named_with_all_its_alternatives() {
        let Some(btf) = kernel_btf() else { return };
        let paths = &["nope", "se.nope"];
        let member = Member { structure: "task_struct", paths, figure: Figure::Offset, is_optional: false };
        let error = member_offset(&btf, &member);
        assert!(error.is_err_and(|error| error.to_string().contains("task_struct.nope or se.nope")));
    }
}
