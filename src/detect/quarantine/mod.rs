//! The blocks that are withheld from reuse: a batch that each thread fills, and one line of full ones.
//!
//! Withholding a block needs no lock: a thread's batch is written by that thread alone. A full one it
//! hands over to the depot ([`depot`]), and one that is not full when it ends. When the depot has more
//! than it may, the thread that came last takes the oldest batch with it and takes it apart, one block
//! for each that it withholds: glibc keeps only a few blocks of a size for a thread to use again at
//! once, and for more it is slow. Blocks are named by tickets: when one has left the quarantine in some
//! other way, its ticket is worthless and nothing is given back twice.
//!
//! The limits are those of all threads together: the line has what the threads in between cannot hold.
//! Only with more threads than share the limit does each hold its two batches beyond it.

mod batch;
mod depot;

use crate::ledger::Ticket;
use crate::memory::arena::Arena;
use crate::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::memory::table::Zeroed;
pub use batch::{BATCH_BYTE_MAX, BATCH_LENGTH};
pub use depot::HeldDepot;
use depot::{Depot, Room};

/// Blocks withheld at most, unless the option `quarantine_blocks` says otherwise.
pub const BLOCK_COUNT_DEFAULT: u32 = if cfg!(test) { 16 } else { 4_096 };
/// Bytes of memory withheld at most, unless the option `quarantine_bytes` says otherwise.
pub const BYTE_DEFAULT: u64 = if cfg!(test) { 8_000 } else { 64 << 20 };
/// A larger block is closed instead (`detect::closed`): it keeps no memory.
pub const WITHHELD_BLOCK_BYTE_MAX: u64 = if cfg!(test) { 249 } else { (1 << 20) - 1 };
#[cfg(not(test))]
const _: () = assert!(WITHHELD_BLOCK_BYTE_MAX + 1 == super::closed::CLOSED_BLOCK_BYTE_MIN as u64);

/// A batch has at most this part of what may be withheld.
const BATCH_PART: u32 = 8;
/// A block that would empty this part of the quarantine is given back at once.
const WHOLE_PART: u64 = 4;
/// The batches of a thread: one that it fills, one that it takes apart.
const THREAD_BATCH_COUNT: u64 = 2;
/// How far ahead of the look at a block its memory is asked for.
const APPROACH_DISTANCE: u32 = 8;
const NEAR_DISTANCE: u32 = 4;

const THREAD_CHUNKS: usize = 1_024;
const THREAD_CHUNK_LENGTH: usize = 32;

/// What becomes of a block that leaves.
pub trait Evict {
    /// The block will leave soon: what is known of it can be fetched.
    fn approach(&self, ticket: Ticket);
    /// The block will leave sooner, and what is known of it is there: what that leads to can be fetched.
    fn come_near(&self, ticket: Ticket);
    /// The block leaves.
    fn evict(&self, ticket: Ticket);
    /// The same where it is not part of the path of every release.
    fn evict_at_once(&self, ticket: Ticket) {
        self.evict(ticket);
    }
}

/// How much may be withheld.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Blocks; zero withholds none.
    pub block_count: u32,
    /// Bytes of memory that the blocks hold; zero withholds none.
    pub byte_count: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_count: BLOCK_COUNT_DEFAULT,
            byte_count: BYTE_DEFAULT,
        }
    }
}

/// How much is withheld, and how much has been.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Withheld {
    /// Blocks withheld now.
    pub block_count: u64,
    /// The memory that they hold, in bytes.
    pub byte_count: u64,
    /// Blocks that made room for others.
    pub evicted_block_count: u64,
    /// The memory that those held.
    pub evicted_byte_count: u64,
}

/// The batches of one thread, by their numbers; zero for none. Written by that thread alone.
#[derive(Debug, Default)]
struct Hands {
    filling: AtomicU32,
    leaving: AtomicU32,
    /// How many blocks of the leaving batch have left.
    position: AtomicU32,
}

#[expect(unsafe_code, reason = "marks a type as valid when zeroed")]
// SAFETY: made of atomic integers, for which zero is the default.
unsafe impl Zeroed for Hands {}

/// All withheld blocks. The batches of a thread are found by the index of its corner in the ledger.
#[derive(Debug)]
pub struct Quarantine {
    threads: Arena<Hands, THREAD_CHUNKS, THREAD_CHUNK_LENGTH>,
    depot: Depot,
    block_count_max: AtomicU32,
    byte_max: AtomicU64,
    /// Smaller blocks are withheld.
    withheld_byte_end: AtomicU64,
    /// What makes a batch full.
    batch_block_count: AtomicU32,
    batch_byte_count: AtomicU64,
    /// Threads that are filling a batch.
    thread_count: AtomicU64,
}

