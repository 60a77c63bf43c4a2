//! The margin in front of a block: a chunk of its own, which nobody was given, next to the block's.
//!
//! glibc's word in front of a block shows writes to its eight bytes ([`super::size_word`]). What lies
//! before that is the end of the chunk in front, and whose that is chance. A block with such a margin
//! has as many bytes in front as behind, all of them filled. Both chunks are glibc's and whole: each
//! may go back without the other.

#![expect(
    unsafe_code,
    reason = "fills what lies in front of the program's blocks"
)]

use super::pattern::{Around, bytes};
use super::poison::Broken;
use super::redzone;
use super::size_word::{self, FRONTED_CHUNK_BYTE_MAX, SizeWord};
use crate::memory::{Address, ByteCount};

/// Larger blocks have none.
pub const FRONTED_BYTE_MAX: usize = 32 << 10;
const _: () = assert!(2 * FRONTED_BYTE_MAX <= FRONTED_CHUNK_BYTE_MAX);

const CHUNK_UNIT: usize = 16;
const WORD_BYTE_COUNT: usize = size_of::<usize>();

/// Bytes that are filled in front of a block of this size: all that its chunk lets one use. The word
/// with the block's own size comes behind them.
#[inline]
#[must_use]
pub fn byte_count(size: ByteCount) -> usize {
    chunk_byte_count(size) - WORD_BYTE_COUNT
}

/// The size of the chunk that the margin is.
#[inline]
#[must_use]
pub fn chunk_byte_count(size: ByteCount) -> usize {
    (redzone::margin_max(size.get()) + WORD_BYTE_COUNT).next_multiple_of(CHUNK_UNIT)
}

/// The sizes that such a chunk can have.
pub fn chunk_byte_counts() -> impl Iterator<Item = usize> {
    let size = |byte_count| chunk_byte_count(ByteCount::new(byte_count));
    (size(0)..=size(FRONTED_BYTE_MAX)).step_by(CHUNK_UNIT)
}

/// Where the margin of a block begins, which is what glibc knows it by.
#[inline]
#[must_use]
pub fn start(block: Address, size: ByteCount) -> Address {
    Address::new(block.get().wrapping_sub(chunk_byte_count(size)))
}

/// The margin of a block: where it begins, and its bytes.
#[inline]
#[must_use]
pub fn extent(block: Address, size: ByteCount) -> (Address, usize) {
    (start(block, size), byte_count(size))
}

/// Fills the margin of a block.
///
/// # Safety
/// * The block has one, and nobody else knows it yet.
pub unsafe fn arm(block: Address, size: ByteCount) {
    let (start, length) = extent(block, size);
    // SAFETY: the bytes are all of a chunk that was allocated for this.
    unsafe { Around::fill(start, length) };
}

/// What was written there.
///
/// # Safety
/// * [`arm`] was called for this block with this size, and its margin has not gone back.
#[cold]
#[must_use]
pub unsafe fn damage(block: Address, size: ByteCount) -> Option<Broken> {
    // SAFETY: the caller's duties.
    broken(unsafe { bytes(extent(block, size)) })
}

/// What is damaged in a copy of a margin.
#[must_use]
pub fn broken(bytes: &[u8]) -> Option<Broken> {
    let position = Around::first_damaged(bytes)?;
    Some(Broken {
        distance: bytes.len() - position + WORD_BYTE_COUNT,
        imprint: Around::imprint(bytes, position),
    })
}

/// Puts the margin right that an overflow of the block in front of it has damaged.
///
/// # Safety
/// * As for [`damage`]; `neighbour` is the block in front of the margin, from glibc and not gone back.
pub unsafe fn repair(block: Address, size: ByteCount, neighbour: Address) {
    let chunk = SizeWord::Heap(chunk_byte_count(size));
    // SAFETY: the caller's duties.
    unsafe { size_word::repair(start(block, size), chunk, neighbour) };
    // SAFETY: as above.
    unsafe { arm(block, size) };
}

/// Whether the word in front of the margin is as glibc wrote it, so that it may go back.
///
/// # Safety
/// * As for [`damage`].
#[must_use]
pub unsafe fn may_go_back(block: Address, size: ByteCount) -> bool {
    // SAFETY: the margin is a chunk of glibc's that has not gone back.
    let word = unsafe { size_word::read(start(block, size)) };
    SizeWord::Heap(chunk_byte_count(size)).is_intact(word)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_margin_is_a_whole_chunk_as_long_as_the_one_behind() {
        for size in [0, 1, 20, 32, 33, 40, 41, 100, 511, 512, FRONTED_BYTE_MAX] {
            let size = ByteCount::new(size);
            let chunk = chunk_byte_count(size);
            assert!(chunk.is_multiple_of(CHUNK_UNIT) && chunk >= 32);
            assert!(byte_count(size) >= redzone::margin_max(size.get()));
            let block = Address::new(0x5000);
            let (start, length) = extent(block, size);
            assert!(chunk_byte_counts().any(|known| known == chunk));
            assert_eq!(start.get() + length + WORD_BYTE_COUNT, block.get());
        }
    }

    #[test]
    fn the_first_damaged_byte_says_how_far_before_the_block() {
        let size = ByteCount::new(20);
        let mut bytes = vec![0xbb; byte_count(size)];
        assert_eq!(broken(&bytes), None);
        let last = bytes.len() - 1;
        bytes[last] = 1;
        let found = broken(&bytes).expect("damage");
        assert_eq!(found.distance, 9);
        bytes[0] = 1;
        let found = broken(&bytes).expect("damage");
        assert_eq!(found.distance, chunk_byte_count(size));
    }
}
