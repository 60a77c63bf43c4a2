//! The ledger itself: from an address to its record, and what may be done to it.

use super::record::{BlockRecord, NewBlock, Record, Word, flag};
use super::threads::{Corner, Seat, Threads};
use super::totals::{Sums, Totals};
use super::transition::{Event, Outcome};
use super::vacancy::Vacancy;
use super::{BlockState, Epoch, StackId};
use crate::memory::page_map::PageMap;
use crate::memory::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, spin};
use crate::memory::{Address, ByteCount};

/// Blocks that may start in one granule. Allocators put one there; adopted memory of other
/// allocators may be packed tighter.
const CHAIN_LENGTH_MAX: usize = 32;

/// How often an insertion starts again when others change the same granule.
const INSERT_TRY_COUNT: usize = 64;

/// A record that was looked up, as it was at that moment.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    ticket: Ticket,
    record: &'a Record,
}

/// Names a record in one state of one life: good for one transition, worthless after any other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The record's number, counted from one.
    pub number: u32,
    /// Its deciding word.
    pub word: Word,
}

/// What became of an insertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insertion {
    /// The block has a record.
    Recorded,
    /// A limit or the kernel stood in the way; the block is not in the ledger, and counted as such.
    Dropped,
}

/// What the ledger had to leave out, and what it noticed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LedgerCounters {
    /// Blocks that got no record.
    pub dropped_record_count: u64,
    /// Records whose block had left on a path nobody saw.
    pub superseded_record_count: u64,
    /// Records in use or kept for what they know of freed blocks.
    pub record_count: u64,
    /// Bytes of pages mapped for the ledger (the kernel commits them on first touch).
    pub mapped_byte_count: u64,
}

/// Every recorded block of the process.
#[derive(Debug)]
pub struct Ledger {
    map: PageMap,
    vacancy: Vacancy,
    threads: Threads,
    totals: Totals,
    epoch: AtomicU32,
    largest: AtomicUsize,
    dropped: AtomicU64,
    superseded: AtomicU64,
}

impl Found<'_> {
    /// The record's number and word.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The state it was found in.
    #[must_use]
    pub fn state(&self) -> Option<BlockState> {
        self.ticket.word.state()
    }

    /// The size the program asked for and the family, without the cost of a consistent copy.
    #[must_use]
    pub fn extent(&self) -> (ByteCount, super::FamilyId) {
        self.record.extent()
    }

    /// A consistent copy of the record as it is now.
    #[must_use]
    pub fn read(&self) -> Option<BlockRecord> {
        self.record.read()
    }

    /// Notes that the block was handed to Python, or the like ([`flag`]).
    pub fn raise(&self, bits: u32) {
        self.record.raise(bits);
    }
}

