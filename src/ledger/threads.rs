//! Each thread's own corner of the ledger: its number, its counters, its vacant records.
//!
//! A corner is claimed at a thread's first event and given back when the thread ends; its counts
//! stay, because they are part of the sums. Only the owner writes, so updates need no locked
//! instruction. Threads that are being torn down, or that found all corners taken, share one corner
//! and pay for atomic additions.

#![expect(
    clippy::inline_always,
    reason = "a thread's corner is looked for at every event"
)]

use super::ThreadNumber;
use super::totals::Tally;
use crate::memory::stretch::Stretch;
use crate::memory::sync::{AtomicU16, AtomicU32, Ordering};
use crate::memory::table::Zeroed;
use crate::memory::thread_exit;
use crate::memory::thread_local::{Word, get, set};

#[cfg(not(any(test, loom)))]
mod limits {
    pub(super) const CORNERS: usize = 32_768;
    pub(super) const STEP: usize = 64;
}
/// Tests reach the limit with a handful of threads. Model threads share one corner.
#[cfg(any(test, loom))]
mod limits {
    pub(super) const CORNERS: usize = if cfg!(loom) { 1 } else { 64 };
    pub(super) const STEP: usize = if cfg!(loom) { 1 } else { 64 };
}

/// How many vacant record numbers a thread keeps for itself.
pub const VACANT_RECORD_COUNT_MAX: usize = 96;

/// The thread word of a thread that is being torn down: it may not claim a corner again.
const LEAVING: usize = usize::MAX;

/// One thread's corner.
#[derive(Debug)]
#[repr(C, align(512))]
pub struct Corner {
    /// What this thread allocated and released: one cache line.
    pub tally: Tally,
    number: AtomicU16,
    /// [`TAKEN`], [`GIVEN_BACK`], or zero before the first use.
    taken: AtomicU32,
    vacant_count: AtomicU32,
    vacant: [AtomicU32; VACANT_RECORD_COUNT_MAX],
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Tally>() == 64, "one cache line");
    assert!(size_of::<Corner>() == 512, "a corner is found by a shift");
};

impl Default for Corner {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            number: AtomicU16::new(0),
            taken: AtomicU32::new(0),
            vacant_count: AtomicU32::new(0),
            vacant: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

#[expect(unsafe_code, reason = "marks a type as valid when zeroed")]
// SAFETY: every field is an atomic integer or made of them, for which zero is the default.
unsafe impl Zeroed for Corner {}

/// The values of `Corner::taken`.
const TAKEN: u32 = 1;
const GIVEN_BACK: u32 = 2;

impl Corner {
    /// The thread's number in reports.
    #[inline]
    #[must_use]
    pub fn number(&self) -> ThreadNumber {
        ThreadNumber(self.number.load(Ordering::Relaxed))
    }

    /// Takes a vacant record number out of the owner's store.
    pub(super) fn pop_vacant(&self) -> Option<u32> {
        let left = self.vacant_count.load(Ordering::Relaxed).checked_sub(1)?;
        self.vacant_count.store(left, Ordering::Relaxed);
        Some(self.vacant.get(left as usize)?.load(Ordering::Relaxed))
    }

