//! References that are stored as distances: from the beginning of the block that holds one, or from
//! the word itself. A library does that with what it also maps from files: fontconfig's patterns find
//! their elements so, and its character sets their pages.
//!
//! A small number is easily the distance to some block, so a distance must lead exactly to the
//! beginning of a block that nothing else leads to, that block and the one that holds the distance
//! must have been allocated by the same library, and the same must hold for every such block of the
//! same stack. Of ten blocks that a loop has lost, one that a number seems to lead to stays lost.

use super::references::{Search, is_handed};
use crate::capture::Capture;
use crate::detect::reach::Holding;
use crate::ledger::{BlockRecord, StackId};
use crate::memory::Address;
use std::collections::{HashMap, HashSet};

const WORD: usize = size_of::<usize>();
/// How often all blocks are looked through: what is found may itself hold distances.
const ROUND_COUNT_MAX: usize = 8;

/// The blocks that nothing leads to, and what distances lead to.
#[derive(Debug, Default)]
struct Distances {
    lost: HashMap<usize, StackId>,
    found: HashMap<usize, Holding>,
}

impl Distances {
    /// Looks at the words of a block that starts at `start`; `is_related` says whether a lost block of
    /// some stack comes from the same library.
    fn look(
        &mut self,
        start: usize,
        words: &[usize],
        holding: Holding,
        is_related: impl Fn(StackId) -> bool,
    ) {
        for (index, &word) in words.iter().enumerate().filter(|&(_, &word)| word != 0) {
            let bases = [start, start + index * WORD];
            for target in bases.map(|base| base.wrapping_add(word)) {
                if let Some(&stack) = self.lost.get(&target)
                    && is_related(stack)
                {
                    self.found.entry(target).or_insert(holding);
                }
            }
        }
    }

    /// What was found, but for the blocks of stacks of which some were not.
    fn whole_groups(&self) -> impl Iterator<Item = (Address, Holding)> + '_ {
        let missed = self
            .lost
            .iter()
            .filter(|(start, _)| !self.found.contains_key(start));
        let missed: HashSet<StackId> = missed.map(|(_, &stack)| stack).collect();
        let is_whole = move |start: &usize| {
            self.lost
                .get(start)
                .is_some_and(|stack| !missed.contains(stack))
        };
        let found = self.found.iter().filter(move |(start, _)| is_whole(start));
        found.map(|(&start, &holding)| (Address::new(start), holding))
    }
}

impl Search {
    /// Reaches what distances lead to: of the blocks in question among `all` what nothing has led to
    /// so far and nobody was handed.
    pub(super) fn follow_distances(
        &mut self,
        capture: &Capture,
        all: &[&BlockRecord],
        is_in_question: impl Fn(&BlockRecord) -> bool,
    ) {
        for _ in 0..ROUND_COUNT_MAX {
            let mut distances = Distances::default();
            let mut others = Vec::new();
            for &block in all {
                match self.holding(block) {
                    Holding::Unknown if !is_in_question(block) => {
                        others.push((block, Holding::Elsewhere));
                    }
                    Holding::Unknown if is_handed(block) => {
                        others.push((block, Holding::OtherLeak));
                    }
                    Holding::Unknown => {
                        let start = block.address.get();
                        distances.lost.insert(start, block.allocated);
                    }
                    known => others.push((block, known)),
                }
            }
            if distances.lost.is_empty() || !self.reach_by(&mut distances, capture, others) {
                return;
            }
            self.follow(Holding::Elsewhere);
        }
    }

    /// Looks through blocks for distances; whether any lost block was reached.
    fn reach_by(
        &mut self,
        distances: &mut Distances,
        capture: &Capture,
        others: Vec<(&BlockRecord, Holding)>,
    ) -> bool {
        let mut words = Vec::new();
        for (block, holding) in others {
            words.clear();
            self.words_of(block.range(), &mut words);
            let is_related = |stack| capture.are_by_one_module(stack, block.allocated);
            distances.look(block.address.get(), &words, holding, is_related);
        }
        let mut is_any_reached = false;
        for (start, holding) in distances.whole_groups() {
            self.reach(start, holding);
            is_any_reached = true;
        }
        is_any_reached
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const KEPT: Holding = Holding::Elsewhere;

    fn lost(blocks: &[(usize, u32)]) -> Distances {
        Distances {
            lost: blocks
                .iter()
                .map(|&(start, stack)| (start, StackId(stack)))
                .collect(),
            found: HashMap::new(),
        }
    }

    fn found(distances: &Distances) -> Vec<usize> {
        let mut all: Vec<usize> = distances
            .whole_groups()
            .map(|(start, _)| start.get())
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_distance_counts_from_the_block_and_from_the_word() {
        let mut distances = lost(&[(0x5000, 1), (0x900, 2), (0x7000, 3)]);
        let backwards = 0x900_usize.wrapping_sub(0x1010);
        let words = [0x7, 0x4000, backwards, 0x7000, 0x6008];
        distances.look(0x1000, &words, KEPT, |_| true);
        assert_eq!(found(&distances), [0x900, 0x5000]);
    }

    #[test]
    fn a_distance_to_somebody_elses_block_is_a_number() {
        let mut distances = lost(&[(0x5000, 1), (0x6000, 2)]);
        distances.look(0x1000, &[0x4000, 0x5000], KEPT, |stack| stack == StackId(2));
        assert_eq!(found(&distances), [0x6000]);
    }

    #[test]
    fn all_blocks_of_a_stack_must_be_led_to() {
        let mut distances = lost(&[(0x5000, 1), (0x6000, 1)]);
        distances.look(0x1000, &[0x4000], KEPT, |_| true);
        assert!(found(&distances).is_empty());
        distances.look(0x2000, &[0x4000], KEPT, |_| true);
        assert_eq!(found(&distances), [0x5000, 0x6000]);
    }
}
