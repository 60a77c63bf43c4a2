//! A byte that fills memory: writing it, and finding what was written over it.
//!
//! A few steps at a time are written and compared in registers, where a call of the C library would
//! cost more than the work.

#![expect(unsafe_code, reason = "fills memory that its callers own")]

use super::imprint::Imprint;
use crate::memory::Address;

/// Bytes filled at a time.
const STEP_BYTE_COUNT: usize = 16;
type Step = [u8; STEP_BYTE_COUNT];
const WORD_BYTE_COUNT: usize = 8;
type Word = [u8; WORD_BYTE_COUNT];
/// Bytes compared at a time: more, and the compiler would call the C library for it.
const STRIDE_BYTE_COUNT: usize = 2 * STEP_BYTE_COUNT;
type Stride = [u8; STRIDE_BYTE_COUNT];
/// So many bytes are compared by the C library.
const MANY_BYTE_MIN: usize = 384;
/// Up to here memory is filled by a handful of steps.
const FEW_STEPS_BYTE_MAX: usize = 8 * STEP_BYTE_COUNT;

/// As numbers the patterns are odd, and neither a usable pointer nor so large a floating-point number
/// that `x += 1.0` leaves every bit as it was: -5.9e-21 and -2.7e-11 as `double`.
pub(super) struct Pattern<const BYTE: u8>;
/// Behind a block, and around a guarded one.
pub(super) type Around = Pattern<0xbb>;
/// In a released block.
pub(super) type Released = Pattern<0xbd>;

impl<const BYTE: u8> Pattern<BYTE> {
    /// A word of the pattern.
    pub(super) const fn word() -> usize {
        usize::from_ne_bytes([BYTE; size_of::<usize>()])
    }

    /// Fills memory with the pattern.
    ///
    /// # Safety
    /// * `length` bytes from `start` on are the caller's to write.
    #[inline]
    pub(super) unsafe fn fill(start: Address, length: usize) {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(start.get());
        let Some(last) = length.checked_sub(STEP_BYTE_COUNT) else {
            // SAFETY: the caller's duty.
            unsafe { Self::fill_less_than_a_step(start, length) };
            return;
        };
        if length > FEW_STEPS_BYTE_MAX {
            // SAFETY: the caller's duty.
            unsafe { start.write_bytes(BYTE, length) };
            return;
        }
        let write = |offset: usize| {
            // SAFETY: `offset` is at most `last`, so a step from there ends within the bytes.
            let place = unsafe { start.add(offset) }.cast::<Step>();
            // SAFETY: as above.
            unsafe { place.write([BYTE; STEP_BYTE_COUNT]) };
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

    /// # Safety
    /// * As for [`Self::fill`].
    #[inline]
    unsafe fn fill_less_than_a_step(start: *mut u8, length: usize) {
        let Some(last) = length.checked_sub(WORD_BYTE_COUNT) else {
            // SAFETY: the caller's duty.
            unsafe { start.write_bytes(BYTE, length) };
            return;
        };
        for offset in [0, last] {
            // SAFETY: `offset` is at most `last`, so a word from there ends within the bytes.
            let place = unsafe { start.add(offset) }.cast::<Word>();
            // SAFETY: as above.
            unsafe { place.write([BYTE; WORD_BYTE_COUNT]) };
        }
    }

    /// Whether all bytes are as they were filled. They are compared many at a time, the last of each
    /// kind overlapping the first: then no length needs a loop of its own.
    #[inline]
    pub(super) fn is_intact(bytes: &[u8]) -> bool {
        match bytes.len() {
            0..WORD_BYTE_COUNT => bytes.iter().all(|&byte| byte == BYTE),
            WORD_BYTE_COUNT..STEP_BYTE_COUNT => Self::are_ends_intact::<WORD_BYTE_COUNT>(bytes),
            STEP_BYTE_COUNT..=STRIDE_BYTE_COUNT => Self::are_ends_intact::<STEP_BYTE_COUNT>(bytes),
            MANY_BYTE_MIN.. => {
                // Each stride is as the one before it: one call of the C library, which is the fastest
                // for many.
                let (first, all_but_first) = bytes.split_at(STRIDE_BYTE_COUNT);
                let (all_but_last, _) = bytes.split_at(bytes.len() - STRIDE_BYTE_COUNT);
                *first == [BYTE; STRIDE_BYTE_COUNT] && all_but_first == all_but_last
            }
            _ => {
                let (strides, rest) = bytes.as_chunks::<STRIDE_BYTE_COUNT>();
                let is_intact = |stride: &Stride| *stride == [BYTE; STRIDE_BYTE_COUNT];
                strides.iter().all(is_intact)
                    && (rest.is_empty() || bytes.last_chunk().is_some_and(is_intact))
            }
        }
    }

    #[inline]
    fn are_ends_intact<const BYTE_COUNT: usize>(bytes: &[u8]) -> bool {
        let intact = Some(&[BYTE; BYTE_COUNT]);
        bytes.first_chunk() == intact && bytes.last_chunk() == intact
    }

    /// The position of the first byte that is not as it was filled.
    #[inline]
    pub(super) fn first_damaged(bytes: &[u8]) -> Option<usize> {
        if Self::is_intact(bytes) {
            return None;
        }
        Self::position(bytes)
    }

    #[cold]
    fn position(bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|&byte| byte != BYTE)
    }

    /// What is found from `position` on.
    #[cold]
    pub(super) fn imprint(bytes: &[u8], position: usize) -> Imprint {
        Imprint::of(bytes.get(position..).unwrap_or_default(), |_| BYTE)
    }

    /// Whether the last byte was written over.
    pub(super) fn is_last_damaged(bytes: &[u8]) -> bool {
        bytes.last().is_some_and(|&last| last != BYTE)
    }
}

/// What lies in filled memory, by its start and length.
///
/// # Safety
/// * The bytes are allocated and have been filled, and nobody may write to them.
#[inline]
pub(super) unsafe fn bytes<'block>((start, length): (Address, usize)) -> &'block [u8] {
    let start = std::ptr::with_exposed_provenance::<u8>(start.get());
    // SAFETY: the caller's duty; a program that writes to them at this moment commits the error that
    // is being looked for.
    unsafe { std::slice::from_raw_parts(start, length) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_bytes_asked_for_are_filled_and_each_is_looked_at() {
        for length in (0..150).chain([511, 512, 513, 4_608]) {
            let mut memory = vec![0_u8; length + 2];
            // SAFETY: the vector has these bytes.
            let start = unsafe { memory.as_mut_ptr().add(1) };
            let start = Address::new(start.expose_provenance());
            // SAFETY: as above.
            unsafe { Around::fill(start, length) };
            let (around, filled) = (
                [memory.first().copied(), memory.last().copied()],
                memory.get(1..=length).expect("as long"),
            );
            assert_eq!(around, [Some(0), Some(0)], "{length}");
            assert!(Around::is_intact(filled), "{length}");
            let mut damaged = filled.to_vec();
            for place in (0..length).step_by(1 + length / 64) {
                damaged[place] ^= 0x40;
                assert_eq!(Around::first_damaged(&damaged), Some(place));
                damaged[place] ^= 0x40;
            }
        }
    }
}
