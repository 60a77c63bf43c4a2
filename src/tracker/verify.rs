//! Looking for damage now, in every recorded block.

use super::Tracker;
use super::release::Noticed;
use crate::capture::EventPlace;
use crate::detect::damage;
use crate::detect::imprint::MomentKind;
use crate::detect::look::Look;
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, Ticket};
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
        let noticed = (moment, *place);
        let mut seen = Verification::default();
        let mut together = Look::with_room();
        for (ticket, record) in self.ledger.held_blocks() {
            if record.flags & (flag::REDZONE | flag::POISONED | flag::GUARDED) == 0 {
                continue;
            }
            let Some(look) = &mut together else {
                self.look_alone(ticket, &record, noticed, &mut seen);
                continue;
            };
            if look.is_full() {
                self.look_together(look, noticed, &mut seen);
            }
            look.add(ticket, record);
        }
        if let Some(look) = &mut together {
            self.look_together(look, noticed, &mut seen);
        }
        // Only now: until here the damage lay after the look before this one.
        let here = self.capture.here(*place);
        self.last_check.store(here.0, Ordering::Relaxed);
        seen
    }

    /// Looks at many blocks by few questions to the kernel, and by its own at each that is not intact
    /// beyond doubt.
    fn look_together(&self, look: &mut Look, noticed: Noticed, seen: &mut Verification) {
        look.take(|ticket, record, is_intact| {
            if is_intact {
                seen.block_count += 1;
                self.note_intact(ticket, record);
            } else {
                self.look_alone(ticket, record, noticed, seen);
            }
        });
    }

    fn look_alone(
        &self,
        ticket: Ticket,
        record: &BlockRecord,
        noticed: Noticed,
        seen: &mut Verification,
    ) {
        seen.block_count += 1;
        let Some(damage) = damage::by_copy(record) else {
            seen.unreadable_count += 1;
            return;
        };
        if !damage.is_any() {
            self.note_intact(ticket, record);
            return;
        }
        if self.was_held_since(ticket, record) {
            let is_new = self.report_damage_once(ticket, record, damage, noticed);
            seen.damaged_count += u64::from(is_new);
        }
    }

    /// Nothing is noted of a block that has changed its state since its record was read.
    fn note_intact(&self, ticket: Ticket, record: &BlockRecord) {
        if record.flags & flag::VERIFIED == 0 {
            self.ledger.flag_once(ticket, flag::VERIFIED);
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    #![expect(
        unsafe_code,
        reason = "fills what lies around blocks in an array of its own"
    )]

    use super::super::allocate::Allocated;
    use super::*;
    use crate::detect::look::BLOCK_COUNT_MAX;
    use crate::ledger::{Event, FamilyId, StackId};
    use crate::memory::pages::{self, PAGE};
    use crate::memory::{Address, ByteCount};

    const SIZE: ByteCount = ByteCount::new(40);
    /// Words of a chunk: its size, and nine that its block may use.
    const CHUNK: usize = 10;
    const SIZE_WORD: usize = (CHUNK * size_of::<usize>()) | 1;
    /// The first word of a redzone.
    const BEHIND: usize = 6;
    const CHECK: Noticed = (MomentKind::Check, EventPlace::UNKNOWN);

    fn tracker() -> Tracker {
        let tracker = Tracker::beside_the_process();
        tracker.begin_watch();
        tracker
    }

    /// Records blocks that lie side by side, as glibc's do.
    fn record_chunks(tracker: &Tracker, words: &mut [usize]) -> Vec<Address> {
        let mut blocks = Vec::new();
        for chunk in words.chunks_exact_mut(CHUNK) {
            chunk[0] = SIZE_WORD;
            let address = Address::new(chunk[1..].as_mut_ptr().expose_provenance());
            let block = Allocated {
                address,
                size: SIZE,
                family: FamilyId::MALLOC,
                epoch: tracker.ledger.epoch(),
                flags: flag::REDZONE,
            };
            tracker.note_allocation(block, &EventPlace::UNKNOWN);
            blocks.push(address);
        }
        blocks
    }

    fn raised(tracker: &Tracker, blocks: &[Address], bits: u32) -> Vec<usize> {
        let flags = |block: &Address| tracker.ledger.find(*block).map_or(0, |found| found.flags());
        (0..blocks.len())
            .filter(|&index| flags(&blocks[index]) & bits != 0)
            .collect()
    }

    #[test]
    fn every_damaged_block_is_found_among_many_and_no_other() {
        let tracker = tracker();
        let count = 3 * BLOCK_COUNT_MAX + 1;
        let mut words = vec![0_usize; 1 + count * CHUNK];
        let blocks = record_chunks(&tracker, &mut words[1..]);
        let seen = |damaged_count, unreadable_count| Verification {
            block_count: blocks.len() as u64 + unreadable_count,
            damaged_count,
            unreadable_count,
        };
        assert_eq!(tracker.verify(CHECK.0, &CHECK.1), seen(0, 0));
        let damaged = [0, BLOCK_COUNT_MAX + 3, count - 1];
        for (index, word) in damaged.into_iter().zip([BEHIND, 0, BEHIND + 1]) {
            std::hint::black_box(&mut words)[1 + index * CHUNK + word] ^= 1 << 40;
        }
        let gone = pages::map(PAGE).expect("a page");
        // SAFETY: mapped above, zeroed, and this test's.
        let there = unsafe { std::slice::from_raw_parts_mut(gone.as_ptr().cast(), CHUNK) };
        record_chunks(&tracker, there);
        // SAFETY: as above; nobody looks at the slice any more.
        let closed = unsafe { libc::mprotect(gone.as_ptr().cast(), PAGE, libc::PROT_NONE) };
        assert_eq!(closed, 0);
        assert_eq!(tracker.verify(CHECK.0, &CHECK.1), seen(3, 1));
        assert_eq!(raised(&tracker, &blocks, flag::DAMAGE_REPORTED), damaged);
        assert_eq!(raised(&tracker, &blocks, flag::VERIFIED).len(), count);
        assert_eq!(tracker.verify(CHECK.0, &CHECK.1), seen(0, 1));
        // SAFETY: mapped above, and the tracker asks the kernel for what lies there.
        assert!(unsafe { pages::unmap(gone, PAGE) });
    }

    #[test]
    fn a_block_that_goes_back_between_the_list_and_the_look_is_left_out() {
        let tracker = tracker();
        let mut words = vec![0_usize; 1 + 2 * CHUNK];
        let blocks = record_chunks(&tracker, &mut words[1..]);
        let mut look = Look::with_room().expect("memory");
        for (ticket, record) in tracker.ledger.held_blocks() {
            look.add(ticket, record);
        }
        let found = tracker.ledger.find(blocks[0]).expect("a record");
        let released = tracker
            .ledger
            .release(&found, Event::GiveBack, StackId::UNKNOWN);
        assert!(released.is_ok());
        std::hint::black_box(&mut words)[1 + BEHIND] = 0;
        let mut seen = Verification::default();
        tracker.look_together(&mut look, CHECK, &mut seen);
        assert_eq!((seen.block_count, seen.damaged_count), (2, 0));
        assert_eq!(raised(&tracker, &blocks, flag::DAMAGE_REPORTED), [0; 0]);
        assert_eq!(raised(&tracker, &blocks, flag::VERIFIED), [1]);
    }
}
