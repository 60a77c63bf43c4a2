//! An append-only array that grows by whole chunks and never moves an element.
//!
//! The directory of chunk pointers is inline, so an index is resolved by one load. Not a `Vec`:
//! growing one would move elements that other threads are reading, and call `malloc`.

#![expect(
    unsafe_code,
    reason = "turns published chunk pointers back into references"
)]

use super::sync::{AtomicPtr, AtomicU32, Ordering};
use super::table::{Table, Zeroed};
use std::fmt;
use std::ptr::NonNull;

/// An array of at most `CHUNKS * CHUNK_LENGTH` elements, numbered from zero.
pub struct Arena<T: Zeroed, const CHUNKS: usize, const CHUNK_LENGTH: usize> {
    chunks: [AtomicPtr<[T; CHUNK_LENGTH]>; CHUNKS],
    next: AtomicU32,
}

impl<T: Zeroed, const CHUNKS: usize, const CHUNK_LENGTH: usize> Arena<T, CHUNKS, CHUNK_LENGTH> {
    /// How many elements fit.
    pub const CAPACITY: usize = CHUNKS * CHUNK_LENGTH;

    const INDEXABLE: () = {
        assert!(
            Self::CAPACITY <= 1 << 31,
            "an index and its reservations fit in u32"
        );
        assert!(
            CHUNK_LENGTH.is_power_of_two(),
            "splitting an index is a shift and a mask"
        );
    };

    /// An empty arena; no pages are mapped yet.
    #[must_use]
    pub fn new() -> Self {
        const { Self::INDEXABLE };
        Self {
            chunks: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
            next: AtomicU32::new(0),
        }
    }

    /// How many elements have been reserved; every index below this has been handed out.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.next.load(Ordering::Acquire) as usize).min(Self::CAPACITY)
    }

    /// Whether nothing has been reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of pages the arena has mapped (not necessarily touched).
    #[must_use]
    pub fn mapped_byte_count(&self) -> usize {
        let mapped = self
            .chunks
            .iter()
            .filter(|chunk| !chunk.load(Ordering::Relaxed).is_null());
        mapped.count() * CHUNK_LENGTH * size_of::<T>()
    }

    /// Reserves `count` neighbouring elements for the caller and returns the first one's index.
    ///
    /// `None` when the arena is full or the kernel refuses pages. Elements may straddle chunks.
    pub fn reserve(&self, count: u32) -> Option<u32> {
        let mut first = self.next.load(Ordering::Relaxed);
        loop {
            let end = first.checked_add(count)?;
            if end as usize > Self::CAPACITY {
                return None;
            }
            for chunk in first as usize / CHUNK_LENGTH..=(end as usize - 1) / CHUNK_LENGTH {
                self.commit(chunk)?;
            }
            match self
                .next
                .compare_exchange(first, end, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(first),
                Err(now) => first = now,
            }
        }
    }

    /// The element with this index, or `None` when its chunk was never committed.
    #[inline]
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        let chunk = self
            .chunks
            .get(index / CHUNK_LENGTH)?
            .load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: only `commit` stores here, always a chunk of this length, and only `drop` puts its
        // table together again.
        let chunk = unsafe { &*chunk };
        chunk.get(index % CHUNK_LENGTH)
    }

    /// The element with this index, committing its chunk where needed: for arrays whose indexes are
    /// handed out elsewhere. `None` beyond the capacity, or when the kernel refuses pages.
    #[inline]
    pub fn get_or_commit(&self, index: u32) -> Option<&T> {
        if let Some(element) = self.get(index) {
            return Some(element);
        }
        self.commit(index as usize / CHUNK_LENGTH)?;
        self.get(index)
    }

    #[cold]
    #[inline(never)]
    fn commit(&self, chunk: usize) -> Option<()> {
        let place = self.chunks.get(chunk)?;
        if !place.load(Ordering::Acquire).is_null() {
            return Some(());
        }
        let elements = Table::<T>::new(CHUNK_LENGTH)?.into_raw();
        let null = std::ptr::null_mut();
        let chunk = elements.as_ptr().cast();
        if place
            .compare_exchange(null, chunk, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: the exchange failed, so this thread alone has the elements it just made.
            drop(unsafe { Table::from_raw(elements, CHUNK_LENGTH) });
        }
        Some(())
    }
}

impl<T: Zeroed, const CHUNKS: usize, const CHUNK_LENGTH: usize> Default
    for Arena<T, CHUNKS, CHUNK_LENGTH>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Zeroed, const CHUNKS: usize, const CHUNK_LENGTH: usize> Drop
    for Arena<T, CHUNKS, CHUNK_LENGTH>
{
    fn drop(&mut self) {
        for chunk in &self.chunks {
            if let Some(chunk) = NonNull::new(chunk.load(Ordering::Acquire)) {
                // SAFETY: `commit` took the table apart, and `&mut self` proves nobody borrows it.
                drop(unsafe { Table::<T>::from_raw(chunk.cast(), CHUNK_LENGTH) });
            }
        }
    }
}

impl<T: Zeroed, const CHUNKS: usize, const CHUNK_LENGTH: usize> fmt::Debug
    for Arena<T, CHUNKS, CHUNK_LENGTH>
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Arena")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::sync::AtomicU32;
    use super::*;

    type Small = Arena<AtomicU32, 4, 8>;

    #[test]
    fn reservations_are_disjoint_and_end_at_the_capacity() {
        let arena = Small::new();
        assert!(arena.is_empty());
        assert_eq!(arena.reserve(6), Some(0));
        assert_eq!(arena.reserve(6), Some(6), "straddles two chunks");
        assert_eq!(arena.reserve(21), None, "one more than is left");
        assert_eq!(arena.reserve(20), Some(12));
        assert_eq!(arena.reserve(1), None);
        assert_eq!(arena.len(), Small::CAPACITY);
    }

    #[test]
    fn an_uncommitted_index_is_absent() {
        let arena = Small::new();
        assert!(arena.get(0).is_none());
        arena.reserve(1).expect("room for one");
        assert!(arena.get(0).is_some());
        assert!(arena.get(8).is_none(), "the second chunk is not committed");
        assert!(arena.get(1_000).is_none(), "beyond the directory");
    }
}
