//! Pointers cut to 32 bits: a result that equals the low half of a block allocated during the call.
//!
//! The result register also holds such a pointer by accident, when a function that returns nothing
//! has just stored it somewhere. So the finding is made at once only when the library has not kept
//! the pointer: in its data, in what the call was given, in what it allocated, and in blocks that
//! can be reached from there. Otherwise it is made when the cut pointer comes back as an argument.

use super::foreign_notes::ForeignNotes;
use super::image::{Image, Range};
use super::loaded;
use crate::capture::EventPlace;
use crate::memory::Address;
use crate::memory::peek::peek;
use crate::tracker::Tracker;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cut pointers waiting to be seen again, the newest.
const WAITING_COUNT_MAX: usize = 16;
/// Functions whose accidental results are known.
const KNOWN_FUNCTION_COUNT_MAX: usize = 256;
/// Blocks searched for a pointer, and bytes of each.
const SEARCHED_BLOCK_COUNT_MAX: usize = 256;
const SEARCHED_BYTE_MAX: usize = 2_048;
/// Bytes of a library's data that are searched.
const DATA_BYTE_MAX: usize = 32 << 20;
const WORD: usize = size_of::<usize>();
const LOW: usize = 0xffff_ffff;

static WAITING: [AtomicUsize; WAITING_COUNT_MAX] =
    [const { AtomicUsize::new(0) }; WAITING_COUNT_MAX];
static WAITED_COUNT: AtomicUsize = AtomicUsize::new(0);
/// Functions that keep what their result register happens to hold.
static KEEPERS: [AtomicUsize; KNOWN_FUNCTION_COUNT_MAX] =
    [const { AtomicUsize::new(0) }; KNOWN_FUNCTION_COUNT_MAX];

/// A call that returned 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutCall<'call> {
    /// The function called.
    pub(super) function: usize,
    /// What was noted during the call.
    pub(super) notes: &'call ForeignNotes,
    /// The pointers it was given.
    pub(super) pointers: &'call [usize],
}

/// Looks at the value that a call returned in 32 bits.
pub(super) fn look_at_result(tracker: &Tracker, call: CutCall<'_>, value: usize) {
    let low = value & LOW;
    let cut = call.notes.blocks().iter().copied().find(|block| {
        block.get() > LOW && block.get() & LOW == low && tracker.requested_size(*block).is_some()
    });
    let Some(block) = cut else {
        return;
    };
    if is_keeper(call.function) || is_kept(tracker, call, block) {
        remember_keeper(call.function);
        let place = WAITED_COUNT.fetch_add(1, Ordering::Relaxed) % WAITING_COUNT_MAX;
        if let Some(place) = WAITING.get(place) {
            place.store(block.get(), Ordering::Relaxed);
        }
    } else {
        tracker.report_truncated_pointer(block, low, EventPlace::UNKNOWN);
    }
}

/// Whether a cut pointer may come back.
#[inline]
pub(super) fn is_waiting() -> bool {
    WAITED_COUNT.load(Ordering::Relaxed) != 0
}

/// Looks at an argument of a call that is about to be made: an integer of 32 bits, or a pointer.
pub(super) fn look_at_argument(tracker: &Tracker, value: usize) {
    let low = value & LOW;
    let is_cut = value <= LOW || value == sign_extended(low);
    let waiting = WAITING.iter().find(|place| {
        let block = place.load(Ordering::Relaxed);
        block != 0 && is_cut && block & LOW == low
    });
    let Some(place) = waiting else {
        return;
    };
    let block = Address::new(place.swap(0, Ordering::Relaxed));
    if tracker.requested_size(block).is_some() {
        tracker.report_truncated_pointer(block, low, EventPlace::UNKNOWN);
    }
}

fn sign_extended(low: usize) -> usize {
    if low >> 31 == 0 { low } else { low | !LOW }
}

/// Whether the library still has the pointer somewhere.
fn is_kept(tracker: &Tracker, call: CutCall<'_>, block: Address) -> bool {
    is_in_data(call.function, block.get()) || is_reachable(tracker, call, block)
}

/// Whether the data of the object that holds the function holds the pointer.
fn is_in_data(function: usize, wanted: usize) -> bool {
    let mut found = false;
    loaded::with_images(&mut |images, _| {
        let image = images.iter().find(|image| image.contains(function));
        found = image.is_some_and(|image| holds(image, wanted));
    });
    found
}

fn holds(image: &Image<'_>, wanted: usize) -> bool {
    image
        .loaded()
        .filter(|(_, flags)| flags & super::elf_layout::flag::WRITE != 0)
        .any(|(range, _)| is_in_range(image, range, wanted))
}

fn is_in_range(image: &Image<'_>, range: Range, wanted: usize) -> bool {
    let start = range.start.next_multiple_of(WORD);
    let end = range.end.min(start.saturating_add(DATA_BYTE_MAX));
    (start..end)
        .step_by(WORD)
        .filter_map(|place| super::slot::read(image, place))
        .any(|word| word == wanted)
}

/// Whether the pointer is found in what the call was given, in what it allocated, or in recorded
/// blocks that these point at.
fn is_reachable(tracker: &Tracker, call: CutCall<'_>, block: Address) -> bool {
    let allocated = call.notes.blocks().iter().map(|block| block.get());
    let given = call.pointers.iter().copied();
    let mut places: Vec<usize> = allocated
        .chain(given)
        .filter(|&at| at != block.get())
        .collect();
    let mut next = 0;
    while let Some(&place) = places.get(next) {
        next += 1;
        for word in words_at(tracker, place) {
            if word == block.get() {
                return true;
            }
            let is_fresh = places.len() < SEARCHED_BLOCK_COUNT_MAX && !places.contains(&word);
            if is_fresh && tracker.requested_size(Address::new(word)).is_some() {
                places.push(word);
            }
        }
    }
    false
}

/// The words of a block, or the first ones of memory that is no block.
fn words_at(tracker: &Tracker, place: usize) -> Vec<usize> {
    const UNKNOWN_BYTES: usize = 64;
    let size = tracker.requested_size(Address::new(place));
    let byte_count = size.map_or(UNKNOWN_BYTES, |size| size.get().min(SEARCHED_BYTE_MAX));
    let mut bytes = vec![0; byte_count / WORD * WORD];
    if !peek(Address::new(place), &mut bytes) {
        return Vec::new();
    }
    let words = bytes
        .chunks_exact(WORD)
        .filter_map(|word| word.try_into().ok());
    words.map(usize::from_ne_bytes).collect()
}

fn is_keeper(function: usize) -> bool {
    keeper_place(function).is_some_and(|place| place.load(Ordering::Relaxed) == function)
}

fn remember_keeper(function: usize) {
    if let Some(place) = keeper_place(function) {
        place.store(function, Ordering::Relaxed);
    }
}

/// One place for each function; a later one takes the place of an earlier one that falls on it.
fn keeper_place(function: usize) -> Option<&'static AtomicUsize> {
    KEEPERS.get((function >> 4) % KNOWN_FUNCTION_COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_value_is_extended_as_a_signed_integer() {
        assert_eq!(sign_extended(0x7fff_ffff), 0x7fff_ffff);
        assert_eq!(sign_extended(0x8000_0000), 0xffff_ffff_8000_0000);
    }

    #[test]
    fn keepers_are_remembered() {
        assert!(!is_keeper(0x1230));
        remember_keeper(0x1230);
        assert!(is_keeper(0x1230));
        assert!(!is_keeper(0x1240));
    }
}
