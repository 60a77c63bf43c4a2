//! The ledger itself: from an address to its record, and what may be done to it.

#![expect(
    clippy::inline_always,
    reason = "a transition is part of the path of every release of a recorded block"
)]

use super::chain::{Chain, Found, Ticket};
use super::insertion::SEARCH_BYTE_COUNT_MIN;
use super::record::{BlockRecord, Record, flag};
use super::threads::{Corner, Seat, Threads};
use super::totals::{Sums, Totals};
use super::transition::{Event, Outcome};
use super::vacancy::Vacancy;
use super::word::Word;
use super::{BlockState, Epoch, StackId};
use crate::memory::page_map::PageMap;
use crate::memory::prefetch::prefetch;
use crate::memory::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, spin};
use crate::memory::{Address, ByteCount};

/// How often a look-up looks again while the record at its address is being filled.
const FILL_WAIT_COUNT: usize = if cfg!(loom) { 4 } else { 10_000 };

/// Granules with records that [`Ledger::held_around`] looks at: some microseconds.
pub(super) const LOOK_COUNT_MAX: usize = if cfg!(test) { 8 } else { 512 };

/// What the ledger had to leave out, and what it noticed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LedgerCounters {
    /// Blocks that got no record.
    pub dropped_record_count: u64,
    /// Records whose block had left on a path nobody saw.
    pub superseded_record_count: u64,
    /// Blocks that were live when releases were last seen, and may have gone unseen since.
    pub forgotten_record_count: u64,
    /// Records in use or kept for what they know of freed blocks.
    pub record_count: u64,
    /// Bytes of pages mapped for the ledger (the kernel commits them on first touch).
    pub mapped_byte_count: u64,
}

/// Every recorded block of the process.
#[derive(Debug)]
pub struct Ledger {
    pub(super) map: PageMap,
    pub(super) vacancy: Vacancy,
    pub(super) threads: Threads,
    pub(super) totals: Totals,
    epoch: AtomicU32,
    /// The size of the largest block so far, if it is larger than `SEARCH_BYTE_COUNT_MIN`.
    pub(super) largest: AtomicUsize,
    pub(super) dropped: AtomicU64,
    pub(super) superseded: AtomicU64,
    forgotten: AtomicU64,
}

