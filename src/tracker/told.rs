//! Writes that were told of when they were made: what they left around and in the block is not told a
//! second time when it is looked at. Who asks then what has been found gets the finding that was.

use super::Tracker;
use crate::detect::FindingKind;
use crate::ledger::word::Word;
use crate::ledger::{BlockRecord, StackId};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Writes that are kept; the oldest is forgotten, and then told again.
const TOLD_COUNT_MAX: usize = 64;

/// One write: the life of the block and what it was, and where it was made.
#[derive(Debug)]
struct Told {
    key: AtomicU64,
    here: AtomicU32,
}

/// The last writes that were told of. Takes no lock, for the signal handler adds to it.
#[derive(Debug)]
pub(super) struct ToldWrites {
    writes: [Told; TOLD_COUNT_MAX],
    turn: AtomicUsize,
}

impl Default for ToldWrites {
    fn default() -> Self {
        let none = |_| Told {
            key: AtomicU64::new(0),
            here: AtomicU32::new(0),
        };
        Self {
            writes: std::array::from_fn(none),
            turn: AtomicUsize::new(0),
        }
    }
}

impl ToldWrites {
    fn add(&self, key: u64, here: StackId) {
        if self.get(key).is_some() {
            return;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = self.writes.get(turn % TOLD_COUNT_MAX) {
            place.here.store(here.0, Ordering::Relaxed);
            place.key.store(key, Ordering::Release);
        }
    }

    fn get(&self, key: u64) -> Option<StackId> {
        let mut writes = self.writes.iter();
        let place = writes.find(|place| place.key.load(Ordering::Acquire) == key)?;
        Some(StackId(place.here.load(Ordering::Relaxed)))
    }
}

impl Tracker {
    /// Notes that a write to a block, or beside it, was told of as made `here`.
    pub(super) fn note_told(&self, record: &BlockRecord, kind: FindingKind, here: StackId) {
        if let Some(key) = self.key_of(record, kind) {
            self.told_writes.add(key, here);
        }
    }

    /// Where the write was made that was told of, when damage of this kind to a block comes from one.
    pub(super) fn told_at(&self, record: &BlockRecord, kind: FindingKind) -> Option<StackId> {
        self.told_writes.get(self.key_of(record, kind)?)
    }

    fn key_of(&self, record: &BlockRecord, kind: FindingKind) -> Option<u64> {
        let found = self.ledger.find(record.address)?;
        Some(key(found.ticket().word, kind))
    }
}

/// A life leaves the bits of the state free.
fn key(word: Word, kind: FindingKind) -> u64 {
    let kind = match kind {
        FindingKind::HeapOverflow => 1,
        FindingKind::HeapUnderflow => 2,
        _ => 3,
    };
    word.life_with(kind)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let told = ToldWrites::default();
        let keys = 1..=TOLD_COUNT_MAX as u64 + 1;
        for (key, stack) in keys.clone().zip(1..) {
            told.add(key, StackId(stack));
            told.add(key, StackId(stack));
        }
        let kept: Vec<_> = keys.filter_map(|key| told.get(key)).collect();
        assert_eq!(kept.len(), TOLD_COUNT_MAX, "each once");
        assert!(!kept.contains(&StackId(1)), "the oldest had to go");
        assert_eq!(told.get(2), Some(StackId(2)));
    }

    #[test]
    fn a_write_is_of_one_kind_in_one_life_whatever_the_state() {
        let word = |generation: u64, state: u64| {
            Word::from_bits(generation << 50 | state << 47 | 0x7f00_0000_1fe0)
        };
        let told = key(word(3, 1), FindingKind::HeapOverflow);
        assert_eq!(told, key(word(3, 2), FindingKind::HeapOverflow));
        assert_ne!(told, key(word(4, 1), FindingKind::HeapOverflow));
        assert_ne!(told, key(word(3, 1), FindingKind::HeapUnderflow));
        assert_ne!(told, key(word(3, 1), FindingKind::UseAfterFree));
    }
}
