//! One block's record: 40 bytes, every field atomic, one word that decides.
//!
//! ```text
//! word:    | generation (14) | state (3) | address (47) |
//! extent:  | family (16)     | size (48)                |
//! ```
//! A transition is one compare-and-swap of the word, so it checks state, generation and address
//! together. The other fields belong to whoever won the last transition; a reader takes a copy and
//! believes it only when the word is the same before and after.

#![expect(
    clippy::inline_always,
    reason = "one compare-and-swap is part of the path of every release"
)]

use super::transition::{Event, Outcome, transition};
use super::word::{Extent, Word};
use super::{BlockState, Epoch, FamilyId, StackId, ThreadNumber};
use crate::memory::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence, spin};
use crate::memory::table::Zeroed;
use crate::memory::{Address, ByteCount};
use std::ops::Range;

/// How often a reader tries to get a copy that nobody changed meanwhile.
const READ_TRY_COUNT: usize = 64;

/// The flags of a record. The bits above [`flag::BIT_COUNT`] hold what is remembered of the word in
/// front of the block (`detect::size_word`).
pub mod flag {
    /// Bits that are flags.
    pub const BIT_COUNT: u32 = 11;
    /// A foreign call returned the block, or stored it through an out-parameter, to Python.
    pub const HANDED_TO_PYTHON: u32 = 1;
    /// The block was adopted: its memory does not come from an allocator we called.
    pub const ADOPTED: u32 = 2;
    /// The interpreter or an extension module allocated the block for itself.
    pub const INTERPRETERS_OWN: u32 = 4;
    /// libc or libstdc++ allocated the block for itself (buffers, locales).
    pub const RUNTIMES_OWN: u32 = 8;
    /// The bytes behind the block carry the redzone pattern.
    pub const REDZONE: u32 = 16;
    /// Damage to the block has been reported already.
    pub const DAMAGE_REPORTED: u32 = 32;
    /// The block lies between guard pages: glibc does not know it.
    pub const GUARDED: u32 = 64;
    /// The released block is filled with the pattern.
    pub const POISONED: u32 = 128;
    /// The program released or resized the block with a function of another family, which was
    /// refused: that it is live still is a consequence of that, not a leak of its own.
    pub const REFUSED: u32 = 256;
    /// The block was intact at the last look at everything, and has not changed its state since.
    pub const VERIFIED: u32 = 512;
    /// Python has, or has had, a view of the block that heapledger made.
    pub const VIEWED: u32 = 1_024;
}

/// What a record says of its block: a consistent copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRecord {
    /// Where the block starts.
    pub address: Address,
    /// The size the program asked for.
    pub size: ByteCount,
    /// What the block is doing.
    pub state: BlockState,
    /// Who may release it.
    pub family: FamilyId,
    /// Where it was allocated.
    pub allocated: StackId,
    /// Where it was released, if it was.
    pub released: StackId,
    /// Between which marks its allocation began.
    pub epoch: Epoch,
    /// Who allocated it.
    pub allocated_by: ThreadNumber,
    /// Who released it, if anybody did.
    pub released_by: ThreadNumber,
    /// [`flag`] bits.
    pub flags: u32,
}

impl BlockRecord {
    /// The bytes that the program asked for.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.address.get()..self.address.offset_by(self.size.get()).get()
    }
}

/// A new block, before it has a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewBlock {
    /// Where the block starts.
    pub address: Address,
    /// The size the program asked for.
    pub size: ByteCount,
    /// Who may release it.
    pub family: FamilyId,
    /// Where it was allocated.
    pub allocated: StackId,
    /// Between which marks its allocation began: taken before the allocator was asked, so that a
    /// block which is recorded late is not taken for a newer one.
    pub epoch: Epoch,
    /// [`flag`] bits.
    pub flags: u32,
}

/// The record itself, shared by all threads.
#[derive(Default, Debug)]
#[repr(C)]
pub struct Record {
    word: AtomicU64,
    extent: AtomicU64,
    allocated: AtomicU32,
    released: AtomicU32,
    epoch: AtomicU32,
    allocated_by: AtomicU16,
    released_by: AtomicU16,
    flags: AtomicU32,
    /// The number of the next record in the same granule; zero ends the chain.
    next: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(
    size_of::<Record>() == 40,
    "the ledger promises 64 bytes for each block"
);

#[expect(unsafe_code, reason = "marks a type as valid when zeroed")]
// SAFETY: every field is an atomic integer, for which zero is the default.
unsafe impl Zeroed for Record {}

impl Record {
    /// The deciding word as it is now.
    #[inline]
    pub fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    /// The next record in the same granule, or zero.
    #[inline]
    pub fn next(&self) -> u32 {
        self.next.load(Ordering::Acquire)
    }

