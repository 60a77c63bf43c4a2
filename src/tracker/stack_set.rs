//! Sets of stacks that only grow: what was learned of the blocks allocated there.

use crate::ledger::StackId;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Stacks that are kept; what finds no room is counted.
#[cfg(not(test))]
const STACK_COUNT_MAX: usize = 1_024;
#[cfg(test)]
const STACK_COUNT_MAX: usize = 4;

/// A set of stacks that only grows. Any thread may add to it, without a lock.
#[derive(Debug)]
pub(super) struct StackSet {
    stacks: [AtomicU32; STACK_COUNT_MAX],
    dropped: AtomicU64,
}

impl Default for StackSet {
    fn default() -> Self {
        Self {
            stacks: [const { AtomicU32::new(0) }; STACK_COUNT_MAX],
            dropped: AtomicU64::new(0),
        }
    }
}

impl StackSet {
    /// Adds a stack, unless it is unknown or there is no room.
    pub(super) fn add(&self, stack: StackId) {
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

    /// Whether a stack was added.
    pub(super) fn contains(&self, stack: StackId) -> bool {
        stack.is_known()
            && self
                .places(stack)
                .map(|place| place.load(Ordering::Acquire))
                .take_while(|&held| held != 0)
                .any(|held| held == stack.0)
    }

    /// Stacks that found no room.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Every place, beginning with the one that is the stack's own.
    fn places(&self, stack: StackId) -> impl Iterator<Item = &AtomicU32> {
        let own = usize::try_from(stack.0).unwrap_or(0) % STACK_COUNT_MAX;
        let (before, after) = self.stacks.split_at(own);
        after.iter().chain(before)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_kept_until_there_is_no_room() {
        let set = StackSet::default();
        assert!(!set.contains(StackId(3)));
        for stack in [3, 7, 3, 11, 8] {
            set.add(StackId(stack));
        }
        for stack in [3, 7, 11, 8] {
            assert!(set.contains(StackId(stack)), "{stack}");
        }
        set.add(StackId(12));
        assert!(!set.contains(StackId(12)) && !set.contains(StackId::UNKNOWN));
        assert_eq!(set.dropped_count(), 1);
    }
}
