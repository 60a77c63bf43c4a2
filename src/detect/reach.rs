//! Which live blocks are still referenced, and from where: a walk over words that somebody else
//! reads.
//!
//! A word that lies in a block's extent counts as a reference, as in every conservative collector:
//! a number that looks like a pointer can hide a leak, a pointer that is stored in disguise makes
//! a block look lost. What is reached first keeps its origin, so the order of the calls is the
//! order of importance.
//!
//! Owns nothing but the walk; must never read memory itself, or know where roots are.

use crate::memory::{Address, ByteCount};
use std::ops::Range;

/// Where the reference to a block was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Holding {
    /// Nobody looked, or not everywhere.
    #[default]
    Unknown,
    /// In the data of a loaded image, or in blocks that are referenced from there: the word that the
    /// walk began with.
    Image(Address),
    /// In what was the data of an image that the end of the interpreter has unloaded.
    UnloadedImage,
    /// In a recorded block that is not in question itself, such as an older one.
    OtherBlock,
    /// In other memory that the ledger does not record: a stack, a heap, a mapping.
    Elsewhere,
    /// Only in another block that nobody released.
    OtherLeak,
    /// Nowhere.
    Nowhere,
}

/// Bits of the filter for each block: most words of a process are no references, and one look
/// at a small table says so.
const FILTER_BITS_PER_BLOCK: usize = 16;
const FILTER_BIT_COUNT_MIN: usize = 1 << 12;
const FILTER_BIT_COUNT_MAX: usize = 1 << 26;
/// Blocks are filed by the pages they lie on; the pages of a larger one are not all filed, it is
/// looked for in a list of its own.
const FILED_PAGE_COUNT_MAX: usize = 16;
const PAGE_BITS: u32 = 12;
/// A multiplier that spreads neighbouring pages over the filter (2^64 divided by the golden ratio).
const SPREAD: usize = 0x9e37_79b9_7f4a_7c15;

/// How far into a block a pointer to its beginning may lie: `new T[n]` gives out the address behind
/// the number of elements, which takes a word, or two where the elements' alignment asks for it.
const BEGINNING_BYTES: usize = 2 * size_of::<usize>();

/// An allocator that carves up memory of its own asks for aligned pages of at least so many bytes, but
/// for what the allocator below needs for itself: the slices of `GLib` come from such pages.
const CARVED_BYTE_MIN: usize = 256;
const CARVED_BYTES_SPARED: usize = 2 * size_of::<usize>();

/// Whether a block is most likely a page that an allocator carves up. What lies at its beginning is
/// another's then, and a pointer to any part of it keeps it.
#[must_use]
pub fn is_carved_up(start: Address, size: ByteCount) -> bool {
    let page = size.get().saturating_add(CARVED_BYTES_SPARED);
    page >= CARVED_BYTE_MIN && page.is_power_of_two() && start.get().is_multiple_of(page)
}

#[derive(Clone, Copy, Debug)]
struct Block {
    start: usize,
    end: usize,
    holding: Holding,
}

impl Block {
    /// Whether a word that points into the block is likely a pointer to it. A pointer of old whose lowest
    /// byte was written over lies a few bytes beside the beginning.
    fn is_meant_by(&self, word: usize) -> bool {
        let size = ByteCount::new(self.end - self.start);
        let distance = word - self.start;
        let is_beginning =
            distance <= BEGINNING_BYTES && distance.is_multiple_of(size_of::<usize>());
        is_beginning || is_carved_up(Address::new(self.start), size)
    }
}

/// Is shown the words of an extent, with its number.
pub type Look<'look> = &'look mut dyn FnMut(usize, &[usize]);

/// The walk over a set of blocks.
#[derive(Debug)]
pub struct Walk {
    /// By address; they do not overlap.
    blocks: Vec<Block>,
    /// From the first byte of the first to the last byte of the last: most words lie outside.
    bounds: Range<usize>,
    large: Vec<(usize, usize)>,
    filter: Vec<u64>,
    filter_shift: u32,
    /// Blocks reached whose words have not been looked at.
    pending: Vec<usize>,
}

impl Walk {
    /// A walk over these blocks, none of them reached.
    #[must_use]
    pub fn over(blocks: impl Iterator<Item = (Address, ByteCount)>) -> Self {
        let mut blocks: Vec<Block> = blocks
            .map(|(start, size)| Block {
                start: start.get(),
                // A block of no bytes is referenced by a pointer to its start.
                end: start.offset_by(size.get().max(1)).get(),
                holding: Holding::Unknown,
            })
            .collect();
        blocks.sort_unstable_by_key(|block| block.start);
        blocks.dedup_by_key(|block| block.start);
        let wanted = blocks.len().saturating_mul(FILTER_BITS_PER_BLOCK);
        let bit_count = wanted
            .clamp(FILTER_BIT_COUNT_MIN, FILTER_BIT_COUNT_MAX)
            .next_power_of_two();
        let mut walk = Self {
            bounds: blocks.first().map_or(0, |block| block.start)
                ..blocks.iter().map(|block| block.end).max().unwrap_or(0),
            large: Vec::new(),
            filter: vec![0; bit_count / u64::BITS as usize],
            filter_shift: usize::BITS - bit_count.trailing_zeros(),
            pending: Vec::new(),
            blocks: Vec::new(),
        };
        for block in &blocks {
            walk.file(block);
        }
        walk.blocks = blocks;
        walk
    }

