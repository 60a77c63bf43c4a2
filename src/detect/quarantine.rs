//! The queue of withheld blocks and its two limits.
//!
//! Each thread has a queue of its own, so withholding a block needs no lock: the queue of a thread
//! is written by that thread alone. What it withheld last stays withheld when it ends, for the thread
//! that takes its corner of the ledger over. Entries are tickets: when the block has left the quarantine in
//! some other way, its ticket is worthless and nothing is given back twice.

use crate::ledger::Ticket;
use crate::ledger::word::Word;
use crate::memory::arena::Arena;
use crate::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::memory::table::Zeroed;

/// Blocks one thread withholds at most.
pub const WITHHELD_BLOCK_COUNT_MAX: u32 = if cfg!(test) { 4 } else { 1_024 };
/// Bytes one thread withholds at most.
pub const WITHHELD_BYTE_MAX: u64 = if cfg!(test) { 1_000 } else { 4 << 20 };
/// A larger block is closed instead (`detect::closed`): withholding one here would empty the queue.
pub const WITHHELD_BLOCK_BYTE_MAX: u64 = WITHHELD_BYTE_MAX / 4 - 1;
#[cfg(not(test))]
const _: () = assert!(WITHHELD_BLOCK_BYTE_MAX + 1 == super::closed::CLOSED_BLOCK_BYTE_MIN as u64);

/// Blocks and bytes that stay withheld when a thread ends.
const LEFT_BLOCK_COUNT_MAX: u32 = if cfg!(test) { 2 } else { 64 };
const LEFT_BYTE_MAX: u64 = if cfg!(test) { 100 } else { 64 << 10 };

const QUEUE_LENGTH: usize = WITHHELD_BLOCK_COUNT_MAX as usize;
const QUEUE_CHUNKS: usize = 1_024;
const QUEUE_CHUNK_LENGTH: usize = 32;

#[derive(Debug)]
struct Entry {
    number: AtomicU32,
    word: AtomicU64,
    byte_count: AtomicU64,
}

/// One thread's queue: a ring, oldest at `head`.
#[derive(Debug)]
struct Queue {
    head: AtomicU32,
    count: AtomicU32,
    byte_count: AtomicU64,
    entries: [Entry; QUEUE_LENGTH],
}

impl Default for Queue {
    fn default() -> Self {
        let empty = |_| Entry {
            number: AtomicU32::new(0),
            word: AtomicU64::new(0),
            byte_count: AtomicU64::new(0),
        };
        Self {
            head: AtomicU32::new(0),
            count: AtomicU32::new(0),
            byte_count: AtomicU64::new(0),
            entries: std::array::from_fn(empty),
        }
    }
}

#[expect(unsafe_code, reason = "marks a type as valid when zeroed")]
// SAFETY: a queue is made of atomic integers, for which zero is the default.
unsafe impl Zeroed for Queue {}

/// The queues of all threads, by the index of a thread's corner in the ledger.
#[derive(Debug, Default)]
pub struct Quarantine {
    queues: Arena<Queue, QUEUE_CHUNKS, QUEUE_CHUNK_LENGTH>,
}

impl Quarantine {
    /// Whether a block of this size is worth withholding.
    #[inline]
    #[must_use]
    pub fn takes(byte_count: u64) -> bool {
        byte_count <= WITHHELD_BLOCK_BYTE_MAX
    }

    /// Withholds a block in the queue of the thread with this corner, and hands the tickets that
    /// no longer fit to `evict`, oldest first. `false` when there is no queue for the thread: the
    /// block must be given back at once.
    #[inline]
    pub fn withhold(
        &self,
        corner: u32,
        ticket: Ticket,
        byte_count: u64,
        mut evict: impl FnMut(Ticket),
    ) -> bool {
        let Some(queue) = self.queues.get_or_commit(corner) else {
            return false;
        };
        let held = queue.byte_count.load(Ordering::Relaxed) + byte_count;
        queue.byte_count.store(held, Ordering::Relaxed);
        while queue.count.load(Ordering::Relaxed) >= WITHHELD_BLOCK_COUNT_MAX
            || queue.byte_count.load(Ordering::Relaxed) > WITHHELD_BYTE_MAX
        {
            match queue.pop() {
                Some(oldest) => evict(oldest),
                None => break,
            }
        }
        queue.push(ticket, byte_count);
        true
    }

    /// Empties the queue of a thread: memory is short, or the check is switched off.
    pub fn drain(&self, corner: u32, evict: impl FnMut(Ticket)) {
        self.shrink(corner, (0, 0), evict);
    }

    /// Leaves only what a thread that ends leaves behind.
    pub fn leave(&self, corner: u32, evict: impl FnMut(Ticket)) {
        self.shrink(corner, (LEFT_BLOCK_COUNT_MAX, LEFT_BYTE_MAX), evict);
    }

