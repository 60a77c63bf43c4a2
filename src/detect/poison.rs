//! The pattern in a released block.
//!
//! Filling and looking are separate: what decides is a pure function over bytes. The first and the
//! last [`POISON_BYTE_MAX`] bytes of a block are filled, and a few in its middle and at its quarters; of
//! one that is closed ([`super::closed`]) what lies outside the closed pages.

#![expect(unsafe_code, reason = "fills released blocks, and looks at them")]

use super::closed::{self, Closed};
use super::imprint::Imprint;
use super::pattern::{Released, bytes};
use crate::memory::pages::PAGE;
use crate::memory::{Address, ByteCount};

/// Bytes of a released block that are filled and checked at its start, and again at its end: filling
/// all of a large block would cost more than it finds (1 MiB: 60 us), for a stale pointer usually
/// writes to the first element or the last, or to all.
pub const POISON_BYTE_MAX: usize = 2_048;
/// A block of up to so many bytes is filled whole.
const WHOLE_BYTE_MAX: usize = 2 * POISON_BYTE_MAX;
/// Bytes that are filled around the middle of a larger one, and around its quarters: the row or the element
/// in the middle is written to as well, and each further line of the cache costs a miss.
const STRIP_BYTE_COUNT: usize = 64;
const STRIP_COUNT: usize = 3;

/// Filled parts that a block can have.
pub const POISON_PART_COUNT_MAX: usize = 2 + STRIP_COUNT;
/// Where one begins and how long it is.
pub type Extent = (usize, usize);

/// The longest filled part: a whole block, or less than a page at an end of a closed one.
pub const POISON_PART_BYTE_MAX: usize = PAGE;
const _: () = assert!(WHOLE_BYTE_MAX <= POISON_PART_BYTE_MAX);

/// Damage in a filled block, or in the word in front of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// How far from the block's start the first damaged byte lies: behind it in a filled block, before
    /// it in front.
    pub distance: usize,
    /// What is found from there on.
    pub imprint: Imprint,
}

/// What is damaged in a copy of a filled part of a released block that begins `start` bytes inside.
#[inline]
#[must_use]
pub fn broken_poison(bytes: &[u8], start: usize) -> Option<Broken> {
    let position = Released::first_damaged(bytes)?;
    Some(Broken {
        distance: start + position,
        imprint: Released::imprint(bytes, position),
    })
}

/// The parts of a released block that are filled, in this order; those that it does not have are empty.
/// Of a block that is closed they are what lies outside the closed pages.
#[inline]
#[must_use]
pub fn poisoned_parts(block: Address, size: ByteCount) -> [Extent; POISON_PART_COUNT_MAX] {
    const NONE: Extent = (0, 0);
    let bytes = size.get();
    if bytes <= WHOLE_BYTE_MAX {
        return [(0, bytes), NONE, NONE, NONE, NONE];
    }
    if Closed::takes(size) {
        let pages = closed::whole_pages(block, size);
        let (head, tail) = (pages.start - block.get(), pages.end - block.get());
        return [(0, head), NONE, NONE, NONE, (tail, bytes - tail)];
    }
    let tail = bytes - POISON_BYTE_MAX;
    let strip = |quarters: usize| {
        let center = bytes / (STRIP_COUNT + 1) * quarters;
        let within = |offset: usize| offset.clamp(POISON_BYTE_MAX, tail);
        let start = within(center - STRIP_BYTE_COUNT / 2);
        (start, within(center + STRIP_BYTE_COUNT / 2) - start)
    };
    [
        (0, POISON_BYTE_MAX),
        strip(1),
        strip(2),
        strip(3),
        (tail, POISON_BYTE_MAX),
    ]
}

/// Whether a word was read from a released block, and at most a small number added: its upper half is
/// the pattern's. No address of the program begins so.
#[must_use]
pub fn is_from_released(word: usize) -> bool {
    const UPPER_HALF: usize = Released::word() >> u32::BITS;
    word >> u32::BITS == UPPER_HALF
}

/// Fills a released block.
///
/// # Safety
/// * The caller won the block's release, and its memory has not gone back to the allocator.
#[inline]
pub unsafe fn poison(block: Address, size: ByteCount) {
    if size.get() <= WHOLE_BYTE_MAX {
        // SAFETY: as below; the whole block is one part.
        unsafe { Released::fill(block, size.get()) };
    } else {
        // SAFETY: the caller's duties.
        unsafe { poison_parts(block, size) };
    }
}

