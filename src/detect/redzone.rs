//! The pattern behind a block, and the pattern in a released one.
//!
//! Arming and looking are separate: what decides is a pure function over bytes. The redzone takes
//! [`REDZONE_BYTE_COUNT`] bytes directly after the size the program asked for, so a write of one
//! byte too many is seen. Of a released block the first and the last [`POISON_BYTE_MAX`] bytes are
//! filled.

#![expect(unsafe_code, reason = "reads and writes the program's blocks")]

use super::closed::{self, Closed};
use super::imprint::Imprint;
use crate::memory::{Address, ByteCount};

/// Bytes checked after a block.
pub const REDZONE_BYTE_COUNT: usize = 8;
/// Bytes of a released block that are filled and checked at its start, and again at its end: filling
/// all of a large block would cost more than it finds (1 MiB: 60 us), for a stale pointer usually
/// writes to the first element or the last, or to all.
pub const POISON_BYTE_MAX: usize = 2_048;

/// As numbers the patterns are odd, and neither a usable pointer nor so large a floating-point number
/// that `x += 1.0` leaves every bit as it was: -5.9e-21 and -2.7e-11 as `double`.
const REDZONE_BYTE: u8 = 0xbb;
const POISON_BYTE: u8 = 0xbd;

/// The longest filled part: less than a page at an end of a closed block.
pub const POISON_PART_BYTE_MAX: usize = super::guard::PAGE;
const _: () = assert!(POISON_BYTE_MAX <= POISON_PART_BYTE_MAX);

/// Bytes filled and compared at a time: in registers, where a call of the C library would cost more
/// than the work for a small block.
const STEP_BYTE_COUNT: usize = size_of::<u128>();
type Step = [u8; STEP_BYTE_COUNT];
/// Up to here a block is filled by a handful of steps.
const FEW_STEPS_BYTE_MAX: usize = 8 * STEP_BYTE_COUNT;

/// The position of the first byte that is not `intact`. All are compared first, many at a time:
/// intact is the rule.
#[inline]
fn first_damaged_byte(bytes: &[u8], intact: u8) -> Option<usize> {
    if is_intact(bytes, intact) {
        return None;
    }
    position(bytes, intact)
}

#[inline]
fn is_intact(bytes: &[u8], intact: u8) -> bool {
    let pattern = u128::from_ne_bytes([intact; STEP_BYTE_COUNT]);
    let differs = |step: &Step| u128::from_ne_bytes(*step) ^ pattern;
    // The last steps of each kind may overlap the first: then no length needs a loop of its own.
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let mut all = differs(first) | differs(last);
        if bytes.len() > 2 * STEP_BYTE_COUNT {
            all |= middle(bytes)
                .iter()
                .fold(0, |all, step| all | differs(step));
        }
        return all == 0;
    }
    let pattern = u64::from_ne_bytes([intact; size_of::<u64>()]);
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_ne_bytes(*first) == pattern && u64::from_ne_bytes(*last) == pattern
        }
        _ => bytes.iter().all(|&byte| byte == intact),
    }
}

/// The whole steps behind the first. The last of them ends where the bytes end or overlaps the step
/// that does.
#[inline]
fn middle(bytes: &[u8]) -> &[Step] {
    let (_, rest) = bytes.split_at_checked(STEP_BYTE_COUNT).unwrap_or_default();
    rest.as_chunks().0
}

#[cold]
fn position(bytes: &[u8], intact: u8) -> Option<usize> {
    bytes.iter().position(|&byte| byte != intact)
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

/// Damage in a filled block, or in the word in front of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// How far from the block's start the first damaged byte lies: behind it in a filled block, before
    /// it in front.
    pub distance: usize,
    /// What is found from there on.
    pub imprint: Imprint,
}

/// What is damaged in a copy of the redzone of a block of this size.
#[inline]
#[must_use]
pub fn broken_redzone(bytes: &[u8], size: ByteCount) -> Option<Behind> {
    let position = first_damaged_byte(bytes, REDZONE_BYTE)?;
    Some(Behind {
        offset: size.get() + position,
        reaches_end: bytes.last() != Some(&REDZONE_BYTE),
        imprint: imprint(bytes, position, REDZONE_BYTE),
    })
}

/// What is damaged in a copy of a filled part of a released block that begins `start` bytes inside.
#[inline]
#[must_use]
pub fn broken_poison(bytes: &[u8], start: usize) -> Option<Broken> {
    let position = first_damaged_byte(bytes, POISON_BYTE)?;
    Some(Broken {
        distance: start + position,
        imprint: imprint(bytes, position, POISON_BYTE),
    })
}

