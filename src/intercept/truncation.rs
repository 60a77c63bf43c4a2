//! Pointers cut to 32 bits: a result that equals the low half of a block allocated during the call.
//!
//! The result register also holds such a pointer by accident, when a function that returns nothing
//! has just stored it somewhere, or lost it. So nothing is said of a call whose result Python throws
//! away, and the finding is made at once only when the library has not kept the pointer: in its data, in
//! what the call was given, in what it allocated besides, and in blocks that can be reached from there.
//! Otherwise it is made when the cut pointer comes back: as an argument, or as the address that the
//! program dies of.

use super::foreign_notes::ForeignNotes;
use super::loaded;
use super::page_kinds::PAGE;
use crate::capture::EventPlace;
use crate::memory::Address;
use crate::memory::loaded_list::Reading;
use crate::memory::peek::{self, peek};
use crate::tracker::Tracker;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cut pointers waiting to be seen again, the newest.
const WAITING_COUNT_MAX: usize = 16;
/// Functions whose accidental results are known.
const KNOWN_FUNCTION_COUNT_MAX: usize = 256;
/// Places a search begins at.
const START_COUNT_MAX: usize = 4_096;
/// Blocks searched beyond those, and bytes of each.
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
    // A result that nobody takes is cut for nobody: most such functions return nothing.
    let Some(block) = cut.filter(|_| !tracker.capture().is_result_dropped()) else {
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
    look_for(tracker, value, |_, low, wanted| low == wanted);
}

/// Looks at the address that the program is dying of: the cut pointer may have been followed.
pub(super) fn look_at_fault(tracker: &Tracker, address: usize) {
    look_for(tracker, address, |size, low, wanted| {
        low.wrapping_sub(wanted) & LOW < size.max(WORD)
    });
}

/// Reports a waiting pointer that `value` is the cut form of.
fn look_for(tracker: &Tracker, value: usize, matches: impl Fn(usize, usize, usize) -> bool) {
    let low = value & LOW;
    if !is_waiting() || value > LOW && value != sign_extended(low) {
        return;
    }
    for place in &WAITING {
        let waiting = place.load(Ordering::Relaxed);
        let block = Address::new(waiting);
        let Some(size) = tracker.requested_size(block).filter(|_| waiting != 0) else {
            continue;
        };
        let is_taken = || {
            let taken = place.compare_exchange(waiting, 0, Ordering::Relaxed, Ordering::Relaxed);
            taken.is_ok()
        };
        if matches(size.get(), low, waiting & LOW) && is_taken() {
            tracker.report_truncated_pointer(block, waiting & LOW, EventPlace::UNKNOWN);
            return;
        }
    }
}

fn sign_extended(low: usize) -> usize {
    if low >> 31 == 0 { low } else { low | !LOW }
}

/// Whether the library still has the pointer somewhere.
///
/// What the suspect itself leads to does not count: a child that knows its parent is no keeper.
fn is_kept(tracker: &Tracker, call: CutCall<'_>, block: Address) -> bool {
    let wanted = block.get();
    let own = Reached::from(vec![wanted])
        .follow(tracker, |_| false)
        .places;
    let allocated = call.notes.blocks().iter().map(|block| block.get());
    let given = call.pointers.iter().copied();
    let mut start = given.collect::<Vec<usize>>();
    start.extend(allocated.filter(|place| !own.contains(place)));
    let mut holds_it = false;
    read_data(call.function, &mut |word| {
        holds_it |= word == wanted;
        if start.len() < START_COUNT_MAX && is_block(tracker, word) && !own.contains(&word) {
            start.push(word);
        }
        !holds_it
    });
    holds_it
        || Reached::from(start)
            .follow(tracker, |word| word == wanted)
            .is_found
}

/// Gives the words of the data of the object that holds the function to `look`, until that has
/// seen enough.
fn read_data(function: usize, look: &mut dyn FnMut(usize) -> bool) {
    let _reading = Reading::begin();
    loaded::with_images(&mut |images, _| {
        let Some(image) = images.iter().find(|image| image.contains(function)) else {
            return;
        };
        let segments = image
            .loaded()
            .filter(|(_, flags)| flags & super::elf_layout::flag::WRITE != 0);
        for (range, _) in segments {
            let start = range.start.next_multiple_of(WORD);
            let end = range.end.min(start.saturating_add(DATA_BYTE_MAX));
            let words = (start..end)
                .step_by(WORD)
                .filter_map(|place| super::slot::read(image, place));
            for word in words {
                if !look(word) {
                    return;
                }
            }
        }
    });
}

fn is_block(tracker: &Tracker, word: usize) -> bool {
    word >= PAGE && tracker.requested_size(Address::new(word)).is_some()
}

/// Places that were reached, and those that are still to be searched.
struct Reached {
    places: Vec<usize>,
    is_found: bool,
}

impl Reached {
    fn from(places: Vec<usize>) -> Self {
        Self {
            places,
            is_found: false,
        }
    }

    /// Follows pointers from recorded block to recorded block until `is_wanted` says yes to one.
    fn follow(mut self, tracker: &Tracker, is_wanted: impl Fn(usize) -> bool) -> Self {
        let count_max = self.places.len() + SEARCHED_BLOCK_COUNT_MAX;
        let mut seen: HashSet<usize> = self.places.iter().copied().collect();
        let mut next = 0;
        while let Some(&place) = self.places.get(next) {
            next += 1;
            for word in words_at(tracker, place) {
                if is_wanted(word) {
                    self.is_found = true;
                    return self;
                }
                let is_fresh = self.places.len() < count_max && !seen.contains(&word);
                if is_fresh && is_block(tracker, word) {
                    seen.insert(word);
                    self.places.push(word);
                }
            }
        }
        self
    }
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
    peek::words(&bytes).collect()
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
