//! The pattern around a block.
//!
//! Arming and looking are separate: what decides is a pure function over bytes. The redzone is all
//! memory from the size that the program asked for to the end of the block's chunk, so a write of one
//! byte too many is seen, and so is one that leaves the next bytes alone. Where the chunk's size is not
//! known it is what was asked for in addition. Of a guarded block it is the rest of its pages.

#![expect(unsafe_code, reason = "fills what lies around the program's blocks")]

use super::imprint::Imprint;
use super::pattern::{Around, bytes};
use super::size_word::SizeWord;
use crate::memory::pages::PAGE;
use crate::memory::{Address, ByteCount};

/// The shortest redzone, asked for in addition to every block.
pub const REDZONE_BYTE_COUNT: usize = 8;
/// The longest that is filled: a mapping of its own may have nearly a page behind the margin.
pub const REDZONE_BYTE_MAX: usize = WIDE_MARGIN_BYTE_MAX + PAGE;
/// The longest at an end of a guarded block.
pub const GUARDED_PART_BYTE_MAX: usize = PAGE;
const _: () = assert!(GUARDED_PART_BYTE_MAX <= REDZONE_BYTE_MAX);

/// A wide margin is as long as the block, within these limits: a buffer that is taken for one of twice
/// its size is the usual mistake.
const WIDE_MARGIN_BYTE_MIN: usize = 32;
const WIDE_MARGIN_BYTE_MAX: usize = 512;
const _: () = assert!(WIDE_MARGIN_BYTE_MIN >= REDZONE_BYTE_COUNT);
/// A block of at least this size always has a wide margin: it does not matter there.
const ALWAYS_WIDE_BYTE_MIN: usize = 16 << 20;
const _: () = assert!(ALWAYS_WIDE_BYTE_MIN < super::size_word::CHUNK_BYTE_MAX);

/// Bytes to ask for in addition to a block of this size.
#[inline]
#[must_use]
pub fn margin(size: usize, is_wide: bool) -> usize {
    if is_wide || size >= ALWAYS_WIDE_BYTE_MIN {
        margin_max(size)
    } else {
        REDZONE_BYTE_COUNT
    }
}

/// The longest margin that a block of this size can have.
#[inline]
#[must_use]
pub fn margin_max(size: usize) -> usize {
    size.clamp(WIDE_MARGIN_BYTE_MIN, WIDE_MARGIN_BYTE_MAX)
}

/// Damage behind a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Behind {
    /// How far from the block's start the first damaged byte lies.
    pub offset: usize,
    /// Whether the last byte of the redzone is damaged, and what lies behind it probably too.
    pub reaches_end: bool,
    /// What is found from there on.
    pub imprint: Imprint,
}

impl Behind {
    /// Whether the damage begins where the block of this size ends, or a word farther at most.
    #[must_use]
    pub fn begins_at_block(&self, size: ByteCount) -> bool {
        self.offset < size.get() + REDZONE_BYTE_COUNT
    }
}

/// What is damaged in a copy of the redzone of a block of this size.
#[inline]
#[must_use]
pub fn broken_redzone(bytes: &[u8], size: ByteCount) -> Option<Behind> {
    let position = Around::first_damaged(bytes)?;
    Some(Behind {
        offset: size.get() + position,
        reaches_end: Around::is_last_damaged(bytes),
        imprint: Around::imprint(bytes, position),
    })
}

/// The redzone of a block: where it begins, and its bytes. `remembered` is what is known of the block's
/// chunk.
#[inline]
#[must_use]
pub fn extent(block: Address, size: ByteCount, remembered: SizeWord) -> (Address, usize) {
    let rest = remembered.usable_byte_count().saturating_sub(size.get());
    let length = match remembered {
        SizeWord::Heap(_) | SizeWord::Fronted(_) => rest,
        SizeWord::Mapped(_) => rest.min(REDZONE_BYTE_MAX),
        SizeWord::Unknown => margin(size.get(), false),
    };
    (block.offset_by(size.get()), length)
}

/// Fills the redzone of a block.
///
/// # Safety
/// * `block` was allocated with at least [`margin`] bytes more than `size`, and not given back.
/// * `remembered` is what is known of its chunk.
/// * Nobody else knows the block yet, or it is released.
#[inline]
pub unsafe fn arm(block: Address, size: ByteCount, remembered: SizeWord) {
    let (start, length) = extent(block, size, remembered);
    // SAFETY: the bytes belong to the block's chunk, and the program may not touch them.
    unsafe { Around::fill(start, length) };
}

/// The bytes around a guarded block that are checked, as addresses and lengths: before it and behind
/// it, what lies in its own pages.
#[must_use]
pub fn guarded_parts(block: Address, size: ByteCount) -> [(Address, usize); 2] {
    let before = block.get() % PAGE;
    let end = block.offset_by(size.get());
    let behind = end.get().next_multiple_of(PAGE) - end.get();
    [(Address::new(block.get() - before), before), (end, behind)]
}

