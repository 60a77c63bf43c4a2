//! The dynamic linker's own counts of loaded objects, read where it keeps them.
//!
//! "Is there a new library?" is asked at every foreign call. `dl_iterate_phdr` answers, and takes and
//! gives back two locks for it. What it answers with are two variables of the linker's: how many
//! objects were ever added, and how many its first namespace holds. Where the first lies is not
//! promised, so it is found out ([`LoadCounts::compare`]): a word of `_rtld_global` that is the count,
//! behind two recursive locks, and that still is the count after another object was loaded. Each pass
//! compares both with what `dl_iterate_phdr` says, and one difference ends it for good; a second
//! namespace is one.
//!
//! Read without a lock: two counts that are what they were mean that nothing has changed since, as far
//! as a lock would tell. Anything else is asked again with the lock.

#![expect(unsafe_code, reason = "reads two variables of the dynamic linker")]

use super::image::Image;
use super::loaded::ListAge;
use super::slot;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

const WORD: usize = size_of::<usize>();
/// From the start of `_rtld_global` to the number of objects in the first namespace: behind the list
/// of them, which debuggers want first.
const LOADED_OFFSET: usize = WORD;
/// The size of a lock, and from the end of one back to its kind.
const LOCK_BYTES: usize = 40;
const KIND_BEFORE_END: usize = 24;
const RECURSIVE: usize = 1;
const LOW_HALF: usize = 0xffff_ffff;

/// Where the linker counts, as far as that is known.
#[derive(Debug)]
pub(super) struct LoadCounts {
    state: AtomicU32,
    /// The address of the number of objects ever added.
    added: AtomicUsize,
    /// The address of the number of objects that are loaded.
    loaded: AtomicUsize,
    /// The count when the place was found.
    first: AtomicU64,
}

const UNKNOWN: u32 = 0;
/// Found, and not yet seen to count.
const FOUND: u32 = 1;
const SURE: u32 = 2;
const REFUSED: u32 = 3;

