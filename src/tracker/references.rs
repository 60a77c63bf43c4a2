//! Finding out which live blocks are still referenced: what of the process is searched, and in which
//! order.
//!
//! 1. The data of loaded images, and what is thread-local to the calling thread, variables and
//!    values of keys: what is reached from there is kept by a library.
//! 2. Blocks that are not in question, such as older ones: what they hold is theirs.
//! 3. Blocks that a foreign call handed to Python and that nothing so far leads to: what only they
//!    hold is left behind together with them.
//! 4. All other writable memory (stacks, heaps, mappings), for what nobody handed to Python: whatever
//!    object still leads there keeps it.
//! 5. Distances that are stored instead of pointers (`distances`), for what is lost otherwise.
//! 6. What only other blocks that were not released hold.
//!
//! Python's objects are not understood here: a pointer in a Python integer is not found, which is why
//! blocks that were handed to Python are not looked for in step 4.
//!
//! Not searched: our own memory, withheld blocks, the parts of heaps that nobody uses (`unused`),
//! stacks of threads that have ended (`ended_threads`), the calling thread's stack where no library
//! has frames on it, registers of other threads. Memory is read through the kernel, so whatever
//! vanishes meanwhile is passed over.

use super::Tracker;
use super::block_words::BlockWords;
use super::unused::pools;
use crate::capture::foreign;
use crate::detect::leak;
use crate::detect::reach::{Holding, Look, Walk, is_carved_up};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState, Epoch, FamilyId};
use crate::memory::lock::Lock;
use crate::memory::pages::PAGE;
use crate::memory::peek::{self, peek};
use crate::memory::sync::{AtomicU64, Ordering};
use crate::memory::writable::{self, TouchedPages};
use crate::memory::{Address, own_ranges, thread_specific};
use std::ops::Range;
use std::sync::MutexGuard;

pub(super) const WORD: usize = size_of::<usize>();
/// Bytes copied at a time.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Bytes that one search copies at most; a second or two.
pub(super) const SEARCHED_BYTE_MAX: usize = if cfg!(test) { 256 << 20 } else { 4 << 30 };

/// Whether references to a block are looked for: the program's explicit blocks, and those it adopted,
/// are released by whoever owns them, and nobody else's pointer counts. What is only of no certain
/// family (allocated while its library was being loaded) is no such block.
fn is_searched_for(block: &BlockRecord) -> bool {
    match block.family {
        FamilyId::MALLOC | FamilyId::NEW | FamilyId::NEW_ARRAY => true,
        FamilyId::ADOPTED => block.flags & flag::ADOPTED == 0,
        _ => false,
    }
}

/// What was found out about the references to some blocks.
#[derive(Debug, Default)]
pub struct References(Option<Walk>);

impl References {
    /// What holds a block.
    #[must_use]
    pub fn holding(&self, block: &BlockRecord) -> Holding {
        let walk = self.0.as_ref().filter(|_| is_searched_for(block));
        walk.map_or(Holding::Unknown, |walk| walk.holding(block.address))
    }
}

impl Tracker {
    /// Searches for references to the leaks since `since` among `live`, all the program's live blocks.
    #[must_use]
    pub(super) fn references(&self, live: &[BlockRecord], since: Epoch) -> References {
        let here = 0_u8;
        let nodes = || live.iter().filter(|block| is_searched_for(block));
        let wanted = || nodes().filter(|block| leak::is_leak(block, since));
        if wanted().next().is_none() {
            return References::default();
        }
        let walk = Walk::over(nodes().map(|block| (block.address, block.size)));
        let mut search = Search {
            walk,
            passed_over: Vec::new(),
            copied_byte_count: 0,
            is_complete: true,
            buffer: vec![0; CHUNK_BYTES],
            blocks: BlockWords::default(),
        };
        search.images();
        let unloaded = self.unloaded.words();
        search
            .walk
            .see(unloaded.into_iter(), |_| Holding::UnloadedImage);
        search.follow(Holding::Unknown);
        search.begin_at(
            nodes().filter(|block| !leak::is_leak(block, since)),
            Holding::OtherBlock,
        );
        search.begin_at(
            wanted().filter(|block| is_handed(block)),
            Holding::OtherLeak,
        );
        if wanted().any(|block| search.is_unreached_and_not_handed(block)) {
            let now = Moment::of(self);
            let begun = self.last_search.made_at(now).unwrap_or_else(|| {
                let begun = search.everything_else(self, Address::of(&raw const here));
                if search.is_complete {
                    self.last_search.keep(now, &begun);
                }
                begun
            });
            let words = begun.iter().map(|block| block.get());
            search.walk.see(words, |_| Holding::Elsewhere);
            search.follow(Holding::Elsewhere);
        }
        let all: Vec<&BlockRecord> = nodes().collect();
        search.follow_distances(&self.capture, &all, |block| leak::is_leak(block, since));
        search.begin_at(wanted(), Holding::OtherLeak);
        search.walk.end_at(Holding::Nowhere);
        References(search.is_complete.then_some(search.walk))
    }

