//! Writes where the kernel's members are into the programs' instructions, as a loader does that follows relocations.

use object::{
    Endianness,
    elf::{FileHeader64, SHF_EXECINSTR},
    read::elf::{FileHeader as _, SectionHeader as _},
};
use thread_probe_ebpf::abi::offsets::{MEMBERS, MISSING, Offsets, call_mark, figure_mark, load_mark, mask_mark};

/// Bytes of an instruction: `struct bpf_insn` of include/uapi/linux/bpf.h.
const INSTRUCTION: usize = 8;
/// A load of 64 bits at once takes two.
const LOAD_IMMEDIATE_64: u8 = 0x18;
/// Loads of 1, 2, 4 and 8 bytes through a register.
const LOADS: [u8; 4] = [0x71, 0x69, 0x61, 0x79];
/// `dst = imm`, in 64 bits.
const MOVE: u8 = 0xb7;
/// `dst &= imm`, in 64 bits and in 32.
const ANDS: [u8; 2] = [0x57, 0x54];

/// A call, by the number of a helper or, with this in place of the source register, of a function of the kernel.
const CALL: u8 = 0x85;
const KERNEL_FUNCTION: u8 = 2 << 4;

/// What is wrong with the object: it was not built for this.
pub(super) type Fault = &'static str;

/// The object with the offsets in it.
///
/// # Errors
/// It is no ELF file, or a member is too far from its structure's begin for an instruction.
pub(super) fn relocated(object: &[u8], offsets: &Offsets) -> Result<Vec<u8>, Fault> {
    let mut relocated = object.to_vec();
    for range in executable(object).map_err(|_| "the object is no ELF file")? {
        let code = relocated.get_mut(range).ok_or("a section is not within the object")?;
        relocate(code, &offsets.to_array())?;
    }
    Ok(relocated)
}

/// Where the instructions are.
fn executable(object: &[u8]) -> object::Result<Vec<std::ops::Range<usize>>> {
    let header = FileHeader64::<Endianness>::parse(object)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, object)?;
    let executable = sections.iter().filter(|section| section.sh_flags(endian) & u64::from(SHF_EXECINSTR) != 0);
    let range = |(from, bytes): (u64, u64)| from as usize..(from + bytes) as usize;
    Ok(executable.filter_map(|section| section.file_range(endian)).map(range).collect())
}

fn relocate(code: &mut [u8], offsets: &[u64; MEMBERS.len()]) -> Result<(), Fault> {
    let mut is_second = false;
    for instruction in code.chunks_exact_mut(INSTRUCTION) {
        let [opcode, registers, offset_0, offset_1, immediate @ ..] = instruction else { continue };
        if std::mem::take(&mut is_second) {
            continue;
        }
        is_second = *opcode == LOAD_IMMEDIATE_64;
        let offset = i16::from_ne_bytes([*offset_0, *offset_1]);
        let value = immediate.iter().rev().fold(0, |value, byte| value << 8 | i32::from(*byte));
        if let Some(index) = position(offset, load_mark).filter(|_| LOADS.contains(opcode)) {
            [*offset_0, *offset_1] = near(offsets[index])?.to_ne_bytes();
        } else if let Some(index) = position(value, figure_mark).filter(|_| *opcode == MOVE) {
            immediate.copy_from_slice(&figure(offsets[index])?.to_ne_bytes());
        } else if let Some(index) = position(value, mask_mark).filter(|_| ANDS.contains(opcode)) {
            immediate.copy_from_slice(&(offsets[index] as u32).to_ne_bytes());
        } else if let Some(index) =
            position(value, call_mark).filter(|index| *opcode == CALL && offsets[*index] != MISSING)
        {
            *registers = KERNEL_FUNCTION;
            immediate.copy_from_slice(&figure(offsets[index])?.to_ne_bytes());
        }
    }
    Ok(())
}

/// Which member a mark is of.
fn position<T: PartialEq>(mark: T, of: fn(usize) -> T) -> Option<usize> {
    (0..MEMBERS.len()).find(|index| of(*index) == mark)
}

/// What a load has room for. What the kernel lacks is never loaded: the verifier removes the code.
fn near(offset: u64) -> Result<i16, Fault> {
    if offset == MISSING {
        return Ok(0);
    }
    i16::try_from(offset).map_err(|_| "a member is over 32 kB from the begin of its structure")
}

fn figure(offset: u64) -> Result<i32, Fault> {
    if offset == MISSING {
        // Extended to 64 bits it is the same.
        return Ok(-1);
    }
    i32::try_from(offset).map_err(|_| "a member is over 2 GB from the begin of its structure")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(opcode: u8, offset: i16, immediate: i32) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
        [opcode, 0x21, a, b, c, d, e, f]
    }

    #[test]
    fn each_mark_is_replaced_in_its_instruction_and_nothing_else() -> Result<(), Fault> {
        let mut offsets: [u64; MEMBERS.len()] = std::array::from_fn(|index| 100 + index as u64);
        offsets[7] = MISSING;
        let marked = |of: fn(usize) -> i32, index| of(index);
        let mut code: Vec<u8> = [
            instruction(0x79, load_mark(3), 5),
            instruction(0x7b, load_mark(3), 0),
            instruction(MOVE, 0, marked(figure_mark, 7)),
            instruction(0x18, 0, marked(figure_mark, 4)),
            instruction(MOVE, 0, marked(figure_mark, 4)),
            instruction(0x57, 0, marked(mask_mark, 5)),
            instruction(0x57, 0, 0xff),
            instruction(CALL, 0, marked(call_mark, 6)),
            // What the kernel lacks is never called.
            instruction(CALL, 0, marked(call_mark, 7)),
            instruction(CALL, 0, 106),
        ]
        .concat();
        relocate(&mut code, &offsets)?;
        let expected: Vec<u8> = [
            instruction(0x79, 103, 5),
            instruction(0x7b, load_mark(3), 0),
            instruction(MOVE, 0, -1),
            // The second half of what loads 64 bits is no instruction.
            instruction(0x18, 0, marked(figure_mark, 4)),
            instruction(MOVE, 0, marked(figure_mark, 4)),
            instruction(0x57, 0, 105),
            instruction(0x57, 0, 0xff),
            [CALL, KERNEL_FUNCTION, 0, 0, 106, 0, 0, 0],
            instruction(CALL, 0, marked(call_mark, 7)),
            instruction(CALL, 0, 106),
        ]
        .concat();
        assert_eq!(code, expected);
        Ok(())
    }

    #[test]
    fn a_member_too_far_away_and_a_file_that_is_none_are_errors() {
        let mut code = instruction(0x61, load_mark(0), 0);
        assert!(relocate(&mut code, &[40_000; MEMBERS.len()]).is_err());
        assert!(relocated(b"no object", &Offsets::default()).is_err());
    }
}
