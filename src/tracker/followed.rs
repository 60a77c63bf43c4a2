//! A process that dies of an address which it read from released memory: the pattern that fills such
//! memory stands in a register.
//!
//! Which block it was read from is not on record; the pointer to it is most likely still at hand: in a
//! register, in what a register points at (an object with the pointer in it, such as one of ctypes), or
//! the same with the words on top of the stack.

use super::Tracker;
use crate::detect::{diagnose, poison};
use crate::ledger::{BlockRecord, BlockState, StackId};
use crate::memory::Address;
use crate::memory::peek::{peek, words};

/// Words of the stack that are looked at.
const STACK_WORD_COUNT: usize = 128;
/// Words of what such a word points at.
const TARGET_WORD_COUNT: usize = 16;
const WORD: usize = size_of::<usize>();

impl Tracker {
    /// Reports that the process dies, `here`, of following such a word, if it does. `registers` are those
    /// of the thread when it was interrupted. Called with the reentry flag up.
    #[cold]
    pub fn report_followed(&self, registers: &[usize], stack_pointer: usize, here: StackId) {
        let is_from_released = |word: &&usize| poison::is_from_released(**word);
        let Some(&word) = registers.iter().find(is_from_released) else {
            return;
        };
        let mut stack = [0; STACK_WORD_COUNT * WORD];
        let stack: Vec<usize> = if peek(Address::new(stack_pointer), &mut stack) {
            words(&stack).collect()
        } else {
            Vec::new()
        };
        let block = [registers, &stack]
            .into_iter()
            .find_map(|at_hand| self.read_from(at_hand));
        let at = self.death_at(here);
        self.found(&diagnose::followed(Address::new(word), block.as_ref(), at));
    }

    /// The first withheld block that one of `at_hand` points into, or else one of what they point at.
    fn read_from(&self, at_hand: &[usize]) -> Option<BlockRecord> {
        let direct = at_hand.iter().find_map(|&word| self.withheld_at(word));
        direct.or_else(|| {
            at_hand.iter().find_map(|&word| {
                let mut target = [0; TARGET_WORD_COUNT * WORD];
                let is_place = word.is_multiple_of(WORD) && peek(Address::new(word), &mut target);
                is_place
                    .then(|| words(&target).find_map(|word| self.withheld_at(word)))
                    .flatten()
            })
        })
    }

    fn withheld_at(&self, word: usize) -> Option<BlockRecord> {
        let block = self.ledger.containing(Address::new(word))?;
        (block.state == BlockState::Quarantined).then_some(block)
    }
}