    /// Keeps a vacant record number for later; `false` when the store is full.
    pub(super) fn push_vacant(&self, number: u32) -> bool {
        let count = self.vacant_count.load(Ordering::Relaxed);
        let Some(place) = self.vacant.get(count as usize) else {
            return false;
        };
        place.store(number, Ordering::Relaxed);
        self.vacant_count.store(count + 1, Ordering::Relaxed);
        true
    }
}

/// The corner a thread works in.
#[derive(Debug)]
pub enum Seat<'a> {
    /// The thread's own: plain stores suffice.
    Own(&'a Corner),
    /// The shared corner, together with others: every update must be an atomic addition.
    Shared(&'a Corner),
}

impl Seat<'_> {
    /// The thread's number in reports.
    #[inline]
    #[must_use]
    pub fn number(&self) -> ThreadNumber {
        match self {
            Self::Own(corner) => corner.number(),
            Self::Shared(_) => ThreadNumber::OTHER,
        }
    }
}

/// All corners. The thread-local word belongs to one instance: a process that builds a second
/// ledger (tests do) must use [`Threads::shared`] there.
#[derive(Debug)]
pub struct Threads {
    corners: Stretch<Corner, { limits::CORNERS }, { limits::STEP }>,
    shared: Corner,
    given_back_count: AtomicU32,
    next_number: AtomicU32,
}

impl Threads {
    /// No corner is taken yet; `None` when there is no address space for them.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            corners: Stretch::new()?,
            shared: Corner::default(),
            given_back_count: AtomicU32::new(0),
            next_number: AtomicU32::new(0),
        })
    }

    /// This thread's corner, if it has taken one.
    #[inline]
    pub fn own(&self) -> Option<&Corner> {
        // Neither zero nor `LEAVING` is the index of a corner after the subtraction.
        self.corners.get(get(Word::Thread).wrapping_sub(1))
    }

    /// This thread's seat; its first event takes one.
    #[inline]
    pub fn seat(&self) -> Seat<'_> {
        match self.own() {
            Some(corner) => Seat::Own(corner),
            None if get(Word::Thread) == 0 => self.take_seat(),
            None => self.shared(),
        }
    }

    /// The index of this thread's own corner; `None` when it shares one.
    #[inline(always)]
    pub fn own_index(&self) -> Option<u32> {
        if self.own().is_some() {
            return u32::try_from(get(Word::Thread).wrapping_sub(1)).ok();
        }
        self.index_of_seat()
    }

    #[cold]
    fn index_of_seat(&self) -> Option<u32> {
        match self.seat() {
            Seat::Own(_) => u32::try_from(get(Word::Thread).checked_sub(1)?).ok(),
            Seat::Shared(_) => None,
        }
    }

    /// The corner that seatless threads share.
    pub fn shared(&self) -> Seat<'_> {
        Seat::Shared(&self.shared)
    }

    /// Every corner that was ever taken, and the shared one.
    pub fn corners(&self) -> impl Iterator<Item = &Corner> {
        let count = u32::try_from(self.corners.len()).unwrap_or(u32::MAX);
        (0..count)
            .filter_map(|index| self.corners.get(index as usize))
            .chain([&self.shared])
    }

    /// Bytes of pages mapped for corners.
    pub fn mapped_byte_count(&self) -> usize {
        self.corners.open_byte_count()
    }

    #[cold]
    fn take_seat(&self) -> Seat<'_> {
        let Some(index) = self.take_given_back().or_else(|| self.corners.reserve(1)) else {
            set(Word::Thread, LEAVING);
            return self.shared();
        };
        let Some(corner) = self.corners.get(index as usize) else {
            return self.shared();
        };
        corner.taken.store(TAKEN, Ordering::Relaxed);
        let before = self.next_number.fetch_add(1, Ordering::Relaxed);
        let number = u16::try_from(before.saturating_add(1)).unwrap_or(ThreadNumber::OTHER.0);
        corner.number.store(number, Ordering::Relaxed);
        set(Word::Thread, index as usize + 1);
        thread_exit::call_at_exit();
        Seat::Own(corner)
    }

    fn take_given_back(&self) -> Option<u32> {
        if self.given_back_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let count = u32::try_from(self.corners.len()).unwrap_or(u32::MAX);
        let free = (0..count).find(|&index| {
            self.corners.get(index as usize).is_some_and(|corner| {
                let (from, to) = (GIVEN_BACK, TAKEN);
                let taken = &corner.taken;
                taken
                    .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            })
        })?;
        self.given_back_count.fetch_sub(1, Ordering::AcqRel);
        Some(free)
    }

    /// Gives this thread's corner back; later events of the thread use the shared corner.
    pub fn leave(&self) {
        let corner = self.own();
        set(Word::Thread, LEAVING);
        if let Some(corner) = corner {
            corner.taken.store(GIVEN_BACK, Ordering::Release);
            self.given_back_count.fetch_add(1, Ordering::AcqRel);
        }
    }
}