    pub(super) fn set_next(&self, number: u32) {
        self.next.store(number, Ordering::Release);
    }

    /// Begins a new life for whoever wins: afterwards the caller alone may fill the record, for a
    /// block at `address`.
    #[inline]
    pub(super) fn claim(&self, seen: Word, address: Address) -> Option<Word> {
        let claimed = seen.next_life().at(address);
        self.swap(seen, claimed).ok().map(|()| claimed)
    }

    /// The same for a record seen freed, and for a new block at its address.
    #[inline]
    pub(super) fn claim_freed(&self, seen: Word) -> Option<Word> {
        let claimed = seen.freed_to_claimed();
        self.swap(seen, claimed).ok().map(|()| claimed)
    }

    /// Gives up a claimed record that is in no chain: it is vacant again.
    pub(super) fn give_up(&self, claimed: Word) {
        self.word
            .store(claimed.next_life().to_bits(), Ordering::Release);
    }

    /// Fills a claimed record and makes it live, in this order: nobody sees it half-written.
    #[inline]
    pub(super) fn fill(&self, claimed: Word, block: &NewBlock, thread: ThreadNumber) -> Word {
        // A reader who sees one of the stores below also sees the claim, and drops its copy.
        fence(Ordering::Release);
        let extent = Extent::new(block.size, block.family);
        self.extent.store(extent.to_bits(), Ordering::Relaxed);
        self.allocated.store(block.allocated.0, Ordering::Relaxed);
        self.released.store(0, Ordering::Relaxed);
        self.epoch.store(block.epoch.0, Ordering::Relaxed);
        self.allocated_by.store(thread.0, Ordering::Relaxed);
        self.released_by.store(0, Ordering::Relaxed);
        self.flags.store(block.flags, Ordering::Relaxed);
        let live = claimed.claimed_to_live();
        self.word.store(live.to_bits(), Ordering::Release);
        live
    }

    /// Applies an event to the record if it still is in the life of `seen`.
    ///
    /// `Ok` when this thread made the change; otherwise what the state machine says of the
    /// record's present state. Of any number of simultaneous callers one gets `Ok`.
    #[inline(always)]
    pub(super) fn apply(&self, seen: Word, event: Event) -> Result<Word, Outcome> {
        if let Outcome::Becomes(Some(state)) = transition(seen.state(), event) {
            let changed = seen.with_state(Some(state));
            if self.swap(seen, changed).is_ok() {
                return Ok(changed);
            }
        }
        self.apply_anew(seen, event)
    }

    /// Every case but the usual one.
    #[inline(never)]
    fn apply_anew(&self, seen: Word, event: Event) -> Result<Word, Outcome> {
        let mut seen = seen;
        loop {
            let outcome = transition(seen.state(), event);
            let Outcome::Becomes(state) = outcome else {
                return Err(outcome);
            };
            let changed = if state.is_none() {
                seen.next_life()
            } else {
                seen.with_state(state)
            };
            let Err(now) = self.swap(seen, changed) else {
                return Ok(changed);
            };
            if !now.is_same_life(seen) || now.is_being_filled() {
                return Err(missed(seen, now, event));
            }
            // The same block in another state, or back in this one (a resize that failed): judged
            // anew. Each round means that another thread has made a change.
            seen = now;
        }
    }

    /// Undoes a release with its note: the block is live again, in the life it had. `false` when the
    /// record has moved on. Like [`Record::fill`]: while the note is taken away the record is being
    /// filled, so that it is nobody else's, and the next release finds none.
    pub(super) fn restore(&self, seen: Word) -> bool {
        let outcome = transition(seen.state(), Event::Restore);
        let withdrawn = seen.with_state(None);
        if !matches!(outcome, Outcome::Becomes(_)) || self.swap(seen, withdrawn).is_err() {
            return false;
        }
        fence(Ordering::Release);
        self.released.store(0, Ordering::Relaxed);
        self.released_by.store(0, Ordering::Relaxed);
        let live = withdrawn.claimed_to_live();
        self.word.store(live.to_bits(), Ordering::Release);
        true
    }

