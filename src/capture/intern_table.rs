//! Records of 32-bit words, each distinct content stored once and numbered.
//!
//! Append-only and lock-free. A record is written completely, then published by one
//! compare-and-swap of an index slot; a reader that finds the slot sees the whole record. Nothing
//! is ever removed, so a number stays valid until exit, and a fork in the middle of an insertion
//! costs the child at most one unused record.
//!
//! Not a lock around a map: the process may fork, or a signal handler may capture, while another
//! thread is inside.

use super::hash::{Hash, halves};
use crate::memory::arena::Arena;
use crate::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::memory::table::Table;

#[cfg(not(any(loom, test)))]
mod limits {
    pub(super) const WORD_CHUNK_COUNT: usize = 256;
    pub(super) const WORD_CHUNK_LENGTH: usize = 1 << 16;
}
#[cfg(all(test, not(loom)))]
mod limits {
    pub(super) const WORD_CHUNK_COUNT: usize = 64;
    pub(super) const WORD_CHUNK_LENGTH: usize = 256;
}
#[cfg(loom)]
mod limits {
    pub(super) const WORD_CHUNK_COUNT: usize = 4;
    pub(super) const WORD_CHUNK_LENGTH: usize = 4;
}

/// How many slots an insertion looks at before it gives up. With the index at most half full, a
/// run this long does not occur by chance.
const PROBE_COUNT_MAX: usize = 64;

type Words = Arena<AtomicU32, { limits::WORD_CHUNK_COUNT }, { limits::WORD_CHUNK_LENGTH }>;

/// The table. Numbers start at 1; zero never names a record.
#[derive(Debug)]
pub(super) struct InternTable {
    /// Open addressing: the upper half of the hash, then the record's number; zero is empty.
    slots: Table<AtomicU64>,
    /// Where each record starts in `words`, by number.
    starts: Table<AtomicU32>,
    /// Each record: its length in words, then the words.
    words: Words,
    next: AtomicU32,
    dropped: AtomicU64,
}

impl InternTable {
    /// A table for at most `record_count_max` records; `None` when the kernel refuses pages.
    pub(super) fn new(record_count_max: usize) -> Option<Self> {
        let slot_count = record_count_max.checked_mul(2)?.next_power_of_two();
        Some(Self {
            slots: Table::new(slot_count)?,
            starts: Table::new(record_count_max.checked_add(1)?)?,
            words: Words::new(),
            next: AtomicU32::new(1),
            dropped: AtomicU64::new(0),
        })
    }

    /// The number of the record with this content, stored now if it was not known. `None` when
    /// the table is full: the attempt is counted and the caller goes without.
    pub(super) fn intern<I>(&self, content: &I) -> Option<u32>
    where
        I: Iterator<Item = u32> + Clone,
    {
        let hash = hash_of(content.clone());
        let number = self.find_or_insert(hash, content);
        if number.is_none() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        number
    }

