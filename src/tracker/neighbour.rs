//! An overflow that went on into the words in front of the next block: whose error it is.
//!
//! glibc's chunks lie side by side, so a long write past the end of one block damages what lies in
//! front of the next. That is the first block's error, and the next one's word can be put right:
//! its size is remembered, and the rest is known from the block in front.

#![expect(
    unsafe_code,
    reason = "puts the word in front of a block back that the program has overwritten"
)]

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::damage::{self, Damage};
use crate::detect::size_word::{self, SizeWord};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, Found};

/// How far before a block the block in front of it can end: glibc's two words, the redzone, and what
/// its rounding leaves over.
const GAP_BYTE_MAX: usize = 72;
const STEP: usize = 8;

impl Tracker {
    /// Whether the damage before `record`'s block is an overflow of the block in front. Then that is
    /// reported, unless it has been, and the damage put right.
    #[cold]
    pub(super) fn blame_block_in_front(&self, record: &BlockRecord, place: EventPlace) -> bool {
        let Some((front, found)) = self.block_in_front(record) else {
            return false;
        };
        let Some(damage) = damage::by_copy(&front).filter(Damage::spreads) else {
            return false;
        };
        if damage.behind.is_none() {
            return false;
        }
        if self.ledger.flag_once(found.ticket(), flag::DAMAGE_REPORTED) {
            self.report_damage(&front, damage, place);
        }
        self.repair(&front, record);
        true
    }

    /// Puts right what an overflow of `front` has done to the words in front of the next block, if
    /// that is on record.
    #[cold]
    pub(super) fn repair_behind(&self, front: &BlockRecord) {
        let chunk = SizeWord::from_flags(front.flags).chunk_byte_count();
        let next = self.ledger.find(front.address.offset_by(chunk));
        let Some(next) = next.and_then(|found| found.read()) else {
            return;
        };
        let is_damaged = damage::by_copy(&next).is_some_and(|damage| damage.before.is_some());
        if chunk != 0 && damage::is_held(&next) && is_damaged {
            self.repair(front, &next);
        }
    }

    fn repair(&self, front: &BlockRecord, next: &BlockRecord) {
        let remembered = SizeWord::from_flags(next.flags);
        if self.heap_is_glibcs && remembered.is_known() {
            // SAFETY: both blocks are glibc's and have not gone back; the word had this value
            // before the program overwrote it, for the block in front is in use.
            unsafe { size_word::repair(next.address, remembered, front.address) };
        }
    }

    fn block_in_front(&self, record: &BlockRecord) -> Option<(BlockRecord, Found<'_>)> {
        let start = record.address.get();
        let ends = (2 * STEP..=GAP_BYTE_MAX).step_by(STEP);
        let mut inside = ends.filter_map(|gap| start.checked_sub(gap));
        inside.find_map(|inside| {
            let front = self
                .ledger
                .containing(crate::memory::Address::new(inside))?;
            let chunk = SizeWord::from_flags(front.flags).chunk_byte_count();
            let is_next = chunk != 0 && front.address.offset_by(chunk) == record.address;
            if !is_next || !damage::is_held(&front) {
                return None;
            }
            let found = self.ledger.find(front.address)?;
            Some((front, found))
        })
    }
}
