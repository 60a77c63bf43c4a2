//! How much was allocated, released and held at most.
//!
//! Each thread counts for itself and publishes its balance once it has moved by
//! [`UNPUBLISHED_BYTE_MAX`] or [`UNPUBLISHED_BLOCK_MAX`]; the sums are exact whenever they are
//! asked for. The peak is exact while one thread allocates and releases; with several it may differ
//! from the true value by one unpublished balance for each thread. One shared counter would make two threads
//! wait for the same cache line at every allocation.

use super::threads::Seat;
use crate::memory::sync::{AtomicU64, Ordering};

/// A thread publishes its balance when it has moved by this many bytes.
pub const UNPUBLISHED_BYTE_MAX: i64 = 64 * 1024;
/// A thread publishes its balance when it has moved by this many blocks.
pub const UNPUBLISHED_BLOCK_MAX: i64 = 1024;

/// Counters that only ever grow, and the owner's unpublished balance.
#[derive(Default, Debug)]
pub struct Tally {
    allocated_blocks: AtomicU64,
    allocated_bytes: AtomicU64,
    released_blocks: AtomicU64,
    released_bytes: AtomicU64,
    /// Two's complement: blocks and bytes not yet published, and the highest they were.
    unpublished_blocks: AtomicU64,
    unpublished_bytes: AtomicU64,
    highest_blocks: AtomicU64,
    highest_bytes: AtomicU64,
}

/// The sums.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    /// Blocks in the program's hands.
    pub live_blocks: u64,
    /// Their bytes, as asked for.
    pub live_bytes: u64,
    /// The most blocks at one time.
    pub peak_blocks: u64,
    /// The most bytes at one time.
    pub peak_bytes: u64,
    /// Blocks allocated since the start.
    pub total_blocks: u64,
    /// Bytes allocated since the start.
    pub total_bytes: u64,
}

/// What all threads have published. Balances are two's complement: a thread that releases what
/// others allocated publishes a negative one.
#[derive(Default, Debug)]
pub struct Totals {
    blocks: AtomicU64,
    bytes: AtomicU64,
    peak_blocks: AtomicU64,
    peak_bytes: AtomicU64,
}

/// Adds to a counter that only this thread writes. Released, so that whoever sees a release also
/// sees the allocation, by whatever thread ([`Totals::sums`]).
#[inline]
fn add(counter: &AtomicU64, amount: u64) -> u64 {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(amount);
    counter.store(sum, Ordering::Release);
    sum
}

impl Totals {
    /// Counts a block that the program got.
    #[inline]
    pub fn count_allocation(&self, seat: &Seat<'_>, byte_count: u64) {
        match seat {
            Seat::Own(corner) => {
                let tally = &corner.tally;
                add(&tally.allocated_blocks, 1);
                add(&tally.allocated_bytes, byte_count);
                self.rise(tally, byte_count);
            }
            Seat::Shared(corner) => {
                let Tally {
                    allocated_blocks,
                    allocated_bytes,
                    ..
                } = &corner.tally;
                allocated_blocks.fetch_add(1, Ordering::Release);
                allocated_bytes.fetch_add(byte_count, Ordering::Release);
                self.add_published((1, byte_count.cast_signed()), (1, byte_count.cast_signed()));
            }
        }
    }

    /// Counts a block that the program released.
    #[inline]
    pub fn count_release(&self, seat: &Seat<'_>, byte_count: u64) {
        match seat {
            Seat::Own(corner) => {
                let tally = &corner.tally;
                add(&tally.released_blocks, 1);
                add(&tally.released_bytes, byte_count);
                let blocks = add(&tally.unpublished_blocks, u64::MAX).cast_signed();
                let bytes = add(&tally.unpublished_bytes, byte_count.wrapping_neg()).cast_signed();
                if bytes <= -UNPUBLISHED_BYTE_MAX || blocks <= -UNPUBLISHED_BLOCK_MAX {
                    self.publish(tally);
                }
            }
            Seat::Shared(corner) => {
                let Tally {
                    released_blocks,
                    released_bytes,
                    ..
                } = &corner.tally;
                released_blocks.fetch_add(1, Ordering::Release);
                released_bytes.fetch_add(byte_count, Ordering::Release);
                self.add_published((-1, byte_count.wrapping_neg().cast_signed()), (0, 0));
            }
        }
    }

