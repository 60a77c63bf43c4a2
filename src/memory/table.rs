//! A fixed-length array of zeroed elements in raw pages.

#![expect(unsafe_code, reason = "gives raw zeroed pages a type")]

use std::fmt;
use std::ops::Deref;

/// A type whose all-zero bytes are its default value and that may be shared between threads.
///
/// # Safety
/// * The bit pattern of all zeroes is a valid value and equals `Self::default()`
///   (not required under `cfg(loom)`, where elements are built by `default`).
/// * Dropping a value does nothing.
pub unsafe trait Zeroed: Default + Sync + 'static {}

// SAFETY: an atomic integer is a plain integer in memory, for which zero is the default.
unsafe impl Zeroed for super::sync::AtomicU32 {}
// SAFETY: as above.
unsafe impl Zeroed for super::sync::AtomicU64 {}

/// A shared array that never moves and never shrinks.
pub struct Table<T: Zeroed> {
    #[cfg(not(any(loom, miri)))]
    pages: std::ptr::NonNull<T>,
    #[cfg(any(loom, miri))]
    elements: Box<[T]>,
    #[cfg(not(any(loom, miri)))]
    length: usize,
}

// SAFETY: the table owns its elements, which are `Sync` by the bound, and hands out only shared
// references to them.
unsafe impl<T: Zeroed> Sync for Table<T> {}
// SAFETY: the pages belong to no thread in particular; see `Sync`.
unsafe impl<T: Zeroed> Send for Table<T> {}

#[cfg(not(any(loom, miri)))]
impl<T: Zeroed> Table<T> {
    /// Maps a table of `length` elements; `None` when the kernel refuses.
    #[must_use]
    pub fn new(length: usize) -> Option<Self> {
        let byte_count = length.checked_mul(size_of::<T>())?;
        let pages = super::pages::map(byte_count)?.cast();
        Some(Self { pages, length })
    }
}

#[cfg(any(loom, miri))]
impl<T: Zeroed> Table<T> {
    /// Builds a table of `length` elements on the heap: a model checker needs real constructors.
    #[must_use]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same face as the mapped table"
    )]
    pub fn new(length: usize) -> Option<Self> {
        Some(Self {
            elements: (0..length).map(|_| T::default()).collect(),
        })
    }
}

impl<T: Zeroed> Deref for Table<T> {
    type Target = [T];

    #[cfg(not(any(loom, miri)))]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` mapped `length` elements of zeroed bytes, which `Zeroed` says are valid;
        // a page-aligned mapping satisfies every alignment; only `drop` unmaps it.
        unsafe { std::slice::from_raw_parts(self.pages.as_ptr(), self.length) }
    }

    #[cfg(any(loom, miri))]
    fn deref(&self) -> &[T] {
        &self.elements
    }
}

#[cfg(not(any(loom, miri)))]
impl<T: Zeroed> Drop for Table<T> {
    fn drop(&mut self) {
        let byte_count = self.length * size_of::<T>();
        // SAFETY: `new` mapped exactly these bytes, and `&mut self` proves nobody borrows them.
        unsafe { super::pages::unmap(self.pages.cast(), byte_count) };
    }
}

impl<T: Zeroed> fmt::Debug for Table<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Table")
            .field("length", &self.len())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::sync::{AtomicU32, Ordering};
    use super::*;

    #[test]
    fn a_table_starts_zeroed_and_keeps_what_is_stored() {
        let table = Table::<AtomicU32>::new(10_000).expect("ten thousand words");
        assert!(table.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        table[9_999].store(7, Ordering::Relaxed);
        assert_eq!(table[9_999].load(Ordering::Relaxed), 7);
        assert_eq!(table.len(), 10_000);
    }

    #[test]
    fn a_size_that_overflows_is_refused() {
        assert!(Table::<AtomicU32>::new(usize::MAX / 2).is_none());
    }
}
