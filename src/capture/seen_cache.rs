//! From the hash of something seen before to its number, in one cache line: lossy and lock-free.
//!
//! Four entries share a bucket of one cache line. An entry is two words, `key ^ value` and
//! `value`, written without a lock: a reader that meets the halves of two different entries
//! computes a key that is neither's, so a torn entry is a miss and never a wrong answer. A miss
//! costs time only, because the tables behind the cache decide by content.

use crate::memory::sync::{AtomicU64, Ordering};
use crate::memory::table::Table;

const WORDS_PER_ENTRY: usize = 2;
const ENTRIES_PER_BUCKET: usize = 4;
const BUCKET_LENGTH: usize = WORDS_PER_ENTRY * ENTRIES_PER_BUCKET;

/// The cache.
#[derive(Debug)]
pub(super) struct SeenCache {
    words: Table<AtomicU64>,
    bucket_mask: u64,
}

impl SeenCache {
    /// A cache of `1 << bucket_bits` buckets; `None` when the kernel refuses pages.
    pub(super) fn new(bucket_bits: u32) -> Option<Self> {
        let words = Table::new(BUCKET_LENGTH << bucket_bits)?;
        Some(Self {
            words,
            bucket_mask: (1 << bucket_bits) - 1,
        })
    }

    /// The number stored under `key`, unless it was displaced.
    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<u32> {
        let bucket = self.bucket(key)?;
        bucket.chunks_exact(WORDS_PER_ENTRY).find_map(|entry| {
            // Acquire: whoever stored the number wrote the record it names before.
            let value = entry[1].load(Ordering::Acquire);
            let matches = entry[0].load(Ordering::Relaxed) ^ value == key && value != 0;
            if matches {
                u32::try_from(value).ok()
            } else {
                None
            }
        })
    }

    /// Stores a number that is not zero under `key`, displacing another when the bucket is full.
    pub(super) fn put(&self, key: u64, number: u32) {
        debug_assert_ne!(number, 0, "zero marks an empty entry");
        let Some(bucket) = self.bucket(key) else {
            return;
        };
        let value = u64::from(number);
        let empty = bucket
            .chunks_exact(WORDS_PER_ENTRY)
            .find(|entry| entry[1].load(Ordering::Relaxed) == 0);
        // The top bits of the key choose the victim: they took no part in choosing the bucket.
        let victim = (key >> 62) as usize * WORDS_PER_ENTRY;
        let Some(entry) = empty.or_else(|| bucket.get(victim..victim + WORDS_PER_ENTRY)) else {
            return;
        };
        entry[0].store(key ^ value, Ordering::Relaxed);
        entry[1].store(value, Ordering::Release);
    }

    #[inline]
    fn bucket(&self, key: u64) -> Option<&[AtomicU64]> {
        let start = usize::try_from(key & self.bucket_mask).ok()? * BUCKET_LENGTH;
        self.words.get(start..start + BUCKET_LENGTH)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_under_its_key_only() {
        let cache = SeenCache::new(4).expect("sixteen buckets");
        assert_eq!(cache.get(0x1234), None);
        cache.put(0x1234, 9);
        assert_eq!(cache.get(0x1234), Some(9));
        assert_eq!(cache.get(0x1234 ^ 9), None, "the same bucket, another key");
        assert_eq!(cache.get(0), None, "an empty entry answers to no key");
    }

    #[test]
    fn a_full_bucket_forgets_one_and_answers_rightly_for_the_rest() {
        let cache = SeenCache::new(1).expect("two buckets");
        let keys: Vec<u64> = (1..=5).map(|tag| tag << 32).collect();
        for (number, &key) in (1..).zip(&keys) {
            cache.put(key, number);
        }
        let found: Vec<Option<u32>> = keys.iter().map(|&key| cache.get(key)).collect();
        assert_eq!(found.iter().flatten().count(), 4);
        for (number, answer) in (1..).zip(found) {
            assert!(answer.is_none_or(|answer| answer == number));
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;

    #[test]
    fn loom_a_torn_entry_is_a_miss_and_a_hit_publishes_its_record() {
        loom::model(|| {
            let cache = Arc::new(SeenCache::new(0).expect("one bucket"));
            let record = Arc::new(AtomicU32::new(0));
            for key in 1..=4 {
                cache.put(key, 100);
            }
            let (their_cache, their_record) = (Arc::clone(&cache), Arc::clone(&record));
            let thread = loom::thread::spawn(move || {
                their_record.store(1, Ordering::Relaxed);
                their_cache.put(0x50, 7);
            });
            // Key 1 shares its entry with 0x50: whatever is read there, it is never another's.
            assert!(cache.get(1).is_none_or(|number| number == 100));
            if let Some(number) = cache.get(0x50) {
                assert_eq!(number, 7);
                assert_eq!(
                    record.load(Ordering::Relaxed),
                    1,
                    "written before it was published"
                );
            }
            thread.join().expect("the thread returns");
        });
    }
}
