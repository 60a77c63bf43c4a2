//! The word in front of a block, in which glibc keeps the size of the block's chunk.
//!
//! It serves as the redzone in front: remembered when the block is handed out, compared before the
//! block goes back. glibc aborts the process over a wrong one, so a block with a wrong one never
//! goes back. The three lowest bits are glibc's flags, of which one changes with the neighbour's
//! state: they are left out of the comparison.
//!
//! What is remembered fits the upper bits of a record's flags: the size of a piece of the heap in units
//! of 16 bytes, or, above [`MAPPED_FROM`], of a mapping of its own in whole pages. A chunk too large for
//! that ([`CHUNK_BYTE_MAX`], [`MAPPED_CHUNK_BYTE_MAX`]) is not checked.

#![expect(
    unsafe_code,
    reason = "reads the word in front of the program's blocks"
)]

use super::imprint::Imprint;
use super::poison::Broken;
use super::redzone::{REDZONE_BYTE_COUNT, REDZONE_BYTE_MAX};
use crate::ledger::record::flag;
use crate::memory::pages::PAGE;
use crate::memory::{Address, ByteCount};

/// Larger pieces of the heap are not checked. glibc makes few: from 32 MiB on, blocks are mappings.
pub const CHUNK_BYTE_MAX: usize = (FRONTED_FROM as usize - 1) * CHUNK_UNIT;
/// Larger mappings are not checked.
pub const MAPPED_CHUNK_BYTE_MAX: usize = MAPPED_PAGE_COUNT_MAX as usize * PAGE;

/// The largest piece of the heap of a block with a margin in front ([`super::front`]).
pub const FRONTED_CHUNK_BYTE_MAX: usize = (FRONTED_UNIT_COUNT as usize - 1) * CHUNK_UNIT;

/// What is remembered are 21 bits. From here on they count the units of a block with a margin in front.
const FRONTED_FROM: u32 = MAPPED_FROM - FRONTED_UNIT_COUNT;
const FRONTED_UNIT_COUNT: u32 = 1 << 13;
/// From here on they count the pages of a mapping.
const MAPPED_FROM: u32 = REMEMBERED_MAX - MAPPED_ENDS * MAPPED_PAGE_COUNT_MAX - 1;
const MAPPED_PAGE_COUNT_MAX: u32 = 1 << 17;
/// A mapping's chunk ends where the mapping does, or, from glibc 2.43 on, a header before that, as if
/// another chunk came next.
const MAPPED_ENDS: u32 = 2;
const REMEMBERED_MAX: u32 = u32::MAX >> flag::BIT_COUNT;
const _: () = assert!(CHUNK_BYTE_MAX > 24 << 20 && MAPPED_CHUNK_BYTE_MAX == 512 << 20);

const CHUNK_UNIT: usize = 16;
/// Bytes from a chunk's start to its block.
const HEADER_BYTE_COUNT: usize = 16;
/// glibc's three flags.
pub const FLAG_BITS: usize = 7;
const PREVIOUS_IN_USE: usize = 1;
const IS_MAPPED: usize = 2;
const NOT_MAIN_ARENA: usize = 4;
const WORD_BYTE_COUNT: usize = size_of::<usize>();

/// What is remembered of the word in front of a block: the size of the block's chunk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeWord {
    /// Nothing: the word is not checked.
    Unknown,
    /// A piece of the heap.
    Heap(usize),
    /// The same, with a margin in front of it.
    Fronted(usize),
    /// A mapping of its own.
    Mapped(usize),
}

impl SizeWord {
    /// What to remember of `word`, found in front of `block`, which was allocated for `size` bytes and a
    /// margin. Nothing when it is too large or cannot be a chunk's size: then another allocator made
    /// the block.
    #[inline]
    #[must_use]
    pub fn of(word: usize, block: Address, size: ByteCount) -> Self {
        let chunk = word & !FLAG_BITS;
        if word & IS_MAPPED != 0 {
            return Self::of_mapping(chunk, block, size);
        }
        let around = chunk.wrapping_sub(WORD_BYTE_COUNT).wrapping_sub(size.get());
        let is_plausible = (REDZONE_BYTE_COUNT..=REDZONE_BYTE_MAX).contains(&around);
        if is_plausible && chunk.is_multiple_of(CHUNK_UNIT) && chunk <= CHUNK_BYTE_MAX {
            Self::Heap(chunk)
        } else {
            Self::Unknown
        }
    }

