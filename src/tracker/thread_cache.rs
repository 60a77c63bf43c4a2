//! glibc's cache of released blocks, one for each thread: whether a block waits in this thread's.
//!
//! The mark that glibc writes into a cached block does not tell: when a thread ends, its cache is
//! emptied into the arenas, the marks stay, and a block that is given out from there and not written
//! to still has one. So the lists of the cache are walked. Where glibc keeps them is found out at
//! start by releasing blocks and looking where they turn up; where that fails, no block is said to
//! wait.

#![expect(
    unsafe_code,
    reason = "allocates and releases blocks to see where they go"
)]

use crate::memory::Address;
use crate::memory::peek::{peek, word_at};
use crate::memory::thread_local::thread_pointer;
use std::sync::atomic::{AtomicUsize, Ordering};

const WORD: usize = size_of::<usize>();
/// How far below a thread's control block its static storage is searched.
const STORAGE_WORD_COUNT: usize = 1_024;
/// Words of the cache: the counts of the lists, of one or two bytes each, then their heads.
const CACHE_WORD_COUNT: usize = 96;
const LIST_COUNT: usize = 64;
/// Blocks of a list that are looked at; glibc keeps seven unless it is tuned.
const LOOKED_AT_COUNT_MAX: usize = 256;

const GRAIN: usize = 16;
const CHUNK_BYTE_MIN: usize = 32;
/// Sizes of the blocks that are released to find the cache; of two lists.
const PROBE_BYTE_COUNTS: [usize; 2] = [1_000, 200];

/// Where a cache lies. All are zero while that is not known.
static DISTANCE: AtomicUsize = AtomicUsize::new(0);
static HEADS_OFFSET: AtomicUsize = AtomicUsize::new(0);
static LINKS_ARE_MIXED: AtomicUsize = AtomicUsize::new(0);

/// Where glibc keeps a thread's cache, and how its lists are linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    /// Bytes from the place of the pointer to the cache up to the thread's control block.
    distance: usize,
    /// Bytes from the start of the cache to the head of the first list.
    heads_offset: usize,
    /// Whether links are mixed with the address they stand at (glibc 2.32 and later).
    links_are_mixed: bool,
}

/// Finds out where the cache lies. Called once, before slots are rewritten.
pub fn learn() {
    let [Some(layout), Some(again)] = PROBE_BYTE_COUNTS.map(probe) else {
        return;
    };
    if layout == again {
        LINKS_ARE_MIXED.store(usize::from(layout.links_are_mixed), Ordering::Relaxed);
        HEADS_OFFSET.store(layout.heads_offset, Ordering::Relaxed);
        DISTANCE.store(layout.distance, Ordering::Relaxed);
    }
}

/// Whether the block, whose chunk has so many bytes, waits in this thread's cache.
#[must_use]
pub fn holds(block: usize, chunk_byte_count: usize) -> bool {
    Layout::known()
        .and_then(|layout| layout.list(chunk_byte_count))
        .is_some_and(|mut list| list.any(|waiting| waiting == block))
}

/// The blocks that wait in this thread's cache, with the sizes of their chunks.
pub(super) fn waiting() -> Vec<(usize, usize)> {
    let Some(layout) = Layout::known() else {
        return Vec::new();
    };
    let sizes = (0..LIST_COUNT).map(|number| CHUNK_BYTE_MIN + number * GRAIN);
    let lists = sizes.filter_map(|size| layout.list(size).map(|list| (size, list)));
    lists
        .flat_map(|(size, list)| list.map(move |block| (block, size)))
        .collect()
}

/// What a released block is linked to, in a cache or in a fast bin, where links are mixed alike.
pub(super) fn link_at(block: usize) -> Option<usize> {
    Layout::known()?.link_at(block)
}

impl Layout {
    /// The layout, where it is known.
    fn known() -> Option<Self> {
        let layout = Self {
            distance: DISTANCE.load(Ordering::Relaxed),
            heads_offset: HEADS_OFFSET.load(Ordering::Relaxed),
            links_are_mixed: LINKS_ARE_MIXED.load(Ordering::Relaxed) != 0,
        };
        (layout.distance != 0).then_some(layout)
    }

    /// The blocks of this thread's cache that have chunks of this size, last released first.
    fn list(self, chunk_byte_count: usize) -> Option<impl Iterator<Item = usize>> {
        let number = list_number(chunk_byte_count)?;
        let cache = word_at(thread_pointer()?.checked_sub(self.distance)?)?;
        let head = word_at(cache.checked_add(self.heads_offset + number * WORD)?)?;
        let next = move |&block: &usize| self.link_at(block);
        let blocks = std::iter::successors(Some(head), next);
        Some(
            blocks
                .take_while(|&block| block != 0)
                .take(LOOKED_AT_COUNT_MAX),
        )
    }

