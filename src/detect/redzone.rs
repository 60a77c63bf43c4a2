//! The pattern behind a block, and the pattern in a released one.
//!
//! Arming and looking are separate: what decides is a pure function over bytes. The redzone takes
//! [`REDZONE_BYTE_COUNT`] bytes directly after the size the program asked for, so a write of one
//! byte too many is seen. A released block is filled up to [`POISON_BYTE_MAX`] bytes.

#![expect(unsafe_code, reason = "reads and writes the program's blocks")]

use crate::memory::{Address, ByteCount};

/// Bytes checked after a block.
pub const REDZONE_BYTE_COUNT: usize = 8;
/// Bytes of a released block that are filled and checked: filling all of a large block would cost
/// more than it finds, for a stale pointer usually writes near the start.
pub const POISON_BYTE_MAX: usize = 256;

const REDZONE_BYTE: u8 = 0xfd;
const POISON_BYTE: u8 = 0xdd;

const INTACT_REDZONE: [u8; REDZONE_BYTE_COUNT] = [REDZONE_BYTE; REDZONE_BYTE_COUNT];
static INTACT_POISON: [u8; POISON_BYTE_MAX] = [POISON_BYTE; POISON_BYTE_MAX];

/// The position of the first byte that differs from the pattern. Compared as a whole first: intact
/// is the rule.
#[inline]
fn first_damaged_byte(bytes: &[u8], intact: &[u8]) -> Option<usize> {
    if intact.get(..bytes.len()) == Some(bytes) {
        return None;
    }
    bytes
        .iter()
        .zip(intact)
        .position(|(byte, intact)| byte != intact)
}

/// The position of the first damaged byte in a copy of a redzone.
#[must_use]
pub fn broken_redzone(bytes: &[u8]) -> Option<usize> {
    first_damaged_byte(bytes, &INTACT_REDZONE)
}

/// The position of the first damaged byte in a copy of a released block's filled part.
#[must_use]
pub fn broken_poison(bytes: &[u8]) -> Option<usize> {
    first_damaged_byte(bytes, &INTACT_POISON)
}

/// Fills the redzone of a block.
///
/// # Safety
/// * `block` was allocated with at least `size + REDZONE_BYTE_COUNT` bytes and not released.
/// * Nobody else knows the block yet.
#[inline]
pub unsafe fn arm(block: Address, size: ByteCount) {
    let start = block.offset_by(size.get()).get();
    let redzone = std::ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the caller allocated these bytes, and no other thread has the pointer.
    unsafe { redzone.write_bytes(REDZONE_BYTE, REDZONE_BYTE_COUNT) };
}

/// How far behind the block's start the first damaged byte of the redzone lies.
///
/// # Safety
/// * [`arm`] was called for this block with this size.
/// * The block's memory has not gone back to the allocator.
#[inline]
#[must_use]
pub unsafe fn damage_behind(block: Address, size: ByteCount) -> Option<usize> {
    let start = block.offset_by(size.get()).get();
    let redzone = std::ptr::with_exposed_provenance::<[u8; REDZONE_BYTE_COUNT]>(start);
    // SAFETY: the bytes are allocated; the copy tears at worst when the program is writing there
    // at this moment, and then the damage is real.
    let bytes = unsafe { redzone.read_volatile() };
    broken_redzone(&bytes).map(|position| size.get() + position)
}

/// How many bytes of a released block of this size are filled.
#[must_use]
pub fn poisoned_byte_count(size: ByteCount) -> usize {
    size.get().min(POISON_BYTE_MAX)
}

/// Fills a released block.
///
/// # Safety
/// * The caller won the block's release, and its memory has not gone back to the allocator.
#[inline]
pub unsafe fn poison(block: Address, size: ByteCount) {
    let start = std::ptr::with_exposed_provenance_mut::<u8>(block.get());
    // SAFETY: the block has at least `size` bytes, and the program has given them up.
    unsafe { start.write_bytes(POISON_BYTE, poisoned_byte_count(size)) };
}

/// The offset of the first byte written after the release.
///
/// # Safety
/// * [`poison`] was called for this block with this size, and its memory has not gone back.
#[inline]
#[must_use]
pub unsafe fn damage_inside(block: Address, size: ByteCount) -> Option<usize> {
    let start = std::ptr::with_exposed_provenance::<u8>(block.get());
    // SAFETY: the bytes stay allocated while the block is withheld; a program that writes to them
    // at this moment commits the error that is being looked for.
    let bytes = unsafe { std::slice::from_raw_parts(start, poisoned_byte_count(size)) };
    broken_poison(bytes)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn block(buffer: &mut [u8]) -> Address {
        Address::new(buffer.as_mut_ptr().expose_provenance())
    }

    #[test]
    fn a_byte_past_the_end_is_seen_and_the_last_byte_inside_is_not() {
        let mut buffer = [0_u8; 32];
        let (address, size) = (block(&mut buffer), ByteCount::new(13));
        // SAFETY: the buffer has 13 + 8 bytes and belongs to this test.
        unsafe { arm(address, size) };
        std::hint::black_box(&mut buffer)[12] = 1;
        // SAFETY: armed above.
        assert_eq!(unsafe { damage_behind(address, size) }, None);
        std::hint::black_box(&mut buffer)[13] = 1;
        // SAFETY: armed above.
        assert_eq!(unsafe { damage_behind(address, size) }, Some(13));
        assert_eq!(buffer[21], 0, "the byte after the redzone is not ours");
    }

    #[test]
    fn a_write_to_a_released_block_is_seen_within_the_filled_part() {
        let mut buffer = [0_u8; 512];
        let (address, size) = (block(&mut buffer), ByteCount::new(512));
        // SAFETY: the buffer has 512 bytes and belongs to this test.
        unsafe { poison(address, size) };
        assert_eq!(buffer[POISON_BYTE_MAX], 0, "beyond the filled part");
        // SAFETY: poisoned above.
        assert_eq!(unsafe { damage_inside(address, size) }, None);
        std::hint::black_box(&mut buffer)[40] = 7;
        // SAFETY: poisoned above.
        assert_eq!(unsafe { damage_inside(address, size) }, Some(40));
    }
}