    #[cold]
    fn of_mapping(chunk: usize, block: Address, size: ByteCount) -> Self {
        let room = size.get() + REDZONE_BYTE_COUNT + HEADER_BYTE_COUNT;
        let end = block
            .get()
            .wrapping_add(chunk)
            .wrapping_sub(HEADER_BYTE_COUNT);
        let is_an_end = end.is_multiple_of(PAGE) || end % PAGE == PAGE - HEADER_BYTE_COUNT;
        if (room..=MAPPED_CHUNK_BYTE_MAX).contains(&chunk) && is_an_end {
            Self::Mapped(chunk)
        } else {
            Self::Unknown
        }
    }

    /// What the flags of the record of `block` remember.
    #[inline]
    #[must_use]
    pub fn from_flags(flags: u32, block: Address) -> Self {
        match flags >> flag::BIT_COUNT {
            0 => Self::Unknown,
            units if units < FRONTED_FROM => Self::Heap(units as usize * CHUNK_UNIT),
            units if units < MAPPED_FROM => {
                Self::Fronted((units - FRONTED_FROM) as usize * CHUNK_UNIT)
            }
            mapped => Self::from_pages(mapped - MAPPED_FROM, block),
        }
    }

    /// Of a mapping's chunk the pages are remembered, and the rest follows from where it ends.
    #[cold]
    fn from_pages(remembered: u32, block: Address) -> Self {
        let (count, end) = (remembered / MAPPED_ENDS, remembered % MAPPED_ENDS);
        let start = block.get().wrapping_sub(HEADER_BYTE_COUNT);
        let rest = start
            .wrapping_add(end as usize * HEADER_BYTE_COUNT)
            .wrapping_neg()
            % PAGE;
        Self::Mapped(count as usize * PAGE + rest)
    }

    /// The bits to keep in a record's flags.
    #[inline]
    #[must_use]
    pub fn to_flags(self, block: Address) -> u32 {
        let count = |number| u32::try_from(number).unwrap_or(0);
        let remembered = match self {
            Self::Unknown => 0,
            Self::Heap(chunk) => count(chunk / CHUNK_UNIT),
            Self::Fronted(chunk) => FRONTED_FROM + count(chunk / CHUNK_UNIT),
            Self::Mapped(chunk) => {
                let is_before_the_end = !self
                    .next_block(block)
                    .get()
                    .wrapping_sub(HEADER_BYTE_COUNT)
                    .is_multiple_of(PAGE);
                MAPPED_FROM + MAPPED_ENDS * count(chunk / PAGE) + u32::from(is_before_the_end)
            }
        };
        remembered << flag::BIT_COUNT
    }