    fn link_at(self, block: usize) -> Option<usize> {
        let link = word_at(block)?;
        Some(if self.links_are_mixed {
            mixed(link, block)
        } else {
            link
        })
    }
}

/// The number of the list for chunks of this size.
fn list_number(chunk_byte_count: usize) -> Option<usize> {
    let number = chunk_byte_count
        .checked_sub(CHUNK_BYTE_MIN)?
        .div_ceil(GRAIN);
    (number < LIST_COUNT).then_some(number)
}

/// glibc's mixing of a link with the place it stands at; twice gives the link again.
fn mixed(link: usize, place: usize) -> usize {
    link ^ (place >> 12)
}

/// Releases two blocks of a size and looks where they turn up.
fn probe(byte_count: usize) -> Option<Layout> {
    // SAFETY: malloc takes any size.
    let [first, second] = [(); 2].map(|()| unsafe { libc::malloc(byte_count) });
    let (first_place, second_place) = (first.expose_provenance(), second.expose_provenance());
    let chunk_byte_count = word_at(first_place.wrapping_sub(WORD)).map(|word| word & !(GRAIN - 1));
    // SAFETY: malloc gave it above; null is allowed.
    unsafe { libc::free(first) };
    let candidates = places_of(first_place);
    // SAFETY: malloc gave it above; null is allowed.
    unsafe { libc::free(second) };
    let number = list_number(chunk_byte_count?)?;
    let link = word_at(second_place)?;
    let links_are_mixed = link != first_place;
    if links_are_mixed && mixed(link, second_place) != first_place {
        return None;
    }
    let (distance, head_offset) = candidates.into_iter().find(|&(distance, head_offset)| {
        let cache = thread_pointer().and_then(|end| word_at(end - distance));
        cache.and_then(|cache| word_at(cache + head_offset)) == Some(second_place)
    })?;
    Some(Layout {
        distance,
        heads_offset: head_offset.checked_sub(number * WORD)?,
        links_are_mixed,
    })
}

/// Where this thread's static storage points to something that holds the address of `block`: the
/// pointer's distance below the control block, and the offset of the address.
fn places_of(block: usize) -> Vec<(usize, usize)> {
    let Some(end) = thread_pointer() else {
        return Vec::new();
    };
    let distances = (1..=STORAGE_WORD_COUNT).map(|count| count * WORD);
    // The storage may begin nearer than that.
    let words =
        distances.map_while(|distance| Some((distance, word_at(end.checked_sub(distance)?)?)));
    words
        .filter(|&(_, word)| word != 0 && word.is_multiple_of(GRAIN))
        .filter_map(|(distance, cache)| Some((distance, offset_in(cache, block)?)))
        .collect()
}

/// Where in the words at `cache` the address of `block` stands.
fn offset_in(cache: usize, block: usize) -> Option<usize> {
    let mut words = [0; CACHE_WORD_COUNT * WORD];
    if !peek(Address::new(cache), &mut words) {
        return None;
    }
    let wanted = block.to_ne_bytes();
    words
        .chunks_exact(WORD)
        .position(|word| word == wanted)
        .map(|index| index * WORD)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn lists_are_for_chunks_of_one_size() {
        assert_eq!(list_number(32), Some(0));
        assert_eq!(list_number(48), Some(1));
        assert_eq!(list_number(1_040), Some(63));
        assert_eq!(list_number(1_056), None);
        assert_eq!(list_number(16), None);
    }

    #[test]
    fn a_link_is_unmixed_by_mixing_it_again() {
        let (link, place) = (0x5555_0000_1230, 0x7f12_3456_7890);
        assert_eq!(mixed(mixed(link, place), place), link);
        assert_ne!(mixed(link, place), link);
    }

    #[test]
    fn a_released_block_waits_in_the_cache_of_its_thread_alone() {
        learn();
        assert_ne!(
            DISTANCE.load(Ordering::Relaxed),
            0,
            "the cache was not found"
        );
        // SAFETY: malloc takes any size.
        let block = unsafe { libc::malloc(600) };
        let place = block.expose_provenance();
        assert!(!holds(place, 608));
        // SAFETY: malloc gave it above.
        unsafe { libc::free(block) };
        assert!(holds(place, 608));
        assert!(!holds(place, 624), "the list of another size");
        let elsewhere = std::thread::spawn(move || holds(place, 608)).join();
        assert_eq!(elsewhere.ok(), Some(false));
        // SAFETY: malloc takes any size.
        let again = unsafe { libc::malloc(600) };
        assert_eq!(
            again.expose_provenance(),
            place,
            "the cache gives the last one first"
        );
        assert!(!holds(place, 608));
        // SAFETY: malloc gave it above.
        unsafe { libc::free(again) };
    }
}
