//! Where glibc's arenas of threads lie: in heaps at multiples of 64 MiB, each of which begins with
//! words about itself. The first heap of an arena has the arena's own words next, then chunks.
//!
//! How long the arena's words are differs between versions of glibc, so the first chunk is looked for: it
//! is where a walk begins that leads exactly to the end of the heap.

use super::chunks::{CHUNK_BYTE_MIN, Ended, GRAIN, Kind, walk};
use crate::memory::pages::PAGE;
use std::ops::Range;

const HEAP_BYTES: usize = 64 << 20;
/// Bytes of the words at the start of a heap: four, and with newer versions the size of a page.
const HEAD_BYTES: Range<usize> = 32..65;
/// Bytes of the arena's own words, in all versions.
const ARENA_BYTES: Range<usize> = 0x600..0x1000;
/// From the start of an arena to its fast bins.
const FAST_BINS_OFFSET: usize = 16;

/// A heap of an arena.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Heap {
    /// From the first chunk to the end.
    pub(super) extent: Range<usize>,
    /// Where the arena's fast bins are, when its words stand in this heap.
    pub(super) fast_bins: Option<usize>,
}

/// The places in a mapping where heaps may begin.
pub(super) fn places(mapping: &Range<usize>) -> impl Iterator<Item = usize> {
    let first = mapping.start.next_multiple_of(HEAP_BYTES);
    (first..mapping.end).step_by(HEAP_BYTES)
}

/// The heap at `place` in a mapping that ends at `end`; `None` when there is none. `Err` has the bytes of
/// one that looks like a heap and cannot be walked. `words` gives the two words at an address.
pub(super) fn heap_at(
    place: usize,
    end: usize,
    mut words: impl FnMut(usize) -> Option<[usize; 2]>,
) -> Option<Result<Heap, usize>> {
    let [arena, previous] = words(place)?;
    let [byte_count, opened_byte_count] = words(place + 16)?;
    let is_heap = byte_count.is_multiple_of(PAGE)
        && (PAGE..=HEAP_BYTES).contains(&byte_count)
        && (byte_count..=HEAP_BYTES).contains(&opened_byte_count)
        && byte_count <= end - place;
    let is_first = HEAD_BYTES.contains(&arena.wrapping_sub(place));
    let is_later = !is_first
        && previous != 0
        && previous.is_multiple_of(HEAP_BYTES)
        && HEAD_BYTES.contains(&(arena % HEAP_BYTES));
    if !is_heap || !(is_first && previous == 0 || is_later) {
        return None;
    }
    let starts = if is_first {
        arena + ARENA_BYTES.start..arena + ARENA_BYTES.end
    } else {
        place + HEAD_BYTES.start..place + HEAD_BYTES.end
    };
    let heap_end = place + byte_count;
    let mut starts = (starts.start.next_multiple_of(GRAIN)..starts.end).step_by(GRAIN);
    let first = starts.find(|&start| {
        let ended = walk(&(start..heap_end), Kind::OfThreads, &mut words, |_| ());
        is_whole(ended, start..heap_end)
    });
    let found = first.map(|start| Heap {
        extent: start..heap_end,
        fast_bins: is_first.then_some(arena + FAST_BINS_OFFSET),
    });
    Some(found.ok_or(byte_count))
}

/// Whether a walk came to the end of a heap: when an arena goes on in another one, two chunks that
/// are smaller than any block end the old one.
pub(super) fn is_whole(ended: Ended, heap: Range<usize>) -> bool {
    match ended {
        Ended::AtTheEnd => true,
        Ended::Early(place) => place > heap.start && heap.end - place <= CHUNK_BYTE_MIN,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const PLACE: usize = 5 * HEAP_BYTES;
    const ARENA: usize = PLACE + 48;
    const CHUNK: usize = ARENA + 0x8a0;
    const END: usize = PLACE + 3 * PAGE;

    fn first_heap() -> HashMap<usize, [usize; 2]> {
        HashMap::from([
            (PLACE, [ARENA, 0]),
            (PLACE + 16, [3 * PAGE, 5 * PAGE]),
            (CHUNK - 64, [0x7f00, 0x7f00_0000]),
            (CHUNK, [0, 0x295]),
            (CHUNK + 0x290, [0, (END - CHUNK - 0x290) | 1]),
        ])
    }

    fn found(words: &HashMap<usize, [usize; 2]>) -> Option<Result<Heap, usize>> {
        heap_at(PLACE, PLACE + 5 * PAGE, |place| words.get(&place).copied())
    }

    #[test]
    fn a_heap_is_known_by_its_first_words_and_its_chunks() {
        let heap = Heap {
            extent: CHUNK..END,
            fast_bins: Some(ARENA + 16),
        };
        assert_eq!(found(&first_heap()), Some(Ok(heap)));
        let mut later = first_heap();
        later.insert(PLACE, [ARENA - HEAP_BYTES, PLACE - HEAP_BYTES]);
        later.insert(PLACE + 48, [0, (3 * PAGE - 48 - 32) | 5]);
        later.insert(END - 32, [0, 0x11]);
        let heap = Heap {
            extent: PLACE + 48..END,
            fast_bins: None,
        };
        assert_eq!(found(&later), Some(Ok(heap)));
    }

    #[test]
    fn other_memory_is_no_heap_and_a_damaged_one_is_said_to_be_so() {
        for (place, words) in [
            (PLACE, [0, 0]),
            (PLACE, [ARENA, PLACE]),
            (PLACE + 16, [100, 5 * PAGE]),
            (PLACE + 16, [6 * PAGE, 6 * PAGE]),
            (PLACE + 16, [3 * PAGE, PAGE]),
        ] {
            let mut memory = first_heap();
            memory.insert(place, words);
            assert_eq!(found(&memory), None, "{words:x?}");
        }
        let mut damaged = first_heap();
        damaged.insert(CHUNK + 0x290, [0, 0x4343_4343]);
        assert_eq!(found(&damaged), Some(Err(3 * PAGE)));
        assert_eq!(found(&HashMap::new()), None);
    }

    #[test]
    fn heaps_begin_at_multiples_of_their_size() {
        let mapping = HEAP_BYTES - PAGE..3 * HEAP_BYTES;
        let found: Vec<_> = places(&mapping).collect();
        assert_eq!(found, [HEAP_BYTES, 2 * HEAP_BYTES]);
    }
}
