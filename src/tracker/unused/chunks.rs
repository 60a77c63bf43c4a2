//! The chunks of a heap of glibc's, by the words in front of each: its size with three flags, one of
//! which says whether the chunk before it is in use; if not, that one's size stands before these.
//!
//! A chunk that waits in a thread's cache or in a fast bin looks used, and is found through these.

use std::ops::Range;

const WORD: usize = size_of::<usize>();
/// Bytes between a chunk's start and its block.
pub(super) const HEADER_BYTES: usize = 2 * WORD;
pub(super) const CHUNK_BYTE_MIN: usize = 2 * HEADER_BYTES;
pub(super) const GRAIN: usize = 16;
const PREVIOUS_IN_USE: usize = 1;
/// The chunk was given out by an arena of threads.
const NOT_MAIN_ARENA: usize = 4;
const FLAGS: usize = 7;
/// Chunks of one fast bin that are looked at; glibc sets no limit.
const FAST_COUNT_MAX: usize = 1 << 16;
/// The number of fast bins, whose chunks have 32 bytes and each 16 more than the one before.
pub(in crate::tracker) const FAST_BIN_COUNT: usize = 10;

/// Whose heap it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The main arena's.
    Main,
    /// One of an arena of threads.
    OfThreads,
}

/// How a walk over a heap ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// With the rest that belongs to no chunk, which nobody uses.
    AtTheEnd,
    /// With words at this place that are no chunk's.
    Early(usize),
}

/// What a walk meets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Met {
    /// A free chunk, or the rest: what nobody uses of it.
    Free(Range<usize>),
    /// A chunk in use: from its block to the end of what that may cover.
    Used(Range<usize>),
}

/// Walks the chunks of a heap, upwards, and tells `met` of each. `header` gives the two words at the
/// start of a chunk.
pub(super) fn walk(
    heap: &Range<usize>,
    kind: Kind,
    mut header: impl FnMut(usize) -> Option<[usize; 2]>,
    mut met: impl FnMut(Met),
) -> Ended {
    let known_flags = match kind {
        Kind::Main => PREVIOUS_IN_USE,
        Kind::OfThreads => PREVIOUS_IN_USE | NOT_MAIN_ARENA,
    };
    let mut chunk = heap.start;
    let mut previous = None;
    loop {
        let Some([previous_size, size]) = header(chunk) else {
            return Ended::Early(chunk);
        };
        let bytes = size & !FLAGS;
        let is_chunk = bytes >= CHUNK_BYTE_MIN
            && size & FLAGS & !known_flags == 0
            && bytes.is_multiple_of(GRAIN)
            && bytes <= heap.end - chunk;
        if !is_chunk {
            return Ended::Early(chunk);
        }
        if size & PREVIOUS_IN_USE == 0 {
            // Both sizes of a free chunk have to agree.
            if previous != Some(previous_size) {
                return Ended::Early(chunk);
            }
        }
        if let Some(previous) = previous {
            let block = chunk - previous + HEADER_BYTES..chunk + WORD;
            let is_used = size & PREVIOUS_IN_USE != 0;
            met(if is_used {
                Met::Used(block)
            } else {
                Met::Free(block)
            });
        }
        if bytes == heap.end - chunk {
            met(Met::Free(chunk + HEADER_BYTES..heap.end));
            return Ended::AtTheEnd;
        }
        previous = Some(bytes);
        chunk += bytes;
    }
}

/// The blocks in fast bins with the sizes of their chunks; `heads` are the chunks that come first, and
/// `link` reads the next one's address where it stands.
pub(super) fn fast(
    heads: &[usize],
    link: impl Fn(usize) -> Option<usize>,
) -> impl Iterator<Item = (usize, usize)> {
    heads.iter().enumerate().flat_map(move |(number, &head)| {
        let block = |chunk: usize| (chunk != 0).then(|| chunk.checked_add(HEADER_BYTES))?;
        let blocks = std::iter::successors(block(head), |&one| block(link(one)?));
        let chunk_byte_count = CHUNK_BYTE_MIN + number * GRAIN;
        let blocks: Vec<_> = blocks.take(FAST_COUNT_MAX).collect();
        blocks
            .into_iter()
            .map(move |block| (block, chunk_byte_count))
    })
}