    fn file(&mut self, block: &Block) {
        let pages = block.start >> PAGE_BITS..=(block.end - 1) >> PAGE_BITS;
        if pages.end() - pages.start() >= FILED_PAGE_COUNT_MAX {
            self.large.push((block.start, block.end));
            return;
        }
        for page in pages {
            let bit = self.filter_bit(page);
            if let Some(word) = self.filter.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    fn filter_bit(&self, page: usize) -> usize {
        page.wrapping_mul(SPREAD) >> self.filter_shift
    }

    fn may_be_filed(&self, word: usize) -> bool {
        if !self.bounds.contains(&word) {
            return false;
        }
        let bit = self.filter_bit(word >> PAGE_BITS);
        let filed = self.filter.get(bit / 64).copied().unwrap_or(0);
        filed >> (bit % 64) & 1 != 0
            || self
                .large
                .iter()
                .any(|&(start, end)| (start..end).contains(&word))
    }

    /// Where the blocks lie, by address.
    pub fn extents(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.blocks.iter().map(|block| block.start..block.end)
    }

    fn position(&self, address: usize) -> Option<usize> {
        let after = self.blocks.partition_point(|block| block.start <= address);
        let position = after.checked_sub(1)?;
        let block = self.blocks.get(position)?;
        (address < block.end).then_some(position)
    }

    /// Looks at words: the blocks they point at are reached, from `origin`. In memory of which nobody
    /// knows what it is, only a pointer to the beginning of a block is believed, for there most words
    /// that fall into a block are leftovers; or one into a page that is carved up, for whose beginning
    /// nobody has a use.
    #[inline]
    pub fn see(&mut self, words: impl Iterator<Item = usize>, origin: impl Fn(usize) -> Holding) {
        for (index, word) in words.enumerate() {
            if self.may_be_filed(word)
                && let Some(position) = self.position(word)
            {
                let holding = origin(index);
                let is_sure = !matches!(holding, Holding::Elsewhere | Holding::OtherBlock);
                if is_sure || self.is_beginning(position, word) {
                    self.reach(position, holding);
                }
            }
        }
    }

    /// The blocks at whose beginning words point.
    pub fn begun_at(&self, words: impl Iterator<Item = usize>) -> impl Iterator<Item = Address> {
        words.filter_map(|word| {
            let position = self.may_be_filed(word).then(|| self.position(word))??;
            let block = self.blocks.get(position)?;
            block.is_meant_by(word).then_some(Address::new(block.start))
        })
    }

    fn is_beginning(&self, position: usize, word: usize) -> bool {
        self.blocks
            .get(position)
            .is_some_and(|block| block.is_meant_by(word))
    }

    /// Begins at a block: it is the origin itself, and is not reached by that.
    pub fn begin_at(&mut self, start: Address) {
        if let Some(position) = self.position(start.get()) {
            self.pending.push(position);
        }
    }

    fn reach(&mut self, position: usize, holding: Holding) {
        if let Some(block) = self.blocks.get_mut(position)
            && block.holding == Holding::Unknown
        {
            block.holding = holding;
            self.pending.push(position);
        }
    }

    /// Follows the references in the blocks reached, to the end. `read` gives the words of extents,
    /// with the number of the extent among those asked for. What they point at has the holding of the
    /// block that points there, or, where that has none (see [`Walk::begin_at`]), `otherwise`.
    pub fn follow(&mut self, mut read: impl FnMut(&[Range<usize>], Look<'_>), otherwise: Holding) {
        while !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending).into_iter();
            let round: Vec<Block> = pending
                .filter_map(|position| self.blocks.get(position).copied())
                .collect();
            let extents: Vec<_> = round.iter().map(|block| block.start..block.end).collect();
            read(&extents, &mut |number, words| {
                let Some(block) = round.get(number) else {
                    return;
                };
                let holding = match block.holding {
                    Holding::Unknown => otherwise,
                    known => known,
                };
                // A block that points at itself, as the head of an empty list does, holds nothing by
                // that.
                let is_others = |word: &usize| !(block.start..block.end).contains(word);
                self.see(words.iter().copied().filter(is_others), |_| holding);
            });
        }
    }

    /// Ends the walk: what was not reached has this holding.
    pub fn end_at(&mut self, holding: Holding) {
        for block in &mut self.blocks {
            if block.holding == Holding::Unknown {
                block.holding = holding;
            }
        }
    }

    /// What was found out about the block that starts at an address; [`Holding::Unknown`] for one that
    /// was not reached.
    #[must_use]
    pub fn holding(&self, start: Address) -> Holding {
        self.position(start.get())
            .and_then(|position| self.blocks.get(position))
            .map_or(Holding::Unknown, |block| block.holding)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const ROOT: Holding = Holding::Image(Address::new(8));

    fn walk(blocks: &[(usize, usize)]) -> Walk {
        Walk::over(
            blocks
                .iter()
                .map(|&(start, size)| (Address::new(start), ByteCount::new(size))),
        )
    }

    fn holdings(walk: &Walk, starts: &[usize]) -> Vec<Holding> {
        starts
            .iter()
            .map(|&start| walk.holding(Address::new(start)))
            .collect()
    }

    /// Memory invented by a test: what each block holds.
    fn reader(memory: &HashMap<usize, Vec<usize>>) -> impl FnMut(&[Range<usize>], Look<'_>) + '_ {
        |extents, look| {
            for (number, extent) in extents.iter().enumerate() {
                let words = memory.get(&extent.start);
                look(number, words.map_or(&[], Vec::as_slice));
            }
        }
    }

    #[test]
    fn pointers_to_the_start_and_into_a_block_are_references_and_others_are_not() {
        let starts = [0x1000, 0x2000, 0x3000, 0x4000];
        let mut walk = walk(&[(0x1000, 16), (0x2000, 16), (0x3000, 16), (0x4000, 0)]);
        walk.see([0x1000, 0x200f, 0x3010, 0x4000].into_iter(), |_| ROOT);
        assert_eq!(
            holdings(&walk, &starts),
            [ROOT, ROOT, Holding::Unknown, ROOT]
        );
        assert_eq!(walk.extents().nth(1), Some(0x2000..0x2010));
    }

    #[test]
    fn in_unknown_memory_only_pointers_to_the_beginning_count() {
        for there in [Holding::Elsewhere, Holding::OtherBlock] {
            let mut walk = walk(&[(0x1000, 64), (0x2000, 64)]);
            walk.see([0x1011, 0x2010].into_iter(), |_| there);
            let found = holdings(&walk, &[0x1000, 0x2000]);
            assert_eq!(found, [Holding::Unknown, there]);
        }
    }

    #[test]
    fn in_unknown_memory_a_pointer_into_a_page_that_is_carved_up_counts() {
        // The last two are not aligned, or of another size.
        let blocks = [
            (0x1000, 4_080),
            (0x4800, 2_032),
            (0x6010, 4_080),
            (0x8000, 2_000),
        ];
        let mut walk = walk(&blocks);
        let inside = blocks.map(|(start, _)| start + 0x400);
        assert_eq!(walk.begun_at(inside.into_iter()).count(), 2);
        walk.see(inside.into_iter(), |_| Holding::Elsewhere);
        let (found, nothing) = (Holding::Elsewhere, Holding::Unknown);
        assert_eq!(
            holdings(&walk, &blocks.map(|(start, _)| start)),
            [found, found, nothing, nothing]
        );
    }

    #[test]
    fn references_are_followed_and_the_first_origin_stays() {
        let mut walk = walk(&[(0x1000, 16), (0x2000, 16), (0x3000, 16)]);
        let memory = HashMap::from([(0x1000, vec![7, 0x2000]), (0x2000, vec![0x3008, 0x1000])]);
        walk.see([0x1000].into_iter(), |_| ROOT);
        walk.follow(reader(&memory), Holding::OtherLeak);
        assert_eq!(holdings(&walk, &[0x1000, 0x2000, 0x3000]), [ROOT; 3]);
        walk.see([0x3000].into_iter(), |_| Holding::Elsewhere);
        assert_eq!(walk.holding(Address::new(0x3000)), ROOT);
    }

    #[test]
    fn what_a_lost_block_holds_is_lost_with_it_and_a_circle_ends() {
        let mut walk = walk(&[(0x1000, 16), (0x2000, 16), (0x3000, 16)]);
        let memory = HashMap::from([
            (0x1000, vec![0x2000]),
            (0x2000, vec![0x1000]),
            (0x3000, vec![0x3008]),
        ]);
        for start in [0x1000, 0x3000] {
            walk.begin_at(Address::new(start));
        }
        walk.follow(reader(&memory), Holding::OtherLeak);
        walk.end_at(Holding::Nowhere);
        let found = holdings(&walk, &[0x1000, 0x2000, 0x3000]);
        assert_eq!(
            found,
            [Holding::OtherLeak, Holding::OtherLeak, Holding::Nowhere]
        );
    }

    #[test]
    fn a_pointer_into_a_large_block_is_a_reference() {
        let large = FILED_PAGE_COUNT_MAX << (PAGE_BITS + 1);
        let mut walk = walk(&[(0x10_0000, large), (0x100, 16)]);
        walk.see([0x10_0000 + large - 1].into_iter(), |_| ROOT);
        assert_eq!(
            holdings(&walk, &[0x10_0000, 0x100]),
            [ROOT, Holding::Unknown]
        );
    }

    #[test]
    fn a_walk_over_nothing_finds_nothing() {
        let mut walk = walk(&[]);
        walk.see([0, 1, usize::MAX].into_iter(), |_| ROOT);
        walk.end_at(Holding::Nowhere);
        assert_eq!(walk.holding(Address::new(1)), Holding::Unknown);
    }
}
