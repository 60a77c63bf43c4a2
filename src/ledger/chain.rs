//! The records of one granule: a chain from the page map's slot through each record's `next`.
//!
//! New records are put at the head; only the head can be taken out. Whoever walks may therefore be
//! standing on a record that is taken out and used again for another granule. So each step checks
//! that the record still belongs here *after* its `next` was read, and starts again when not.

use super::record::{BlockRecord, Record};
use super::vacancy::Vacancy;
use super::word::{Extent, Word};
use super::{BlockState, FamilyId, StackId, ThreadNumber};
use crate::memory::page_map::GRANULE;
use crate::memory::sync::{AtomicU32, Ordering};
use crate::memory::{Address, ByteCount};

/// Steps of one walk. A granule has [`GRANULE`] bytes, so as many blocks can start there; the rest
/// is for steps that had to be done again and for records that were lost in a chain
/// (`Vacancy::retire`).
const STEP_COUNT_MAX: usize = 4 * GRANULE;

/// Names a record in one state of one life: good for one transition, worthless after any other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The record's number, counted from one.
    pub number: u32,
    /// Its deciding word.
    pub word: Word,
}

/// A record that was looked up, as it was at that moment.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    ticket: Ticket,
    extent: Extent,
    pub(super) record: &'a Record,
}

impl<'a> Found<'a> {
    #[inline]
    pub(super) fn new(ticket: Ticket, record: &'a Record) -> Self {
        let extent = record.extent();
        Self {
            ticket,
            extent,
            record,
        }
    }

    /// The same record after a transition by the caller.
    #[inline]
    pub(super) fn after(mut self, word: Word) -> Self {
        self.ticket.word = word;
        self
    }

    /// The record's number and word.
    #[inline]
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Where the block starts.
    #[inline]
    #[must_use]
    pub fn address(&self) -> Address {
        self.ticket.word.address()
    }

    /// The state it was found in.
    #[inline]
    #[must_use]
    pub fn state(&self) -> Option<BlockState> {
        self.ticket.word.state()
    }

    /// The size the program asked for and the family, without the cost of a consistent copy. They
    /// are the block's when a transition by this `Found` succeeds, and likely so before.
    #[inline]
    #[must_use]
    pub fn extent(&self) -> (ByteCount, FamilyId) {
        (self.extent.size(), self.extent.family())
    }

    /// The flags, as sure as [`Found::extent`].
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.record.flags()
    }

    /// Between which marks the block's allocation began, as sure as [`Found::extent`].
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> super::Epoch {
        self.record.epoch()
    }

    /// Replaces the flags, for the winner of the block's release; a bit that another thread raises
    /// at the same moment is lost.
    #[inline]
    pub fn set_flags(&self, bits: u32) {
        self.record.set_flags(bits);
    }

    /// Raises flag bits; `true` for the one who raised them.
    #[must_use]
    pub fn flag_once(&self, bits: u32) -> bool {
        self.record.raise_once(bits)
    }

    /// A consistent copy of the record as it is now; `None` when it has moved on to another block.
    #[must_use]
    pub fn read(&self) -> Option<BlockRecord> {
        self.record.read_in_life(self.ticket.word)
    }

    /// What remains known of a block whose record has moved on: it was released, nobody knows where.
    #[must_use]
    pub fn outline(&self) -> BlockRecord {
        BlockRecord {
            address: self.address(),
            size: self.extent.size(),
            state: BlockState::Freed,
            family: self.extent.family(),
            allocated: StackId::UNKNOWN,
            released: StackId::UNKNOWN,
            epoch: super::Epoch(0),
            allocated_by: ThreadNumber(0),
            released_by: ThreadNumber(0),
            flags: 0,
        }
    }

    /// Notes that the block was handed to Python, or the like (`record::flag`).
    pub fn raise(&self, bits: u32) {
        self.record.raise(bits);
    }
}

/// One walk along the records of a granule: those of a block in whatever state, and those being
/// filled.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    vacancy: &'a Vacancy,
    slot: &'a AtomicU32,
    granule: usize,
    number: u32,
    left: usize,
}

impl<'a> Chain<'a> {
    /// Begins at the head, as it is now.
    pub(super) fn new(vacancy: &'a Vacancy, slot: &'a AtomicU32, address: Address) -> Self {
        Self {
            vacancy,
            slot,
            granule: address.get() / GRANULE,
            number: slot.load(Ordering::Acquire),
            left: STEP_COUNT_MAX,
        }
    }

    /// The number at which the walk goes on; at the beginning that of the head.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether the walk was cut: there may be records it has not seen.
    pub(super) fn is_cut(&self) -> bool {
        self.left == 0
    }

    /// A record without an address is vacant: lost in this chain, or taken out a moment ago. Its
    /// `next` still leads along this chain, for it changes only after the record has an address.
    fn is_here(&self, word: Word) -> bool {
        word.address().is_null() || word.address().get() / GRANULE == self.granule
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        while self.left > 0 {
            let number = self.number;
            let record = self.vacancy.record(number)?;
            self.left -= 1;
            let word = record.word();
            let found = Found::new(Ticket { number, word }, record);
            let next = record.next();
            if !self.is_here(word) || !record.word().is_same_life(word) {
                self.number = self.slot.load(Ordering::Acquire);
                continue;
            }
            self.number = next;
            if word.state().is_some() || word.is_being_filled() {
                return Some(found);
            }
        }
        None
    }
}
