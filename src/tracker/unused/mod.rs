//! Owns what is understood of other people's heaps: which parts of them nobody uses. A pointer of old
//! that is left there holds no block.
//!
//! LeakSanitizer and memcheck need nothing of the kind, for they are the allocator: whatever is not
//! allocated is not searched. Here most of a process's memory was allocated before us or past us, and
//! only the heaps' own words tell what has been released.
//!
//! Promises: what is called unused is so by words of the heap that agree with each other; where they
//! do not, as in a damaged heap or while another thread changes them, memory counts as used.
//!
//! Must never: write, allocate from the heap that it reads, or wait for a lock of that heap.

mod arenas;
mod chunks;
pub(super) mod pools;

pub(super) use chunks::FAST_BIN_COUNT;

use super::{Tracker, glibc, thread_cache};
use crate::detect::closed::{self, Closed};
use crate::ledger::BlockState;
use crate::ledger::record::flag;
use crate::memory::Address;
use crate::memory::peek::{self, Ahead};
use chunks::{Ended, HEADER_BYTES, Kind, Met};
use std::ops::Range;

/// Parts of glibc's heaps that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// In no order; they may overlap.
    pub(super) parts: Vec<Range<usize>>,
    /// How much of the heaps could not be read as chunks.
    pub(super) unread_byte_count: usize,
    /// What was walked.
    heaps: Vec<Range<usize>>,
    /// The first chunks of fast bins.
    fast: Vec<[usize; FAST_BIN_COUNT]>,
}

impl Tracker {
    /// What nobody uses of glibc's heaps, which are among these mappings.
    pub(super) fn unused_heap(&self, mappings: &[Range<usize>]) -> Unused {
        let mut unused = Unused::default();
        if !self.heap_is_glibcs {
            return unused;
        }
        let mut margins = Margins::new(self.blocks_with_margins());
        let main_end = glibc::heap_end();
        if let Some(heap) = up_to(main_end, mappings, &self.closed_pages()) {
            unused.walk(heap, Kind::Main, &mut margins);
            unused.fast.push(self.top.fast_bins());
        }
        for mapping in mappings {
            for place in arenas::places(mapping) {
                unused.look_for_arena(place, mapping.end, &mut margins);
            }
        }
        unused.add_lists();
        unused
    }

    /// The pages of closed blocks, some of which may be open again.
    fn closed_pages(&self) -> Vec<Range<usize>> {
        let held = self.ledger.held_blocks().map(|(_, block)| block);
        held.filter(|block| block.state == BlockState::Quarantined && Closed::takes(block.size))
            .map(|block| closed::whole_pages(block.address, block.size))
            .collect()
    }

    /// The blocks on record behind which there is a margin.
    fn blocks_with_margins(&self) -> Vec<Range<usize>> {
        let held = self.ledger.held_blocks().map(|(_, block)| block);
        held.filter(|block| block.flags & flag::REDZONE != 0)
            .map(|block| block.range())
            .collect()
    }
}

/// The heap that ends at `end`: the mapping that does, and those below it as long as nothing but
/// closed pages lies between.
fn up_to(end: usize, mappings: &[Range<usize>], closed: &[Range<usize>]) -> Option<Range<usize>> {
    let mut below = mappings.iter().rev().skip_while(|one| one.end != end);
    let mut heap = below.next()?.clone();
    for mapping in below {
        let gap = mapping.end..heap.start;
        let is_closed = |pages: &Range<usize>| pages.start <= gap.start && gap.end <= pages.end;
        if !closed.iter().any(is_closed) {
            break;
        }
        heap.start = mapping.start;
    }
    Some(heap)
}

impl Unused {
    fn walk(&mut self, heap: Range<usize>, kind: Kind, margins: &mut Margins) {
        let mut ahead = Ahead::until(heap.end);
        let parts = &mut self.parts;
        let ended = chunks::walk(
            &heap,
            kind,
            |chunk| ahead.pair(chunk),
            |met| match met {
                Met::Free(part) => parts.push(part),
                Met::Used(block) => parts.extend(margins.within(block)),
            },
        );
        if let Ended::Early(place) = ended
            && !arenas::is_whole(ended, heap.clone())
        {
            self.unread_byte_count += heap.end - place;
        }
        self.heaps.push(heap);
    }

