//! Looking for damage now, in every recorded block.

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::{diagnose, redzone};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState};
use crate::memory::peek::peek;
use crate::memory::reentry::OurOwnWork;

/// What a look at every block found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Verification {
    /// Blocks looked at.
    pub block_count: u64,
    /// Blocks with damage; each is a finding.
    pub damaged_count: u64,
    /// Blocks that could not be read.
    pub unreadable_count: u64,
}

impl Tracker {
    /// Verifies the redzone of every live block and the pattern in every withheld one. Other
    /// threads may go on meanwhile: a block that changes hands during the look is left out.
    pub fn verify(&self, place: EventPlace) -> Verification {
        let _ours = OurOwnWork::begin();
        let mut seen = Verification::default();
        for (ticket, record) in self.ledger.held_blocks() {
            let Some((offset_of_damage, is_inside)) = look(&record, &mut seen) else {
                continue;
            };
            let unchanged = self.ledger.read(ticket).is_some_and(|now| now == record);
            if !unchanged || !self.ledger.flag_once(ticket, flag::DAMAGE_REPORTED) {
                continue;
            }
            seen.damaged_count += 1;
            let at = self.occurrence(place);
            if is_inside {
                self.found(&diagnose::write_after_free(&record, offset_of_damage, at));
            } else {
                self.found(&diagnose::overflow(&record, offset_of_damage, at));
            }
        }
        seen
    }
}

/// The offset of the first damaged byte, and whether it lies inside the block.
fn look(record: &BlockRecord, seen: &mut Verification) -> Option<(usize, bool)> {
    let is_inside = record.state == BlockState::Quarantined;
    if !is_inside && record.flags & flag::REDZONE == 0 {
        return None;
    }
    seen.block_count += 1;
    let mut bytes = [0; redzone::POISON_BYTE_MAX];
    let (start, length) = if is_inside {
        (0, redzone::poisoned_byte_count(record.size))
    } else {
        (record.size.get(), redzone::REDZONE_BYTE_COUNT)
    };
    let bytes = bytes.get_mut(..length)?;
    if !peek(record.address.offset_by(start), bytes) {
        seen.unreadable_count += 1;
        return None;
    }
    let damage = if is_inside {
        redzone::broken_poison(bytes)
    } else {
        redzone::broken_redzone(bytes)
    };
    damage.map(|position| (start + position, is_inside))
}