#[cold]
fn imprint(bytes: &[u8], position: usize, intact: u8) -> Imprint {
    Imprint::of(bytes.get(position..).unwrap_or_default(), |_| intact)
}

/// Fills the redzone of a block.
///
/// # Safety
/// * `block` was allocated with at least `size + REDZONE_BYTE_COUNT` bytes and not given back.
/// * Nobody else knows the block yet, or it is released.
#[inline]
pub unsafe fn arm(block: Address, size: ByteCount) {
    let start = block.offset_by(size.get()).get();
    let redzone = std::ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the caller allocated these bytes, and the program may not touch them.
    unsafe { redzone.write_bytes(REDZONE_BYTE, REDZONE_BYTE_COUNT) };
}

/// The bytes around a guarded block that are checked, as addresses and lengths: before it and behind
/// it, as far as they lie in its own pages.
#[must_use]
pub fn guarded_parts(block: Address, size: ByteCount) -> [(Address, usize); 2] {
    const PAGE: usize = super::guard::PAGE;
    let before = (block.get() % PAGE).min(REDZONE_BYTE_COUNT);
    let end = block.offset_by(size.get());
    let behind = end.get().next_multiple_of(PAGE) - end.get();
    [
        (Address::new(block.get() - before), before),
        (end, behind.min(REDZONE_BYTE_COUNT)),
    ]
}

/// Fills the checked bytes around a guarded block.
///
/// # Safety
/// * `block` was placed by [`super::guard`], its pages are open, and nobody else knows it.
pub unsafe fn arm_guarded(block: Address, size: ByteCount) {
    for (start, length) in guarded_parts(block, size) {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(start.get());
        // SAFETY: the bytes lie in the open pages of the block, outside of it.
        unsafe { start.write_bytes(REDZONE_BYTE, length) };
    }
}

/// Whether nothing is damaged behind the block.
///
/// # Safety
/// * As for [`damage_behind`].
#[inline]
#[must_use]
pub unsafe fn is_intact_behind(block: Address, size: ByteCount) -> bool {
    let start = block.offset_by(size.get()).get();
    let redzone = std::ptr::with_exposed_provenance::<u64>(start);
    // In one load: a volatile one would be eight, for the place is not aligned.
    // SAFETY: as in `damage_behind`.
    let bytes = unsafe { redzone.read_unaligned() };
    bytes == u64::from_ne_bytes([REDZONE_BYTE; REDZONE_BYTE_COUNT])
}

/// What is damaged behind the block.
///
/// # Safety
/// * [`arm`] was called for this block with this size.
/// * The block's memory has not gone back to the allocator.
#[inline]
#[must_use]
pub unsafe fn damage_behind(block: Address, size: ByteCount) -> Option<Behind> {
    let start = block.offset_by(size.get()).get();
    let redzone = std::ptr::with_exposed_provenance::<[u8; REDZONE_BYTE_COUNT]>(start);
    // SAFETY: the bytes are allocated; the copy tears at worst when the program is writing there
    // at this moment, and then the damage is real.
    let bytes = unsafe { redzone.read_volatile() };
    broken_redzone(&bytes, size)
}

/// The parts of a released block that are filled, as offset and length; the second is empty for all
/// but large blocks. Of a block that is closed it is what lies outside the closed pages.
#[inline]
#[must_use]
pub fn poisoned_parts(block: Address, size: ByteCount) -> [(usize, usize); 2] {
    if Closed::takes(size) {
        let (start, end) = closed::whole_pages(block, size);
        let (head, tail) = (start - block.get(), end - block.get());
        return [(0, head), (tail, size.get() - tail)];
    }
    let head = size.get().min(POISON_BYTE_MAX);
    let tail = (size.get() - head).min(POISON_BYTE_MAX);
    [(0, head), (size.get() - tail, tail)]
}

/// Fills a released block.
///
/// # Safety
/// * The caller won the block's release, and its memory has not gone back to the allocator.
#[inline]
pub unsafe fn poison(block: Address, size: ByteCount) {
    if size.get() <= POISON_BYTE_MAX {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(block.get());
        // SAFETY: as below; the whole block is one part.
        unsafe { fill(start, size.get()) };
    } else {
        // SAFETY: the caller's duties.
        unsafe { poison_ends(block, size) };
    }
}

/// # Safety
/// * As for [`poison`].
#[inline(never)]
unsafe fn poison_ends(block: Address, size: ByteCount) {
    for (start, length) in poisoned_parts(block, size) {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(block.offset_by(start).get());
        // SAFETY: the block has at least `size` bytes, and the program has given them up.
        unsafe { fill(start, length) };
    }
}

