//! Members of kernel structures, at places that the daemon writes into the very instructions: see
//! [`thread_probe_ebpf::abi::offsets`].

use core::arch::asm;

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// What can be loaded in one instruction.
pub(crate) trait Load: Sized {
    /// What is there of a member that the kernel lacks.
    const NOTHING: Self;

    /// Loads through a pointer that the verifier knows. A fault reads as 0.
    fn load<const MARK: i16>(base: *const u8) -> Self;
}

macro_rules! loads {
    ($($type:ty as $width:literal;)+) => { $(
        impl Load for $type {
            const NOTHING: Self = 0 as Self;

            #[inline(always)]
            fn load<const MARK: i16>(base: *const u8) -> Self {
                let value: u64;
                // SAFETY: the verifier checks the access against the kernel's own types.
                unsafe {
                    asm!(
                        concat!("{value} = *(", $width, " *)({base} + {mark})"),
                        value = out(reg) value,
                        base = in(reg) base,
                        mark = const MARK,
                        options(readonly, nostack, preserves_flags),
                    );
                }
                value as Self
            }
        }
    )+ };
}

loads! {
    u32 as "u32";
    u64 as "u64";
    *const u8 as "u64";
}

/// Loads a member of the structure that `base` points to.
macro_rules! load {
    ($base:expr, $field:ident) => {
        $crate::programs::member::Load::load::<
            { thread_probe_ebpf::abi::offsets::load_mark($crate::programs::member::index!($field)) },
        >($base)
    };
}

/// The figure that the table has of a member; [`thread_probe_ebpf::abi::offsets::MISSING`] if the kernel lacks it.
macro_rules! figure {
    ($field:ident) => {
        $crate::programs::member::marked_figure::<
            { thread_probe_ebpf::abi::offsets::figure_mark($crate::programs::member::index!($field)) },
        >()
    };
}

/// A member that the kernel may lack: 0 then.
macro_rules! load_optional {
    ($base:expr, $field:ident) => {
        if $crate::programs::member::figure!($field) == thread_probe_ebpf::abi::offsets::MISSING {
            $crate::programs::member::Load::NOTHING
        } else {
            $crate::programs::member::load!($base, $field)
        }
    };
}

/// The bits of a word that a member's mask has.
macro_rules! masked {
    ($word:expr, $field:ident) => {
        $crate::programs::member::marked_and::<
            { thread_probe_ebpf::abi::offsets::mask_mark($crate::programs::member::index!($field)) },
        >($word)
    };
}

/// Calls a function of the kernel that takes an address and the number of a type.
macro_rules! call {
    ($field:ident, $address:expr, $number:expr) => {
        $crate::programs::member::marked_call::<
            { thread_probe_ebpf::abi::offsets::call_mark($crate::programs::member::index!($field)) },
        >($address, $number)
    };
}

/// Where a member stands in the table.
macro_rules! index {
    ($field:ident) => {
        core::mem::offset_of!(thread_probe_ebpf::abi::offsets::Offsets, $field) / 8
    };
}

pub(crate) use {call, figure, index, load, load_optional, masked};

/// See [`figure!`].
#[inline(always)]
pub(crate) fn marked_figure<const MARK: i32>() -> u64 {
    let figure: u64;
    // SAFETY: it is a number.
    unsafe { asm!("{} = {}", out(reg) figure, const MARK, options(pure, nomem, nostack, preserves_flags)) };
    figure
}

/// See [`masked!`].
#[inline(always)]
pub(crate) fn marked_and<const MARK: i32>(word: u32) -> u32 {
    let mut word = u64::from(word);
    // SAFETY: it is a number.
    unsafe { asm!("{} &= {}", inout(reg) word, const MARK, options(pure, nomem, nostack, preserves_flags)) };
    word as u32
}

/// See [`call!`].
#[inline(always)]
pub(crate) fn marked_call<const MARK: i32>(address: *const u8, number: u64) -> *const u8 {
    let result: *const u8;
    // SAFETY: the verifier checks the call; it changes the registers that any call does.
    unsafe {
        asm!(
            "call {}",
            const MARK,
            inlateout("r1") address => _,
            inlateout("r2") number => _,
            lateout("r0") result,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(pure, readonly, nostack),
        );
    }
    result
}

/// A number that the verifier does not know to be there; `None` on a fault.
#[inline(always)]
pub(crate) fn read(base: *const u8, offset: u64) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(base.add(offset as usize).cast()) }.ok()
}
