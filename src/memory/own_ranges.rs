//! Which address ranges are ours, for whoever searches the program's memory: a pointer that we keep
//! is not a reference of the program's.
//!
//! A fixed table of ranges, changed without a lock. A range that finds no place in the table is
//! counted, and from then on nobody can tell our memory from the program's: [`all`] says so.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Ranges that are remembered. The own heap grows by a mebibyte at a time, and the ledger's tables
/// are some hundred pieces for ten million blocks.
const RANGE_COUNT_MAX: usize = if cfg!(test) { 2_048 } else { 16_384 };

#[derive(Debug)]
struct Place {
    /// Zero while the place is free.
    start: AtomicUsize,
    end: AtomicUsize,
}

/// A table of ranges.
#[derive(Debug)]
struct Places {
    table: [Place; RANGE_COUNT_MAX],
    /// Every place in use lies before this one.
    used_count: AtomicUsize,
    lost_count: AtomicU64,
}

static OURS: Places = Places::new();

/// Notes that a range is ours.
pub(super) fn add(start: usize, byte_count: usize) {
    OURS.add(start..start + byte_count);
}

/// Notes that a range goes back to the kernel: a whole one, a part of one, or several side by side.
pub(super) fn remove(start: usize, byte_count: usize) {
    OURS.remove(&(start..start + byte_count));
}

/// Our ranges at this moment, in no order; `None` when not all of them are known.
#[must_use]
pub fn all() -> Option<Vec<Range<usize>>> {
    OURS.all()
}

impl Places {
    #[expect(clippy::large_stack_arrays, reason = "the value of a static")]
    const fn new() -> Self {
        Self {
            table: [const {
                Place {
                    start: AtomicUsize::new(0),
                    end: AtomicUsize::new(0),
                }
            }; RANGE_COUNT_MAX],
            used_count: AtomicUsize::new(0),
            lost_count: AtomicU64::new(0),
        }
    }

    fn add(&self, range: Range<usize>) {
        for (number, place) in self.table.iter().enumerate() {
            let free = place.start.load(Ordering::Relaxed) == 0;
            let claim = || {
                let (new, order) = (range.start, Ordering::AcqRel);
                place
                    .start
                    .compare_exchange(0, new, order, Ordering::Relaxed)
            };
            if free && claim().is_ok() {
                place.end.store(range.end, Ordering::Release);
                self.used_count.fetch_max(number + 1, Ordering::AcqRel);
                return;
            }
        }
        self.lost_count.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, gone: &Range<usize>) {
        for place in self.in_use() {
            let (start, end) = place.extent();
            if start == 0 || gone.end <= start || end <= gone.start {
                continue;
            }
            let (head, tail) = (start < gone.start, gone.end < end);
            match (head, tail) {
                (false, false) => {
                    place.end.store(0, Ordering::Release);
                    place.start.store(0, Ordering::Release);
                }
                (false, true) => place.start.store(gone.end, Ordering::Release),
                (true, _) => place.end.store(gone.start, Ordering::Release),
            }
            if head && tail {
                self.add(gone.end..end);
            }
        }
    }

    fn all(&self) -> Option<Vec<Range<usize>>> {
        // Room first: a vector that grows may need one more mapping, which is a range of its own.
        let room = self.used_count.load(Ordering::Acquire) + 16;
        let mut found = Vec::with_capacity(room);
        for place in self.in_use() {
            let (start, end) = place.extent();
            if start < end && start != 0 {
                found.push(start..end);
            }
        }
        (self.lost_count.load(Ordering::Relaxed) == 0).then_some(found)
    }

    fn in_use(&self) -> impl Iterator<Item = &Place> {
        let used_count = self.used_count.load(Ordering::Acquire);
        self.table.iter().take(used_count)
    }
}

impl Place {
    fn extent(&self) -> (usize, usize) {
        (
            self.start.load(Ordering::Acquire),
            self.end.load(Ordering::Acquire),
        )
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::Address;

    fn sorted(places: &Places) -> Vec<Range<usize>> {
        let mut ranges = places.all().expect("none lost");
        ranges.sort_by_key(|range| range.start);
        ranges
    }

    #[test]
    fn what_goes_back_is_taken_out_of_every_range_it_touches() {
        static PLACES: Places = Places::new();
        PLACES.add(100..200);
        PLACES.add(200..300);
        PLACES.add(300..400);
        PLACES.remove(&(150..350));
        assert_eq!(sorted(&PLACES), [100..150, 350..400]);
        PLACES.remove(&(110..120));
        assert_eq!(sorted(&PLACES), [100..110, 120..150, 350..400]);
        PLACES.remove(&(0..1_000));
        assert!(sorted(&PLACES).is_empty());
    }

    #[test]
    fn a_full_table_says_that_it_does_not_know_all() {
        static PLACES: Places = Places::new();
        for number in 1..=RANGE_COUNT_MAX {
            PLACES.add(number * 10..number * 10 + 5);
        }
        assert_eq!(PLACES.all().expect("all fit").len(), RANGE_COUNT_MAX);
        PLACES.add(5..8);
        assert!(PLACES.all().is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri keeps its own heap")]
    fn what_our_heap_maps_is_ours() {
        let large = vec![1_u8; 3 << 20];
        let address = large.as_ptr().expose_provenance();
        let holds = |range: &Range<usize>| range.contains(&address);
        assert!(all().expect("none lost").iter().any(holds));
        let on_stack = Address::of(&raw const large).get();
        let holds = |range: &Range<usize>| range.contains(&on_stack);
        assert!(!all().expect("none lost").iter().any(holds));
    }
}
