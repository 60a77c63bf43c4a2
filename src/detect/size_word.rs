//! The word in front of a block, in which glibc keeps the size of the block's chunk.
//!
//! It serves as the redzone in front: remembered when the block is handed out, compared before the
//! block goes back. glibc aborts the process over a wrong one, so a block with a wrong one never
//! goes back. The three lowest bits are glibc's flags, of which one changes with the neighbour's
//! state: they are left out of the comparison.
//!
//! What is remembered fits the upper bits of a record's flags: the size in units of 16 bytes. A
//! chunk too large for that ([`CHUNK_BYTE_MAX`]) is not checked.

#![expect(
    unsafe_code,
    reason = "reads the word in front of the program's blocks"
)]

use super::imprint::Imprint;
use super::redzone::Broken;
use crate::ledger::record::flag;
use crate::memory::Address;

/// Chunks larger than this are not checked.
pub const CHUNK_BYTE_MAX: u64 = ((u32::MAX >> flag::BIT_COUNT) as u64) * UNIT;

const CHUNK_UNIT: usize = 16;
const UNIT: u64 = CHUNK_UNIT as u64;
/// glibc's three flags.
const FLAG_BITS: u64 = 7;
const WORD_BYTE_COUNT: usize = size_of::<u64>();

/// What is remembered of the word in front of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeWord {
    units: u32,
}

impl SizeWord {
    /// What to remember of `word`, found in front of a block of at least `room` bytes. Nothing when
    /// it is too large or cannot be a chunk's size: then another allocator made the block.
    #[inline]
    #[must_use]
    pub fn of(word: u64, room: usize) -> Self {
        let size = word & !FLAG_BITS;
        let is_plausible =
            size.is_multiple_of(UNIT) && size <= CHUNK_BYTE_MAX && size >= room as u64;
        let units = if is_plausible { size / UNIT } else { 0 };
        Self {
            units: u32::try_from(units).unwrap_or(0),
        }
    }

    /// What a record's flags remember.
    #[inline]
    #[must_use]
    pub fn from_flags(flags: u32) -> Self {
        Self {
            units: flags >> flag::BIT_COUNT,
        }
    }

    /// The bits to keep in a record's flags.
    #[inline]
    #[must_use]
    pub fn to_flags(self) -> u32 {
        self.units << flag::BIT_COUNT
    }

    /// The size of the chunk, which is also the distance to the next block; zero when not known.
    #[must_use]
    pub fn chunk_byte_count(self) -> usize {
        self.units as usize * CHUNK_UNIT
    }

    /// Whether anything is remembered.
    #[inline]
    #[must_use]
    pub fn is_known(self) -> bool {
        self.units != 0
    }

    /// Whether `word` is what is remembered, or nothing is.
    #[inline]
    #[must_use]
    pub fn is_intact(self, word: u64) -> bool {
        word & !FLAG_BITS == u64::from(self.units) * UNIT || !self.is_known()
    }

    /// What is damaged in `word`, when it is not what is remembered.
    #[inline]
    #[must_use]
    pub fn damage(self, word: u64) -> Option<Broken> {
        let intact = u64::from(self.units) * UNIT;
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
pub unsafe fn read(block: Address) -> u64 {
    let word = std::ptr::with_exposed_provenance::<u64>(place(block).get());
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
    const PREVIOUS_IN_USE: u64 = 1;
    const NOT_MAIN_ARENA: u64 = 4;
    // SAFETY: the caller's duties. Chunks side by side belong to the same arena.
    let arena = unsafe { read(front) } & NOT_MAIN_ARENA;
    let word = (u64::from(remembered.units) * UNIT) | arena | PREVIOUS_IN_USE;
    let place = std::ptr::with_exposed_provenance_mut::<u64>(place(block).get());
    // SAFETY: glibc keeps a word in front of each of its blocks.
    unsafe { place.write_volatile(word) };
}

/// Puts back the size in the word in front of a block that never goes back: whoever releases the
/// block in front of it reads that size. The flags stay where they are not damaged. Otherwise only
/// the one is known that others read, from `front_is_free`.
///
/// # Safety
/// * `remembered` is what was remembered of this block, which came from glibc and has not gone back.
pub unsafe fn restore_size(block: Address, remembered: SizeWord, front_is_free: bool) {
    const LOW_BYTE: u64 = 0xff;
    let size = u64::from(remembered.units) * UNIT;
    // SAFETY: the caller's duties.
    let now = unsafe { read(block) };
    let flags = if (now & !FLAG_BITS ^ size) & LOW_BYTE == 0 {
        now & FLAG_BITS
    } else {
        u64::from(!front_is_free)
    };
    let word = size | flags;
    let place = std::ptr::with_exposed_provenance_mut::<u64>(place(block).get());
    // SAFETY: glibc keeps a word in front of each of its blocks.
    unsafe { place.write_volatile(word) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_neighbour_may_change_and_nothing_else() {
        let remembered = SizeWord::of(0x51, 72);
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
        let remembered = SizeWord::of(0x51, 72);
        let flags = remembered.to_flags() | flag::REDZONE | flag::DAMAGE_REPORTED;
        assert_eq!(SizeWord::from_flags(flags), remembered);
        assert_eq!(flags & flag::REDZONE, flag::REDZONE);
    }

    #[test]
    fn what_cannot_be_remembered_is_not_checked() {
        for (word, room) in [
            (CHUNK_BYTE_MAX + UNIT + 1, 100),
            (0x58, 40),
            (0x21, 100),
            (0, 0),
        ] {
            let remembered = SizeWord::of(word, room);
            assert!(!remembered.is_known(), "{word:#x}");
            assert_eq!(remembered.damage(!word), None);
        }
        assert!(SizeWord::of(CHUNK_BYTE_MAX | 1, 100).is_known());
    }

    #[test]
    fn glibc_keeps_it_where_we_look() {
        for byte_count in [1, 24, 100, 5_000, 300_000] {
            // SAFETY: malloc accepts every size.
            let block = unsafe { libc::malloc(byte_count) };
            let address = Address::of(block.cast::<u8>());
            // SAFETY: allocated above and not released yet.
            let word = unsafe { read(address) };
            assert!(SizeWord::of(word, byte_count).is_known(), "{byte_count}");
            // SAFETY: allocated above.
            unsafe { libc::free(block) };
        }
    }
}