    /// The words of a record; nothing for a number that was never given out.
    pub(super) fn record(&self, number: u32) -> impl Iterator<Item = u32> + Clone + '_ {
        let start = match number {
            0 => 0,
            _ => self
                .starts
                .get(number as usize)
                .map_or(0, |start| start.load(Ordering::Acquire)),
        };
        // `starts` holds the place of a record's first word behind its length, so that zero can
        // mean "not written".
        let length = start.checked_sub(1).map_or(0, |place| self.word(place));
        (start..start.saturating_add(length)).map(|place| self.word(place))
    }

    /// How many records are stored.
    pub(super) fn len(&self) -> usize {
        self.next.load(Ordering::Relaxed).saturating_sub(1) as usize
    }

    /// How many bytes of the records' pages are in use.
    pub(super) fn byte_count(&self) -> usize {
        self.words.len() * size_of::<u32>() + self.len() * (size_of::<u32>() + size_of::<u64>())
    }

    /// How many contents were not stored because the table was full.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn find_or_insert<I>(&self, hash: u64, content: &I) -> Option<u32>
    where
        I: Iterator<Item = u32> + Clone,
    {
        let mask = self.slots.len() - 1;
        let (place, tag) = halves(hash);
        let mut written = None;
        for step in 0..PROBE_COUNT_MAX.min(self.slots.len()) {
            let slot = self.slots.get((place as usize + step) & mask)?;
            let mut found = slot.load(Ordering::Acquire);
            if found == 0 {
                let number = match written {
                    Some(number) => number,
                    None => *written.insert(self.append(content)?),
                };
                let entry = u64::from(tag) << 32 | u64::from(number);
                match slot.compare_exchange(0, entry, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Some(number),
                    Err(now) => found = now,
                }
            }
            let (number, found_tag) = halves(found);
            if found_tag == tag && self.record(number).eq(content.clone()) {
                return Some(number);
            }
        }
        None
    }

    /// Writes a record nobody can find yet.
    fn append<I>(&self, content: &I) -> Option<u32>
    where
        I: Iterator<Item = u32> + Clone,
    {
        if self.len() + 1 >= self.starts.len() {
            return None;
        }
        let length = u32::try_from(content.clone().count()).ok()?;
        let place = self.words.reserve(length.checked_add(1)?)?;
        self.words.get(place)?.store(length, Ordering::Relaxed);
        for (place, word) in (place + 1..).zip(content.clone()) {
            self.words.get(place)?.store(word, Ordering::Relaxed);
        }
        // Words are reserved before the number: a number without words would be an empty record,
        // while words without a number are merely unused.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(start) = self.starts.get(number as usize) else {
            self.next.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        start.store(place + 1, Ordering::Release);
        Some(number)
    }

    fn word(&self, place: u32) -> u32 {
        self.words
            .get(place)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

fn hash_of(content: impl Iterator<Item = u32>) -> u64 {
    content
        .fold(Hash::seeded(0), |hash, word| hash.with(u64::from(word)))
        .get()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn table() -> InternTable {
        InternTable::new(100).expect("a small table")
    }

    fn words(of: &[u32]) -> impl Iterator<Item = u32> + Clone {
        of.iter().copied()
    }

    #[test]
    fn equal_content_has_one_number_and_different_content_another() {
        let table = table();
        let first = table.intern(&words(&[1, 2, 3]));
        assert_eq!(first, Some(1));
        assert_eq!(table.intern(&words(&[1, 2, 3])), first);
        assert_eq!(table.intern(&words(&[1, 2])), Some(2));
        assert_eq!(
            table.intern(&words(&[])),
            Some(3),
            "nothing is a content too"
        );
        assert!(table.record(1).eq([1, 2, 3]));
        assert_eq!(table.record(3).count(), 0);
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_number_that_was_never_given_out_names_an_empty_record() {
        let table = table();
        for number in [0, 1, 99, 100, 101, u32::MAX] {
            assert_eq!(table.record(number).count(), 0);
        }
    }

    #[test]
    fn a_full_table_keeps_what_it_has_and_counts_what_it_drops() {
        let table = table();
        for content in 0..100 {
            assert_eq!(table.intern(&words(&[content])), Some(content + 1));
        }
        assert_eq!(table.intern(&words(&[100])), None);
        assert_eq!(table.intern(&words(&[101])), None);
        assert_eq!(table.dropped_count(), 2);
        assert_eq!(
            table.intern(&words(&[50])),
            Some(51),
            "known content is still found"
        );
        assert_eq!(table.len(), 100);
    }

    #[test]
    fn words_run_out_before_numbers_when_records_are_long() {
        let table = table();
        let long = [7_u32; 4_000];
        let stored = (0..10)
            .filter_map(|start| table.intern(&words(&long[start..])))
            .count();
        assert_eq!(stored, 4, "sixteen thousand words hold four");
        assert_eq!(
            table.intern(&words(&[1])),
            Some(5),
            "a short one still fits"
        );
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn loom_two_threads_store_the_same_content_once() {
        loom::model(|| {
            let table = Arc::new(InternTable::new(4).expect("a tiny table"));
            let other = Arc::clone(&table);
            let thread = loom::thread::spawn(move || other.intern(&[5, 6].into_iter()));
            let here = table.intern(&[5, 6].into_iter());
            let there = thread.join().expect("the thread returns");
            assert!(here.is_some());
            assert_eq!(here, there, "one content, one number");
            assert!(table.record(here.unwrap_or(0)).eq([5, 6]));
        });
    }

    #[test]
    fn loom_a_found_record_is_complete() {
        loom::model(|| {
            let table = Arc::new(InternTable::new(4).expect("a tiny table"));
            let other = Arc::clone(&table);
            let thread = loom::thread::spawn(move || {
                other.intern(&[5].into_iter());
                other.intern(&[6].into_iter());
            });
            let number = table.intern(&[6].into_iter()).expect("room for it");
            assert!(table.record(number).eq([6]), "never a part of it");
            thread.join().expect("the thread returns");
            assert_eq!(table.intern(&[6].into_iter()), Some(number));
            assert_ne!(table.intern(&[5].into_iter()), Some(number));
        });
    }
}
