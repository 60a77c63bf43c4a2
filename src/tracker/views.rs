//! Views that Python holds of blocks: arrays and buffers over their memory, made by heapledger.
//!
//! Where the memory is released while such a view is alive, the view dangles. Blocks of our own are
//! not released then; of blocks that others release it is told. A block that has had a view carries a
//! flag, so that the release of any other costs nothing more.

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::diagnose::{self, Attempt};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState, FamilyId, Found, StackId, Ticket};
use crate::memory::Address;
use crate::memory::lock::Lock;
use crate::memory::reentry::OurOwnWork;
use std::collections::HashMap;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

/// Views known at one time; further ones are only counted.
const VIEW_COUNT_MAX: usize = if cfg!(test) { 4 } else { 65_536 };

/// A view that is alive.
#[derive(Clone, Copy, Debug)]
struct View {
    block: Ticket,
    made: StackId,
}

#[derive(Debug, Default)]
struct Shelf {
    views: HashMap<u64, View>,
    latest: u64,
}

/// The views that are alive, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Views {
    shelf: Lock<Shelf>,
    dropped: AtomicU64,
}

/// Proof that nobody begins or ends a view, for the time of a fork.
#[derive(Debug)]
pub(super) struct HeldViews<'a> {
    _guard: MutexGuard<'a, Shelf>,
}

impl Views {
    /// Keeps everybody else out until the result is dropped.
    pub(super) fn hold(&self) -> HeldViews<'_> {
        HeldViews {
            _guard: self.shelf.lock(),
        }
    }

    /// Views that found no room.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn add(&self, view: View) -> Option<u64> {
        let mut shelf = self.shelf.lock();
        if shelf.views.len() >= VIEW_COUNT_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        shelf.latest += 1;
        let number = shelf.latest;
        shelf.views.insert(number, view);
        Some(number)
    }

    fn remove(&self, number: u64) -> bool {
        self.shelf.lock().views.remove(&number).is_some()
    }

    /// How many views of a block are alive, and where the first of them was made.
    fn of(&self, block: Ticket) -> Option<(u32, StackId)> {
        let shelf = self.shelf.lock();
        let of_block = || shelf.views.iter().filter(|(_, view)| view.block == block);
        let (_, first) = of_block().min_by_key(|(number, _)| **number)?;
        Some((
            u32::try_from(of_block().count()).unwrap_or(u32::MAX),
            first.made,
        ))
    }
}

impl Tracker {
    /// Notes a view of the live block that `pointer` lies in, and gives it a number; `None` when
    /// there is no such block, or no room.
    pub fn begin_view(&self, pointer: Address, place: EventPlace) -> Option<u64> {
        let _ours = OurOwnWork::begin();
        let start = self.block_at(pointer)?.address;
        let found = self.ledger.find(start)?;
        let is_live = |record: &BlockRecord| record.state == BlockState::Live;
        found.read().filter(is_live)?;
        let made = self.capture.here(place);
        let number = self.views.add(View {
            block: found.ticket(),
            made,
        })?;
        found.raise(flag::VIEWED);
        Some(number)
    }

    /// Notes that a view is gone; `false` when there is none of this number.
    pub fn end_view(&self, number: u64) -> bool {
        let _ours = OurOwnWork::begin();
        self.views.remove(number)
    }

    /// Reports the release, or the resize, of a block of which views are alive. Whether it must not be
    /// carried out: that is so for blocks of our own.
    #[cold]
    pub(super) fn leaves_views(
        &self,
        found: &Found<'_>,
        attempt: Attempt,
        place: &EventPlace,
    ) -> bool {
        let Some(record) = found.read() else {
            return false;
        };
        let Some(views) = self.views.of(found.ticket()) else {
            return false;
        };
        if record.state != BlockState::Live {
            return false;
        }
        let is_ours = record.family == FamilyId::HEAPLEDGER;
        if is_ours {
            self.ledger.flag_once(found.ticket(), flag::REFUSED);
        }
        let at = self.occurrence(*place);
        self.found(&diagnose::dangling(&record, attempt, views, at));
        is_ours
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::ledger::word::Word;

    fn view(number: u32) -> View {
        View {
            block: Ticket {
                number,
                word: Word::from_bits(u64::from(number)),
            },
            made: StackId(number),
        }
    }

    #[test]
    fn a_block_has_the_views_that_have_not_ended() {
        let views = Views::default();
        let first = views.add(view(1)).expect("room");
        views.add(view(2)).expect("room");
        views.add(view(1)).expect("room");
        assert_eq!(views.of(view(1).block), Some((2, StackId(1))));
        assert!(views.remove(first) && !views.remove(first));
        assert_eq!(views.of(view(1).block), Some((1, StackId(1))));
        assert_eq!(views.of(view(3).block), None);
    }

    #[test]
    fn beyond_the_limit_views_are_counted() {
        let views = Views::default();
        for number in 0..6 {
            let _ = views.add(view(number));
        }
        assert_eq!(views.dropped_count(), 2);
    }
}