/// What a released block covers, when the words in front of it are those of a chunk of this size.
pub(super) fn block_of(
    block: usize,
    [_, size]: [usize; 2],
    chunk_byte_count: usize,
) -> Option<Range<usize>> {
    let end = block.checked_add(chunk_byte_count - WORD)?;
    (size & !FLAGS == chunk_byte_count).then_some(block..end)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const START: usize = 0x5000;

    /// A heap of chunks, each of so many bytes and in use or not, and the words at their starts.
    fn heap(chunks: &[(usize, bool)]) -> (Range<usize>, HashMap<usize, [usize; 2]>) {
        let (mut place, mut previous) = (START, (0, true));
        let mut headers = HashMap::new();
        for &(bytes, is_used) in chunks {
            let flag = usize::from(previous.1) * PREVIOUS_IN_USE;
            headers.insert(place, [previous.0, bytes | flag]);
            previous = (if is_used { 7 } else { bytes }, is_used);
            place += bytes;
        }
        (START..place, headers)
    }

    fn walked((range, headers): &(Range<usize>, HashMap<usize, [usize; 2]>)) -> (Ended, Vec<Met>) {
        let mut all = Vec::new();
        let ended = walk(
            range,
            Kind::Main,
            |place| headers.get(&place).copied(),
            |met| all.push(met),
        );
        (ended, all)
    }

    #[test]
    fn chunks_in_use_free_ones_and_the_rest_are_told_apart() {
        let heap = heap(&[(32, true), (64, false), (48, true), (4_000, true)]);
        let (ended, met) = walked(&heap);
        assert_eq!(ended, Ended::AtTheEnd);
        assert_eq!(
            met,
            [
                Met::Used(0x5010..0x5028),
                Met::Free(0x5030..0x5068),
                Met::Used(0x5070..0x5098),
                Met::Free(0x50a0..0x5090 + 4_000),
            ]
        );
    }

    #[test]
    fn a_walk_ends_at_words_that_are_no_chunks() {
        let wrong_sizes = [
            0,
            16 | PREVIOUS_IN_USE,
            0x28 | PREVIOUS_IN_USE,
            0x34 | PREVIOUS_IN_USE,
            0x4343_4343_4343_4343,
            usize::MAX,
            1 << 20 | PREVIOUS_IN_USE,
        ];
        for size in wrong_sizes {
            let mut heap = heap(&[(32, true), (64, true), (48, true)]);
            heap.1.insert(START + 32, [0, size]);
            let ended = walked(&heap);
            assert_eq!(ended, (Ended::Early(START + 32), vec![]), "{size:#x}");
        }
        let unreadable = (START..START + 64, HashMap::new());
        assert_eq!(walked(&unreadable).0, Ended::Early(START));
    }

    #[test]
    fn a_flag_that_was_written_over_frees_no_chunk() {
        // As a zero byte behind a block does: the size in front of the flag is the program's word.
        let mut heap = heap(&[(32, true), (64, true), (256, true), (48, true)]);
        heap.1.insert(START + 96, [7, 256]);
        let (ended, met) = walked(&heap);
        assert_eq!(ended, Ended::Early(START + 96));
        assert_eq!(met, [Met::Used(0x5010..0x5028)]);
    }

    #[test]
    fn fast_bins_are_lists_of_chunks_of_one_size() {
        let links = HashMap::from([(0x1010, 0x2000), (0x2010, 0), (0x3010, 0)]);
        let heads = [0, 0x1000, 0, 0x3000, 0x4000];
        let found: Vec<_> = fast(&heads, |block| links.get(&block).copied()).collect();
        let expected = [(0x1010, 48), (0x2010, 48), (0x3010, 80), (0x4010, 96)];
        assert_eq!(found, expected);
        let circle = fast(&[0x1000], |_| Some(0x1000));
        assert_eq!(circle.count(), FAST_COUNT_MAX);
    }

    #[test]
    fn a_block_on_a_list_must_have_a_chunk_of_the_lists_size() {
        assert_eq!(block_of(0x1010, [0, 0x31], 48), Some(0x1010..0x1038));
        assert_eq!(block_of(0x1010, [0, 0x41], 48), None);
        assert_eq!(block_of(usize::MAX - 15, [0, 48], 48), None);
    }
}