    /// Walks the heap of threads that may begin at `place`.
    fn look_for_arena(&mut self, place: usize, end: usize, margins: &mut Margins) {
        let mut ahead = Ahead::until(end);
        match arenas::heap_at(place, end, |word| ahead.pair(word)) {
            Some(Ok(heap)) => {
                self.walk(heap.extent, Kind::OfThreads, margins);
                self.fast.extend(heap.fast_bins.and_then(fast_bins_at));
            }
            Some(Err(byte_count)) => self.unread_byte_count += byte_count,
            None => {}
        }
    }

    /// Adds what waits in fast bins and in the calling thread's cache.
    fn add_lists(&mut self) {
        let fast = self
            .fast
            .iter()
            .flat_map(|heads| chunks::fast(heads, thread_cache::link_at));
        let waiting: Vec<_> = thread_cache::waiting().into_iter().chain(fast).collect();
        for (block, size) in waiting {
            if self.heaps.iter().any(|heap| heap.contains(&block))
                && let Some(start) = block.checked_sub(HEADER_BYTES)
                && let Some(header) = Ahead::until(block).pair(start)
            {
                self.parts.extend(chunks::block_of(block, header, size));
            }
        }
    }
}

/// The first chunks of the fast bins that stand at a place; `None` when it cannot be read.
pub(super) fn fast_bins_at(place: usize) -> Option<[usize; FAST_BIN_COUNT]> {
    let mut bytes = [0; FAST_BIN_COUNT * size_of::<usize>()];
    if !peek::peek(Address::new(place), &mut bytes) {
        return None;
    }
    let mut heads = [0; FAST_BIN_COUNT];
    for (head, word) in heads.iter_mut().zip(peek::words(&bytes)) {
        *head = word;
    }
    Some(heads)
}

/// Blocks with margins, for a walk that goes upwards.
struct Margins(std::iter::Peekable<std::vec::IntoIter<Range<usize>>>);

impl Margins {
    fn new(mut blocks: Vec<Range<usize>>) -> Self {
        blocks.sort_unstable_by_key(|block| block.start);
        Self(blocks.into_iter().peekable())
    }

    /// The margin in what a chunk may cover, when its block has one.
    fn within(&mut self, covered: Range<usize>) -> Option<Range<usize>> {
        while self
            .0
            .next_if(|block| block.start < covered.start)
            .is_some()
        {}
        let block = self.0.next_if(|block| block.start == covered.start)?;
        (block.end < covered.end).then_some(block.end..covered.end)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_heap_goes_on_below_closed_pages_and_ends_at_any_other_gap() {
        let mappings = [
            0x1000..0x2000,
            0x3000..0x4000,
            0x6000..0x7000,
            0x9000..0xa000,
        ];
        let closed = [0x4000..0x6000, 0x2000..0x2800];
        let heap = |end| up_to(end, &mappings, &closed);
        assert_eq!(heap(0x7000), Some(0x3000..0x7000));
        assert_eq!(heap(0x2000), Some(0x1000..0x2000));
        assert_eq!(heap(0xa000), Some(0x9000..0xa000));
        assert_eq!(heap(0xb000), None);
        let opened_again = 0x3800..0x6800;
        let heap = up_to(0x7000, &mappings, std::slice::from_ref(&opened_again));
        assert_eq!(heap, Some(0x3000..0x7000));
    }

    #[test]
    fn margins_are_those_of_blocks_that_begin_where_chunks_do() {
        let blocks = vec![0x3010..0x3020, 0x1010..0x1014, 0x2000..0x2008];
        let mut margins = Margins::new(blocks);
        assert_eq!(margins.within(0x1010..0x1028), Some(0x1014..0x1028));
        assert_eq!(margins.within(0x1030..0x1048), None);
        assert_eq!(margins.within(0x1ff0..0x2048), None, "inside a chunk");
        assert_eq!(margins.within(0x3010..0x3020), None, "fills its chunk");
    }
}