    /// Where released blocks lie whose memory has not gone back: what they hold means nothing.
    fn withheld_extents(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let withheld = self
            .ledger
            .held_blocks()
            .filter(|(_, record)| record.state == BlockState::Quarantined);
        withheld.map(|(_, record)| record.range())
    }
}

/// A search under way.
pub(super) struct Search {
    walk: Walk,
    /// What means nothing, in no order until the last step.
    passed_over: Vec<Range<usize>>,
    copied_byte_count: usize,
    is_complete: bool,
    buffer: Vec<u8>,
    blocks: BlockWords,
}

impl Search {
    fn images(&mut self) {
        let data = writable::image_data();
        let touched = TouchedPages::open();
        // Most of a large image's data may never have been used.
        let is_small = |part: &Range<usize>| part.len() < CHUNK_BYTES / 2;
        for range in data.others.iter().flat_map(aligned_parts) {
            if !is_small(&range) && !touched.is_any_in(&range) {
                continue;
            }
            self.search(&range, &[], nothing_unused, |walk, first, words| {
                let origin = |index| Holding::Image(Address::new(first + index * WORD));
                walk.see(words.iter().copied(), origin);
            });
        }
        // Behind keys there is no variable whose address could be named.
        let no_variable = Holding::Image(Address::new(0));
        self.walk.see(thread_specific::values(), |_| no_variable);
        self.follow(Holding::Unknown);
        self.passed_over.extend(data.others);
        self.passed_over.extend(data.ours);
    }