    /// Counts that a block's size became known to be another.
    pub fn count_resize(&self, seat: &Seat<'_>, from: u64, to: u64) {
        let change = to.wrapping_sub(from);
        match seat {
            Seat::Own(corner) => {
                add(&corner.tally.allocated_bytes, change);
                let bytes = add(&corner.tally.unpublished_bytes, change).cast_signed();
                raise(&corner.tally.highest_bytes, bytes);
            }
            Seat::Shared(corner) => {
                corner
                    .tally
                    .allocated_bytes
                    .fetch_add(change, Ordering::Relaxed);
                self.add_published((0, change.cast_signed()), (0, change.cast_signed()));
            }
        }
    }

    /// Counts a release of this thread as not done: the program has the block still.
    #[cold]
    pub fn take_back_release(&self, seat: &Seat<'_>, byte_count: u64) {
        match seat {
            Seat::Own(corner) => {
                let tally = &corner.tally;
                add(&tally.released_blocks, u64::MAX);
                add(&tally.released_bytes, byte_count.wrapping_neg());
                self.rise(tally, byte_count);
            }
            Seat::Shared(corner) => {
                let tally = &corner.tally;
                tally.released_blocks.fetch_sub(1, Ordering::Release);
                tally
                    .released_bytes
                    .fetch_sub(byte_count, Ordering::Release);
                self.add_published((1, byte_count.cast_signed()), (1, byte_count.cast_signed()));
            }
        }
    }

    /// The owner's balance rises by one block.
    #[inline]
    fn rise(&self, tally: &Tally, byte_count: u64) {
        let blocks = add(&tally.unpublished_blocks, 1).cast_signed();
        let bytes = add(&tally.unpublished_bytes, byte_count).cast_signed();
        raise(&tally.highest_blocks, blocks);
        raise(&tally.highest_bytes, bytes);
        if bytes >= UNPUBLISHED_BYTE_MAX || blocks >= UNPUBLISHED_BLOCK_MAX {
            self.publish(tally);
        }
    }

    #[cold]
    pub(super) fn publish(&self, tally: &Tally) {
        let take = |counter: &AtomicU64| {
            let value = counter.load(Ordering::Relaxed).cast_signed();
            counter.store(0, Ordering::Relaxed);
            value
        };
        let highest = (take(&tally.highest_blocks), take(&tally.highest_bytes));
        let balance = (
            take(&tally.unpublished_blocks),
            take(&tally.unpublished_bytes),
        );
        self.add_published(balance, highest);
    }

    /// Adds a balance, and the highest it was, to what all threads have published: blocks and bytes.
    fn add_published(&self, (blocks, bytes): (i64, i64), highest: (i64, i64)) {
        let before = self
            .blocks
            .fetch_add(blocks.cast_unsigned(), Ordering::Relaxed);
        let peak = before.cast_signed().wrapping_add(highest.0);
        self.peak_blocks
            .fetch_max(not_negative(peak), Ordering::Relaxed);
        let before = self
            .bytes
            .fetch_add(bytes.cast_unsigned(), Ordering::Relaxed);
        let peak = before.cast_signed().wrapping_add(highest.1);
        self.peak_bytes
            .fetch_max(not_negative(peak), Ordering::Relaxed);
    }

    /// Blocks in the program's hands as far as published: cheap, and off by at most one balance
    /// for each thread.
    pub fn published_live_blocks(&self) -> u64 {
        not_negative(self.blocks.load(Ordering::Relaxed).cast_signed())
    }

