//! What all threads withhold together: full batches, in the order in which they were handed over.
//!
//! A thread comes here with many blocks at a time, so the lock costs each of them next to nothing.
//! Under it batches are linked and unlinked, and their blocks are not looked at.

use super::batch::Batch;
use crate::memory::arena::Arena;
use crate::memory::lock::Lock;
use crate::memory::sync::{AtomicU64, Ordering};
use std::sync::MutexGuard;

/// Batches, as many as blocks can be withheld one to a batch: by threads that end.
const CHUNKS: usize = 1_024;
const CHUNK_LENGTH: usize = 64;

/// The line of batches, and those that are vacant, by numbers from one.
#[derive(Debug, Default)]
pub(super) struct Line {
    oldest: u32,
    newest: u32,
    vacant: u32,
}

/// Proof that nobody hands blocks over, for the time of a fork.
#[derive(Debug)]
pub struct HeldDepot<'a> {
    _guard: MutexGuard<'a, Line>,
}

/// How much may stand in the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    pub(super) block_count: u64,
    pub(super) byte_count: u64,
}

/// What a hand-over gives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Exchange {
    /// An empty batch in the place of the full one.
    pub(super) vacant: Option<u32>,
    /// The oldest batch, when there is too much: its blocks leave, and then it is given back.
    pub(super) leaving: Option<u32>,
}

/// The batches of all threads.
#[derive(Debug, Default)]
pub(super) struct Depot {
    batches: Arena<Batch, CHUNKS, CHUNK_LENGTH>,
    line: Lock<Line>,
    // Written under the lock, read without: a report may be made in the middle of a change.
    block_count: AtomicU64,
    byte_count: AtomicU64,
    left_block_count: AtomicU64,
    left_byte_count: AtomicU64,
}

impl Depot {
    /// The batch with this number; zero is none.
    #[inline]
    pub(super) fn batch(&self, number: u32) -> Option<&Batch> {
        self.batches.get(number.wrapping_sub(1))
    }

    /// A batch to fill. `None` when there are too many, or the kernel gives no pages.
    pub(super) fn vacant(&self) -> Option<u32> {
        self.take_vacant(&mut self.line.lock())
    }

    /// Puts a batch at the end of the line; one in which there is much room goes into the one in front.
    pub(super) fn hand_over(&self, number: u32, room: Room) -> Exchange {
        let mut line = self.line.lock();
        self.link(&mut line, number);
        Exchange {
            leaving: self.unlink_surplus(&mut line, room),
            vacant: self.take_vacant(&mut line),
        }
    }

    /// Takes the oldest batch out of the line if there is more than `room` allows.
    pub(super) fn surplus(&self, room: Room) -> Option<u32> {
        self.unlink_surplus(&mut self.line.lock(), room)
    }

    /// Takes an empty batch back.
    pub(super) fn give_back(&self, number: u32) {
        self.make_vacant(&mut self.line.lock(), number);
    }

    /// Blocks and bytes in the line.
    pub(super) fn held(&self) -> (u64, u64) {
        (
            self.block_count.load(Ordering::Relaxed),
            self.byte_count.load(Ordering::Relaxed),
        )
    }

    /// Blocks and bytes that have left the line since the start.
    pub(super) fn left(&self) -> (u64, u64) {
        (
            self.left_block_count.load(Ordering::Relaxed),
            self.left_byte_count.load(Ordering::Relaxed),
        )
    }

    /// Keeps everybody else out until the result is dropped.
    pub(super) fn hold(&self) -> HeldDepot<'_> {
        HeldDepot {
            _guard: self.line.lock(),
        }
    }

    fn link(&self, line: &mut Line, number: u32) {
        let Some(batch) = self.batch(number) else {
            return;
        };
        add(&self.block_count, batch.count().into());
        add(&self.byte_count, batch.byte_count());
        match self.batch(line.newest) {
            Some(newest) if newest.merge(batch) => return self.make_vacant(line, number),
            Some(newest) => newest.next.store(number, Ordering::Relaxed),
            None => line.oldest = number,
        }
        batch.next.store(0, Ordering::Relaxed);
        line.newest = number;
    }

    fn unlink_surplus(&self, line: &mut Line, room: Room) -> Option<u32> {
        let (blocks, bytes) = self.held();
        if blocks <= room.block_count && bytes <= room.byte_count {
            return None;
        }
        let number = line.oldest;
        let batch = self.batch(number)?;
        line.oldest = batch.next.load(Ordering::Relaxed);
        if line.oldest == 0 {
            line.newest = 0;
        }
        let (count, byte_count) = (u64::from(batch.count()), batch.byte_count());
        self.block_count
            .store(blocks.saturating_sub(count), Ordering::Relaxed);
        self.byte_count
            .store(bytes.saturating_sub(byte_count), Ordering::Relaxed);
        add(&self.left_block_count, count);
        add(&self.left_byte_count, byte_count);
        Some(number)
    }

    fn take_vacant(&self, line: &mut Line) -> Option<u32> {
        let number = line.vacant;
        match self.batch(number) {
            Some(vacant) => {
                line.vacant = vacant.next.load(Ordering::Relaxed);
                Some(number)
            }
            None => Some(self.batches.reserve(1)? + 1),
        }
    }

    fn make_vacant(&self, line: &mut Line, number: u32) {
        if let Some(batch) = self.batch(number) {
            batch.empty();
            batch.next.store(line.vacant, Ordering::Relaxed);
            line.vacant = number;
        }
    }
}

/// Adds to a counter whose only writer holds the lock.
fn add(counter: &AtomicU64, more: u64) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(more);
    counter.store(sum, Ordering::Relaxed);
}
