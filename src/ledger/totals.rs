//! How much was allocated, released and held at most.
//!
//! Each thread counts for itself and publishes its balance once it has moved by about
//! [`UNPUBLISHED_BYTE_MAX`] or [`UNPUBLISHED_BLOCK_MAX`]; the sums are exact whenever they are
//! asked for. The peak is exact while one thread allocates and releases; with several it may differ
//! from the true value by one unpublished balance for each thread. One shared counter would make two threads
//! wait for the same cache line at every allocation.

#![expect(
    clippy::inline_always,
    reason = "counting is part of the path of every event"
)]

use super::threads::Seat;
use crate::memory::sync::{AtomicU64, Ordering};

/// A thread publishes its balance when it has risen by this many bytes.
pub const UNPUBLISHED_BYTE_MAX: i64 = 64 * 1024;
/// A thread publishes its balance when it has risen by this many blocks.
pub const UNPUBLISHED_BLOCK_MAX: i64 = 1024;
/// A thread looks whether its balance has fallen as far after so many releases: the peak of others
/// depends on it, its own does not.
const RELEASES_PER_LOOK: u64 = 64;

const _: () = assert!(RELEASES_PER_LOOK.is_power_of_two(), "a remainder is a mask");

/// Counters that only ever grow, and what the owner has published of their difference. Balances are
/// two's complement: a thread may release what others allocated.
#[derive(Default, Debug)]
pub struct Tally {
    allocated_blocks: AtomicU64,
    allocated_bytes: AtomicU64,
    released_blocks: AtomicU64,
    released_bytes: AtomicU64,
    /// How far the balance is below the highest since the last publication.
    below_blocks: AtomicU64,
    below_bytes: AtomicU64,
    /// The balance at the last publication.
    published_blocks: AtomicU64,
    published_bytes: AtomicU64,
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

impl Tally {
    /// Blocks and bytes allocated less released.
    fn balance(&self) -> (i64, i64) {
        let allocated = pair(&self.allocated_blocks, &self.allocated_bytes);
        let released = pair(&self.released_blocks, &self.released_bytes);
        (
            allocated.0.wrapping_sub(released.0),
            allocated.1.wrapping_sub(released.1),
        )
    }

    fn published(&self) -> (i64, i64) {
        pair(&self.published_blocks, &self.published_bytes)
    }

    /// The highest balance since the last publication.
    fn highest(&self) -> (i64, i64) {
        let below = pair(&self.below_blocks, &self.below_bytes);
        let now = self.balance();
        (now.0.wrapping_add(below.0), now.1.wrapping_add(below.1))
    }
}

fn pair(blocks: &AtomicU64, bytes: &AtomicU64) -> (i64, i64) {
    (
        blocks.load(Ordering::Relaxed).cast_signed(),
        bytes.load(Ordering::Relaxed).cast_signed(),
    )
}

fn set_pair(blocks: &AtomicU64, bytes: &AtomicU64, to: (i64, i64)) {
    blocks.store(to.0.cast_unsigned(), Ordering::Relaxed);
    bytes.store(to.1.cast_unsigned(), Ordering::Relaxed);
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
    #[inline(always)]
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
    #[inline(always)]
    pub fn count_release(&self, seat: &Seat<'_>, byte_count: u64) {
        match seat {
            Seat::Own(corner) => {
                let tally = &corner.tally;
                let done = add(&tally.released_blocks, 1);
                add(&tally.released_bytes, byte_count);
                add(&tally.below_blocks, 1);
                add(&tally.below_bytes, byte_count);
                if done.is_multiple_of(RELEASES_PER_LOOK)
                    || byte_count >= UNPUBLISHED_BYTE_MAX.cast_unsigned()
                {
                    self.look_at_fall(tally);
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
    #[cold]
    pub fn count_resize(&self, seat: &Seat<'_>, from: u64, to: u64) {
        let change = to.wrapping_sub(from);
        match seat {
            Seat::Own(corner) => {
                let tally = &corner.tally;
                add(&tally.allocated_bytes, change);
                let bytes = add(&tally.below_bytes, change.wrapping_neg()).cast_signed();
                if bytes < 0 {
                    let blocks = tally.below_blocks.load(Ordering::Relaxed).cast_signed();
                    self.raise(tally, (blocks, bytes));
                }
            }
            Seat::Shared(corner) => {
                let tally = &corner.tally;
                tally.allocated_bytes.fetch_add(change, Ordering::Release);
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

    /// The owner's balance has risen by one block.
    #[inline]
    fn rise(&self, tally: &Tally, byte_count: u64) {
        let blocks = add(&tally.below_blocks, u64::MAX).cast_signed();
        let bytes = add(&tally.below_bytes, byte_count.wrapping_neg()).cast_signed();
        if blocks < 0 || bytes < 0 {
            self.raise(tally, (blocks, bytes));
        }
    }

    /// The balance is higher than ever since the last publication.
    #[inline(never)]
    fn raise(&self, tally: &Tally, below: (i64, i64)) {
        let not_below = (below.0.max(0), below.1.max(0));
        set_pair(&tally.below_blocks, &tally.below_bytes, not_below);
        let (now, published) = (tally.balance(), tally.published());
        if now.0 - published.0 >= UNPUBLISHED_BLOCK_MAX
            || now.1 - published.1 >= UNPUBLISHED_BYTE_MAX
        {
            self.publish(tally);
        }
    }

    #[inline(never)]
    fn look_at_fall(&self, tally: &Tally) {
        let (now, published) = (tally.balance(), tally.published());
        if published.0 - now.0 >= UNPUBLISHED_BLOCK_MAX
            || published.1 - now.1 >= UNPUBLISHED_BYTE_MAX
        {
            self.publish(tally);
        }
    }

    /// Adds what the owner's balance has moved by to what all threads have published.
    #[cold]
    pub(super) fn publish(&self, tally: &Tally) {
        let (now, before, highest) = (tally.balance(), tally.published(), tally.highest());
        set_pair(&tally.published_blocks, &tally.published_bytes, now);
        set_pair(&tally.below_blocks, &tally.below_bytes, (0, 0));
        let moved = (now.0 - before.0, now.1 - before.1);
        self.add_published(moved, (highest.0 - before.0, highest.1 - before.1));
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
    #[inline]
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
            let (high, published) = (tally.highest(), tally.published());
            highest[0] += (high.0 - published.0).max(0);
            highest[1] += (high.1 - published.1).max(0);
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
