//! Recording a block: over the record of what was there before, or with a vacant one.
//!
//! No two live records have the same address: an insertion that meets another one at its address
//! waits until that is filled, and then replaces it. Where two insertions at one address cannot have
//! met (one took over a record that it overlaps while the other put a new one in front), the record
//! with the lower number stays.

#![expect(
    clippy::inline_always,
    reason = "the usual case is part of the path of every recorded allocation"
)]

use super::book::Ledger;
use super::chain::{Chain, Found, Ticket};
use super::record::{NewBlock, Record, flag};
use super::threads::{Corner, Seat};
use super::transition::Event;
use super::vacancy::Vacancy;
use super::word::Word;
use super::{BlockState, StackId, ThreadNumber};
use crate::memory::sync::{AtomicU32, Ordering, fence, spin};
use crate::memory::{Address, ByteCount};

/// How often an insertion starts again when others change the same granule.
const INSERT_TRY_COUNT: usize = if cfg!(loom) { 4 } else { 1_000 };

/// The search for a block around an address goes back at least so far, and farther when there was a
/// larger block.
pub(super) const SEARCH_BYTE_COUNT_MIN: usize = 1 << 20;

/// What became of an insertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insertion {
    /// The block has a record.
    Recorded,
    /// A limit or the kernel stood in the way; the block is not in the ledger, and counted as such.
    Dropped,
}

/// A record that belongs to this insertion alone, not yet in a chain.
#[derive(Clone, Copy)]
struct Spare<'a> {
    number: u32,
    record: &'a Record,
    claimed: Word,
}

impl Ledger {
    /// Records a block that the program has just been given.
    #[inline(always)]
    pub fn insert(&self, block: &NewBlock) -> Insertion {
        if let Some(corner) = self.own_corner()
            && self.reuse_head(corner, block)
        {
            self.count(&Seat::Own(corner), block);
            return Insertion::Recorded;
        }
        // A copy, so that the usual case keeps the fields in registers.
        let block = *block;
        self.insert_seated(&block)
    }

    /// The usual case: the only record of the granule is that of a freed block at this address.
    #[inline(always)]
    fn reuse_head(&self, corner: &Corner, block: &NewBlock) -> bool {
        let Some(slot) = self.map.slot(block.address) else {
            return false;
        };
        let Some(record) = self.vacancy.record(slot.load(Ordering::Acquire)) else {
            return false;
        };
        let word = record.word();
        if !word.is(BlockState::Freed, block.address) || record.next() != 0 {
            return false;
        }
        let Some(claimed) = record.claim_freed(word) else {
            return false;
        };
        record.fill(claimed, block, corner.number());
        true
    }

    #[inline]
    fn count(&self, seat: &Seat<'_>, block: &NewBlock) {
        let size = block.size.get();
        self.totals.count_allocation(seat, size as u64);
        if size > SEARCH_BYTE_COUNT_MIN {
            self.largest.fetch_max(size, Ordering::Relaxed);
        }
    }