impl LoadCounts {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self {
            state: AtomicU32::new(UNKNOWN),
            added: AtomicUsize::new(0),
            loaded: AtomicUsize::new(0),
            first: AtomicU64::new(0),
        }
    }

    /// Whether the list certainly is as it was at this age.
    #[inline]
    pub(super) fn are_of(&self, age: ListAge) -> bool {
        self.state.load(Ordering::Acquire) == SURE && self.read() == age
    }

    /// Compares the counts with the age that the linker gave: finds them, becomes sure of them, or
    /// gives up. Called with the list locked.
    pub(super) fn compare(&self, images: &[Image<'_>], age: ListAge) {
        match self.state.load(Ordering::Relaxed) {
            UNKNOWN => {
                let linker = images.iter().find_map(|image| {
                    let counts = image.object(b"_rtld_global")?;
                    Some((image, counts))
                });
                if let Some((image, (start, byte_count))) = linker {
                    let word = |place| slot::read(image, place);
                    self.find(word, (start, byte_count), age);
                }
            }
            FOUND | SURE if self.read() != age => self.state.store(REFUSED, Ordering::Relaxed),
            FOUND if age.added_count != self.first.load(Ordering::Relaxed) => {
                self.state.store(SURE, Ordering::Release);
            }
            _ => {}
        }
    }

    /// Looks for the counts in the linker's structure, whose words `word` reads.
    fn find(
        &self,
        word: impl Fn(usize) -> Option<usize>,
        (start, byte_count): (usize, usize),
        age: ListAge,
    ) {
        let loaded = start + LOADED_OFFSET;
        let is_loaded_count = word(loaded).is_some_and(|count| {
            (count & LOW_HALF) as u64 == age.added_count.wrapping_sub(age.removed_count)
        });
        let is_kind = |end: usize| {
            word(end - KIND_BEFORE_END).is_some_and(|kind| kind & LOW_HALF == RECURSIVE)
        };
        let end = start + byte_count / WORD * WORD;
        let mut places = (start + 2 * LOCK_BYTES..end)
            .step_by(WORD)
            .filter(|&place| {
                is_kind(place)
                    && is_kind(place - LOCK_BYTES)
                    && word(place).is_some_and(|count| count as u64 == age.added_count)
            });
        let (Some(added), None, true) = (places.next(), places.next(), is_loaded_count) else {
            self.state.store(REFUSED, Ordering::Relaxed);
            return;
        };
        self.added.store(added, Ordering::Relaxed);
        self.loaded.store(loaded, Ordering::Relaxed);
        self.first.store(age.added_count, Ordering::Relaxed);
        self.state.store(FOUND, Ordering::Release);
    }

    /// The counts as they are now; only once they were found.
    #[inline]
    fn read(&self) -> ListAge {
        let added = std::ptr::with_exposed_provenance::<u64>(self.added.load(Ordering::Relaxed));
        // SAFETY: `find` found an aligned word of the dynamic linker there, which is never unloaded.
        // Volatile, because the linker changes it.
        let added_count = unsafe { added.read_volatile() };
        let loaded = std::ptr::with_exposed_provenance::<u32>(self.loaded.load(Ordering::Relaxed));
        // SAFETY: as above.
        let loaded_count = unsafe { loaded.read_volatile() };
        ListAge {
            added_count,
            removed_count: added_count.wrapping_sub(u64::from(loaded_count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `_rtld_global` is made of here: the list, the count of it, and two locks before the count
    /// of what was added.
    struct Linker {
        words: Vec<usize>,
    }

    const ADDED: usize = 20;

    impl Linker {
        fn new(added: usize, loaded: usize) -> Self {
            let mut words = vec![0; 24];
            for lock_end in [ADDED - LOCK_BYTES / WORD, ADDED] {
                words[lock_end - KIND_BEFORE_END / WORD] = RECURSIVE;
            }
            let mut linker = Self { words };
            linker.count(added, loaded);
            linker
        }

        fn count(&mut self, added: usize, loaded: usize) {
            self.words[ADDED] = added;
            self.words[1] = loaded;
        }

        fn look(&self, counts: &LoadCounts, age: ListAge) {
            let start = self.words.as_ptr().expose_provenance();
            let word = |place: usize| self.words.get((place - start) / WORD).copied();
            counts.find(word, (start, self.words.len() * WORD), age);
        }
    }

    fn age(added_count: u64, removed_count: u64) -> ListAge {
        ListAge {
            added_count,
            removed_count,
        }
    }

    #[test]
    fn counts_are_believed_once_they_were_seen_to_count() {
        let (counts, mut linker) = (LoadCounts::new(), Linker::new(7, 5));
        linker.look(&counts, age(7, 2));
        assert!(!counts.are_of(age(7, 2)), "found, and not sure");
        counts.compare(&[], age(7, 2));
        assert!(!counts.are_of(age(7, 2)), "the same count says nothing new");
        linker.count(8, 6);
        counts.compare(&[], age(8, 2));
        assert!(counts.are_of(age(8, 2)));
        linker.count(8, 5);
        assert!(!counts.are_of(age(8, 2)), "one was unloaded");
        assert!(counts.are_of(age(8, 3)));
    }

    #[test]
    fn one_difference_ends_it() {
        let (counts, mut linker) = (LoadCounts::new(), Linker::new(7, 7));
        linker.look(&counts, age(7, 0));
        linker.count(8, 8);
        counts.compare(&[], age(8, 0));
        // An object of another namespace.
        linker.count(9, 8);
        counts.compare(&[], age(9, 0));
        assert!(!counts.are_of(age(9, 1)));
        linker.count(9, 9);
        assert!(!counts.are_of(age(9, 0)));
    }

    #[test]
    fn what_does_not_look_like_the_counts_is_refused() {
        let mut twice = Linker::new(7, 7);
        twice.words.resize(48, 0);
        twice.words[44 - 3] = RECURSIVE;
        twice.words[44 - 8] = RECURSIVE;
        twice.words[44] = 7;
        let mut without_lock = Linker::new(7, 7);
        without_lock.words[ADDED - KIND_BEFORE_END / WORD] = 0;
        for mut linker in [twice, without_lock, Linker::new(7, 6), Linker::new(6, 7)] {
            let counts = LoadCounts::new();
            linker.look(&counts, age(7, 0));
            linker.count(8, 8);
            counts.compare(&[], age(8, 0));
            assert!(!counts.are_of(age(8, 0)));
        }
    }
}