/// Fills the checked bytes around a guarded block.
///
/// # Safety
/// * `block` was placed by [`super::guard`], its pages are open, and nobody else knows it.
pub unsafe fn arm_guarded(block: Address, size: ByteCount) {
    for (start, length) in guarded_parts(block, size) {
        // SAFETY: the bytes lie in the open pages of the block, outside of it.
        unsafe { Around::fill(start, length) };
    }
}

/// Whether nothing is damaged behind the block.
///
/// # Safety
/// * As for [`damage_behind`].
#[inline]
#[must_use]
pub unsafe fn is_intact_behind(block: Address, size: ByteCount, remembered: SizeWord) -> bool {
    // SAFETY: the caller's duties.
    Around::is_intact(unsafe { bytes(extent(block, size, remembered)) })
}

/// What is damaged behind the block.
///
/// # Safety
/// * [`arm`] was called for this block with this size, and with `remembered` or before that was
///   forgotten.
/// * The block's memory has not gone back to the allocator.
#[inline]
#[must_use]
pub unsafe fn damage_behind(
    block: Address,
    size: ByteCount,
    remembered: SizeWord,
) -> Option<Behind> {
    // SAFETY: the caller's duties.
    broken_redzone(unsafe { bytes(extent(block, size, remembered)) }, size)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SIZE: ByteCount = ByteCount::new(13);

    fn block(buffer: &mut [u8]) -> Address {
        Address::new(buffer.as_mut_ptr().expose_provenance())
    }

    #[test]
    fn a_byte_past_the_end_is_seen_and_the_last_byte_inside_is_not() {
        let mut buffer = [0_u8; 32];
        let address = block(&mut buffer);
        // SAFETY: the buffer has 13 + 8 bytes and belongs to this test.
        unsafe { arm(address, SIZE, SizeWord::Unknown) };
        std::hint::black_box(&mut buffer)[12] = 1;
        // SAFETY: armed above.
        let damage = || unsafe { damage_behind(address, SIZE, SizeWord::Unknown) };
        assert_eq!(damage(), None);
        std::hint::black_box(&mut buffer)[13] = 1;
        let expected = Behind {
            offset: 13,
            reaches_end: false,
            imprint: Imprint::of(&[1], |_| 0xbb),
        };
        assert_eq!(damage(), Some(expected));
        assert_eq!(buffer[21], 0, "the byte after the redzone is not ours");
    }

    #[test]
    fn every_byte_to_the_end_of_the_chunk_is_seen() {
        let mut buffer = [0_u8; 80];
        let address = block(&mut buffer);
        let chunk = SizeWord::of(0x51, address, SIZE);
        for place in SIZE.get()..72 {
            // SAFETY: the buffer has the 72 bytes of such a chunk, and belongs to this test.
            unsafe { arm(address, SIZE, chunk) };
            // SAFETY: armed above.
            assert!(unsafe { is_intact_behind(address, SIZE, chunk) });
            std::hint::black_box(&mut buffer)[place] = 1;
            // SAFETY: armed above.
            assert!(!unsafe { is_intact_behind(address, SIZE, chunk) });
            // SAFETY: armed above.
            let damage = unsafe { damage_behind(address, SIZE, chunk) };
            let seen = damage.map(|behind| (behind.offset, behind.reaches_end));
            assert_eq!(seen, Some((place, place == 71)));
        }
        assert_eq!(buffer[72], 0, "the next chunk begins here");
    }

    #[test]
    fn what_is_not_known_of_a_chunk_is_what_was_asked_for() {
        let length = |size| {
            let (_, length) = extent(
                Address::new(0x5000),
                ByteCount::new(size),
                SizeWord::Unknown,
            );
            length
        };
        for size in [0, 100, ALWAYS_WIDE_BYTE_MIN - 1, ALWAYS_WIDE_BYTE_MIN] {
            for is_wide in [false, true] {
                assert!(length(size) <= margin(size, is_wide));
            }
        }
        assert_eq!(length(ALWAYS_WIDE_BYTE_MIN), WIDE_MARGIN_BYTE_MAX);
    }

    #[test]
    fn the_rest_of_the_pages_around_a_guarded_block_is_looked_at() {
        let block = Address::new(3 * PAGE + 4_000);
        let [(before, before_length), (behind, behind_length)] =
            guarded_parts(block, ByteCount::new(PAGE));
        assert_eq!((before.get(), before_length), (3 * PAGE, 4_000));
        assert_eq!((behind.get(), behind_length), (4 * PAGE + 4_000, 96));
    }
}