    #[inline(never)]
    fn insert_seated(&self, block: &NewBlock) -> Insertion {
        let seat = self.seat();
        if !self.insert_along(&seat, block) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Insertion::Dropped;
        }
        self.count(&seat, block);
        Insertion::Recorded
    }

    /// Every other case.
    fn insert_along(&self, seat: &Seat<'_>, block: &NewBlock) -> bool {
        let Some(slot) = self.map.slot_or_map(block.address) else {
            return false;
        };
        self.map.announce(block.address);
        let mut spare = None;
        let mut own = None;
        for _ in 0..INSERT_TRY_COUNT {
            let mut chain = self.chain(slot, block.address);
            let head = chain.number();
            if let Some(found) = first_met(&mut chain, block) {
                own = self.take_over(seat, &found, block);
            } else if chain.is_cut() {
                break;
            } else {
                spare = spare.or_else(|| self.spare(seat, block.address));
                let Some(new) = spare else { break };
                if link(slot, head, &new) {
                    spare = None;
                    own = Some(Self::fill(
                        seat,
                        (new.number, new.record),
                        new.claimed,
                        block,
                    ));
                }
            }
            if let Some(own) = own {
                if block.flags & flag::ADOPTED != 0 {
                    pass_before_looking();
                }
                self.supersede_others(seat, slot, (own, block));
                break;
            }
            spin();
        }
        if let Some(spare) = spare {
            spare.record.give_up(spare.claimed);
            Vacancy::keep(seat, spare.number);
        }
        own.is_some()
    }

    /// Fills a record that this insertion has claimed, and names it.
    #[inline]
    fn fill(
        seat: &Seat<'_>,
        (number, record): (u32, &Record),
        claimed: Word,
        block: &NewBlock,
    ) -> Ticket {
        let word = record.fill(claimed, block, seat.number());
        Ticket { number, word }
    }

    /// Gives a record that describes what was here before a new life; `None` when somebody else
    /// changes it at this moment.
    fn take_over(&self, seat: &Seat<'_>, found: &Found<'_>, block: &NewBlock) -> Option<Ticket> {
        found.state()?;
        let Ticket { number, word } = found.ticket();
        let claimed = found.record.claim(word, block.address)?;
        self.count_superseded(seat, found);
        let own = Self::fill(seat, (number, found.record), claimed, block);
        if found.address() != block.address {
            pass_before_looking();
        }
        Some(own)
    }

    /// Marks what else the new block covers in its granule as given back: it left unseen. Of two
    /// live records for this very address the one with the lower number stays.
    fn supersede_others(
        &self,
        seat: &Seat<'_>,
        slot: &AtomicU32,
        (own, block): (Ticket, &NewBlock),
    ) {
        let mut is_first = true;
        for found in self.chain(slot, block.address) {
            let is_other = found.ticket().number != own.number;
            if !is_other || found.state().is_none() || !is_met(&found, block) {
                continue;
            }
            let is_here = found.address() == block.address;
            if is_here && found.state() == Some(BlockState::Live) {
                is_first &= own.number < found.ticket().number;
            }
            if !is_here || is_first {
                self.supersede(seat, &found);
            }
        }
        if !is_first && let Some(record) = self.vacancy.record(own.number) {
            self.supersede(seat, &Found::new(own, record));
        }
    }

    fn supersede(&self, seat: &Seat<'_>, found: &Found<'_>) {
        let event = match found.state() {
            Some(BlockState::Live) => Event::GiveBack,
            Some(BlockState::Quarantined) => Event::Evict,
            Some(BlockState::Freed | BlockState::Forgotten) | None => return,
        };
        if found.record.apply(found.ticket().word, event).is_ok() {
            let (nowhere, somebody) = (StackId::UNKNOWN, ThreadNumber::OTHER);
            found.record.note_release(nowhere, somebody);
            self.count_superseded(seat, found);
        }
    }

    fn count_superseded(&self, seat: &Seat<'_>, found: &Found<'_>) {
        let (size, _) = found.extent();
        if found.state() == Some(BlockState::Live) {
            self.totals.count_release(seat, size.get() as u64);
        }
        if !found.state().is_some_and(BlockState::is_gone) {
            self.superseded.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn spare(&self, seat: &Seat<'_>, address: Address) -> Option<Spare<'_>> {
        let live = self.totals.published_live_blocks();
        let number = self.vacancy.take(seat, live, &self.map)?;
        let record = self.vacancy.record(number)?;
        let claimed = record.claim(record.word(), address)?;
        Some(Spare {
            number,
            record,
            claimed,
        })
    }
}

/// Passed by an insertion that took over a record of another address, and by an adoption, which
/// takes over none: neither stops the other, so each looks for the other afterwards
/// (`Ledger::supersede_others`). With a fence between what each has done and its look, one sees the
/// other's record live.
fn pass_before_looking() {
    fence(Ordering::SeqCst);
}

/// Puts a claimed record at the head of a chain, if `head` still is there.
fn link(slot: &AtomicU32, head: u32, spare: &Spare<'_>) -> bool {
    spare.record.set_next(head);
    slot.compare_exchange(head, spare.number, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

/// The record to take over: that of the block's own address, the living before those gone; where
/// there is none, the first that overlaps.
fn first_met<'a>(chain: &mut Chain<'a>, block: &NewBlock) -> Option<Found<'a>> {
    let (mut gone, mut overlapping) = (None, None);
    for found in chain {
        if found.address() == block.address {
            if !found.state().is_some_and(BlockState::is_gone) {
                return Some(found);
            }
            gone = gone.or(Some(found));
        } else if is_met(&found, block) {
            overlapping = overlapping.or(Some(found));
        }
    }
    gone.or(overlapping)
}

/// Whether a record stands where the new block goes: at its address, or, for a block that an
/// allocator handed out, anywhere in it. Adopted memory may lie inside a living block: a library
/// that keeps a header gives out the address behind it.
fn is_met(found: &Found<'_>, block: &NewBlock) -> bool {
    let (start, new) = (found.address(), block.address);
    if start == new {
        return true;
    }
    if found.state().is_none() || block.flags & flag::ADOPTED != 0 {
        return false;
    }
    let reaches = |from: Address, size: ByteCount, to: Address| {
        to.bytes_after(from)
            .is_some_and(|distance| distance < size.get().max(1))
    };
    reaches(start, found.extent().0, new) || reaches(new, block.size, start)
}