impl Default for Quarantine {
    fn default() -> Self {
        let quarantine = Self {
            threads: Arena::default(),
            depot: Depot::default(),
            block_count_max: AtomicU32::new(0),
            byte_max: AtomicU64::new(0),
            withheld_byte_end: AtomicU64::new(0),
            batch_block_count: AtomicU32::new(0),
            batch_byte_count: AtomicU64::new(0),
            thread_count: AtomicU64::new(0),
        };
        quarantine.set_limits(Limits::default());
        quarantine
    }
}

impl Quarantine {
    /// Changes how much may be withheld. What is beyond a lower limit leaves with the blocks that
    /// come.
    pub fn set_limits(&self, limits: Limits) {
        let Limits {
            block_count,
            byte_count,
        } = limits;
        let is_empty = block_count == 0 || byte_count == 0;
        let largest = (byte_count / WHOLE_PART).min(WITHHELD_BLOCK_BYTE_MAX);
        let end = if is_empty { 0 } else { largest + 1 };
        let full = u32::try_from(BATCH_LENGTH).unwrap_or(u32::MAX);
        let batch_block_count = (block_count / BATCH_PART).clamp(1, full);
        let batch_byte_count = (byte_count / u64::from(BATCH_PART)).min(BATCH_BYTE_MAX);
        self.block_count_max.store(block_count, Ordering::Relaxed);
        self.byte_max.store(byte_count, Ordering::Relaxed);
        self.withheld_byte_end.store(end, Ordering::Relaxed);
        self.batch_block_count
            .store(batch_block_count, Ordering::Relaxed);
        self.batch_byte_count
            .store(batch_byte_count, Ordering::Relaxed);
    }

    /// Whether a block of this size is withheld.
    #[inline]
    #[must_use]
    pub fn takes(&self, size: u64) -> bool {
        size < self.withheld_byte_end.load(Ordering::Relaxed)
    }

    /// Withholds a block that holds `byte_count` bytes of memory, in the batch of the thread with this
    /// corner, and has `evict` see to those that no longer fit, oldest first. `false` when there is no
    /// batch for the thread: the block must be given back at once.
    #[inline]
    pub fn withhold(
        &self,
        corner: u32,
        ticket: Ticket,
        byte_count: u64,
        evict: &impl Evict,
    ) -> bool {
        let Some(hands) = self.threads.get_or_commit(corner) else {
            return false;
        };
        let filling = self.depot.batch(hands.filling.load(Ordering::Relaxed));
        let Some(batch) = filling.or_else(|| self.begin(hands)) else {
            return false;
        };
        let (blocks, bytes) = batch.push(ticket, byte_count);
        if blocks >= self.batch_block_count.load(Ordering::Relaxed)
            || bytes >= self.batch_byte_count.load(Ordering::Relaxed)
        {
            self.hand_over(hands, evict);
        }
        self.evict_next(hands, evict);
        true
    }

    /// One block of the batch that leaves through this thread goes.
    #[inline]
    fn evict_next(&self, hands: &Hands, evict: &impl Evict) {
        let number = hands.leaving.load(Ordering::Relaxed);
        let Some(batch) = self.depot.batch(number) else {
            return;
        };
        let position = hands.position.load(Ordering::Relaxed);
        let ticket = batch.ticket(position);
        approach(batch, position, evict);
        // Before the block goes: what is found in it may be told to the program, which may release
        // others here.
        if position + 1 < batch.count() {
            hands.position.store(position + 1, Ordering::Relaxed);
        } else {
            self.end_leaving(hands, number);
        }
        if let Some(ticket) = ticket {
            evict.evict(ticket);
        }
    }

    #[cold]
    fn end_leaving(&self, hands: &Hands, number: u32) {
        hands.leaving.store(0, Ordering::Relaxed);
        hands.position.store(0, Ordering::Relaxed);
        self.depot.give_back(number);
    }

