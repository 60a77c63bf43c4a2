//! Blocks that travel together through the quarantine: a thread fills a batch, the depot keeps it, and
//! a thread takes it apart. At each moment it has one owner; the others may count what it holds.

use crate::ledger::Ticket;
use crate::ledger::word::Word;
use crate::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::memory::table::Zeroed;

/// Blocks of a full batch.
pub const BATCH_LENGTH: usize = if cfg!(test) { 2 } else { 64 };
/// Bytes of memory with which a batch is full: it leaves as a whole, and much would leave with it.
pub const BATCH_BYTE_MAX: u64 = if cfg!(test) { 500 } else { 128 << 10 };

/// A withheld block: its ticket, and the memory that it holds.
#[derive(Debug)]
struct Place {
    number: AtomicU32,
    byte_count: AtomicU32,
    word: AtomicU64,
}

/// Some blocks, in the order in which they were released.
#[derive(Debug)]
pub(super) struct Batch {
    /// The next in the depot's line, or among the vacant; zero ends both.
    pub(super) next: AtomicU32,
    count: AtomicU32,
    byte_count: AtomicU64,
    places: [Place; BATCH_LENGTH],
}

impl Default for Batch {
    fn default() -> Self {
        let empty = |_| Place {
            number: AtomicU32::new(0),
            byte_count: AtomicU32::new(0),
            word: AtomicU64::new(0),
        };
        Self {
            next: AtomicU32::new(0),
            count: AtomicU32::new(0),
            byte_count: AtomicU64::new(0),
            places: std::array::from_fn(empty),
        }
    }
}

#[expect(unsafe_code, reason = "marks a type as valid when zeroed")]
// SAFETY: a batch is made of atomic integers, for which zero is the default.
unsafe impl Zeroed for Batch {}

impl Batch {
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn byte_count(&self) -> u64 {
        self.byte_count.load(Ordering::Relaxed)
    }

    /// Adds a block and says how many there are now, with how many bytes.
    #[inline]
    pub(super) fn push(&self, ticket: Ticket, byte_count: u64) -> (u32, u64) {
        let (count, held) = (self.count(), self.byte_count() + byte_count);
        let Some(place) = self.places.get(count as usize) else {
            return (count, held);
        };
        place.number.store(ticket.number, Ordering::Relaxed);
        place.byte_count.store(
            u32::try_from(byte_count).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
        place.word.store(ticket.word.to_bits(), Ordering::Relaxed);
        self.byte_count.store(held, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
        (count + 1, held)
    }

    /// The block at this position.
    #[inline]
    pub(super) fn ticket(&self, position: u32) -> Option<Ticket> {
        if position >= self.count() {
            return None;
        }
        let place = self.places.get(position as usize)?;
        Some(Ticket {
            number: place.number.load(Ordering::Relaxed),
            word: Word::from_bits(place.word.load(Ordering::Relaxed)),
        })
    }

    /// Blocks and bytes from this position on.
    pub(super) fn rest(&self, position: u32) -> (u64, u64) {
        let count = self.count();
        let places = self.places.get(position as usize..count as usize);
        let places = places.unwrap_or_default().iter();
        places.fold((0, 0), |(blocks, bytes), place| {
            let more = place.byte_count.load(Ordering::Relaxed);
            (blocks + 1, bytes + u64::from(more))
        })
    }

    /// Takes over the blocks of `other` if there is room for all of them.
    pub(super) fn merge(&self, other: &Self) -> bool {
        let together = self.count() as usize + other.count() as usize;
        if together > BATCH_LENGTH || self.byte_count() + other.byte_count() > BATCH_BYTE_MAX {
            return false;
        }
        for position in 0..other.count() {
            let (_, byte_count) = other.rest(position);
            let byte_count = byte_count - other.rest(position + 1).1;
            if let Some(ticket) = other.ticket(position) {
                self.push(ticket, byte_count);
            }
        }
        true
    }

    /// Forgets its blocks.
    pub(super) fn empty(&self) {
        self.count.store(0, Ordering::Relaxed);
        self.byte_count.store(0, Ordering::Relaxed);
    }
}
