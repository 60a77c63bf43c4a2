//! Looking for damage now, in every recorded block.

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::damage;
use crate::detect::imprint::MomentKind;
use crate::ledger::record::flag;
use crate::memory::reentry::OurOwnWork;
use crate::memory::sync::Ordering;

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
    /// Verifies everything when the option `check_every` says that it is time.
    #[inline]
    pub(super) fn check_in_turn(&self, place: &EventPlace) {
        if self.session.is_time_to_check() {
            self.verify(MomentKind::Check, place);
        }
    }

    /// Verifies what lies around every live block, and around and in every withheld one. Other
    /// threads may go on meanwhile: a block that changes hands during the look is left out, and so is
    /// one that is doubtful after it (`watch`).
    pub fn verify(&self, moment: MomentKind, place: &EventPlace) -> Verification {
        let _ours = OurOwnWork::begin();
        self.announce_pending();
        let mut seen = Verification::default();
        for (ticket, record) in self.ledger.held_blocks() {
            if record.flags & (flag::REDZONE | flag::POISONED | flag::GUARDED) == 0 {
                continue;
            }
            seen.block_count += 1;
            let Some(damage) = damage::by_copy(&record) else {
                seen.unreadable_count += 1;
                continue;
            };
            if !damage.is_any() {
                if record.flags & flag::VERIFIED == 0 {
                    self.ledger.flag_once(ticket, flag::VERIFIED);
                }
                continue;
            }
            let unchanged = || self.ledger.read(ticket).is_some_and(|now| now == record);
            if unchanged() && self.vouches_for_copy(&record) {
                let noticed = (moment, *place);
                let is_new = self.report_damage_once(ticket, &record, damage, noticed);
                seen.damaged_count += u64::from(is_new);
            }
        }
        // Only now: until here the damage lay after the look before this one.
        let here = self.capture.here(*place);
        self.last_check.store(here.0, Ordering::Relaxed);
        seen
    }
}
