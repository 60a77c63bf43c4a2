//! What libraries referred to that the end of the interpreter unloads.
//!
//! cffi closes what its `dlopen` opened when the interpreter is finalised. The leak verdict falls later,
//! and a library's caches would look lost because the variable that led to them is gone. So the words in
//! its data are kept. Only then: a program that unloads a library while it runs does lose what that kept.

use super::Tracker;
use crate::memory::reentry::OurOwnWork;
use crate::memory::{Address, peek, writable};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

const WORD: usize = size_of::<usize>();
/// Data of all unloaded libraries that is kept; what is beyond it is not, and its blocks look lost.
const WORD_COUNT_MAX: usize = 4 << 20;
/// The first page is never mapped: small numbers are no references.
const ADDRESS_MIN: usize = 4_096;

/// The words of unloaded data that may be references.
#[derive(Debug, Default)]
pub(super) struct Unloaded(Mutex<Vec<usize>>);

impl Unloaded {
    pub(super) fn words(&self) -> Vec<usize> {
        // Nobody waits: a thread that was in here at a fork is missing in the child.
        match self.0.try_lock() {
            Ok(words) => words.clone(),
            Err(_) => Vec::new(),
        }
    }

    fn add(&self, more: Vec<usize>) {
        if let Ok(mut words) = self.0.try_lock().or_else(|error| match error {
            std::sync::TryLockError::Poisoned(error) => Ok(PoisonError::into_inner(error)),
            std::sync::TryLockError::WouldBlock => Err(()),
        }) {
            let room = WORD_COUNT_MAX.saturating_sub(words.len());
            words.extend(more.into_iter().take(room));
        }
    }
}

impl Tracker {
    /// Calls `unload`, and keeps the words in the data of the images that are gone afterwards.
    pub fn while_unloading<T>(&self, unload: impl FnOnce() -> T) -> T {
        let before = {
            let _ours = OurOwnWork::begin();
            let ranges = writable::image_data().others;
            ranges
                .into_iter()
                .map(|range| (words_in(&range), range))
                .collect::<Vec<_>>()
        };
        let result = unload();
        let _ours = OurOwnWork::begin();
        let left = writable::image_data().others;
        for (words, range) in before {
            if !left.contains(&range) {
                self.unloaded.add(words);
            }
        }
        result
    }
}

fn words_in(range: &Range<usize>) -> Vec<usize> {
    let start = range.start.next_multiple_of(WORD);
    let mut bytes = vec![0; range.end.saturating_sub(start) / WORD * WORD];
    if !peek::peek(Address::new(start), &mut bytes) {
        return Vec::new();
    }
    peek::words(&bytes)
        .filter(|&word| word >= ADDRESS_MIN)
        .collect()
}