/// # Safety
/// * As for [`poison`].
#[inline(never)]
unsafe fn poison_parts(block: Address, size: ByteCount) {
    for (start, length) in poisoned_parts(block, size) {
        if length > 0 {
            // SAFETY: the block has at least `size` bytes, and the program has given them up.
            unsafe { Released::fill(block.offset_by(start), length) };
        }
    }
}

/// Whether nothing was written after the release.
///
/// # Safety
/// * As for [`damage_inside`].
#[inline]
#[must_use]
pub unsafe fn is_intact_inside(block: Address, size: ByteCount) -> bool {
    if size.get() > WHOLE_BYTE_MAX {
        // SAFETY: the caller's duties.
        return unsafe { damage_inside(block, size) }.is_none();
    }
    // SAFETY: as in `damage_inside`; the whole block is one part.
    Released::is_intact(unsafe { bytes((block, size.get())) })
}

/// What was written after the release.
///
/// # Safety
/// * [`poison`] was called for this block with this size, and its memory has not gone back.
#[inline(never)]
#[must_use]
pub unsafe fn damage_inside(block: Address, size: ByteCount) -> Option<Broken> {
    poisoned_parts(block, size)
        .into_iter()
        .filter(|(_, length)| *length > 0)
        .find_map(|(start, length)| {
            // SAFETY: the bytes stay allocated while the block is withheld.
            broken_poison(unsafe { bytes((block.offset_by(start), length)) }, start)
        })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The largest block that is not closed under test.
    const LARGEST: usize = closed::CLOSED_BLOCK_BYTE_MIN - 1;

    fn block(buffer: &mut [u8]) -> Address {
        Address::new(buffer.as_mut_ptr().expose_provenance())
    }

    #[test]
    fn a_write_to_a_released_block_is_seen_within_the_filled_parts() {
        let mut buffer = [0_u8; LARGEST];
        let (address, size) = (block(&mut buffer), ByteCount::new(buffer.len()));
        // SAFETY: the buffer has this many bytes and belongs to this test.
        unsafe { poison(address, size) };
        let written = buffer.iter().filter(|&&byte| byte != 0).count();
        assert_eq!(
            written,
            2 * POISON_BYTE_MAX + STRIP_COUNT * STRIP_BYTE_COUNT
        );
        // SAFETY: poisoned above.
        assert_eq!(unsafe { damage_inside(address, size) }, None);
        // From behind: the first damaged byte is told.
        for offset in [LARGEST - 1, LARGEST / 4 * 3, LARGEST / 2, LARGEST / 4, 40] {
            std::hint::black_box(&mut buffer)[offset] = 7;
            // SAFETY: poisoned above.
            let damage = unsafe { damage_inside(address, size) };
            assert_eq!(damage.map(|broken| broken.distance), Some(offset));
        }
    }

    #[test]
    fn a_word_of_a_released_block_is_known_with_a_member_s_offset_added() {
        let mut buffer = [0_u8; size_of::<usize>()];
        let address = block(&mut buffer);
        // SAFETY: the buffer has this many bytes and belongs to this test.
        unsafe { poison(address, ByteCount::new(size_of::<usize>())) };
        let word = usize::from_ne_bytes(std::hint::black_box(buffer));
        assert!(is_from_released(word) && is_from_released(word + 4_096));
        for other in [0, address.get(), word >> 8, word & 0xffff_ffff, usize::MAX] {
            assert!(!is_from_released(other));
        }
    }

    #[test]
    fn the_filled_parts_do_not_overlap_and_cover_a_small_block() {
        let small = [
            0,
            1,
            WHOLE_BYTE_MAX,
            WHOLE_BYTE_MAX + 1,
            WHOLE_BYTE_MAX + 40,
        ];
        for size in small.into_iter().chain([10_000, LARGEST, 100_000]) {
            let parts = poisoned_parts(Address::new(4_080), ByteCount::new(size));
            let mut end = 0;
            let mut filled = 0;
            for (start, length) in parts.into_iter().filter(|(_, length)| *length > 0) {
                assert!(start >= end, "{size}");
                end = start + length;
                filled += length;
            }
            assert_eq!(end, size);
            assert_eq!(filled == size, small.contains(&size), "{size}");
        }
    }
}