impl Ledger {
    /// An empty ledger; `None` when the kernel refuses address space.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            map: PageMap::new()?,
            vacancy: Vacancy::new(),
            threads: Threads::new(),
            totals: Totals::default(),
            epoch: AtomicU32::new(1),
            largest: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
        })
    }

    /// Records a block that the program has just been given.
    #[inline]
    pub fn insert(&self, block: &NewBlock) -> Insertion {
        let seat = self.seat();
        let Some(slot) = self.map.slot_or_map(block.address) else {
            return self.drop_record();
        };
        let head = slot.load(Ordering::Acquire);
        let done = (head != 0 && self.insert_again(&seat, head, block))
            || self.insert_fresh(&seat, slot, block);
        if !done {
            return self.drop_record();
        }
        self.totals.count_allocation(&seat, block.size.get() as u64);
        if block.size.get() > self.largest.load(Ordering::Relaxed) {
            self.largest.fetch_max(block.size.get(), Ordering::Relaxed);
        }
        Insertion::Recorded
    }

    /// Reuses the record of a block that was here before, if there is one.
    fn insert_again(&self, seat: &Seat<'_>, head: u32, block: &NewBlock) -> bool {
        for _ in 0..INSERT_TRY_COUNT {
            let Some(found) = self.chain(head).find(|found| is_replaced_by(found, block)) else {
                return false;
            };
            let (size, _) = found.extent();
            if let Some(claimed) = found.record.claim(found.ticket.word) {
                if found.state() == Some(BlockState::Live) {
                    self.totals.count_release(seat, size.get() as u64);
                }
                if found.state() != Some(BlockState::Freed) {
                    self.superseded.fetch_add(1, Ordering::Relaxed);
                }
                found
                    .record
                    .fill(claimed, block, self.epoch_now(), number_of(seat));
                return true;
            }
            spin();
        }
        false
    }

    /// Takes a vacant record and puts it at the head of the granule's chain.
    fn insert_fresh(&self, seat: &Seat<'_>, slot: &AtomicU32, block: &NewBlock) -> bool {
        let live = self.totals.published_live_blocks();
        let Some(number) = self.vacancy.take(seat, live, &self.map) else {
            return false;
        };
        let Some(record) = self.vacancy.record(number) else {
            return false;
        };
        let Some(claimed) = record.claim(record.word()) else {
            return false;
        };
        let mut head = slot.load(Ordering::Acquire);
        record.set_next(head);
        record.fill(claimed, block, self.epoch_now(), number_of(seat));
        while let Err(now) =
            slot.compare_exchange(head, number, Ordering::AcqRel, Ordering::Acquire)
        {
            head = now;
            record.set_next(head);
        }
        true
    }

    #[cold]
    fn drop_record(&self) -> Insertion {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        Insertion::Dropped
    }

    /// The record of the block that starts at `address`, in whatever state; the living first.
    #[inline]
    #[must_use]
    pub fn find(&self, address: Address) -> Option<Found<'_>> {
        let head = self.map.slot(address)?.load(Ordering::Acquire);
        if head == 0 {
            return None;
        }
        let mut best: Option<Found<'_>> = None;
        for found in self.chain(head) {
            if found.ticket.word.address() != address || found.state().is_none() {
                continue;
            }
            if found.state() == Some(BlockState::Live) {
                return Some(found);
            }
            best = best.or(Some(found));
        }
        best
    }

    /// The block that `address` lies in, the living before the released.
    #[must_use]
    pub fn containing(&self, address: Address) -> Option<BlockRecord> {
        let reach = self.largest.load(Ordering::Relaxed);
        let search = |wanted: fn(BlockState) -> bool| {
            self.map.search_back(address, reach, |head| {
                self.chain(head).find_map(|found| {
                    let copy = found.read()?;
                    (wanted(copy.state) && contains(&copy, address)).then_some(copy)
                })
            })
        };
        search(|state| state == BlockState::Live).or_else(|| search(|_| true))
    }

    /// Gives a live block another size and family, keeping its origin.
    pub fn redeclare(&self, found: &Found<'_>, size: ByteCount, family: super::FamilyId) {
        let before = found.extent().0.get() as u64;
        found.record.redeclare(size, family);
        self.totals
            .count_resize(&self.seat(), before, size.get() as u64);
    }

    /// Decides a release. `Ok` makes the caller the one who released the block: it must note where
    /// with [`Ledger::note_release`] before the memory can be reused.
    ///
    /// # Errors
    /// [`Outcome::ReleasedBefore`] when somebody else won, [`Outcome::Unknown`] when the record has
    /// moved on to another block meanwhile.
    #[inline]
    pub fn release(&self, found: &Found<'_>, event: Event) -> Result<Ticket, Outcome> {
        let word = found.record.apply(found.ticket.word, event)?;
        // Read after winning: the fields are now this thread's.
        let (size, _) = found.extent();
        self.totals.count_release(&self.seat(), size.get() as u64);
        Ok(Ticket {
            number: found.ticket.number,
            word,
        })
    }

    /// Notes where a block was released; only the winner of the release may call this.
    #[inline]
    pub fn note_release(&self, found: &Found<'_>, released: StackId) {
        found.record.note_release(released, number_of(&self.seat()));
    }

    /// Takes a block out of quarantine. `None` when the record has moved on: then the memory is
    /// not the quarantine's any more and must be left alone.
    #[must_use]
    pub fn evict(&self, ticket: Ticket) -> Option<Address> {
        let record = self.vacancy.record(ticket.number)?;
        record
            .apply(ticket.word, Event::Evict)
            .ok()
            .map(Word::address)
    }

    /// Undoes a release by [`Event::GiveBack`] that the allocator refused to carry out.
    pub fn restore(&self, ticket: Ticket) -> bool {
        let Some(record) = self.vacancy.record(ticket.number) else {
            return false;
        };
        let (size, _) = record.extent();
        record.forget_release();
        let restored = record.apply(ticket.word, Event::Restore).is_ok();
        if restored {
            self.totals
                .count_allocation(&self.seat(), size.get() as u64);
        }
        restored
    }

    /// A consistent copy of the record a ticket names, while it is still in that life.
    #[must_use]
    pub fn read(&self, ticket: Ticket) -> Option<BlockRecord> {
        let copy = self.vacancy.record(ticket.number)?.read()?;
        (copy.address == ticket.word.address()).then_some(copy)
    }

    /// Every block the program holds now. Blocks that come and go meanwhile may or may not appear.
    pub fn live_blocks(&self) -> impl Iterator<Item = BlockRecord> + '_ {
        self.vacancy
            .records()
            .filter(|record| record.word().state() == Some(BlockState::Live))
            .filter_map(Record::read)
            .filter(|copy| copy.state == BlockState::Live)
    }

    /// Every block whose memory has not gone back: live and withheld, with a ticket for each.
    pub fn held_blocks(&self) -> impl Iterator<Item = (Ticket, BlockRecord)> + '_ {
        self.vacancy.numbered().filter_map(|(number, record)| {
            let word = record.word();
            let copy = record.read()?;
            let is_held = matches!(copy.state, BlockState::Live | BlockState::Quarantined);
            (is_held && word == record.word()).then_some((Ticket { number, word }, copy))
        })
    }

    /// Raises flag bits of the record a ticket names; `true` for the one who raised them.
    pub fn flag_once(&self, ticket: Ticket, bits: u32) -> bool {
        let record = self.vacancy.record(ticket.number);
        record.is_some_and(|record| record.word() == ticket.word && record.raise_once(bits))
    }

    /// Ends an epoch: blocks recorded from now on are newer than the returned one.
    pub fn mark(&self) -> Epoch {
        Epoch(self.epoch.fetch_add(1, Ordering::AcqRel))
    }

    /// The sums over all threads.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.totals
            .sums(self.threads.corners().map(|corner| &corner.tally))
    }

    /// What was left out, and how much memory the ledger takes.
    #[must_use]
    pub fn counters(&self) -> LedgerCounters {
        let mapped = self.map.mapped_byte_count()
            + self.vacancy.mapped_byte_count()
            + self.threads.mapped_byte_count();
        LedgerCounters {
            dropped_record_count: self.dropped.load(Ordering::Relaxed),
            superseded_record_count: self.superseded.load(Ordering::Relaxed),
            record_count: self.vacancy.record_count() as u64,
            mapped_byte_count: mapped as u64,
        }
    }

    /// The number that reports give this thread.
    #[must_use]
    pub fn thread_number(&self) -> super::ThreadNumber {
        number_of(&self.seat())
    }

    /// The index of this thread's corner, for arrays that keep something for each thread; `None`
    /// when the thread shares a corner.
    #[inline]
    #[must_use]
    pub fn corner_index(&self) -> Option<u32> {
        if cfg!(loom) {
            None
        } else {
            self.threads.own_index()
        }
    }

    /// Called when a thread ends: publishes its counts and frees its corner.
    pub fn leave(&self) {
        if let Seat::Own(corner) = self.seat() {
            self.totals.publish(&corner.tally);
        }
        self.threads.leave();
    }

    /// Loom runs all model threads on one system thread, so they share a corner there.
    #[inline]
    fn seat(&self) -> Seat<'_> {
        if cfg!(loom) {
            self.threads.shared()
        } else {
            self.threads.seat()
        }
    }

    fn epoch_now(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    fn chain(&self, head: u32) -> impl Iterator<Item = Found<'_>> {
        let mut number = head;
        std::iter::from_fn(move || {
            let record = self.vacancy.record(number)?;
            let ticket = Ticket {
                number,
                word: record.word(),
            };
            number = record.next();
            Some(Found { ticket, record })
        })
        .take(CHAIN_LENGTH_MAX)
    }
}

fn number_of(seat: &Seat<'_>) -> super::ThreadNumber {
    match seat {
        Seat::Own(corner) | Seat::Shared(corner) => Corner::number(corner),
    }
}

/// Whether a block at this place proves that the record's block is gone.
fn is_replaced_by(found: &Found<'_>, block: &NewBlock) -> bool {
    let (start, new) = (found.ticket.word.address(), block.address);
    if found.state().is_none() {
        return false;
    }
    let reaches = |from: Address, size: ByteCount, to: Address| {
        to.bytes_after(from)
            .is_some_and(|distance| distance < size.get().max(1))
    };
    reaches(start, found.extent().0, new) || reaches(new, block.size, start)
}

fn contains(copy: &BlockRecord, address: Address) -> bool {
    let size = copy.size.get().max(1);
    address
        .bytes_after(copy.address)
        .is_some_and(|distance| distance < size)
}

/// Whether a block counts as the program's own: neither the interpreter's nor the C runtime's.
#[must_use]
pub const fn is_programs_own(flags: u32) -> bool {
    flags & (flag::INTERPRETERS_OWN | flag::RUNTIMES_OWN) == 0
}
