//! A write across the words between two blocks: whose error it is.
//!
//! glibc's chunks lie side by side, so a long write past the end of one block damages what lies in
//! front of the next. That is the first block's error, and the next one's word can be put right:
//! its size is remembered, and the rest is known from the block in front. A long write before the
//! start of a block damages the end of the first one's redzone and leaves its beginning alone
//! ([`Behind::begins_at_block`]).

#![expect(
    unsafe_code,
    reason = "puts the word in front of a block back that the program has overwritten"
)]

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::damage::{self, Damage};
use crate::detect::diagnose;
use crate::detect::finding::NextBlock;
use crate::detect::front;
use crate::detect::imprint::MomentKind;
use crate::detect::redzone::Behind;
use crate::detect::size_word::{self, SizeWord};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, Found, Ticket};
use crate::memory::Address;
use crate::memory::peek::word_at;
use crate::memory::reentry::OurOwnWork;

/// How far back the block in front is looked for. Larger ones are mappings of their own.
const CHUNK_BYTE_MAX: usize = 64 << 20;

impl Tracker {
    /// Whether the damage before `record`'s block is an overflow of the block in front. Then that is
    /// reported, unless it has been, and the damage put right.
    #[cold]
    pub(super) fn blame_block_in_front(&self, record: &BlockRecord, place: EventPlace) -> bool {
        let overflows = |front: &BlockRecord, behind: Behind| behind.begins_at_block(front.size);
        let Some(front) = self.blame_front_of(begin_of(record), overflows, place) else {
            return false;
        };
        self.repair(&front, record);
        true
    }

    /// Looks at the words behind the last block of the heap, which an overflow of that block has
    /// damaged where they are not as glibc left them.
    #[inline]
    pub fn look_at_top(&self, place: &EventPlace) {
        if let Some(next) = self.top.damaged() {
            self.blame_last_block(next, *place);
        }
    }

    #[cold]
    fn blame_last_block(&self, next: Address, place: EventPlace) {
        if self.top.is_unexplained(next) {
            return;
        }
        let _ours = OurOwnWork::begin();
        // The report repairs what lies behind the block, if it had not been made before.
        if self.blame_front_of(next, |_, _| true, place).is_some() {
            // SAFETY: the block in front is held, and ends in front of `next`.
            unsafe { self.top.repair(next) };
        } else {
            self.top.leave_unexplained(next);
        }
    }

    /// Reports the overflow of the block that ends in front of `next`, unless it has been, and gives
    /// that block; `None` when it is not on record, not damaged to its end, or when the damage is none
    /// that `overflows`: a write before the start of the next block, which is found there.
    #[cold]
    fn blame_front_of(
        &self,
        next: Address,
        overflows: impl Fn(&BlockRecord, Behind) -> bool,
        place: EventPlace,
    ) -> Option<BlockRecord> {
        let (front, found) = self.block_in_front(next)?;
        let damage = self
            .damage_while_held(&found, &front)
            .filter(Damage::spreads)?;
        if !overflows(&front, damage.behind?) {
            self.ledger.flag_once(found.ticket(), flag::DAMAGE_REPORTED);
            return None;
        }
        let noticed = (MomentKind::Neighbour, place);
        self.report_damage_once(found.ticket(), &front, damage, noticed);
        Some(front)
    }

    /// Whether the damage at the end of `front`'s redzone is that of a write before the start of the next
    /// block. Then that is reported, unless it has been.
    #[cold]
    pub(super) fn blame_block_behind(
        &self,
        front: &BlockRecord,
        behind: Behind,
        place: EventPlace,
    ) -> bool {
        if !behind.reaches_end || behind.begins_at_block(front.size) {
            return false;
        }
        let Some((record, found, damage)) = self.damaged_in_front(self.next_on_record(front))
        else {
            return false;
        };
        let noticed = (MomentKind::Neighbour, place);
        self.report_damage_once(found.ticket(), &record, damage, noticed);
        true
    }