    /// Follows what the blocks hold that have not been reached.
    fn begin_at<'block>(&mut self, blocks: impl Iterator<Item = &'block BlockRecord>, to: Holding) {
        for block in blocks {
            if self.walk.holding(block.address) == Holding::Unknown {
                self.walk.begin_at(block.address);
            }
        }
        self.follow(to);
    }

    fn is_unreached_and_not_handed(&self, block: &BlockRecord) -> bool {
        !is_handed(block) && self.walk.holding(block.address) == Holding::Unknown
    }

    /// Searches all other writable memory for the beginnings of blocks; what lies below `here` on this
    /// thread's stack is ours.
    fn everything_else(&mut self, tracker: &Tracker, here: Address) -> Vec<Address> {
        // Our own ranges last: what we map meanwhile is not among the mappings.
        let (Some(mappings), Some(own)) = (writable::mappings(), own_ranges::all()) else {
            self.is_complete = false;
            return Vec::new();
        };
        let mut passed_over = std::mem::take(&mut self.passed_over);
        passed_over.extend(tracker.withheld_extents());
        passed_over.extend(tracker.ended_threads.stacks());
        let stack = mappings.iter().find(|range| range.contains(&here.get()));
        passed_over.extend(stack.map(|stack| stack.start..end_of_dead_stack(stack, here)));
        passed_over.extend(own);
        passed_over.extend(self.walk.extents());
        let heap = tracker.unused_heap(&mappings);
        tracker.last_search.note_unread(heap.unread_byte_count);
        passed_over.extend(heap.parts);
        let passed_over = joined(passed_over);
        let touched = TouchedPages::open();
        let mut begun = Vec::new();
        for mapping in &mappings {
            for part in aligned_parts(mapping).filter(|part| touched.is_any_in(part)) {
                self.search(&part, &passed_over, pools::unused_in, |walk, _, words| {
                    begun.extend(walk.begun_at(words.iter().copied()));
                });
            }
        }
        begun
    }

    pub(super) fn holding(&self, block: &BlockRecord) -> Holding {
        self.walk.holding(block.address)
    }

    /// A block is reached.
    pub(super) fn reach(&mut self, start: Address, holding: Holding) {
        self.walk.see(std::iter::once(start.get()), |_| holding);
    }

    pub(super) fn follow(&mut self, otherwise: Holding) {
        let (blocks, copied) = (&mut self.blocks, &mut self.copied_byte_count);
        let read = |extents: &[Range<usize>], look: Look<'_>| {
            blocks.each(extents, copied, look);
        };
        self.walk.follow(read, otherwise);
        self.is_complete &= self.copied_byte_count < SEARCHED_BYTE_MAX;
    }

    /// Adds the words of a block; none of what cannot be read.
    pub(super) fn words_of(&mut self, block: Range<usize>, words: &mut Vec<usize>) {
        let copied = &mut self.copied_byte_count;
        self.blocks
            .each(&[block], copied, &mut |_, seen| words.extend(seen));
        self.is_complete &= self.copied_byte_count < SEARCHED_BYTE_MAX;
    }

    /// Shows `look` the words of a range with the address of the first, but for those in
    /// `passed_over`, which is sorted, and those that `unused` finds in a copy.
    fn search(
        &mut self,
        range: &Range<usize>,
        passed_over: &[Range<usize>],
        unused: Unused,
        mut look: impl FnMut(&mut Walk, usize, &[usize]),
    ) {
        let mut words = Vec::new();
        for start in (range.start.next_multiple_of(WORD)..range.end).step_by(CHUNK_BYTES) {
            let end = range.end.min(start + CHUNK_BYTES);
            // A withheld block of gigabytes would use up what may be copied.
            if outside(start..end, passed_over).next().is_none() {
                continue;
            }
            self.copied_byte_count += end - start;
            if self.copied_byte_count >= SEARCHED_BYTE_MAX {
                self.is_complete = false;
                return;
            }
            let length = (end - start) / WORD * WORD;
            let Some(bytes) = self.buffer.get_mut(..length) else {
                return;
            };
            copy(start, bytes);
            words.clear();
            words.extend(peek::words(bytes));
            let unused = unused(start, &words);
            let parts = outside(start..start + length, passed_over);
            for part in parts.flat_map(|part| outside(part, &unused)) {
                let place = |address: usize| (address - start) / WORD;
                if let Some(words) = words.get(place(part.start)..place(part.end)) {
                    look(&mut self.walk, part.start, words);
                }
            }
        }
    }
}

/// Finds what nobody uses among words that were copied from an address: sorted ranges.
type Unused = fn(usize, &[usize]) -> Vec<Range<usize>>;

fn nothing_unused(_: usize, _: &[usize]) -> Vec<Range<usize>> {
    Vec::new()
}

/// When a search was made: as long as nothing is recorded or released, no thread ends, and this one
/// makes no foreign call, a second search finds what the first one found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    total_block_count: u64,
    live_block_count: u64,
    foreign_calls: usize,
    ended_threads: usize,
}

impl Moment {
    pub(super) fn of(tracker: &Tracker) -> Self {
        let sums = tracker.ledger.sums();
        Self {
            total_block_count: sums.total_blocks,
            live_block_count: sums.live_blocks,
            foreign_calls: foreign::sequence(),
            ended_threads: tracker.ended_threads.end_count(),
        }
    }
}

/// What the last search of everything found: whoever asks about several marks, as a test suite does
/// after each test, pays for it once.
#[derive(Debug, Default)]
pub(super) struct LastSearch {
    found: Lock<Option<(Moment, Vec<Address>)>>,
    unread_byte_count: AtomicU64,
}

/// Keeps everybody else out, for the time of a fork.
pub(super) type HeldSearch<'search> = MutexGuard<'search, Option<(Moment, Vec<Address>)>>;

impl LastSearch {
    pub(super) fn hold(&self) -> HeldSearch<'_> {
        self.found.lock()
    }

    fn note_unread(&self, byte_count: usize) {
        let byte_count = byte_count as u64;
        self.unread_byte_count.store(byte_count, Ordering::Relaxed);
    }

    /// How much of the heap could not be read as chunks: what was released there counts as used.
    pub(super) fn unread_byte_count(&self) -> u64 {
        self.unread_byte_count.load(Ordering::Relaxed)
    }

    fn made_at(&self, now: Moment) -> Option<Vec<Address>> {
        let last = self.found.lock();
        last.as_ref()
            .filter(|(then, _)| *then == now)
            .map(|(_, begun)| begun.clone())
    }

    fn keep(&self, now: Moment, begun: &[Address]) {
        *self.found.lock() = Some((now, begun.to_vec()));
    }
}

