//! The layouts of ELF64 on x86-64 that live in memory, and the few of their numbers we need.

#![expect(unsafe_code, reason = "marks types that any bytes are valid for")]

use super::image::Range;

/// A type for which every bit pattern is a value.
///
/// # Safety
/// * No bit pattern of the type's size is invalid, and it has no padding that matters.
pub(super) unsafe trait Plain: Copy + 'static {}

// SAFETY: integers have no invalid bytes.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for usize {}

/// `Elf64_Phdr`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct ProgramHeader {
    /// [`kind`].
    pub(super) kind: u32,
    /// [`flag`].
    pub(super) flags: u32,
    file_offset: usize,
    address: usize,
    physical_address: usize,
    file_byte_count: usize,
    byte_count: usize,
    alignment: usize,
}

impl ProgramHeader {
    /// Where the segment lies when the object is loaded at `base`.
    pub(super) fn range(&self, base: usize) -> Range {
        let start = base.wrapping_add(self.address);
        Range {
            start,
            end: start.saturating_add(self.byte_count),
        }
    }
}

/// `Elf64_Dyn`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct DynamicEntry {
    /// [`tag`].
    pub(super) tag: usize,
    /// An address, an offset or a number, as the tag says.
    pub(super) value: usize,
}
// SAFETY: two integers.
unsafe impl Plain for DynamicEntry {}

/// `Elf64_Sym`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Symbol {
    /// Offset of the name in the string table.
    pub(super) name: u32,
    kind_and_binding: u8,
    visibility: u8,
    section: u16,
    /// The address, before the object's base is added.
    pub(super) value: usize,
    /// Bytes of what is there.
    pub(super) byte_count: usize,
}
// SAFETY: integers without padding between them.
unsafe impl Plain for Symbol {}

impl Symbol {
    /// Whether this object defines it.
    pub(super) fn is_defined(&self) -> bool {
        self.section != 0
    }

    /// Whether it is an ordinary function. An IFUNC is not: its value is the address of a resolver.
    pub(super) fn is_function(&self) -> bool {
        self.kind_and_binding & 0xf == 2
    }
}

/// `Elf64_Rela`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Relocation {
    /// Where, before the object's base is added.
    pub(super) offset: usize,
    symbol_and_kind: usize,
    /// What is added to the symbol's address.
    pub(super) addend: usize,
}
// SAFETY: integers without padding.
unsafe impl Plain for Relocation {}

impl Relocation {
    /// What is to be done: [`relocation`].
    pub(super) fn kind(&self) -> usize {
        self.symbol_and_kind & 0xffff_ffff
    }

    /// The symbol's index.
    pub(super) fn symbol(&self) -> usize {
        self.symbol_and_kind >> 32
    }
}

/// What a `DT_GNU_HASH` table begins with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct HashHeader {
    /// How many buckets follow the filter.
    pub(super) bucket_count: u32,
    /// The index of the first symbol in the table.
    pub(super) first_symbol: u32,
    /// How many 64-bit words the filter has.
    pub(super) bloom_count: u32,
    bloom_shift: u32,
}
// SAFETY: integers without padding.
unsafe impl Plain for HashHeader {}

const _: () = assert!(size_of::<ProgramHeader>() == 56, "Elf64_Phdr");
const _: () = assert!(size_of::<Symbol>() == 24, "Elf64_Sym");
const _: () = assert!(size_of::<Relocation>() == 24, "Elf64_Rela");

/// Kinds of program headers.
pub(super) mod kind {
    /// `PT_LOAD`.
    pub(crate) const LOAD: u32 = 1;
    /// `PT_DYNAMIC`.
    pub(crate) const DYNAMIC: u32 = 2;
    /// `PT_GNU_RELRO`.
    pub(crate) const GNU_RELRO: u32 = 0x6474_e552;
}

/// Flags of segments (`PF_*`) and of objects (`DF_*`).
pub(super) mod flag {
    /// `PF_X`.
    pub(crate) const EXECUTE: u32 = 1;
    /// `PF_W`.
    pub(crate) const WRITE: u32 = 2;
    /// `PF_R`.
    pub(crate) const READ: u32 = 4;
    /// `DF_SYMBOLIC`.
    pub(crate) const SYMBOLIC: usize = 2;
}

/// Tags of dynamic entries.
pub(super) mod tag {
    /// `DT_NULL`: the end.
    pub(crate) const NULL: usize = 0;
    /// `DT_NEEDED`.
    pub(crate) const NEEDED: usize = 1;
    /// `DT_PLTRELSZ`.
    pub(crate) const PLTRELSZ: usize = 2;
    /// `DT_STRTAB`.
    pub(crate) const STRTAB: usize = 5;
    /// `DT_SYMTAB`.
    pub(crate) const SYMTAB: usize = 6;
    /// `DT_RELA`.
    pub(crate) const RELA: usize = 7;
    /// `DT_RELASZ`.
    pub(crate) const RELASZ: usize = 8;
    /// `DT_STRSZ`.
    pub(crate) const STRSZ: usize = 10;
    /// `DT_SONAME`.
    pub(crate) const SONAME: usize = 14;
    /// `DT_SYMBOLIC`.
    pub(crate) const SYMBOLIC: usize = 16;
    /// `DT_JMPREL`.
    pub(crate) const JMPREL: usize = 23;
    /// `DT_FLAGS`.
    pub(crate) const FLAGS: usize = 30;
    /// `DT_GNU_HASH`.
    pub(crate) const GNU_HASH: usize = 0x6fff_fef5;
}

/// Relocations that leave the address of a function in a slot.
pub(super) mod relocation {
    /// `R_X86_64_64`: a pointer in data.
    pub(crate) const POINTER: usize = 1;
    /// `R_X86_64_GLOB_DAT`: an address taken, or a call without PLT.
    pub(crate) const GLOBAL_DATA: usize = 6;
    /// `R_X86_64_JUMP_SLOT`: a call through the PLT.
    pub(crate) const JUMP_SLOT: usize = 7;
}
