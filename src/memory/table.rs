//! A fixed-length array of zeroed elements in raw pages.

#![expect(unsafe_code, reason = "gives raw zeroed pages a type")]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

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
    elements: NonNull<T>,
    length: usize,
}

// SAFETY: the table owns its elements, which are `Sync` by the bound, and hands out only shared
// references to them.
unsafe impl<T: Zeroed> Sync for Table<T> {}
// SAFETY: the elements belong to no thread in particular; see `Sync`.
unsafe impl<T: Zeroed> Send for Table<T> {}

impl<T: Zeroed> Table<T> {
    /// Maps a table of `length` elements; `None` when the kernel refuses.
    #[must_use]
    pub fn new(length: usize) -> Option<Self> {
        let elements = storage::take(length)?;
        Some(Self { elements, length })
    }

    /// Gives up the table: whoever keeps the pointer to its elements puts it together again with
    /// [`Table::from_raw`]. So an array of tables needs one load less for each look-up.
    #[must_use]
    pub fn into_raw(self) -> NonNull<T> {
        ManuallyDrop::new(self).elements
    }

    /// Puts a table together again.
    ///
    /// # Safety
    /// * `elements` came from [`Table::into_raw`] of a table with this `length`.
    /// * It is put together once; references into it are used no longer than it lives.
    #[must_use]
    pub unsafe fn from_raw(elements: NonNull<T>, length: usize) -> Self {
        Self { elements, length }
    }
}

impl<T: Zeroed> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `storage::take` gave `length` valid elements, and only `drop` gives them back.
        unsafe { std::slice::from_raw_parts(self.elements.as_ptr(), self.length) }
    }
}

impl<T: Zeroed> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: these elements came from `take`, and `&mut self` proves nobody borrows them.
        unsafe { storage::give_back(self.elements, self.length) };
    }
}

/// Elements in raw pages: zeroed by the kernel on first touch.
#[cfg(not(any(loom, miri)))]
mod storage {
    use super::Zeroed;
    use crate::memory::pages;
    use std::ptr::NonNull;

    pub(super) fn take<T: Zeroed>(length: usize) -> Option<NonNull<T>> {
        // Zeroed bytes are valid by `Zeroed`, and pages satisfy every alignment.
        pages::map(length.checked_mul(size_of::<T>())?).map(NonNull::cast)
    }

    /// # Safety
    /// * `elements` came from [`take`] with the same `length`, and nobody uses them any more.
    pub(super) unsafe fn give_back<T: Zeroed>(elements: NonNull<T>, length: usize) {
        // A whole mapping is never split, so the kernel takes it.
        // SAFETY: `take` mapped exactly these bytes, and the caller hands them over.
        let _ = unsafe { pages::unmap(elements.cast(), length * size_of::<T>()) };
    }
}

/// Elements on the heap: a model checker needs real constructors.
#[cfg(any(loom, miri))]
mod storage {
    use super::Zeroed;
    use std::ptr::NonNull;

    pub(super) fn take<T: Zeroed>(length: usize) -> Option<NonNull<T>> {
        let elements: Box<[T]> = (0..length).map(|_| T::default()).collect();
        NonNull::new(Box::into_raw(elements).cast())
    }

    /// # Safety
    /// * `elements` came from [`take`] with the same `length`, and nobody uses them any more.
    pub(super) unsafe fn give_back<T: Zeroed>(elements: NonNull<T>, length: usize) {
        let elements = std::ptr::slice_from_raw_parts_mut(elements.as_ptr(), length);
        // SAFETY: `take` leaked exactly this box, and the caller hands it over.
        drop(unsafe { Box::from_raw(elements) });
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

#[cfg(all(test, not(any(loom, miri))))]
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