/// Fills with the pattern of released blocks.
///
/// # Safety
/// * `length` bytes from `start` on are the caller's to write.
#[inline]
unsafe fn fill(start: *mut u8, length: usize) {
    const PATTERN: Step = [POISON_BYTE; STEP_BYTE_COUNT];
    let Some(last) = length.checked_sub(STEP_BYTE_COUNT) else {
        // SAFETY: the caller's duty.
        unsafe { start.write_bytes(POISON_BYTE, length) };
        return;
    };
    if length > FEW_STEPS_BYTE_MAX {
        // SAFETY: the caller's duty.
        unsafe { start.write_bytes(POISON_BYTE, length) };
        return;
    }
    let write = |offset: usize| {
        // SAFETY: `offset` is at most `last`, so a step from there ends within the bytes.
        let place = unsafe { start.add(offset) }.cast::<Step>();
        // SAFETY: as above.
        unsafe { place.write(PATTERN) };
    };
    // From both ends, overlapping in the middle: without a loop, which the compiler would turn into
    // a call of the C library.
    write(0);
    write(last);
    if length > 2 * STEP_BYTE_COUNT {
        write(STEP_BYTE_COUNT);
        write(last - STEP_BYTE_COUNT);
    }
    if length > 4 * STEP_BYTE_COUNT {
        write(2 * STEP_BYTE_COUNT);
        write(3 * STEP_BYTE_COUNT);
        write(last - 2 * STEP_BYTE_COUNT);
        write(last - 3 * STEP_BYTE_COUNT);
    }
}

/// Whether nothing was written after the release.
///
/// # Safety
/// * As for [`damage_inside`].
#[inline]
#[must_use]
pub unsafe fn is_intact_inside(block: Address, size: ByteCount) -> bool {
    if size.get() > POISON_BYTE_MAX {
        // SAFETY: the caller's duties.
        return unsafe { damage_inside(block, size) }.is_none();
    }
    let bytes = std::ptr::with_exposed_provenance::<u8>(block.get());
    // SAFETY: as in `damage_inside`; the whole block is one part.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, size.get()) };
    is_intact(bytes, POISON_BYTE)
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
        .find_map(|(start, length)| {
            let bytes = std::ptr::with_exposed_provenance::<u8>(block.offset_by(start).get());
            // SAFETY: the bytes stay allocated while the block is withheld; a program that writes to
            // them at this moment commits the error that is being looked for.
            let bytes = unsafe { std::slice::from_raw_parts(bytes, length) };
            broken_poison(bytes, start)
        })
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
        let damage = unsafe { damage_behind(address, size) };
        let expected = Behind {
            offset: 13,
            reaches_end: false,
            imprint: Imprint::of(&[1], |_| REDZONE_BYTE),
        };
        assert_eq!(damage, Some(expected));
        assert_eq!(buffer[21], 0, "the byte after the redzone is not ours");
    }

    #[test]
    fn a_write_to_a_released_block_is_seen_within_the_filled_parts() {
        const MIDDLE: usize = 100;
        let mut buffer = [0_u8; 2 * POISON_BYTE_MAX + MIDDLE];
        let (address, size) = (block(&mut buffer), ByteCount::new(buffer.len()));
        // SAFETY: the buffer has this many bytes and belongs to this test.
        unsafe { poison(address, size) };
        let middle = buffer.get(POISON_BYTE_MAX..POISON_BYTE_MAX + MIDDLE);
        assert!(middle.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0)));
        // SAFETY: poisoned above.
        assert_eq!(unsafe { damage_inside(address, size) }, None);
        let last = buffer.len() - 1;
        for offset in [last, 40] {
            std::hint::black_box(&mut buffer)[offset] = 7;
            // SAFETY: poisoned above.
            let damage = unsafe { damage_inside(address, size) };
            assert_eq!(damage.map(|broken| broken.distance), Some(offset));
        }
    }

    #[test]
    fn the_filled_parts_do_not_overlap_and_cover_a_small_block() {
        for size in [0, 1, POISON_BYTE_MAX, POISON_BYTE_MAX + 1, 10_000] {
            let [(_, head), (tail, length)] =
                poisoned_parts(Address::new(4_080), ByteCount::new(size));
            assert!(head <= tail || length == 0);
            assert_eq!(tail + length, size);
            assert!(head + length == size || size > 2 * POISON_BYTE_MAX);
        }
    }
}