    /// The block behind `front`, if it is on record and the damage in front's redzone lies nearer to it
    /// than to `front`. A write before its start that leaves the word in front of it alone looks the
    /// same as one that goes far past the end of `front`.
    #[cold]
    pub(super) fn nearer_block_behind(
        &self,
        front: &BlockRecord,
        behind: Behind,
    ) -> Option<NextBlock> {
        let (next, _) = self.next_on_record(front)?;
        diagnose::nearer_block(front, behind.offset, &next)
    }

    /// Puts right what an overflow of `front` has done to the words in front of the next block, if
    /// that is on record.
    #[cold]
    pub(super) fn repair_behind(&self, front: &BlockRecord) {
        let chunk = SizeWord::from_flags(front.flags, front.address);
        let behind = chunk.next_block(front.address);
        let Some((next, found)) = self.next_on_record(front) else {
            if chunk.is_known() {
                // SAFETY: `front` is held, so glibc's next chunk begins where it ends.
                unsafe { self.top.repair(behind) };
            }
            return;
        };
        let damage = self.damage_while_held(&found, &next);
        if damage.is_some_and(|damage| damage.before.is_some() || has_front(&next)) {
            self.repair(front, &next);
        }
    }

    /// The block behind `front`, if it is held and on record: in glibc's next chunk, or in the one
    /// behind that if the next is its margin.
    fn next_on_record(&self, front: &BlockRecord) -> Option<(BlockRecord, Found<'_>)> {
        let chunk = SizeWord::from_flags(front.flags, front.address);
        if !chunk.is_known() {
            return None;
        }
        let next = chunk.next_block(front.address);
        let behind_margin = |length| {
            let found = self.certain_at(next.offset_by(length));
            found.filter(|(record, _)| has_front(record) && begin_of(record) == next)
        };
        self.certain_at(next)
            .or_else(|| front::chunk_byte_counts().find_map(behind_margin))
    }

    /// Looks at the words in front of the block at `next` when its neighbour goes back, which is not on
    /// record: glibc would abort over them. What the program has written there is reported and put right.
    #[cold]
    pub fn put_right_behind_unrecorded(&self, next: Address, place: EventPlace) {
        let Some((record, found, damage)) = self.damaged_in_front(self.certain_at(next)) else {
            return;
        };
        let noticed = (MomentKind::Neighbour, place);
        self.report_damage_once(found.ticket(), &record, damage, noticed);
        self.restore_size_word(&record);
    }

    /// A block, if something in front of it is damaged.
    fn damaged_in_front<'a>(
        &self,
        block: Option<(BlockRecord, Found<'a>)>,
    ) -> Option<(BlockRecord, Found<'a>, Damage)> {
        let (record, found) = block?;
        let damage = self.damage_while_held(&found, &record)?;
        damage.before.map(|_| (record, found, damage))
    }

    /// The block at an address, if it is held and the record of it is certain.
    fn certain_at(&self, block: Address) -> Option<(BlockRecord, Found<'_>)> {
        let found = self.ledger.find(block)?;
        let record = found.read().filter(damage::is_held)?;
        self.vouches_for_copy(&record).then_some((record, found))
    }

    /// What is damaged around a block, by a look at copies; `None` when it changed hands meanwhile.
    fn damage_while_held(&self, found: &Found<'_>, record: &BlockRecord) -> Option<Damage> {
        let damage = damage::by_copy(record)?;
        self.was_held_since(found.ticket(), record)
            .then_some(damage)
    }

    /// Whether a block has been held all the time since its record was read, so that a look at it in
    /// between saw the block.
    ///
    /// One that another thread gave back in between has no damage: what stands there is glibc's by now,
    /// and nobody may put it right. Real damage stays until it is put right, for who takes such a block
    /// over sees it as well and keeps the block.
    pub(super) fn was_held_since(&self, ticket: Ticket, record: &BlockRecord) -> bool {
        let is_unchanged = self.ledger.read(ticket).is_some_and(|now| now == *record);
        is_unchanged && self.vouches_for_copy(record)
    }

