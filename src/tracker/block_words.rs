//! The words of many blocks, for a search that goes from block to block: it knows all the blocks of a
//! round before it reads the first, so one question to the kernel copies hundreds.

use super::references::{CHUNK_BYTES, SEARCHED_BYTE_MAX, WORD};
use crate::detect::reach::Look;
use crate::memory::Address;
use crate::memory::pages::PAGE;
use crate::memory::peek::{self, peek};
use crate::memory::peek_many::{PAGES_MAX, PeekMany, Question};
use std::ops::Range;

/// Blocks that are asked for at a time.
const BLOCK_COUNT_MAX: usize = if cfg!(test) { 8 } else { 2_048 };
/// A larger block is read by itself.
const BYTE_MAX: usize = PAGES_MAX * PAGE;

/// Room for the copies, taken when there is something to copy.
#[derive(Debug, Default)]
pub(super) struct BlockWords {
    together: Option<PeekMany>,
    questions: Vec<Question>,
    bytes: Vec<u8>,
    words: Vec<usize>,
    /// Numbers of blocks that were not copied together with others.
    alone: Vec<usize>,
}

impl BlockWords {
    /// Shows `look` the whole words of each block, with its number among `blocks`; a large one in
    /// parts, and none of what cannot be read. Adds what is copied to `copied`, up to a limit.
    pub(super) fn each(&mut self, blocks: &[Range<usize>], copied: &mut usize, look: Look<'_>) {
        // Two blocks are not worth the room.
        if self.together.is_none() && blocks.len() > 2 {
            self.together = PeekMany::with_room(BLOCK_COUNT_MAX);
        }
        for start in (0..blocks.len()).step_by(BLOCK_COUNT_MAX) {
            let end = blocks.len().min(start + BLOCK_COUNT_MAX);
            self.each_of_some(blocks, start..end, copied, look);
        }
    }

    fn each_of_some(
        &mut self,
        blocks: &[Range<usize>],
        numbers: Range<usize>,
        copied: &mut usize,
        look: Look<'_>,
    ) {
        self.alone.clear();
        self.questions.clear();
        for number in numbers {
            let Some(words) = blocks.get(number).map(whole_words) else {
                continue;
            };
            if self.together.is_none() || words.len() > BYTE_MAX {
                self.alone.push(number);
            } else if !words.is_empty() && *copied < SEARCHED_BYTE_MAX {
                *copied += words.len();
                self.questions.push(Question {
                    from: Address::new(words.start),
                    byte_count: words.len(),
                    asker: number,
                });
            }
        }
        if let Some(together) = &mut self.together {
            let (words, alone) = (&mut self.words, &mut self.alone);
            together.ask(&mut self.questions, |number, bytes| match bytes {
                Some(bytes) => {
                    words.clear();
                    words.extend(peek::words(bytes));
                    look(number, words);
                }
                None => alone.push(number),
            });
        }
        for number in std::mem::take(&mut self.alone) {
            if let Some(block) = blocks.get(number) {
                self.read_alone(whole_words(block), copied, |words| look(number, words));
            }
        }
    }

    fn read_alone(
        &mut self,
        block: Range<usize>,
        copied: &mut usize,
        mut look: impl FnMut(&[usize]),
    ) {
        self.bytes.resize(CHUNK_BYTES, 0);
        for place in block.clone().step_by(CHUNK_BYTES) {
            if *copied >= SEARCHED_BYTE_MAX {
                return;
            }
            let length = (block.end - place).min(CHUNK_BYTES);
            *copied += length;
            if let Some(bytes) = self.bytes.get_mut(..length)
                && peek(Address::new(place), bytes)
            {
                self.words.clear();
                self.words.extend(peek::words(bytes));
                look(&self.words);
            }
        }
    }
}

/// From the first word of a block to the end of its last.
fn whole_words(block: &Range<usize>) -> Range<usize> {
    let start = block.start.next_multiple_of(WORD);
    start..start.max(block.end / WORD * WORD)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    #![expect(unsafe_code, reason = "gives address space back")]

    use super::*;
    use crate::memory::pages;
    use std::collections::BTreeMap;

    fn read(blocks: &[Range<usize>], copied: &mut usize) -> BTreeMap<usize, Vec<usize>> {
        let mut seen: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        BlockWords::default().each(blocks, copied, &mut |number, words| {
            seen.entry(number).or_default().extend(words);
        });
        seen
    }

    #[test]
    fn every_block_gives_its_whole_words_however_many_and_large_they_are() {
        let memory: Vec<usize> = (0..100_000).collect();
        let at = |word: usize| memory.as_ptr().addr() + word * WORD;
        let mut blocks: Vec<_> = (0..3 * BLOCK_COUNT_MAX)
            .map(|number| at(number * 5)..at(number * 5) + 3 * WORD + number % WORD)
            .collect();
        // Not aligned, without a whole word, too large for company, and larger than a copy.
        blocks.extend([at(700) + 3..at(703), at(710) + 1..at(711) + 2]);
        blocks.extend([at(1_000)..at(5_000), at(10_000)..at(90_000)]);
        let mut copied = 0;
        let seen = read(&blocks, &mut copied);
        let few = 3 * BLOCK_COUNT_MAX;
        for number in 0..few {
            assert_eq!(seen[&number], [5 * number, 5 * number + 1, 5 * number + 2]);
        }
        assert_eq!(seen[&few], [701, 702]);
        assert_eq!(seen.get(&(few + 1)), None);
        assert_eq!(seen[&(few + 2)], (1_000..5_000).collect::<Vec<_>>());
        assert_eq!(seen[&(few + 3)], (10_000..90_000).collect::<Vec<_>>());
        assert_eq!(copied, (few * 3 + 2 + 4_000 + 80_000) * WORD);
    }

    #[test]
    fn a_block_that_cannot_be_read_takes_no_other_with_it() {
        let gone = pages::set_aside(PAGE).expect("address space");
        let memory = [1_usize, 2, 3, 4];
        let at = |word: usize| memory.as_ptr().addr() + word * WORD;
        let lost = gone.addr().get();
        let blocks = [at(0)..at(1), lost..lost + WORD, at(1)..at(3), at(3)..at(4)];
        let seen = read(&blocks, &mut 0);
        let expected = [(0, vec![1]), (2, vec![2, 3]), (3, vec![4])];
        assert_eq!(seen, BTreeMap::from(expected));
        // SAFETY: mapped above, and nobody else knows of it.
        assert!(unsafe { pages::unmap(gone, PAGE) });
    }

    #[test]
    fn no_more_is_copied_than_a_search_may() {
        let memory = [1_usize; 8];
        let start = memory.as_ptr().addr();
        let mut copied = SEARCHED_BYTE_MAX;
        assert!(read(std::slice::from_ref(&(start..start + 64)), &mut copied).is_empty());
        assert_eq!(copied, SEARCHED_BYTE_MAX);
    }
}
