//! The time between two sessions, when releases pass unseen.
//!
//! A block that is live when the watch ends stays known: it may be asked for, and reported. But it
//! may be released and its memory used again without our hearing of it, so from then on nothing is
//! concluded from what lies around it, and when the watch begins again it is forgotten.

use super::Tracker;
use crate::capture::EventPlace;
use crate::ledger::record::flag;
use crate::ledger::transition::Event;
use crate::ledger::{BlockRecord, FamilyId, StackId};
use crate::memory::reentry::OurOwnWork;

impl Tracker {
    /// Ends the watch over releases: damage is looked for once more, and not afterwards.
    pub fn end_watch(&self) {
        self.verify(EventPlace::UNKNOWN);
        let _ours = OurOwnWork::begin();
        for record in self.ledger.live_blocks().filter(is_released_by_others) {
            if let Some(found) = self.ledger.find(record.address) {
                found.set_flags(found.flags() & !flag::REDZONE);
            }
        }
    }

    /// Begins the watch anew: blocks from before may have gone unseen.
    pub fn begin_watch(&self) {
        let _ours = OurOwnWork::begin();
        for record in self.ledger.live_blocks().filter(is_released_by_others) {
            if let Some(found) = self.ledger.find(record.address) {
                // An error means that somebody else has just released it.
                let _ = self
                    .ledger
                    .release(&found, Event::GiveBack, StackId::UNKNOWN);
            }
        }
    }

    /// Whether the program holds blocks between guard pages, which only we can release.
    #[must_use]
    pub fn has_guarded_blocks(&self) -> bool {
        let mut live = self.ledger.live_blocks();
        live.any(|record| record.flags & flag::GUARDED != 0)
    }
}

/// Whether a block came from an intercepted function, so that the C library may release it.
fn is_released_by_others(record: &BlockRecord) -> bool {
    matches!(
        record.family,
        FamilyId::MALLOC | FamilyId::NEW | FamilyId::NEW_ARRAY
    ) && record.flags & (flag::GUARDED | flag::ADOPTED) == 0
}
