//! glibc's top chunk: the rest of the main heap, behind its last block.
//!
//! In a small program the block that is overrun is often the last one, and what lies behind it is
//! the size of the rest. glibc stops the process over a wrong one at the next allocation, before
//! anybody has looked at the block. So that word is looked at before each allocation, and put right
//! when the block in front of it is damaged: the right value follows from where the heap ends.
//!
//! Looked at without a lock, so only while the process has one thread: another might give the end
//! of the heap back to the kernel between two of our loads. With more threads the word is still put
//! right when the block in front is released or verified.

#![expect(unsafe_code, reason = "reads and repairs a word of glibc's heap")]

use super::glibc;
use super::unused::{FAST_BIN_COUNT, fast_bins_at};
use crate::memory::Address;
use crate::memory::pages::PAGE;
use crate::memory::peek::word_at;
use crate::memory::sync::{AtomicUsize, Ordering};

const HEADER_BYTES: usize = 16;
const PREVIOUS_IN_USE: usize = 1;
const FLAG_BITS: usize = 7;
/// Larger heaps do not exist in 47 bits of address.
const SIZE_BIT_COUNT: u32 = 47;
/// A chunk that glibc does not keep in a thread's cache or a fast bin.
const UNSORTED_BYTE_COUNT: usize = 2_040;

/// Where glibc keeps the address of its top chunk; zero while unknown.
#[derive(Debug, Default)]
pub(super) struct TopChunk {
    /// The address of the main arena's `top`.
    place: AtomicUsize,
    /// The address of glibc's note that the process has one thread.
    single_threaded: AtomicUsize,
    /// The block behind which damage was seen that no recorded block explains: not looked at again.
    unexplained: AtomicUsize,
}

impl TopChunk {
    /// Finds the place: glibc links a chunk it has just got back to its arena, and that link points
    /// at `top`. Believed only when what is found there ends where the heap ends.
    pub(super) fn find() -> Self {
        let unknown = Self::default();
        let (Some(block), Some(wall)) = (
            glibc::allocate(UNSORTED_BYTE_COUNT),
            glibc::allocate(UNSORTED_BYTE_COUNT),
        ) else {
            return unknown;
        };
        // SAFETY: allocated above, and nobody else knows it.
        unsafe { glibc::release(block) };
        let place = word_at(block.get());
        // SAFETY: as above.
        unsafe { glibc::release(wall) };
        let Some(place) = place.filter(|place| place.is_multiple_of(size_of::<usize>())) else {
            return unknown;
        };
        let top = word_at(place);
        let size = top.and_then(|top| word_at(top.wrapping_add(size_of::<usize>())));
        let ends_the_heap = |(top, size): (usize, usize)| {
            top.wrapping_add(size & !FLAG_BITS) == glibc::heap_end() && is_whole(top, size)
        };
        if top.zip(size).is_some_and(ends_the_heap) {
            unknown.place.store(place, Ordering::Relaxed);
            let single = glibc::single_threaded_note();
            unknown.single_threaded.store(single, Ordering::Relaxed);
        }
        unknown
    }

    /// The first chunks of the main arena's fast bins, whose heads stand in front of `top`; all zero
    /// where the place is not known.
    pub(super) fn fast_bins(&self) -> [usize; FAST_BIN_COUNT] {
        let place = self.place.load(Ordering::Relaxed);
        let bins = place.checked_sub(FAST_BIN_COUNT * size_of::<usize>());
        bins.and_then(fast_bins_at).unwrap_or_default()
    }

    /// The address of the main arena; zero where the place is not known.
    pub(super) fn main_arena(&self) -> usize {
        const TO_FAST_BINS: usize = 16;
        let before = FAST_BIN_COUNT * size_of::<usize>() + TO_FAST_BINS;
        let place = self.place.load(Ordering::Relaxed);
        place.saturating_sub(before)
    }

    /// The block that would be next in the heap, when the size of the rest is not what it should
    /// be. `None` while the process has several threads.
    #[inline]
    pub(super) fn damaged(&self) -> Option<Address> {
        let note = self.single_threaded.load(Ordering::Relaxed);
        if note == 0 {
            return None;
        }
        let note = std::ptr::with_exposed_provenance::<u8>(note);
        // SAFETY: `find` has the address of a variable of glibc's, which is never unloaded.
        if unsafe { note.read_volatile() } == 0 {
            return None;
        }
        let place = std::ptr::with_exposed_provenance::<usize>(self.place.load(Ordering::Relaxed));
        // SAFETY: the place is known where the note is (`find`), and is a variable of glibc's.
        let top = unsafe { place.read_volatile() };
        let size = std::ptr::with_exposed_provenance::<usize>(top + size_of::<usize>());
        // SAFETY: the header of the top chunk is always mapped, and no other thread exists that
        // could move it.
        let size = unsafe { size.read_volatile() };
        (!is_whole(top, size)).then(|| Address::new(top + HEADER_BYTES))
    }

    /// Whether damage in front of `next` was looked at before in vain.
    pub(super) fn is_unexplained(&self, next: Address) -> bool {
        self.unexplained.load(Ordering::Relaxed) == next.get()
    }

    /// Notes that no recorded block explains the damage in front of `next`: then it is left alone.
    pub(super) fn leave_unexplained(&self, next: Address) {
        self.unexplained.store(next.get(), Ordering::Relaxed);
    }

    /// Puts the size of the rest right if the rest begins where `next` would be the next block and
    /// is damaged. The caller knows that the block in front was overrun.
    ///
    /// # Safety
    /// * The block that ends in front of `next` has not gone back to glibc.
    pub(super) unsafe fn repair(&self, next: Address) {
        let top = next.get().wrapping_sub(HEADER_BYTES);
        let place = self.place.load(Ordering::Relaxed);
        if place == 0 || word_at(place) != Some(top) {
            return;
        }
        let word = top + size_of::<usize>();
        let Some(rest) = glibc::heap_end().checked_sub(top) else {
            return;
        };
        if word_at(word).is_some_and(|size| is_whole(top, size)) || rest < 2 * HEADER_BYTES {
            return;
        }
        let word = std::ptr::with_exposed_provenance_mut::<usize>(word);
        // SAFETY: the word is the size of the top chunk, whose block in front is in use, so the
        // chunk still begins here; what stood there was not glibc's.
        unsafe { word.write_volatile(rest | PREVIOUS_IN_USE) };
    }
}

/// Whether a top chunk can have this size: it ends at the end of a page, and what lies in front of
/// it is in use.
#[inline]
fn is_whole(top: usize, size: usize) -> bool {
    top.wrapping_add(size) % PAGE == PREVIOUS_IN_USE && size >> SIZE_BIT_COUNT == 0
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_top_chunk_ends_with_a_page_and_its_neighbour_is_in_use() {
        assert!(is_whole(0x5000_0290, 0x2_0d71));
        assert!(!is_whole(0x5000_0290, 0x2_0d70), "a zero was written");
        assert!(!is_whole(0x5000_0290, 0), "zeroes were written");
        assert!(!is_whole(0x5000_0290, 0x4343_4343_4343_4343), "letters");
        assert!(!is_whole(0x5000_0290, 7), "a small number");
    }
}
