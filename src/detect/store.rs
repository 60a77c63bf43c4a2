//! What was found so far: deduplicated, counted, limited.

use super::finding::{Finding, FindingKind, PointerPlace};
use crate::ledger::StackId;
use crate::memory::lock::Lock;
use crate::memory::reserve;
use std::collections::HashMap;
use std::sync::MutexGuard;

/// Different findings kept; further ones are only counted.
#[cfg(not(test))]
pub const FINDING_COUNT_MAX: usize = 10_000;
/// Tests reach the limit.
#[cfg(test)]
pub const FINDING_COUNT_MAX: usize = 4;

/// What makes two findings the same: the kind and the stacks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    kind: FindingKind,
    place: PointerPlace,
    allocated: StackId,
    released: StackId,
    here: StackId,
}

#[derive(Debug, Default)]
struct Shelf {
    findings: Vec<Finding>,
    index: HashMap<Key, usize>,
    counts: [u64; FindingKind::ALL.len()],
    next_sequence: u64,
    left_out: u64,
}

/// The findings of the process. Errors are rare, so one lock serves.
#[derive(Debug, Default)]
pub struct FindingStore {
    shelf: Lock<Shelf>,
}

/// Proof that nobody is changing the findings, for the time of a fork.
#[derive(Debug)]
pub struct HeldFindings<'a> {
    _guard: MutexGuard<'a, Shelf>,
}

impl FindingStore {
    /// Keeps everybody else out until the result is dropped.
    pub fn hold(&self) -> HeldFindings<'_> {
        HeldFindings {
            _guard: self.shelf.lock(),
        }
    }

    /// Adds a finding, or counts it where it is known already. Returns whether it is new.
    pub fn add(&self, finding: &Finding) -> bool {
        let mut shelf = self.shelf.lock();
        if let Some(count) = shelf.counts.get_mut(finding.kind as usize) {
            *count += 1;
        }
        shelf.next_sequence += 1;
        let sequence = shelf.next_sequence;
        let key = key_of(finding);
        if let Some(known) = shelf.index.get(&key).copied() {
            if let Some(known) = shelf.findings.get_mut(known) {
                known.sequence = sequence;
                known.count += finding.count;
                known.bytes += finding.bytes;
                known.blocks += finding.blocks;
            }
            return false;
        }
        if shelf.findings.len() >= FINDING_COUNT_MAX || reserve::is_low() {
            shelf.left_out += 1;
            return false;
        }
        let place = shelf.findings.len();
        shelf.findings.push(Finding {
            sequence,
            ..*finding
        });
        shelf.index.insert(key, place);
        true
    }

    /// Makes a stored finding the newest again, without counting it: what it left behind was noticed by
    /// somebody who asks what was found since.
    pub fn bring_up(&self, kind: FindingKind, allocated: StackId, here: StackId) {
        let mut shelf = self.shelf.lock();
        shelf.next_sequence += 1;
        let sequence = shelf.next_sequence;
        let is_meant = |finding: &&mut Finding| {
            let block = finding.block.map(|block| block.allocated);
            (finding.kind, finding.here, block) == (kind, here, Some(allocated))
        };
        if let Some(known) = shelf.findings.iter_mut().find(is_meant) {
            known.sequence = sequence;
        }
    }

    /// The findings that occurred after `sequence`, in the order in which they were first seen.
    /// Their counts are those of all occurrences.
    pub fn since(&self, sequence: u64) -> Vec<Finding> {
        let shelf = self.shelf.lock();
        shelf
            .findings
            .iter()
            .filter(|finding| finding.sequence > sequence)
            .copied()
            .collect()
    }

    /// The sequence number of the newest occurrence.
    pub fn latest(&self) -> u64 {
        self.shelf.lock().next_sequence
    }

    /// Occurrences by kind, in the order of [`FindingKind::ALL`].
    pub fn counts(&self) -> [u64; FindingKind::ALL.len()] {
        self.shelf.lock().counts
    }

    /// How often a release of a pointer inside a block that was allocated here was refused.
    pub fn interior_release_count(&self, allocated: StackId) -> u64 {
        let shelf = self.shelf.lock();
        let of_such_a_block = |finding: &&Finding| {
            finding.kind == FindingKind::InvalidFree
                && finding.place == PointerPlace::Interior
                && finding
                    .block
                    .is_some_and(|block| block.allocated == allocated)
        };
        let found = shelf.findings.iter().filter(of_such_a_block);
        found.map(|finding| finding.count).sum()
    }

    /// Different findings that found no room.
    pub fn dropped_count(&self) -> u64 {
        self.shelf.lock().left_out
    }
}