impl Ledger {
    /// An empty ledger; `None` when the kernel refuses address space.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            map: PageMap::new()?,
            vacancy: Vacancy::new()?,
            threads: Threads::new()?,
            totals: Totals::default(),
            epoch: AtomicU32::new(1),
            largest: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        })
    }

    /// The record of the block that starts at `address`, in whatever state; the living first.
    #[inline]
    #[must_use]
    pub fn find(&self, address: Address) -> Option<Found<'_>> {
        let slot = self.map.slot(address)?;
        let mut number = slot.load(Ordering::Acquire);
        let mut record = self.vacancy.record(number)?;
        let mut word = record.word();
        if !word.is(BlockState::Live, address) {
            Ticket { number, word } = self.find_along(slot, address)?;
            record = self.vacancy.record(number)?;
        }
        Some(Found::new(Ticket { number, word }, record))
    }

    /// Every case but the usual one. A record that is being filled for this address is waited for:
    /// its block may have been released before, and is about to be the program's again.
    #[inline(never)]
    fn find_along(&self, slot: &AtomicU32, address: Address) -> Option<Ticket> {
        let mut best = None;
        for _ in 0..FILL_WAIT_COUNT {
            best = None;
            let mut is_being_filled = false;
            for found in self.chain(slot, address) {
                if found.address() != address {
                    continue;
                }
                match found.state() {
                    Some(BlockState::Live) => return Some(found.ticket()),
                    Some(BlockState::Quarantined | BlockState::Freed) => {
                        best = best.or(Some(found.ticket()));
                    }
                    Some(BlockState::Forgotten) => {}
                    None => is_being_filled = true,
                }
            }
            if !is_being_filled {
                break;
            }
            spin();
        }
        best
    }

    /// The block that `address` lies in, the living before the released.
    #[must_use]
    pub fn containing(&self, address: Address) -> Option<BlockRecord> {
        let search = |wanted: fn(BlockState) -> bool| {
            self.map.search_back(address, self.reach(), |place, slot| {
                self.chain(slot, place).find_map(|found| {
                    let copy = found.read()?;
                    (wanted(copy.state) && contains(&copy, address)).then_some(copy)
                })
            })
        };
        search(|state| state == BlockState::Live)
            .or_else(|| search(|state| state != BlockState::Forgotten))
    }

    /// The block whose memory has not gone back and that `address` lies in, as the nearest one in front
    /// tells: blocks of an allocator do not lie in each other, and adopted ones, which may, are passed
    /// over. For those in a hurry: [`Ledger::containing`] reads every record within reach. Missed is
    /// a block that lies where more than `LOOK_COUNT_MAX` released ones lay before, on record still.
    #[must_use]
    pub fn held_around(&self, address: Address) -> Option<BlockRecord> {
        let mut left = LOOK_COUNT_MAX;
        let nearest = self.map.search_back(address, self.reach(), |place, slot| {
            left -= 1;
            let held = self.chain(slot, place).find_map(|found| {
                let is_candidate = found.address() <= address && is_held(found.state());
                let copy = is_candidate.then(|| found.read()).flatten()?;
                let decides = contains(&copy, address) || copy.flags & flag::ADOPTED == 0;
                decides.then_some(copy)
            });
            (held.is_some() || left == 0).then_some(held)
        });
        nearest.flatten().filter(|copy| contains(copy, address))
    }

    /// How far before an address the block may start that the address lies in.
    fn reach(&self) -> usize {
        let largest = self.largest.load(Ordering::Relaxed);
        largest.max(SEARCH_BYTE_COUNT_MIN)
    }

    /// How many blocks are live, nearly (each thread may have 1,024 more or fewer): free for the asking.
    #[inline]
    #[must_use]
    pub fn live_block_estimate(&self) -> u64 {
        self.totals.published_live_blocks()
    }

    /// The nearest block that starts before `address`, at most `byte_count` bytes, and whose memory
    /// has not gone back.
    #[must_use]
    pub fn held_before(&self, address: Address, byte_count: usize) -> Option<Found<'_>> {
        let before = Address::new(address.get().checked_sub(1)?);
        self.map.search_back(before, byte_count, |place, slot| {
            self.chain(slot, place)
                .find(|found| found.address() < address && is_held(found.state()))
        })
    }

    /// Gives a live block another size and family, keeping its origin. A thread that releases it at
    /// the same moment may count the size it had before.
    pub fn redeclare(&self, found: &Found<'_>, size: ByteCount, family: super::FamilyId) {
        let before = found.extent().0.get() as u64;
        found.record.redeclare(size, family);
        self.totals
            .count_resize(&self.seat(), before, size.get() as u64);
    }

    /// Decides a release and notes where it happens, both before the memory can be reused. `Ok`
    /// makes the caller the one who released the block.
    ///
    /// # Errors
    /// [`Outcome::ReleasedBefore`] when somebody else won, [`Outcome::Unknown`] when the record has
    /// moved on to another address meanwhile.
    #[inline(always)]
    pub fn release(
        &self,
        found: &Found<'_>,
        event: Event,
        released: StackId,
    ) -> Result<Ticket, Outcome> {
        let word = found.record.apply(found.ticket().word, event)?;
        let (size, _) = found.extent();
        if let Some(corner) = self.own_corner() {
            found.record.note_release(released, corner.number());
            let seat = Seat::Own(corner);
            self.totals.count_release(&seat, size.get() as u64);
        } else {
            self.note_seated(found.record, size, released);
        }
        Ok(Ticket {
            number: found.ticket().number,
            word,
        })
    }

    #[cold]
    fn note_seated(&self, record: &Record, size: ByteCount, released: StackId) {
        let seat = self.seat();
        record.note_release(released, seat.number());
        self.totals.count_release(&seat, size.get() as u64);
    }

    /// Forgets a live block: from now on its address is as if it had never been met. `false` when it is
    /// not live any more.
    pub fn forget(&self, found: &Found<'_>) -> bool {
        if found
            .record
            .apply(found.ticket().word, Event::Forget)
            .is_err()
        {
            return false;
        }
        let (size, _) = found.extent();
        self.note_seated(found.record, size, StackId::UNKNOWN);
        self.forgotten.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Forgets every live block that `is_doubtful` says.
    pub fn forget_live(&self, is_doubtful: impl Fn(&Found<'_>) -> bool) {
        for (number, record) in self.vacancy.numbered() {
            let word = record.word();
            let found = Found::new(Ticket { number, word }, record);
            if word.state() == Some(BlockState::Live) && is_doubtful(&found) {
                self.forget(&found);
            }
        }
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

    /// The same for a block that is to be looked at before its memory goes back: its record, and its
    /// flags.
    #[inline(always)]
    #[must_use]
    pub fn take_out(&self, ticket: Ticket) -> Option<(Found<'_>, u32)> {
        let record = self.vacancy.record(ticket.number)?;
        // Both are read before the transition: afterwards the record may be recycled.
        let (found, flags) = (Found::new(ticket, record), record.flags());
        let word = record.apply(ticket.word, Event::Evict).ok()?;
        Some((found.after(word), flags))
    }

    /// Undoes a release by [`Event::GiveBack`] that the allocator refused to carry out: the record
    /// is as it was before. `false` when it has gone elsewhere meanwhile.
    pub fn restore(&self, ticket: Ticket) -> bool {
        let Some(record) = self.vacancy.record(ticket.number) else {
            return false;
        };
        let size = record.extent().size();
        let restored = record.restore(ticket.word);
        if restored {
            self.totals
                .take_back_release(&self.seat(), size.get() as u64);
        }
        restored
    }

    /// Has the processor fetch the record a ticket names, and the place in the map that leads to it: it
    /// will be asked for soon, and its address be given out again.
    #[inline]
    pub fn prefetch(&self, ticket: Ticket) {
        if let Some(record) = self.vacancy.record(ticket.number) {
            prefetch(Address::of(std::ptr::from_ref(record)));
        }
        if let Some(slot) = self.map.slot(ticket.word.address()) {
            prefetch(Address::of(std::ptr::from_ref(slot)));
        }
    }

    /// The size of the block that a ticket names, or of one that has its record now.
    #[inline]
    #[must_use]
    pub fn size_of(&self, ticket: Ticket) -> Option<ByteCount> {
        Some(self.vacancy.record(ticket.number)?.extent().size())
    }

    /// A consistent copy of the record a ticket names, while it is still in that life.
    #[must_use]
    pub fn read(&self, ticket: Ticket) -> Option<BlockRecord> {
        let record = self.vacancy.record(ticket.number)?;
        record.read_in_life(ticket.word)
    }

    /// Every block the program holds now. Blocks that come and go meanwhile may or may not appear.
    pub fn live_blocks(&self) -> impl Iterator<Item = BlockRecord> + '_ {
        self.vacancy
            .records()
            .filter(|record| record.word().state() == Some(BlockState::Live))
            .filter_map(Record::read)
            .filter(|copy| copy.state == BlockState::Live)
    }

    /// Every block on record, released ones included.
    pub fn blocks(&self) -> impl Iterator<Item = BlockRecord> + '_ {
        let read = self.vacancy.records().filter_map(Record::read);
        read.filter(|copy| copy.state != BlockState::Forgotten)
    }

    /// Every block whose memory has not gone back: live and withheld, with a ticket for each.
    pub fn held_blocks(&self) -> impl Iterator<Item = (Ticket, BlockRecord)> + '_ {
        self.vacancy.numbered().filter_map(|(number, record)| {
            let word = record.word();
            let copy = record.read()?;
            let is_same = word == record.word();
            (is_held(Some(copy.state)) && is_same).then_some((Ticket { number, word }, copy))
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
        let tallies = || self.threads.corners().map(|corner| &corner.tally);
        self.totals.sums(tallies)
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
            forgotten_record_count: self.forgotten.load(Ordering::Relaxed),
            record_count: self.vacancy.record_count() as u64,
            mapped_byte_count: mapped as u64,
        }
    }

    /// The number that reports give this thread.
    #[must_use]
    pub fn thread_number(&self) -> super::ThreadNumber {
        self.seat().number()
    }

    /// The index of this thread's corner, for arrays that keep something for each thread; `None`
    /// when the thread shares a corner.
    #[inline(always)]
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
    pub(super) fn seat(&self) -> Seat<'_> {
        if cfg!(loom) {
            self.threads.shared()
        } else {
            self.threads.seat()
        }
    }

    #[inline]
    pub(super) fn own_corner(&self) -> Option<&Corner> {
        if cfg!(loom) { None } else { self.threads.own() }
    }

    /// The epoch of blocks whose allocation begins now. What is loaded afterwards is not older.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(super) fn chain<'a>(&'a self, slot: &'a AtomicU32, address: Address) -> Chain<'a> {
        Chain::new(&self.vacancy, slot, address)
    }
}

/// Whether the memory of a block in this state has not gone back.
fn is_held(state: Option<BlockState>) -> bool {
    matches!(state, Some(BlockState::Live | BlockState::Quarantined))
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
