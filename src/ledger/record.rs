//! One block's record: 40 bytes, every field atomic, one word that decides.
//!
//! ```text
//! word:    | generation (15) | state (2) | address (47) |
//! extent:  | family (16)     | size (48)                |
//! threads: | released by (16)| allocated by (16)        |
//! ```
//! A transition is one compare-and-swap of the word, so it checks state, generation and address
//! together. The other fields belong to whoever won the last transition; a reader takes a copy and
//! believes it only when the word is the same before and after.

use super::transition::{Event, Outcome, transition};
use super::{BlockState, Epoch, FamilyId, StackId, ThreadNumber};
use crate::memory::sync::{AtomicU32, AtomicU64, Ordering, fence, spin};
use crate::memory::table::Zeroed;
use crate::memory::{Address, ByteCount};

const ADDRESS_BITS: u32 = 47;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;
const STATE_MASK: u64 = 3;
const GENERATION_SHIFT: u32 = ADDRESS_BITS + 2;
const SIZE_BITS: u32 = 48;
const SIZE_MASK: u64 = (1 << SIZE_BITS) - 1;

/// How often a reader tries to get a copy that nobody changed meanwhile.
const READ_TRY_COUNT: usize = 64;

/// The flags of a record.
pub mod flag {
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
}

/// The deciding word, taken apart by its methods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(u64);

impl Word {
    /// The bits, for keeping a word in an atomic.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// A word from bits that [`Word::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The address the record is about.
    #[must_use]
    pub const fn address(self) -> Address {
        Address::new((self.0 & ADDRESS_MASK) as usize)
    }

    /// The record's state; `None` when vacant.
    #[must_use]
    pub const fn state(self) -> Option<BlockState> {
        match (self.0 >> ADDRESS_BITS) & STATE_MASK {
            1 => Some(BlockState::Live),
            2 => Some(BlockState::Quarantined),
            3 => Some(BlockState::Freed),
            _ => None,
        }
    }

    const fn with_state(self, state: Option<BlockState>) -> Self {
        let bits = match state {
            None => 0,
            Some(BlockState::Live) => 1,
            Some(BlockState::Quarantined) => 2,
            Some(BlockState::Freed) => 3,
        };
        Self(self.0 & !(STATE_MASK << ADDRESS_BITS) | bits << ADDRESS_BITS)
    }

    /// The same record one life later, vacant and without an address.
    const fn next_life(self) -> Self {
        let generation = (self.0 >> GENERATION_SHIFT).wrapping_add(1);
        Self(generation << GENERATION_SHIFT)
    }