    fn shrink(
        &self,
        corner: u32,
        (block_count_max, byte_max): (u32, u64),
        mut evict: impl FnMut(Ticket),
    ) {
        let Some(queue) = self.queues.get(corner) else {
            return;
        };
        while queue.count.load(Ordering::Relaxed) > block_count_max
            || queue.byte_count.load(Ordering::Relaxed) > byte_max
        {
            match queue.pop() {
                Some(oldest) => evict(oldest),
                None => break,
            }
        }
    }

    /// Blocks and bytes withheld now, over all threads.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        let indexes = 0..u32::try_from(QUEUE_CHUNKS * QUEUE_CHUNK_LENGTH).unwrap_or(u32::MAX);
        let mut held = (0, 0);
        for queue in indexes.map_while(|index| self.queues.get(index)) {
            held.0 += u64::from(queue.count.load(Ordering::Relaxed));
            held.1 += queue.byte_count.load(Ordering::Relaxed);
        }
        held
    }
}

impl Queue {
    fn entry(&self, position: u32) -> Option<&Entry> {
        self.entries.get(position as usize % QUEUE_LENGTH)
    }

    fn push(&self, ticket: Ticket, byte_count: u64) {
        let count = self.count.load(Ordering::Relaxed);
        let end = self.head.load(Ordering::Relaxed).wrapping_add(count);
        if let Some(entry) = self.entry(end) {
            entry.number.store(ticket.number, Ordering::Relaxed);
            entry.word.store(ticket.word.to_bits(), Ordering::Relaxed);
            entry.byte_count.store(byte_count, Ordering::Relaxed);
            self.count.store(count + 1, Ordering::Relaxed);
        }
    }

    fn pop(&self) -> Option<Ticket> {
        let left = self.count.load(Ordering::Relaxed).checked_sub(1)?;
        let head = self.head.load(Ordering::Relaxed);
        let entry = self.entry(head)?;
        let ticket = Ticket {
            number: entry.number.load(Ordering::Relaxed),
            word: Word::from_bits(entry.word.load(Ordering::Relaxed)),
        };
        let bytes = self.byte_count.load(Ordering::Relaxed);
        let leaving = entry.byte_count.load(Ordering::Relaxed);
        self.byte_count
            .store(bytes.saturating_sub(leaving), Ordering::Relaxed);
        self.head.store(head.wrapping_add(1), Ordering::Relaxed);
        self.count.store(left, Ordering::Relaxed);
        Some(ticket)
    }
}

const _: () = assert!(
    QUEUE_LENGTH.is_power_of_two(),
    "a wrapped position still names the same entry"
);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn ticket(number: u32) -> Ticket {
        Ticket {
            number,
            word: Word::from_bits(u64::from(number)),
        }
    }

    #[test]
    fn the_oldest_leave_first_when_the_block_limit_is_reached() {
        let quarantine = Quarantine::default();
        let mut evicted = Vec::new();
        for number in 1..=6 {
            assert!(quarantine.withhold(0, ticket(number), 10, |old| evicted.push(old.number)));
        }
        assert_eq!(evicted, [1, 2]);
        assert_eq!(quarantine.held(), (4, 40));
    }

    #[test]
    fn the_oldest_leave_first_when_the_byte_limit_is_reached() {
        let quarantine = Quarantine::default();
        let mut evicted = Vec::new();
        for (number, size) in [(1, 400), (2, 400), (3, 400)] {
            quarantine.withhold(0, ticket(number), size, |old| evicted.push(old.number));
        }
        assert_eq!(evicted, [1]);
        assert_eq!(quarantine.held(), (2, 800));
        assert!(!Quarantine::takes(WITHHELD_BLOCK_BYTE_MAX + 1));
    }

    #[test]
    fn a_thread_that_ends_leaves_its_last_blocks_withheld() {
        let quarantine = Quarantine::default();
        for number in 1..=4 {
            quarantine.withhold(0, ticket(number), 40, |_| ());
        }
        let mut evicted = Vec::new();
        quarantine.leave(0, |old| evicted.push(old.number));
        assert_eq!(evicted, [1, 2]);
        quarantine.withhold(0, ticket(5), 90, |_| ());
        quarantine.leave(0, |old| evicted.push(old.number));
        assert_eq!((evicted, quarantine.held()), (vec![1, 2, 3, 4], (1, 90)));
    }

    #[test]
    fn draining_empties_one_thread_and_leaves_the_others() {
        let quarantine = Quarantine::default();
        quarantine.withhold(0, ticket(1), 1, |_| ());
        quarantine.withhold(1, ticket(2), 1, |_| ());
        let mut evicted = Vec::new();
        quarantine.drain(0, |old| evicted.push(old.number));
        quarantine.drain(7, |old| evicted.push(old.number));
        assert_eq!(evicted, [1]);
        assert_eq!(quarantine.held(), (1, 1));
    }
}