    /// Hands what a thread withholds over to the depot: it ends.
    pub fn leave(&self, corner: u32, evict: &impl Evict) {
        let Some(hands) = self.threads.get(corner) else {
            return;
        };
        if hands.filling.load(Ordering::Relaxed) != 0 {
            self.hand_over(hands, evict);
            // The new one is empty, unless a callback has released blocks meanwhile.
            let number = hands.filling.swap(0, Ordering::Relaxed);
            let batch = self.depot.batch(number);
            if batch.is_some_and(|batch| batch.count() != 0) {
                let room = self.room();
                let _ = self.depot.hand_over(number, room);
            } else if number != 0 {
                self.depot.give_back(number);
            }
            if number != 0 {
                self.thread_count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.evict_leaving(hands, evict);
    }

    /// Gives back what this thread withholds, and what the depot has: memory is short.
    pub fn drain(&self, corner: u32, evict: &impl Evict) {
        const NONE: Room = Room {
            block_count: 0,
            byte_count: 0,
        };
        self.leave(corner, evict);
        while let Some(number) = self.depot.surplus(NONE) {
            self.evict_all(number, 0, evict);
        }
    }

    /// A thread's first batch.
    #[cold]
    fn begin(&self, hands: &Hands) -> Option<&batch::Batch> {
        let number = self.depot.vacant()?;
        self.thread_count.fetch_add(1, Ordering::Relaxed);
        hands.filling.store(number, Ordering::Relaxed);
        self.depot.batch(number)
    }

    #[inline(never)]
    fn hand_over(&self, hands: &Hands, evict: &impl Evict) {
        let full = hands.filling.load(Ordering::Relaxed);
        let mut exchange = self.depot.hand_over(full, self.room());
        let vacant = exchange.vacant.take();
        if vacant.is_none() {
            self.thread_count.fetch_sub(1, Ordering::Relaxed);
        }
        hands
            .filling
            .store(vacant.unwrap_or_default(), Ordering::Relaxed);
        while let Some(number) = exchange.leaving {
            self.evict_leaving(hands, evict);
            hands.leaving.store(number, Ordering::Relaxed);
            exchange.leaving = self.depot.surplus(self.room());
        }
    }

    /// What is left of the batch that leaves through this thread goes.
    fn evict_leaving(&self, hands: &Hands, evict: &impl Evict) {
        let number = hands.leaving.swap(0, Ordering::Relaxed);
        let position = hands.position.swap(0, Ordering::Relaxed);
        if number != 0 {
            self.evict_all(number, position, evict);
        }
    }

    fn evict_all(&self, number: u32, from: u32, evict: &impl Evict) {
        let Some(batch) = self.depot.batch(number) else {
            return;
        };
        for position in from..batch.count() {
            approach(batch, position, evict);
            if let Some(ticket) = batch.ticket(position) {
                evict.evict_at_once(ticket);
            }
        }
        self.depot.give_back(number);
    }

    /// How much may stand in the line: the rest is set aside for the threads' own batches.
    fn room(&self) -> Room {
        let batches = self.thread_count.load(Ordering::Relaxed) * THREAD_BATCH_COUNT;
        let rest = |limit: u64, batch: u64| limit.saturating_sub(batches.saturating_mul(batch));
        Room {
            block_count: rest(
                self.block_count_max.load(Ordering::Relaxed).into(),
                self.batch_block_count.load(Ordering::Relaxed).into(),
            ),
            byte_count: rest(
                self.byte_max.load(Ordering::Relaxed),
                self.batch_byte_count.load(Ordering::Relaxed),
            ),
        }
    }

    /// How much is withheld now over all threads, and how much has left.
    #[must_use]
    pub fn withheld(&self) -> Withheld {
        let (mut block_count, mut byte_count) = self.depot.held();
        let (mut left_block_count, mut left_byte_count) = self.depot.left();
        let rest = |number: &AtomicU32, position: u32| {
            let batch = self.depot.batch(number.load(Ordering::Relaxed));
            batch.map_or((0, 0), |batch| batch.rest(position))
        };
        let indexes = 0..u32::try_from(THREAD_CHUNKS * THREAD_CHUNK_LENGTH).unwrap_or(u32::MAX);
        for hands in indexes.map_while(|index| self.threads.get(index)) {
            let filling = rest(&hands.filling, 0);
            let leaving = rest(&hands.leaving, hands.position.load(Ordering::Relaxed));
            block_count += filling.0 + leaving.0;
            byte_count += filling.1 + leaving.1;
            left_block_count = left_block_count.saturating_sub(leaving.0);
            left_byte_count = left_byte_count.saturating_sub(leaving.1);
        }
        Withheld {
            block_count,
            byte_count,
            evicted_block_count: left_block_count,
            evicted_byte_count: left_byte_count,
        }
    }

    /// Keeps everybody from handing over until the result is dropped.
    pub fn hold(&self) -> HeldDepot<'_> {
        self.depot.hold()
    }
}

/// Asks for the memory of those that leave next.
#[inline]
fn approach(batch: &batch::Batch, position: u32, evict: &impl Evict) {
    if let Some(ahead) = batch.ticket(position + APPROACH_DISTANCE) {
        evict.approach(ahead);
    }
    if let Some(near) = batch.ticket(position + NEAR_DISTANCE) {
        evict.come_near(near);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ledger::word::Word;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Evicted(RefCell<Vec<u32>>);

    impl Evict for Evicted {
        fn approach(&self, _: Ticket) {}

        fn come_near(&self, _: Ticket) {}
        fn evict(&self, ticket: Ticket) {
            self.0.borrow_mut().push(ticket.number);
        }
    }

    impl Evicted {
        fn numbers(&self) -> Vec<u32> {
            self.0.borrow().clone()
        }
    }

    fn ticket(number: u32) -> Ticket {
        Ticket {
            number,
            word: Word::from_bits(u64::from(number)),
        }
    }

    fn held(quarantine: &Quarantine) -> (u64, u64) {
        let withheld = quarantine.withheld();
        (withheld.block_count, withheld.byte_count)
    }

    #[test]
    fn the_oldest_leave_first_when_the_block_limit_is_reached() {
        let (quarantine, evicted) = (Quarantine::default(), Evicted::default());
        for number in 1..=40 {
            assert!(quarantine.withhold(0, ticket(number), 10, &evicted));
            let (blocks, bytes) = held(&quarantine);
            assert!(blocks <= u64::from(BLOCK_COUNT_DEFAULT));
            assert_eq!(bytes, 10 * blocks);
        }
        let gone = evicted.numbers();
        let (blocks, _) = held(&quarantine);
        assert_eq!(blocks + gone.len() as u64, 40, "none is lost");
        assert!(blocks > u64::from(BLOCK_COUNT_DEFAULT) / 2);
        assert!(gone.iter().zip(1..).all(|(&number, place)| number == place));
        assert_eq!(quarantine.withheld().evicted_block_count, gone.len() as u64);
    }

    #[test]
    fn the_oldest_leave_first_when_the_byte_limit_is_reached() {
        let (quarantine, evicted) = (Quarantine::default(), Evicted::default());
        quarantine.set_limits(Limits {
            block_count: 1_000,
            byte_count: 2_000,
        });
        for number in 1..=40 {
            quarantine.withhold(0, ticket(number), 200, &evicted);
            assert!(held(&quarantine).1 <= 2_000);
        }
        let gone = evicted.numbers();
        assert!(gone.iter().zip(1..).all(|(&number, place)| number == place));
        assert_eq!(held(&quarantine).0 + gone.len() as u64, 40);
        assert!(!quarantine.takes(501) && !quarantine.takes(WITHHELD_BLOCK_BYTE_MAX + 1));
    }

    #[test]
    fn what_a_thread_withheld_stays_withheld_when_it_ends() {
        let (quarantine, evicted) = (Quarantine::default(), Evicted::default());
        quarantine.withhold(0, ticket(1), 40, &evicted);
        quarantine.leave(0, &evicted);
        quarantine.withhold(0, ticket(2), 40, &evicted);
        quarantine.leave(0, &evicted);
        quarantine.leave(7, &evicted);
        assert_eq!((evicted.numbers(), held(&quarantine)), (vec![], (2, 80)));
    }

    #[test]
    fn more_threads_than_share_the_limit_hold_their_shares_and_no_more() {
        let (quarantine, evicted) = (Quarantine::default(), Evicted::default());
        for corner in 0..40 {
            quarantine.withhold(corner, ticket(corner + 1), 10, &evicted);
        }
        assert_eq!(held(&quarantine).0, 40, "one for each thread");
        for number in 0..1_000 {
            quarantine.withhold(number % 40, ticket(number), 10, &evicted);
        }
        let two_batches = THREAD_BATCH_COUNT * BATCH_LENGTH as u64;
        assert!(held(&quarantine).0 <= 40 * two_batches);
    }

    #[test]
    fn without_room_nothing_is_taken() {
        let quarantine = Quarantine::default();
        for (block_count, byte_count) in [(0, 1 << 20), (100, 0)] {
            quarantine.set_limits(Limits {
                block_count,
                byte_count,
            });
            assert!(!quarantine.takes(0) && !quarantine.takes(64));
        }
    }

    #[test]
    fn draining_empties_one_thread_and_the_depot_and_leaves_the_other_threads() {
        let (quarantine, evicted) = (Quarantine::default(), Evicted::default());
        quarantine.withhold(0, ticket(1), 1, &evicted);
        quarantine.withhold(1, ticket(2), 1, &evicted);
        quarantine.withhold(2, ticket(3), 1, &evicted);
        quarantine.leave(2, &evicted);
        quarantine.drain(0, &evicted);
        quarantine.drain(7, &evicted);
        let mut gone = evicted.numbers();
        gone.sort_unstable();
        assert_eq!((gone, held(&quarantine)), (vec![1, 3], (1, 1)));
    }
}