    fn repair(&self, front: &BlockRecord, next: &BlockRecord) {
        let remembered = SizeWord::from_flags(next.flags, next.address);
        if self.heap_is_glibcs && remembered.is_known() {
            // SAFETY: both blocks are glibc's and have not gone back; the word had this value
            // before the program overwrote it, for the block in front is in use.
            unsafe { size_word::repair(next.address, remembered, front.address) };
            if remembered.has_front() {
                // SAFETY: the same holds of the margin's word, and nobody may write to the margin.
                unsafe { front::repair(next.address, next.size, front.address) };
            }
        }
    }

    /// Puts the size in front of a damaged block right that is never given back: its neighbour may
    /// be one that is not on record, and glibc looks at the word when that goes back.
    #[cold]
    pub(super) fn restore_size_word(&self, record: &BlockRecord) {
        let remembered = SizeWord::from_flags(record.flags, record.address);
        if self.heap_is_glibcs && remembered.is_known() && record.flags & flag::GUARDED == 0 {
            let front_is_free = is_front_free(record.address);
            // SAFETY: a size is remembered of glibc's blocks only, and the block has not gone back.
            unsafe { size_word::restore_size(record.address, remembered, front_is_free) };
        }
    }

    fn block_in_front(&self, next: Address) -> Option<(BlockRecord, Found<'_>)> {
        let found = self.ledger.held_before(next, CHUNK_BYTE_MAX)?;
        let front = found.read()?;
        let chunk = SizeWord::from_flags(front.flags, front.address);
        let is_next = chunk.is_known() && chunk.next_block(front.address) == next;
        (is_next && damage::is_held(&front)).then_some((front, found))
    }
}

fn has_front(record: &BlockRecord) -> bool {
    SizeWord::from_flags(record.flags, record.address).has_front()
}

/// Where what belongs to a block begins: the block, or the margin in front of it.
fn begin_of(record: &BlockRecord) -> Address {
    if has_front(record) {
        front::start(record.address, record.size)
    } else {
        record.address
    }
}

/// Whether glibc has the chunk in front of a block back: then that chunk's size stands at its end
/// as well as at its beginning.
fn is_front_free(block: Address) -> bool {
    const WORD: usize = size_of::<usize>();
    const CHUNK_BYTE_MIN: usize = 32;
    const FLAG_BITS: usize = 7;
    let word_before = |distance| word_at(block.get().checked_sub(distance)?);
    let Some(at_end) = word_before(2 * WORD) else {
        return false;
    };
    (CHUNK_BYTE_MIN..CHUNK_BYTE_MAX).contains(&at_end)
        && word_before(at_end + WORD).is_some_and(|size| size & !FLAG_BITS == at_end)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::super::allocate::Allocated;
    use super::*;
    use crate::ledger::{Event, FamilyId, StackId};
    use crate::memory::ByteCount;

    #[test]
    fn a_block_that_goes_back_during_the_look_is_not_damaged() {
        let tracker = Tracker::beside_the_process();
        let mut words = [0_usize; 12];
        let address = Address::new(words.as_mut_ptr().expose_provenance() + 2 * size_of::<usize>());
        tracker.begin_watch();
        let block = Allocated {
            address,
            size: ByteCount::new(40),
            family: FamilyId::MALLOC,
            epoch: tracker.ledger.epoch(),
            flags: SizeWord::Heap(80).to_flags(address),
        };
        tracker.note_allocation(block, &EventPlace::UNKNOWN);
        let found = tracker.ledger.find(address).expect("a record");
        let record = found.read().expect("a record");
        // What another block's chunk would have in front of it.
        std::hint::black_box(&mut words)[1] = 48 + 1;
        let damage = tracker.damage_while_held(&found, &record);
        assert!(damage.is_some_and(|damage| damage.before.is_some()));
        let released = tracker
            .ledger
            .release(&found, Event::GiveBack, StackId::UNKNOWN);
        assert!(released.is_ok());
        assert_eq!(tracker.damage_while_held(&found, &record), None);
        assert!(
            tracker
                .damaged_in_front(tracker.certain_at(address))
                .is_none()
        );
    }
}