    const fn at(self, address: Address) -> Self {
        Self(self.0 & !ADDRESS_MASK | address.get() as u64 & ADDRESS_MASK)
    }
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
    /// Between which marks it was allocated.
    pub epoch: Epoch,
    /// Who allocated it.
    pub allocated_by: ThreadNumber,
    /// Who released it, if anybody did.
    pub released_by: ThreadNumber,
    /// [`flag`] bits.
    pub flags: u32,
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
    threads: AtomicU32,
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
        Word(self.word.load(Ordering::Acquire))
    }

    /// The next record in the same granule, or zero.
    #[inline]
    pub fn next(&self) -> u32 {
        self.next.load(Ordering::Acquire)
    }

    pub(super) fn set_next(&self, number: u32) {
        self.next.store(number, Ordering::Release);
    }

    /// Makes the record vacant for whoever wins: afterwards the caller alone may fill it.
    pub(super) fn claim(&self, seen: Word) -> Option<Word> {
        let vacant = seen.next_life();
        self.swap(seen, vacant).then_some(vacant)
    }

    /// Fills a claimed record and makes it live, in this order: nobody sees it half-written.
    pub(super) fn fill(&self, claimed: Word, block: &NewBlock, epoch: Epoch, thread: ThreadNumber) {
        let size = (block.size.get() as u64).min(SIZE_MASK);
        let extent = u64::from(block.family.0) << SIZE_BITS | size;
        self.extent.store(extent, Ordering::Relaxed);
        self.allocated.store(block.allocated.0, Ordering::Relaxed);
        self.released.store(0, Ordering::Relaxed);
        self.epoch.store(epoch.0, Ordering::Relaxed);
        self.threads.store(u32::from(thread.0), Ordering::Relaxed);
        self.flags.store(block.flags, Ordering::Relaxed);
        let live = claimed.at(block.address).with_state(Some(BlockState::Live));
        self.word.store(live.0, Ordering::Release);
    }

    /// Applies an event to the record if it still is exactly as `seen`.
    ///
    /// `Ok` when this thread made the change; otherwise what the state machine says of the
    /// record's present state. Of any number of simultaneous callers one gets `Ok`.
    pub(super) fn apply(&self, seen: Word, event: Event) -> Result<Word, Outcome> {
        let outcome = transition(seen.state(), event);
        let Outcome::Becomes(state) = outcome else {
            return Err(outcome);
        };
        let changed = if state.is_none() {
            seen.next_life()
        } else {
            seen.with_state(state)
        };
        if self.swap(seen, changed) {
            return Ok(changed);
        }
        let now = self.word();
        // Another life, or another address: whatever happened to that block is none of ours.
        if now.with_state(None) != seen.with_state(None) {
            return Err(Outcome::Unknown);
        }
        match transition(now.state(), event) {
            // Back in the state it was seen in: possible only for live -> freed -> live within one
            // life, a resize that failed. The caller may look again.
            Outcome::Becomes(_) => Err(Outcome::Unknown),
            lost => Err(lost),
        }
    }

    /// Notes who released the block; called by the winner of the release alone.
    pub(super) fn note_release(&self, released: StackId, thread: ThreadNumber) {
        let threads = self.threads.load(Ordering::Relaxed);
        let both = threads & 0xffff | u32::from(thread.0) << 16;
        self.threads.store(both, Ordering::Relaxed);
        self.released.store(released.0, Ordering::Release);
    }

    /// Forgets a release that did not happen after all.
    pub(super) fn forget_release(&self) {
        self.note_release(StackId::UNKNOWN, ThreadNumber(0));
    }

    /// Gives a live block another size and family: its owner knows them only now.
    pub(super) fn redeclare(&self, size: ByteCount, family: FamilyId) {
        let size = (size.get() as u64).min(SIZE_MASK);
        self.extent
            .store(u64::from(family.0) << SIZE_BITS | size, Ordering::Relaxed);
    }

    /// Raises flag bits of a record the caller has just looked up.
    pub(super) fn raise(&self, bits: u32) {
        self.flags.fetch_or(bits, Ordering::Relaxed);
    }

    /// Raises flag bits; `true` when they were not all up before.
    pub(super) fn raise_once(&self, bits: u32) -> bool {
        self.flags.fetch_or(bits, Ordering::Relaxed) & bits != bits
    }

    /// The size and family of the block, without the rest.
    #[inline]
    pub(super) fn extent(&self) -> (ByteCount, FamilyId) {
        let extent = self.extent.load(Ordering::Relaxed);
        let family = u16::try_from(extent >> SIZE_BITS).unwrap_or_default();
        let size = usize::try_from(extent & SIZE_MASK).unwrap_or(usize::MAX);
        (ByteCount::new(size), FamilyId(family))
    }

    /// A consistent copy, or `None` when the record is vacant or changes too fast to be read.
    pub fn read(&self) -> Option<BlockRecord> {
        for _ in 0..READ_TRY_COUNT {
            let before = self.word();
            let copy = self.copy(before)?;
            fence(Ordering::Acquire);
            if self.word.load(Ordering::Relaxed) == before.0 {
                return Some(copy);
            }
            spin();
        }
        None
    }

    fn copy(&self, word: Word) -> Option<BlockRecord> {
        let (size, family) = self.extent();
        let threads = self.threads.load(Ordering::Relaxed);
        Some(BlockRecord {
            address: word.address(),
            size,
            state: word.state()?,
            family,
            allocated: StackId(self.allocated.load(Ordering::Relaxed)),
            released: StackId(self.released.load(Ordering::Acquire)),
            epoch: Epoch(self.epoch.load(Ordering::Relaxed)),
            allocated_by: ThreadNumber(u16::try_from(threads & 0xffff).unwrap_or_default()),
            released_by: ThreadNumber(u16::try_from(threads >> 16).unwrap_or_default()),
            flags: self.flags.load(Ordering::Relaxed),
        })
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.word
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
