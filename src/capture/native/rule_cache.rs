//! From a return address to its rule, in one cache line: lossy, lock-free, shared by all threads.
//!
//! As in [`super::super::seen_cache`], an entry is two words written without a lock. The rule is
//! mixed before it is combined with the key, because rules and addresses are structured numbers:
//! the halves of two entries must not make a third.

use super::rule::Rule;
use crate::memory::sync::{AtomicU64, Ordering};
use crate::memory::table::Table;

/// 16,384 rules: a program of a hundred libraries has about a tenth in use at a time.
const BUCKET_BITS: u32 = 13;
const BUCKET_COUNT: usize = 1 << BUCKET_BITS;
const WORDS_PER_BUCKET: usize = 4;
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;

/// The cache.
#[derive(Debug)]
pub(super) struct RuleCache {
    words: Table<AtomicU64>,
}

impl RuleCache {
    /// An empty cache; `None` when the kernel refuses pages.
    pub(super) fn new() -> Option<Self> {
        let words = Table::new(BUCKET_COUNT * WORDS_PER_BUCKET)?;
        Some(Self { words })
    }

    /// The rule of the code that returns to `address`, if it was put in `generation`.
    #[inline]
    pub(super) fn get(&self, address: usize, generation: u64) -> Option<Rule> {
        let bucket = self.bucket(address)?;
        let key = key(address, generation);
        let rule = bucket[1].load(Ordering::Relaxed);
        if bucket[0].load(Ordering::Relaxed) ^ mixed(rule) == key {
            return Rule::from_bits(rule);
        }
        let rule = bucket[3].load(Ordering::Relaxed);
        if bucket[2].load(Ordering::Relaxed) ^ mixed(rule) == key {
            return Rule::from_bits(rule);
        }
        None
    }

    /// Remembers a rule; the older of the two in its bucket makes room.
    pub(super) fn put(&self, address: usize, generation: u64, rule: Rule) {
        let Some(bucket) = self.bucket(address) else {
            return;
        };
        for word in 0..2 {
            bucket[word + 2].store(bucket[word].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        bucket[0].store(
            key(address, generation) ^ mixed(rule.bits()),
            Ordering::Relaxed,
        );
        bucket[1].store(rule.bits(), Ordering::Relaxed);
    }

    #[inline]
    fn bucket(&self, address: usize) -> Option<&[AtomicU64; WORDS_PER_BUCKET]> {
        // Return addresses differ in their lowest bits, and those of two libraries further up.
        let index = (address ^ (address >> BUCKET_BITS)) & (BUCKET_COUNT - 1);
        self.words.get(index * WORDS_PER_BUCKET..)?.first_chunk()
    }
}

#[inline]
fn key(address: usize, generation: u64) -> u64 {
    address as u64 ^ generation.wrapping_mul(MIXER)
}

#[inline]
fn mixed(rule: u64) -> u64 {
    rule.wrapping_mul(MIXER)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::capture::native::rule::{Base, SavedFramePointer};

    fn rule(offset: i64) -> Rule {
        Rule::usual(Base::StackPointer, offset, SavedFramePointer::Untouched).expect("small")
    }

    #[test]
    fn a_rule_is_found_under_its_address_in_its_generation_only() {
        let cache = RuleCache::new().expect("pages");
        assert_eq!(cache.get(0x7f12_3456, 1), None);
        assert_eq!(cache.get(0, 0), None, "an empty entry answers to no key");
        cache.put(0x7f12_3456, 1, rule(16));
        assert_eq!(cache.get(0x7f12_3456, 1), Some(rule(16)));
        assert_eq!(cache.get(0x7f12_3456, 2), None);
        assert_eq!(cache.get(0x7f12_3457, 1), None);
    }

    #[test]
    fn a_bucket_keeps_the_two_newest() {
        let cache = RuleCache::new().expect("pages");
        // The same bucket: what is added above the index is taken away again by the fold.
        let address = |n: usize| (n << (2 * BUCKET_BITS)) | 0x40;
        for n in 1..=3 {
            cache.put(address(n), 0, rule(8 * i64::try_from(n).expect("small")));
        }
        assert_eq!(cache.get(address(1), 0), None);
        assert_eq!(cache.get(address(2), 0), Some(rule(16)));
        assert_eq!(cache.get(address(3), 0), Some(rule(24)));
    }
}