    /// The size of the chunk, which is also the distance to the next block; zero when not known.
    #[inline]
    #[must_use]
    pub fn chunk_byte_count(self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Heap(chunk) | Self::Fronted(chunk) | Self::Mapped(chunk) => chunk,
        }
    }

    /// Bytes that the block may use; zero when not known. A piece of the heap shares one word of its
    /// header with the next.
    #[inline]
    #[must_use]
    pub fn usable_byte_count(self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Heap(chunk) | Self::Fronted(chunk) => chunk - WORD_BYTE_COUNT,
            Self::Mapped(chunk) => chunk - HEADER_BYTE_COUNT,
        }
    }

    /// Where the block of the next chunk begins, if there is one.
    #[must_use]
    pub fn next_block(self, block: Address) -> Address {
        block.offset_by(self.chunk_byte_count())
    }

    /// The same of a block that got a margin in front; as it is where that cannot be remembered.
    #[must_use]
    pub fn with_front(self) -> Self {
        match self {
            Self::Heap(chunk) if chunk <= FRONTED_CHUNK_BYTE_MAX => Self::Fronted(chunk),
            other => other,
        }
    }

    /// Whether the block has a margin in front.
    #[inline]
    #[must_use]
    pub fn has_front(self) -> bool {
        matches!(self, Self::Fronted(_))
    }

    /// The same of what the flags of a record remember, for the path of every release.
    #[inline]
    #[must_use]
    pub fn is_fronted(flags: u32) -> bool {
        (flags >> flag::BIT_COUNT).wrapping_sub(FRONTED_FROM) < FRONTED_UNIT_COUNT
    }

    /// Whether anything is remembered.
    #[inline]
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Self::Unknown
    }

    /// Whether `word` is what is remembered, or nothing is.
    #[inline]
    #[must_use]
    pub fn is_intact(self, word: usize) -> bool {
        word & !FLAG_BITS == self.chunk_byte_count() || !self.is_known()
    }

    /// What is damaged in `word`, when it is not what is remembered.
    #[inline]
    #[must_use]
    pub fn damage(self, word: usize) -> Option<Broken> {
        let intact = self.chunk_byte_count();
        let difference = (word & !FLAG_BITS) ^ intact;
        if !self.is_known() || difference == 0 {
            return None;
        }
        let damaged_byte = (difference.trailing_zeros() / u8::BITS) as usize;
        // glibc's flags are nobody's damage: those found count as intact.
        let intact = (intact | word & FLAG_BITS).to_ne_bytes();
        let intact = intact.get(damaged_byte..).unwrap_or_default();
        let found = word.to_ne_bytes();
        let found = found.get(damaged_byte..).unwrap_or_default();
        let at = |position| intact.get(position).copied().unwrap_or_default();
        Some(Broken {
            distance: WORD_BYTE_COUNT - damaged_byte,
            imprint: Imprint::of(found, at),
        })
    }
}

/// Where the word in front of a block lies.
#[must_use]
pub fn place(block: Address) -> Address {
    Address::new(block.get().wrapping_sub(WORD_BYTE_COUNT))
}

/// The word in front of a block.
///
/// # Safety
/// * `block` came from glibc and has not gone back.
#[inline]
#[must_use]
pub unsafe fn read(block: Address) -> usize {
    let word = std::ptr::with_exposed_provenance::<usize>(place(block).get());
    // SAFETY: glibc keeps a word in front of each of its blocks. Volatile, because it changes a flag
    // there when the neighbour goes back on another thread.
    unsafe { word.read_volatile() }
}

/// Puts back the word in front of a block whose neighbour in front is in use.
///
/// # Safety
/// * `remembered` is what was remembered of this block, and `front` the block in front of it. Both
///   came from glibc and have not gone back.
pub unsafe fn repair(block: Address, remembered: SizeWord, front: Address) {
    // SAFETY: the caller's duties. Chunks side by side belong to the same arena.
    let arena = unsafe { read(front) } & NOT_MAIN_ARENA;
    // SAFETY: the caller's duties.
    unsafe { write(block, remembered, arena | PREVIOUS_IN_USE) };
}

/// Puts back the size in the word in front of a block that never goes back: whoever releases the
/// block in front of it reads that size. The flags stay where they are not damaged. Otherwise only
/// the one is known that others read, from `front_is_free`.
///
/// # Safety
/// * `remembered` is what was remembered of this block, which came from glibc and has not gone back.
pub unsafe fn restore_size(block: Address, remembered: SizeWord, front_is_free: bool) {
    const LOW_BYTE: usize = 0xff;
    // SAFETY: the caller's duties.
    let now = unsafe { read(block) };
    let flags = if (now & !FLAG_BITS ^ remembered.chunk_byte_count()) & LOW_BYTE == 0 {
        now & FLAG_BITS
    } else {
        usize::from(!front_is_free)
    };
    // SAFETY: the caller's duties.
    unsafe { write(block, remembered, flags) };
}