/// Up to where the calling thread's stack means nothing: to its end, unless the thread runs Python code
/// that a library called back. Without a library's frames there, pointers on it are leftovers of
/// calls that have returned.
fn end_of_dead_stack(stack: &Range<usize>, here: Address) -> usize {
    match foreign::call_in_progress() {
        Some(_) => here.get(),
        None => stack.end,
    }
}

pub(super) fn is_handed(block: &BlockRecord) -> bool {
    block.flags & flag::HANDED_TO_PYTHON != 0 && !is_carved_up(block.address, block.size)
}

/// Copies memory; what cannot be read counts as zeroes, page by page.
fn copy(from: usize, into: &mut [u8]) {
    if peek(Address::new(from), into) {
        return;
    }
    let mut place = from;
    let mut rest = into;
    while !rest.is_empty() {
        let length = (PAGE - place % PAGE).min(rest.len());
        let (page, behind) = rest.split_at_mut(length);
        if !peek(Address::new(place), page) {
            page.fill(0);
        }
        place += length;
        rest = behind;
    }
}

/// The parts of a mapping that are copied at a time. A pool lies in one of them.
fn aligned_parts(mapping: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    const { assert!(CHUNK_BYTES.is_multiple_of(pools::POOL_BYTES)) };
    let first = mapping.start / CHUNK_BYTES * CHUNK_BYTES;
    let mapping = mapping.clone();
    (first..mapping.end)
        .step_by(CHUNK_BYTES)
        .map(move |start| start.max(mapping.start)..mapping.end.min(start + CHUNK_BYTES))
}

/// The ranges in order, those that meet made one.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, before| {
        let meets = next.start <= before.end;
        if meets {
            before.end = before.end.max(next.end);
        }
        meets
    });
    ranges
}

/// The parts of a range that lie in none of the sorted ranges, each of whole words.
fn outside(
    range: Range<usize>,
    sorted: &[Range<usize>],
) -> impl Iterator<Item = Range<usize>> + '_ {
    let first = sorted.partition_point(|one| one.end <= range.start);
    let mut inside = sorted.get(first..).unwrap_or_default().iter();
    let mut next = range.start;
    std::iter::from_fn(move || {
        while next < range.end {
            let Some(skipped) = inside.next().filter(|one| one.start < range.end) else {
                return Some(std::mem::replace(&mut next, range.end)..range.end);
            };
            let part = next..skipped.start.max(next) / WORD * WORD;
            next = next.max(skipped.end.next_multiple_of(WORD));
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    })
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_are_one() {
        let ranges = vec![50..60, 0..30, 10..20, 30..40, 58..59, 60..61];
        assert_eq!(joined(ranges), [0..40, 50..61]);
    }

    #[test]
    fn a_mapping_is_cut_at_multiples_and_nothing_of_it_is_left_out() {
        let mapping = CHUNK_BYTES - 4_096..2 * CHUNK_BYTES + 4_096;
        let parts: Vec<_> = aligned_parts(&mapping).collect();
        let edges = [mapping.start, CHUNK_BYTES, 2 * CHUNK_BYTES, mapping.end];
        let expected: Vec<_> = edges.windows(2).map(|edge| edge[0]..edge[1]).collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_is_passed_over_as_a_whole_is_not_copied() {
        let memory = vec![7_usize; 3 * CHUNK_BYTES / WORD];
        let start = memory.as_ptr().addr();
        let range = start..start + 3 * CHUNK_BYTES;
        let mut search = Search {
            walk: Walk::over(std::iter::empty()),
            passed_over: Vec::new(),
            copied_byte_count: 0,
            is_complete: true,
            buffer: vec![0; CHUNK_BYTES],
            blocks: BlockWords::default(),
        };
        let mut seen = 0;
        let passed_over = [
            start - 64..start + 2 * CHUNK_BYTES,
            range.end - 64..range.end,
        ];
        let look = |_: &mut Walk, _, words: &[usize]| seen += words.len();
        search.search(&range, &passed_over, nothing_unused, look);
        assert_eq!(search.copied_byte_count, CHUNK_BYTES);
        assert_eq!(seen, (CHUNK_BYTES - 64) / WORD);
    }
}
