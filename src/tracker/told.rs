//! Writes that were told of when they were made: what they left around and in the block is not told a
//! second time when it is looked at.

use super::Tracker;
use crate::detect::FindingKind;
use crate::ledger::BlockRecord;
use crate::ledger::word::Word;
use crate::memory::sync::{AtomicU64, AtomicUsize, Ordering};

/// Writes that are kept; the oldest is forgotten, and then told again.
const TOLD_COUNT_MAX: usize = 64;

/// The lives of the blocks that were written to, and what the writes were. Takes no lock, for the signal
/// handler adds to it.
#[derive(Debug)]
pub(super) struct ToldWrites {
    keys: [AtomicU64; TOLD_COUNT_MAX],
    turn: AtomicUsize,
}

impl Default for ToldWrites {
    fn default() -> Self {
        Self {
            keys: [const { AtomicU64::new(0) }; TOLD_COUNT_MAX],
            turn: AtomicUsize::new(0),
        }
    }
}

impl ToldWrites {
    fn add(&self, key: u64) {
        if !self.contains(key) {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            if let Some(place) = self.keys.get(turn % TOLD_COUNT_MAX) {
                place.store(key, Ordering::Relaxed);
            }
        }
    }

    fn contains(&self, key: u64) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|place| place.load(Ordering::Relaxed) == key)
    }
}

impl Tracker {
    /// Notes that a write to a block, or beside it, was told of.
    pub(super) fn note_told(&self, record: &BlockRecord, kind: FindingKind) {
        if let Some(key) = self.key_of(record, kind) {
            self.told_writes.add(key);
        }
    }

    /// Whether damage of this kind to a block comes from a write that was told of.
    pub(super) fn was_told(&self, record: &BlockRecord, kind: FindingKind) -> bool {
        let key = self.key_of(record, kind);
        key.is_some_and(|key| self.told_writes.contains(key))
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
        for key in keys.clone() {
            told.add(key);
            told.add(key);
        }
        let kept: Vec<_> = keys.filter(|&key| told.contains(key)).collect();
        assert_eq!(kept.len(), TOLD_COUNT_MAX, "each once");
        assert!(!kept.contains(&1), "the oldest had to go");
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