/// # Safety
/// * As for [`restore_size`].
unsafe fn write(block: Address, remembered: SizeWord, flags: usize) {
    let flags = match remembered {
        SizeWord::Mapped(_) => IS_MAPPED,
        SizeWord::Unknown | SizeWord::Heap(_) | SizeWord::Fronted(_) => flags,
    };
    let place = std::ptr::with_exposed_provenance_mut::<usize>(place(block).get());
    // SAFETY: glibc keeps a word in front of each of its blocks.
    unsafe { place.write_volatile(remembered.chunk_byte_count() | flags) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const BLOCK: Address = Address::new(0x7f00_0000_5010);
    const SIZE: ByteCount = ByteCount::new(64);

    fn just_below(chunk: usize) -> ByteCount {
        ByteCount::new(chunk - 100)
    }

    #[test]
    fn the_flags_of_a_neighbour_may_change_and_nothing_else() {
        let remembered = SizeWord::of(0x51, BLOCK, SIZE);
        assert!(remembered.is_known());
        let damage = |word| {
            let broken = remembered.damage(word)?;
            Some((broken.distance, broken.imprint.bytes().to_vec()))
        };
        assert_eq!(damage(0x51), None);
        assert_eq!(damage(0x50), None, "the neighbour is free now");
        assert_eq!(damage(0x61), Some((8, vec![0x61])));
        let one_byte = 0x51 | 0xff << 56;
        assert_eq!(damage(one_byte), Some((1, vec![0xff])), "one byte before");
        let number = 0x51 | 7 << 32;
        assert_eq!(damage(number), Some((4, vec![7])), "an int before");
        assert_eq!(damage(0), Some((8, vec![0])));
    }

    #[test]
    fn the_flags_of_a_record_carry_it() {
        let aligned = BLOCK.offset_by(48);
        for (word, block) in [
            (0x91, BLOCK),
            (CHUNK_BYTE_MAX | 1, BLOCK),
            (0x5_000 | IS_MAPPED, BLOCK),
            (MAPPED_CHUNK_BYTE_MAX | IS_MAPPED, BLOCK),
            ((0x5_000 - 48) | IS_MAPPED, aligned),
            (0x4_ff0 | IS_MAPPED, BLOCK),
            ((0x4_ff0 - 48) | IS_MAPPED, aligned),
        ] {
            let remembered = SizeWord::of(word, block, just_below(word));
            assert!(remembered.is_known(), "{word:#x}");
            assert!(remembered.is_intact(word) && !remembered.is_intact(word + 32));
            let flags = remembered.to_flags(block) | flag::REDZONE | flag::DAMAGE_REPORTED;
            assert_eq!(SizeWord::from_flags(flags, block), remembered);
            assert_eq!(flags & flag::REDZONE, flag::REDZONE);
        }
    }

    #[test]
    fn what_cannot_be_remembered_is_not_checked() {
        let large = CHUNK_BYTE_MAX + CHUNK_UNIT;
        for (word, size) in [
            (large | PREVIOUS_IN_USE, just_below(large)),
            ((MAPPED_CHUNK_BYTE_MAX + PAGE) | IS_MAPPED, SIZE),
            (0x5_010 | IS_MAPPED, SIZE),
            (0x58, ByteCount::new(40)),
            (0x21, SIZE),
            (0x51, ByteCount::new(65)),
            (0x10_001, SIZE),
            (0, ByteCount::new(0)),
        ] {
            let remembered = SizeWord::of(word, BLOCK, size);
            assert!(!remembered.is_known(), "{word:#x}");
            assert_eq!(remembered.damage(!word), None);
            assert_eq!(
                SizeWord::from_flags(remembered.to_flags(BLOCK), BLOCK),
                remembered
            );
        }
    }

    #[test]
    fn glibc_keeps_it_where_we_look() {
        for byte_count in [8, 24, 100, 5_000, 300_000, 40_000_000] {
            for alignment in [16, 64, 4_096] {
                let mut block = std::ptr::null_mut();
                // SAFETY: `block` is a place for one pointer.
                let status = unsafe { libc::posix_memalign(&raw mut block, alignment, byte_count) };
                assert_eq!(status, 0);
                let address = Address::of(block.cast::<u8>());
                // SAFETY: allocated above and not released yet.
                let word = unsafe { read(address) };
                let size = ByteCount::new(byte_count - REDZONE_BYTE_COUNT);
                let remembered = SizeWord::of(word, address, size);
                assert!(remembered.is_known(), "{byte_count}, {alignment}");
                // SAFETY: as above.
                let usable = unsafe { libc::malloc_usable_size(block) };
                let unused = usable - remembered.usable_byte_count();
                assert!(
                    unused == 0 || unused == WORD_BYTE_COUNT,
                    "{unused}, glibc 2.43"
                );
                // SAFETY: allocated above.
                unsafe { libc::free(block) };
            }
        }
    }
}