    /// Notes who released the block; called by the winner of the release alone, at once. Until then
    /// the record is not recycled (`Vacancy::retire`), and the address is not handed out again.
    #[inline]
    pub(super) fn note_release(&self, released: StackId, thread: ThreadNumber) {
        self.released.store(released.0, Ordering::Relaxed);
        self.released_by.store(thread.0, Ordering::Release);
    }

    /// Whether the winner of the release has noted it.
    pub(super) fn is_release_noted(&self) -> bool {
        self.released_by.load(Ordering::Acquire) != 0
    }

    /// Gives a live block another size and family: its owner knows them only now.
    pub(super) fn redeclare(&self, size: ByteCount, family: FamilyId) {
        let extent = Extent::new(size, family).to_bits();
        self.extent.store(extent, Ordering::Relaxed);
    }

    /// Raises flag bits of a record the caller has just looked up.
    pub(super) fn raise(&self, bits: u32) {
        self.flags.fetch_or(bits, Ordering::Relaxed);
    }

    /// Raises flag bits; `true` when they were not all up before.
    pub(super) fn raise_once(&self, bits: u32) -> bool {
        self.flags.fetch_or(bits, Ordering::Relaxed) & bits != bits
    }

    /// Replaces the flags at the price of a store: a bit that another thread raises at the same
    /// moment is lost. For the winner of a release.
    #[inline]
    pub(super) fn set_flags(&self, bits: u32) {
        self.flags.store(bits, Ordering::Release);
    }

    /// The size and family of the block, without the rest. They belong to the word that was read
    /// before, provided that a compare-and-swap of that word succeeds afterwards.
    #[inline]
    pub(super) fn extent(&self) -> Extent {
        Extent::from_bits(self.extent.load(Ordering::Relaxed))
    }

    /// Between which marks the allocation began; consistent as [`Record::extent`] is.
    #[inline]
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// The flags; consistent as [`Record::extent`] is.
    #[inline]
    pub(super) fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// A consistent copy, or `None` when the record is vacant or changes too fast to be read.
    pub fn read(&self) -> Option<BlockRecord> {
        for _ in 0..READ_TRY_COUNT {
            let before = self.word();
            let copy = self.copy(before)?;
            fence(Ordering::Acquire);
            if self.word.load(Ordering::Relaxed) == before.to_bits() {
                return Some(copy);
            }
            spin();
        }
        None
    }

    /// A consistent copy in the life of `word`, or `None` when the record has moved on.
    pub(super) fn read_in_life(&self, word: Word) -> Option<BlockRecord> {
        let copy = self.read()?;
        // No record comes back to a life that has ended, so the copy is of this one.
        self.word().is_same_life(word).then_some(copy)
    }

    fn copy(&self, word: Word) -> Option<BlockRecord> {
        let extent = self.extent();
        // Before `released`, which is stored first: a thread that is known has left its stack.
        let released_by = self.released_by.load(Ordering::Acquire);
        Some(BlockRecord {
            address: word.address(),
            size: extent.size(),
            state: word.state()?,
            family: extent.family(),
            allocated: StackId(self.allocated.load(Ordering::Relaxed)),
            released: StackId(self.released.load(Ordering::Relaxed)),
            epoch: self.epoch(),
            allocated_by: ThreadNumber(self.allocated_by.load(Ordering::Relaxed)),
            released_by: ThreadNumber(released_by),
            flags: self.flags.load(Ordering::Acquire),
        })
    }

    #[inline]
    fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        self.word
            .compare_exchange(
                from.to_bits(),
                to.to_bits(),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .map(drop)
            .map_err(Word::from_bits)
    }
}

/// What an event means that came too late for the life in which the record was seen.
///
/// Whoever releases a block that is live when the call begins, and finds another block at the same
/// address, has been overtaken by a second release of the same pointer; so has who finds the block
/// being put back, by a resize that is failing. A record that went elsewhere may have been stale
/// before: that proves nothing.
fn missed(seen: Word, now: Word, event: Event) -> Outcome {
    match event {
        Event::Withhold | Event::GiveBack if now.address() == seen.address() => {
            Outcome::ReleasedBefore
        }
        Event::Allocate
        | Event::Withhold
        | Event::GiveBack
        | Event::Evict
        | Event::Restore
        | Event::Recycle
        | Event::Forget => Outcome::Unknown,
    }
}
