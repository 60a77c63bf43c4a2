//! Guarded blocks beside which a write was seen at its instruction: the bytes that it left between the block and
//! the closed page are not told a second time when they are looked at.

use crate::detect::FindingKind;
use crate::detect::damage::Damage;
use crate::memory::Address;
use crate::memory::sync::{AtomicU32, AtomicUsize, Ordering};

/// Writes that are kept; the oldest is forgotten, and then told again.
const OVERRUN_COUNT_MAX: usize = 64;

/// The blocks and sides of the last writes. Takes no lock, for the signal handler adds to it.
#[derive(Debug)]
pub(super) struct Overruns {
    /// A block's address, which is aligned, and which side of it.
    places: [AtomicUsize; OVERRUN_COUNT_MAX],
    turn: AtomicU32,
}

impl Default for Overruns {
    fn default() -> Self {
        Self {
            places: [const { AtomicUsize::new(0) }; OVERRUN_COUNT_MAX],
            turn: AtomicU32::new(0),
        }
    }
}

impl Overruns {
    /// Notes a write past the end of a block, or before its start.
    pub(super) fn note(&self, block: Address, kind: FindingKind) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(place) = self.places.get(turn % OVERRUN_COUNT_MAX) {
            place.store(key(block, kind), Ordering::Relaxed);
        }
    }

    /// What of the damage around a block has not been told.
    pub(super) fn untold(&self, block: Address, damage: Damage) -> Damage {
        let is_told = |kind| {
            let key = key(block, kind);
            let mut places = self.places.iter();
            places.any(|place| place.load(Ordering::Relaxed) == key)
        };
        Damage {
            before: damage
                .before
                .filter(|_| !is_told(FindingKind::HeapUnderflow)),
            behind: damage
                .behind
                .filter(|_| !is_told(FindingKind::HeapOverflow)),
            inside: damage.inside,
        }
    }

    /// Forgets a block whose place another has now.
    pub(super) fn forget(&self, block: Address) {
        for kind in [FindingKind::HeapOverflow, FindingKind::HeapUnderflow] {
            for place in &self.places {
                // An error means that it is another block's.
                let _ = place.compare_exchange(
                    key(block, kind),
                    0,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
        }
    }
}

fn key(block: Address, kind: FindingKind) -> usize {
    block.get() | usize::from(kind == FindingKind::HeapUnderflow)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::detect::imprint::Imprint;
    use crate::detect::poison::Broken;

    #[test]
    fn one_side_of_one_block_is_told_until_its_place_is_anothers() {
        let block = Address::new(0x7f00_0000_1fe0);
        let before = Broken {
            distance: 4,
            imprint: Imprint::of(&[1], |_| 0),
        };
        let damage = Damage {
            before: Some(before),
            ..Damage::default()
        };
        let overruns = Overruns::default();
        overruns.note(block, FindingKind::HeapOverflow);
        assert!(overruns.untold(block, damage).is_any(), "the other side");
        overruns.note(block, FindingKind::HeapUnderflow);
        assert!(!overruns.untold(block, damage).is_any());
        assert!(overruns.untold(Address::new(0x10), damage).is_any());
        overruns.forget(block);
        assert!(overruns.untold(block, damage).is_any());
    }
}