fn key_of(finding: &Finding) -> Key {
    let (allocated, released) = finding
        .block
        .map_or((StackId::UNKNOWN, StackId::UNKNOWN), |block| {
            (block.allocated, block.released)
        });
    Key {
        kind: finding.kind,
        place: finding.place,
        allocated,
        released,
        here: if finding.is_noticed_by_chance() {
            StackId::UNKNOWN
        } else {
            finding.here
        },
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::diagnose::{Occurrence, impossible_size};
    use super::super::finding::BlockFacts;
    use super::*;
    use crate::ledger::{BlockState, FamilyId, ThreadNumber};
    use crate::memory::{Address, ByteCount};

    fn finding(here: u32) -> Finding {
        let at = Occurrence {
            here: StackId(here),
            thread: ThreadNumber(1),
        };
        impossible_size(ByteCount::new(usize::MAX), FamilyId::MALLOC, at)
    }

    fn block(allocated: u32) -> BlockFacts {
        BlockFacts {
            address: Address::new(64),
            size: ByteCount::new(48),
            state: BlockState::Live,
            family: FamilyId::MALLOC,
            allocated_by: ThreadNumber(1),
            released_by: ThreadNumber(0),
            allocated: StackId(allocated),
            released: StackId::UNKNOWN,
            handed_to_python: false,
        }
    }

    #[test]
    fn the_same_finding_is_counted_not_repeated() {
        let store = FindingStore::default();
        assert!(store.add(&finding(1)));
        assert!(!store.add(&finding(1)));
        assert!(store.add(&finding(2)));
        let all = store.since(0);
        assert_eq!(
            all.iter().map(|finding| finding.count).collect::<Vec<_>>(),
            [2, 1]
        );
        assert_eq!(store.counts()[FindingKind::SizeOverflow as usize], 3);
        assert_eq!(store.since(2).len(), 1, "the first did not occur again");
        assert_eq!(store.latest(), 3);
        store.add(&finding(1));
        assert_eq!(store.since(3).len(), 1, "now it did");
    }

    #[test]
    fn a_finding_that_is_brought_up_is_new_and_not_counted_again() {
        let store = FindingStore::default();
        let write = Finding {
            kind: FindingKind::HeapOverflow,
            block: Some(block(7)),
            ..finding(3)
        };
        store.add(&write);
        let before = store.latest();
        store.bring_up(FindingKind::HeapOverflow, StackId(8), StackId(3));
        assert!(store.since(before).is_empty(), "another block's");
        store.bring_up(FindingKind::HeapOverflow, StackId(7), StackId(3));
        let again = store.since(before);
        assert_eq!(again.iter().map(|it| it.count).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn beyond_the_limit_findings_are_counted_as_dropped() {
        let store = FindingStore::default();
        for here in 0..7 {
            store.add(&finding(here));
        }
        assert_eq!(store.since(0).len(), FINDING_COUNT_MAX);
        assert_eq!(store.dropped_count(), 3);
        assert_eq!(store.counts()[FindingKind::SizeOverflow as usize], 7);
    }

    #[test]
    fn releases_inside_a_block_are_counted_by_where_it_was_allocated() {
        let inside = |allocated: u32, place| Finding {
            kind: FindingKind::InvalidFree,
            place,
            block: Some(block(allocated)),
            ..finding(1)
        };
        let store = FindingStore::default();
        store.add(&inside(7, PointerPlace::Interior));
        store.add(&inside(7, PointerPlace::Interior));
        store.add(&inside(8, PointerPlace::Interior));
        store.add(&inside(7, PointerPlace::Stack));
        assert_eq!(store.interior_release_count(StackId(7)), 2);
        assert_eq!(store.interior_release_count(StackId(9)), 0);
    }
}
