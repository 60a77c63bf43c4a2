//! Where blocks were allocated whose pointer ctypes dropped after it had copied the text.

use super::Tracker;
use crate::ledger::StackId;
use crate::memory::Address;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Stacks that are kept; what finds no room is counted.
#[cfg(not(test))]
const STACK_COUNT_MAX: usize = 1_024;
#[cfg(test)]
const STACK_COUNT_MAX: usize = 4;

/// A set of stacks that only grows.
#[derive(Debug)]
pub(super) struct CopiedResults {
    stacks: [AtomicU32; STACK_COUNT_MAX],
    dropped: AtomicU64,
}

impl Default for CopiedResults {
    fn default() -> Self {
        Self {
            stacks: [const { AtomicU32::new(0) }; STACK_COUNT_MAX],
            dropped: AtomicU64::new(0),
        }
    }
}

impl CopiedResults {
    fn add(&self, stack: StackId) {
        if !stack.is_known() {
            return;
        }
        for place in self.places(stack) {
            let taken = place.compare_exchange(0, stack.0, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() || taken == Err(stack.0) {
                return;
            }
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn contains(&self, stack: StackId) -> bool {
        stack.is_known()
            && self
                .places(stack)
                .map(|place| place.load(Ordering::Acquire))
                .take_while(|&held| held != 0)
                .any(|held| held == stack.0)
    }

    /// Every place, beginning with the one that is the stack's own.
    fn places(&self, stack: StackId) -> impl Iterator<Item = &AtomicU32> {
        let own = usize::try_from(stack.0).unwrap_or(0) % STACK_COUNT_MAX;
        let (before, after) = self.stacks.split_at(own);
        after.iter().chain(before)
    }
}

impl Tracker {
    /// Notes that ctypes has copied the text in a block and dropped the pointer to it. Called with
    /// the reentry flag up.
    pub fn note_copied_result(&self, block: Address) {
        if let Some(record) = self.ledger.find(block).and_then(|found| found.read()) {
            self.copied_results.add(record.allocated);
        }
    }

    /// Whether the pointers to blocks allocated at a stack were dropped so.
    #[must_use]
    pub fn is_copied_result(&self, allocated: StackId) -> bool {
        self.copied_results.contains(allocated)
    }

    /// Stacks that found no room.
    #[must_use]
    pub fn dropped_copied_result_count(&self) -> u64 {
        self.copied_results.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_kept_until_there_is_no_room() {
        let copied = CopiedResults::default();
        assert!(!copied.contains(StackId(3)));
        for stack in [3, 7, 3, 11, 8] {
            copied.add(StackId(stack));
        }
        for stack in [3, 7, 11, 8] {
            assert!(copied.contains(StackId(stack)), "{stack}");
        }
        copied.add(StackId(12));
        assert!(!copied.contains(StackId(12)) && !copied.contains(StackId::UNKNOWN));
        assert_eq!(copied.dropped.load(Ordering::Relaxed), 1);
    }
}