    /// The sums over all threads.
    pub fn sums<'a, I>(&self, tallies: impl Fn() -> I) -> Sums
    where
        I: Iterator<Item = &'a Tally>,
    {
        let (mut allocated, mut released, mut highest) = ([0_u64; 2], [0_u64; 2], [0_i64; 2]);
        // All releases first: a block that comes or goes meanwhile then counts as live for a
        // moment, never as released before it was allocated.
        for tally in tallies() {
            released[0] += tally.released_blocks.load(Ordering::Acquire);
            released[1] += tally.released_bytes.load(Ordering::Acquire);
        }
        for tally in tallies() {
            allocated[0] += tally.allocated_blocks.load(Ordering::Acquire);
            allocated[1] += tally.allocated_bytes.load(Ordering::Acquire);
            highest[0] += tally.highest_blocks.load(Ordering::Relaxed).cast_signed();
            highest[1] += tally.highest_bytes.load(Ordering::Relaxed).cast_signed();
        }
        let peak = |published: &AtomicU64, peak: &AtomicU64, highest: i64, live: u64| {
            let now = published
                .load(Ordering::Relaxed)
                .cast_signed()
                .wrapping_add(highest);
            not_negative(now)
                .max(peak.load(Ordering::Relaxed))
                .max(live)
        };
        let live_blocks = allocated[0].saturating_sub(released[0]);
        let live_bytes = allocated[1].saturating_sub(released[1]);
        Sums {
            live_blocks,
            live_bytes,
            peak_blocks: peak(&self.blocks, &self.peak_blocks, highest[0], live_blocks),
            peak_bytes: peak(&self.bytes, &self.peak_bytes, highest[1], live_bytes),
            total_blocks: allocated[0],
            total_bytes: allocated[1],
        }
    }
}

#[inline]
fn raise(highest: &AtomicU64, value: i64) {
    if value > highest.load(Ordering::Relaxed).cast_signed() {
        highest.store(value.cast_unsigned(), Ordering::Relaxed);
    }
}

fn not_negative(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::threads::Corner;
    use super::*;

    #[test]
    fn one_thread_is_counted_exactly() {
        let (totals, corner) = (Totals::default(), Corner::default());
        let seat = Seat::Own(&corner);
        totals.count_allocation(&seat, 100);
        totals.count_allocation(&seat, 1_000_000);
        totals.count_release(&seat, 1_000_000);
        totals.count_allocation(&seat, 50);
        totals.count_release(&seat, 100);
        let sums = totals.sums(|| [&corner.tally].into_iter());
        let expected = Sums {
            live_blocks: 1,
            live_bytes: 50,
            peak_blocks: 2,
            peak_bytes: 1_000_100,
            total_blocks: 3,
            total_bytes: 1_000_150,
        };
        assert_eq!(sums, expected);
    }

    #[test]
    fn a_release_that_is_taken_back_leaves_the_totals_as_they_were() {
        let (totals, corner) = (Totals::default(), Corner::default());
        for seat in [Seat::Own(&corner), Seat::Shared(&corner)] {
            totals.count_allocation(&seat, 100);
            let before = totals.sums(|| [&corner.tally].into_iter());
            totals.count_release(&seat, 100);
            totals.take_back_release(&seat, 100);
            assert_eq!(totals.sums(|| [&corner.tally].into_iter()), before);
        }
    }

    #[test]
    fn a_block_released_by_another_thread_leaves_nothing() {
        let (totals, first, second) = (Totals::default(), Corner::default(), Corner::default());
        totals.count_allocation(&Seat::Own(&first), 10);
        totals.count_release(&Seat::Shared(&second), 10);
        let sums = totals.sums(|| [&first.tally, &second.tally].into_iter());
        assert_eq!((sums.live_blocks, sums.live_bytes), (0, 0));
        assert_eq!((sums.total_blocks, sums.total_bytes), (1, 10));
    }
}
