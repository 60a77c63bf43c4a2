//! The pools of CPython's allocator of small objects: pieces of 16 KiB at multiples of as much, each
//! carved into blocks of one size. What an object held is left in its block when it dies.
//!
//! A pool is known by its own head, without help of the interpreter: the limits in it follow from the
//! size of its blocks, and the blocks that were carved are as many as those in use and those on its
//! list of free ones together.

use std::ops::Range;

const WORD: usize = size_of::<usize>();
pub(in crate::tracker) const POOL_BYTES: usize = 16 << 10;
const POOL_WORDS: usize = POOL_BYTES / WORD;
/// Bytes of a pool's head.
const HEAD_BYTES: usize = 48;
/// Sizes of blocks are multiples of this, up to 512 bytes.
const GRAIN: usize = 16;
const SIZE_COUNT: usize = 32;

/// The head of a pool.
#[derive(Clone, Copy, Debug)]
struct Head {
    block_bytes: usize,
    used_count: usize,
    carved_count: usize,
    first_free: usize,
}

impl Head {
    /// Reads the head of a pool; `None` when it is none.
    fn read(pool: &[usize]) -> Option<Self> {
        let &[count, first_free, _, _, indices, offsets, ..] = pool else {
            return None;
        };
        let [(used_count, _), (_, size_index), (next, last)] =
            [count, indices, offsets].map(halves);
        if size_index >= SIZE_COUNT {
            return None;
        }
        let block_bytes = (size_index + 1) * GRAIN;
        let carved_count = next.checked_sub(HEAD_BYTES)? / block_bytes;
        let is_head = last == POOL_BYTES - block_bytes
            && (next - HEAD_BYTES).is_multiple_of(block_bytes)
            && next <= POOL_BYTES
            && used_count <= carved_count;
        is_head.then_some(Self {
            block_bytes,
            used_count,
            carved_count,
            first_free,
        })
    }
}

/// The lower and the upper half of a word.
fn halves(word: usize) -> (usize, usize) {
    (word & 0xffff_ffff, word >> 32)
}

/// What nobody uses in the pools among the words that begin at `start`, by address.
pub(in crate::tracker) fn unused_in(start: usize, words: &[usize]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let first = start.next_multiple_of(POOL_BYTES) - start;
    let pools = words.get(first / WORD..).unwrap_or_default();
    for (number, pool) in pools.chunks_exact(POOL_WORDS).enumerate() {
        let place = start + first + number * POOL_BYTES;
        if let Some(free) = free_blocks(place, pool) {
            found.extend(free);
        }
    }
    found
}

/// The free blocks of the pool at `place`, and what has not been carved; `None` when it is no pool.
fn free_blocks(place: usize, pool: &[usize]) -> Option<Vec<Range<usize>>> {
    let head = Head::read(pool)?;
    let offset_of = |index: usize| HEAD_BYTES + index * head.block_bytes;
    let mut free = Vec::new();
    let mut next = head.first_free;
    while next != 0 {
        let offset = next.checked_sub(place + HEAD_BYTES)?;
        let index = offset / head.block_bytes;
        let is_block = offset.is_multiple_of(head.block_bytes) && index < head.carved_count;
        // A circle ends here too.
        if !is_block || free.len() == head.carved_count {
            return None;
        }
        free.push(next..next + head.block_bytes);
        next = *pool.get(offset_of(index) / WORD)?;
    }
    if free.len() + head.used_count != head.carved_count {
        return None;
    }
    free.sort_unstable_by_key(|block| block.start);
    free.push(place + offset_of(head.carved_count)..place + POOL_BYTES);
    Some(free)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const PLACE: usize = 3 * POOL_BYTES;
    const BLOCK: usize = 48;

    fn offset(index: usize) -> usize {
        HEAD_BYTES + index * BLOCK
    }

    /// A pool at `PLACE` with blocks of 48 bytes, of which so many are carved, and these are free.
    fn pool(carved: usize, free: &[usize]) -> Vec<usize> {
        let mut words = vec![0x7777; POOL_WORDS];
        let address = |index: usize| PLACE + offset(index);
        words[0] = 0xdead << 32 | (carved - free.len());
        words[1] = free.first().map_or(0, |&index| address(index));
        words[4] = (BLOCK / GRAIN - 1) << 32;
        words[5] = (POOL_BYTES - BLOCK) << 32 | offset(carved);
        for (place, &index) in free.iter().enumerate() {
            words[offset(index) / WORD] = free.get(place + 1).map_or(0, |&next| address(next));
        }
        words
    }

    fn at(index: usize) -> Range<usize> {
        PLACE + offset(index)..PLACE + offset(index + 1)
    }

    #[test]
    fn free_blocks_and_what_is_not_carved_are_unused() {
        let rest = PLACE + offset(10)..PLACE + POOL_BYTES;
        let found = unused_in(PLACE, &pool(10, &[7, 2]));
        assert_eq!(found, [at(2), at(7), rest]);
        let full = (POOL_BYTES - HEAD_BYTES) / BLOCK;
        let found = unused_in(PLACE, &pool(full, &[]));
        let (rest, others) = found.split_first().expect("the rest");
        assert_eq!(*rest, PLACE + offset(full)..PLACE + POOL_BYTES);
        assert!(others.is_empty());
    }

    #[test]
    fn pools_lie_at_multiples_of_their_size() {
        let words = [vec![0; 2], pool(10, &[3]), pool(10, &[3])].concat();
        let found = unused_in(PLACE - 2 * WORD, &words);
        // The second copy's list leads into the first.
        assert_eq!(found.len(), 2);
        assert!(unused_in(PLACE + WORD, &pool(10, &[3])).is_empty());
    }

    #[test]
    fn what_does_not_agree_with_itself_is_no_pool() {
        assert!(unused_in(PLACE, &vec![0; POOL_WORDS]).is_empty());
        let wrong: [(usize, usize, &str); 6] = [
            (0, 7, "a block in use too few"),
            (0, 11, "more in use than carved"),
            (1, PLACE + offset(2) + WORD, "inside a block"),
            (1, PLACE + offset(12), "a block that is not carved"),
            (4, 40 << 32, "too large a block"),
            (
                5,
                (POOL_BYTES - BLOCK) << 32 | 0x64,
                "no whole number of blocks",
            ),
        ];
        for (index, word, what) in wrong {
            let mut pool = pool(10, &[7, 2]);
            pool[index] = word;
            assert!(unused_in(PLACE, &pool).is_empty(), "{what}");
        }
        let mut circle = pool(10, &[7, 2]);
        circle[offset(2) / WORD] = PLACE + offset(7);
        assert!(unused_in(PLACE, &circle).is_empty());
    }
}
