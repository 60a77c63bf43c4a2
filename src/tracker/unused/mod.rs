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

mod chunks;
pub(super) mod pools;

pub(super) use chunks::FAST_BIN_COUNT;

use super::{Tracker, glibc, thread_cache};
use crate::ledger::record::flag;
use crate::memory::peek::Ahead;
use chunks::{Ended, HEADER_BYTES, Met};
use std::ops::Range;

/// Parts of glibc's main heap that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// In no order; they may overlap.
    pub(super) parts: Vec<Range<usize>>,
    /// How much of the heap could not be read as chunks.
    pub(super) unread_byte_count: usize,
}

impl Tracker {
    /// What nobody uses of the main heap, which is one of these mappings.
    pub(super) fn unused_heap(&self, mappings: &[Range<usize>]) -> Unused {
        let mut unused = Unused::default();
        let end = glibc::heap_end();
        let is_heap = |mapping: &&Range<usize>| mapping.end == end;
        let Some(heap) = mappings
            .iter()
            .find(is_heap)
            .filter(|_| self.heap_is_glibcs)
        else {
            return unused;
        };
        let mut ahead = Ahead::until(heap.end);
        let mut margins = Margins::new(self.blocks_with_margins());
        let parts = &mut unused.parts;
        let ended = chunks::walk(
            heap,
            |chunk| ahead.pair(chunk),
            |met| match met {
                Met::Free(part) => parts.push(part),
                Met::Used(block) => parts.extend(margins.within(block)),
            },
        );
        if let Ended::Early(place) = ended {
            unused.unread_byte_count = heap.end - place;
        }
        let heads = self.top.fast_bins();
        let fast = chunks::fast(&heads, thread_cache::link_at);
        let waiting = thread_cache::waiting().into_iter().chain(fast);
        let in_heap = waiting.filter(|(block, _)| heap.contains(block));
        unused.parts.extend(in_heap.filter_map(|(block, size)| {
            let header = ahead.pair(block.checked_sub(HEADER_BYTES)?)?;
            chunks::block_of(block, header, size)
        }));
        unused
    }

    /// The blocks on record behind which there is a margin.
    fn blocks_with_margins(&self) -> Vec<Range<usize>> {
        let held = self.ledger.held_blocks().map(|(_, block)| block);
        held.filter(|block| block.flags & flag::REDZONE != 0)
            .map(|block| block.address.get()..block.address.offset_by(block.size.get()).get())
            .collect()
    }
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
    fn margins_are_those_of_blocks_that_begin_where_chunks_do() {
        let blocks = vec![0x3010..0x3020, 0x1010..0x1014, 0x2000..0x2008];
        let mut margins = Margins::new(blocks);
        assert_eq!(margins.within(0x1010..0x1028), Some(0x1014..0x1028));
        assert_eq!(margins.within(0x1030..0x1048), None);
        assert_eq!(margins.within(0x1ff0..0x2048), None, "inside a chunk");
        assert_eq!(margins.within(0x3010..0x3020), None, "fills its chunk");
    }
}
