//! Which records may be used for a new block.
//!
//! A thread takes records from its own store, refills that store by [`REFILL_RECORD_COUNT`] at a
//! time, and only when too many records are kept for blocks long freed are some of those recycled.
//! Keeping them is what makes a second release of an old block a double free instead of an unknown
//! pointer.

use super::BlockState;
use super::record::Record;
use super::threads::Seat;
use super::transition::Event;

use crate::memory::page_map::PageMap;
use crate::memory::stretch::Stretch;
use crate::memory::sync::{AtomicU32, Ordering};

#[cfg(not(any(test, loom, miri)))]
mod limits {
    /// 134 million blocks.
    pub(super) const CAPACITY: usize = 1 << 27;
    /// Opened by 2.5 MiB.
    pub(super) const STEP: usize = 1 << 16;
    pub(super) const REFILL: u32 = 32;
    pub(super) const FREED_MAX: u64 = 1 << 20;
}
/// Tests reach the limits.
#[cfg(all(test, not(any(loom, miri))))]
mod limits {
    pub(super) const CAPACITY: usize = 1 << 12;
    pub(super) const STEP: usize = 1 << 10;
    pub(super) const REFILL: u32 = 4;
    pub(super) const FREED_MAX: u64 = 16;
}
/// A model checker needs them within the reach of two threads.
#[cfg(any(loom, miri))]
mod limits {
    pub(super) const CAPACITY: usize = 4;
    pub(super) const STEP: usize = 2;
    pub(super) const REFILL: u32 = 1;
    pub(super) const FREED_MAX: u64 = 1;
}

/// How many records a thread reserves at a time.
pub const REFILL_RECORD_COUNT: u32 = limits::REFILL;
/// Records kept for freed blocks before recycling begins: 40 MiB of records.
pub const FREED_RECORD_COUNT_MAX: u64 = limits::FREED_MAX;
/// Records looked at in one recycling step: a bound on what one allocation pays for it.
const RECYCLE_LOOK_COUNT: u32 = 256;

const _: () = assert!(
    REFILL_RECORD_COUNT as usize <= super::threads::VACANT_RECORD_COUNT_MAX,
    "a refill fits a thread's store"
);

/// The records and who may take them.
#[derive(Debug)]
pub struct Vacancy {
    records: Stretch<Record, { limits::CAPACITY }, { limits::STEP }>,
    hand: AtomicU32,
}

impl Vacancy {
    /// Sets address space for records aside; `None` when there is none.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            records: Stretch::new()?,
            hand: AtomicU32::new(0),
        })
    }

    /// The record with this number; numbers count from one.
    #[inline]
    #[must_use]
    pub fn record(&self, number: u32) -> Option<&Record> {
        // Number zero is no record: the index wraps around and is beyond every stretch.
        self.records.get((number as usize).wrapping_sub(1))
    }

    /// Every record that was ever handed out.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.numbered().map(|(_, record)| record)
    }

    /// The same with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Record)> {
        let count = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        (0..count).filter_map(|index| Some((index + 1, self.records.get(index as usize)?)))
    }

    /// How many records were ever handed out.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// Bytes of pages mapped for records.
    #[must_use]
    pub fn mapped_byte_count(&self) -> usize {
        self.records.open_byte_count()
    }

    /// The number of a vacant record that is now the caller's alone.
    pub(super) fn take(&self, seat: &Seat<'_>, live_count: u64, map: &PageMap) -> Option<u32> {
        let kept = (self.records.len() as u64).saturating_sub(live_count);
        let is_time_to_recycle = kept > FREED_RECORD_COUNT_MAX;
        let Seat::Own(corner) = seat else {
            let recycle = || self.recycle(map, 1, |_| true);
            let recycled = is_time_to_recycle.then(recycle).flatten();
            return recycled.or_else(|| self.reserve_one()).or_else(recycle);
        };
        if let Some(number) = corner.pop_vacant() {
            return Some(number);
        }
        let recycle = || {
            let keep = |number| corner.push_vacant(number);
            self.recycle(map, REFILL_RECORD_COUNT, keep);
            corner.pop_vacant()
        };
        let recycled = is_time_to_recycle.then(recycle).flatten();
        // When there are no more records, what a few freed blocks are known by is given up too.
        recycled.or_else(|| self.refill(seat)).or_else(recycle)
    }

    fn reserve_one(&self) -> Option<u32> {
        self.records.reserve(1).map(|index| index + 1)
    }

    /// Keeps a vacant record for later. A thread without a corner has nowhere to keep it: one lost
    /// record, of the 134 million.
    pub(super) fn keep(seat: &Seat<'_>, number: u32) {
        if let Seat::Own(corner) = seat {
            corner.push_vacant(number);
        }
    }

    fn refill(&self, seat: &Seat<'_>) -> Option<u32> {
        let Seat::Own(corner) = seat else { return None };
        let Some(first) = self.records.reserve(REFILL_RECORD_COUNT) else {
            return self.reserve_one();
        };
        // Highest first, so that the store hands them out in ascending order.
        for index in (first + 1..first + REFILL_RECORD_COUNT).rev() {
            corner.push_vacant(index + 1);
        }
        Some(first + 1)
    }

    /// Looks at the next few records and gives those of freed blocks, at most `wanted`, to `keep`
    /// until it is full. The last of them, if there were any.
    fn recycle(&self, map: &PageMap, wanted: u32, keep: impl Fn(u32) -> bool) -> Option<u32> {
        let count = u32::try_from(self.records.len()).unwrap_or(u32::MAX).max(1);
        let start = self.hand.fetch_add(RECYCLE_LOOK_COUNT, Ordering::Relaxed) % count;
        let (mut kept, mut last) = (0, None);
        for step in 0..RECYCLE_LOOK_COUNT.min(count) {
            let number = (start + step) % count + 1;
            if kept < wanted && self.retire(map, number) && keep(number) {
                kept += 1;
                last = Some(number);
            }
        }
        last
    }

    /// Makes the record of a freed or forgotten block vacant and takes it out of the page map. Only the head of
    /// a granule's chain can be taken out; the others wait until they are the head.
    fn retire(&self, map: &PageMap, number: u32) -> bool {
        let Some(record) = self.record(number) else {
            return false;
        };
        let word = record.word();
        // Until the winner of the release has noted where it happened, the fields are the winner's.
        if !word.state().is_some_and(BlockState::is_gone) || !record.is_release_noted() {
            return false;
        }
        let Some(slot) = map.slot(word.address()) else {
            return false;
        };
        if slot.load(Ordering::Acquire) != number || record.apply(word, Event::Recycle).is_err() {
            return false;
        }
        let next = record.next();
        // Somebody put a new record in front meanwhile: ours stays in the chain, vacant, and is
        // never handed out again. One lost record is cheaper than a chain that forks.
        slot.compare_exchange(number, next, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
