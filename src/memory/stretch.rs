//! An append-only array in one stretch of address space, opened step by step.
//!
//! An element is found by one multiplication. [`super::arena::Arena`] needs a look into its
//! directory of chunks first, but sets no address space aside: it is for arrays that are not looked
//! into at every allocation.

#![expect(
    unsafe_code,
    reason = "turns pages that were opened into references to elements"
)]

use super::sync::{AtomicU32, AtomicUsize, Ordering};
use super::table::Zeroed;
use std::fmt;
use std::ptr::NonNull;

/// An array of at most `CAPACITY` elements, numbered from zero, opened `STEP` at a time.
pub struct Stretch<T: Zeroed, const CAPACITY: usize, const STEP: usize> {
    elements: NonNull<T>,
    /// The elements before this are open.
    open: AtomicUsize,
    next: AtomicU32,
    /// `CAPACITY`, or less when the process may not have so much address space.
    room: usize,
}

// SAFETY: the stretch owns its elements, which are `Sync` by the bound of `Zeroed`, and hands out
// only shared references to them.
unsafe impl<T: Zeroed, const CAPACITY: usize, const STEP: usize> Sync
    for Stretch<T, CAPACITY, STEP>
{
}
// SAFETY: the elements belong to no thread in particular; see `Sync`.
unsafe impl<T: Zeroed, const CAPACITY: usize, const STEP: usize> Send
    for Stretch<T, CAPACITY, STEP>
{
}

impl<T: Zeroed, const CAPACITY: usize, const STEP: usize> Stretch<T, CAPACITY, STEP> {
    const STEPS_FIT: () = {
        assert!(CAPACITY <= 1 << 31, "an index and its reservations fit u32");
        assert!(
            CAPACITY.is_multiple_of(STEP),
            "the last step is a whole one"
        );
        assert!(
            cfg!(any(loom, miri)) || (STEP * size_of::<T>()).is_multiple_of(4_096),
            "pages are opened whole"
        );
    };

    /// Sets the address space aside: for fewer elements where a limit forbids so many, and `None`
    /// when there is none for a single step.
    #[must_use]
    pub fn new() -> Option<Self> {
        const { Self::STEPS_FIT };
        let mut room = CAPACITY;
        loop {
            if let Some(elements) = storage::set_aside(room) {
                return Some(Self {
                    elements,
                    open: AtomicUsize::new(0),
                    next: AtomicU32::new(0),
                    room,
                });
            }
            room = room / 2 / STEP * STEP;
            if room == 0 {
                return None;
            }
        }
    }

    /// How many elements have been reserved; every index below this has been handed out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.next.load(Ordering::Acquire) as usize
    }

    /// Whether nothing has been reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are open (not necessarily touched).
    #[must_use]
    pub fn open_byte_count(&self) -> usize {
        self.open.load(Ordering::Relaxed) * size_of::<T>()
    }

    /// Reserves `count` neighbouring elements for the caller and returns the first one's index.
    ///
    /// `None` when the stretch is full or the kernel refuses pages.
    pub fn reserve(&self, count: u32) -> Option<u32> {
        let mut first = self.next.load(Ordering::Relaxed);
        loop {
            let end = first.checked_add(count)?;
            self.open_up_to(end as usize)?;
            match self
                .next
                .compare_exchange(first, end, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(first),
                Err(now) => first = now,
            }
        }
    }

    /// The element with this index, or `None` when it is not open.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        if index >= self.open.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: what is open lies within the stretch.
        let element = unsafe { self.elements.add(index) };
        // SAFETY: `open_up_to` opened the element, zeroed, which `Zeroed` says is valid; only
        // `drop` gives it back.
        Some(unsafe { element.as_ref() })
    }

    fn open_up_to(&self, end: usize) -> Option<()> {
        let open = self.open.load(Ordering::Acquire);
        if end <= open {
            return Some(());
        }
        let wanted = end.next_multiple_of(STEP);
        if wanted > self.room {
            return None;
        }
        // SAFETY: `open` elements lie within the stretch.
        let first = unsafe { self.elements.add(open) };
        // SAFETY: so do `wanted`, as the room was found to suffice.
        if !unsafe { storage::open(first, wanted - open) } {
            return None;
        }
        self.open.fetch_max(wanted, Ordering::AcqRel);
        Some(())
    }
}

impl<T: Zeroed, const CAPACITY: usize, const STEP: usize> Drop for Stretch<T, CAPACITY, STEP> {
    fn drop(&mut self) {
        // SAFETY: `new` set exactly this aside, and `&mut self` proves nobody borrows it.
        unsafe { storage::give_back(self.elements, self.room) };
    }
}

impl<T: Zeroed, const CAPACITY: usize, const STEP: usize> fmt::Debug
    for Stretch<T, CAPACITY, STEP>
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stretch")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Address space from the kernel.
#[cfg(not(any(loom, miri)))]
mod storage {
    use super::Zeroed;
    use crate::memory::pages;
    use std::ptr::NonNull;

    pub(super) fn set_aside<T: Zeroed>(length: usize) -> Option<NonNull<T>> {
        pages::set_aside(length.checked_mul(size_of::<T>())?).map(NonNull::cast)
    }

    /// # Safety
    /// * The `count` elements at `first` lie in one stretch that came from [`set_aside`].
    pub(super) unsafe fn open<T: Zeroed>(first: NonNull<T>, count: usize) -> bool {
        // SAFETY: the caller's duty is the same.
        unsafe { pages::open(first.cast(), count * size_of::<T>()) }
    }

    /// # Safety
    /// * `elements` came from [`set_aside`] with this `length`, and nobody uses them any more.
    pub(super) unsafe fn give_back<T: Zeroed>(elements: NonNull<T>, length: usize) {
        // A whole mapping is never split, so the kernel takes it.
        // SAFETY: `set_aside` mapped exactly these bytes, and the caller hands them over.
        let _ = unsafe { pages::unmap(elements.cast(), length * size_of::<T>()) };
    }
}

/// Elements on the heap: a model checker needs real constructors.
#[cfg(any(loom, miri))]
mod storage {
    use super::Zeroed;
    use crate::memory::table::Table;
    use std::ptr::NonNull;

    pub(super) fn set_aside<T: Zeroed>(length: usize) -> Option<NonNull<T>> {
        Some(Table::new(length)?.into_raw())
    }

    pub(super) unsafe fn open<T: Zeroed>(_: NonNull<T>, _: usize) -> bool {
        true
    }

    pub(super) unsafe fn give_back<T: Zeroed>(elements: NonNull<T>, length: usize) {
        // SAFETY: `set_aside` took this table apart, and the caller hands the elements over.
        drop(unsafe { Table::from_raw(elements, length) });
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    type Small = Stretch<AtomicU32, 4_096, 1_024>;

    #[test]
    fn reservations_are_disjoint_and_end_at_the_capacity() {
        let stretch = Small::new().expect("16 KiB of address space");
        assert!(stretch.is_empty());
        assert_eq!(stretch.reserve(1_000), Some(0));
        assert_eq!(stretch.reserve(100), Some(1_000), "straddles two steps");
        assert_eq!(stretch.reserve(2_997), None, "one more than is left");
        assert_eq!(stretch.reserve(2_996), Some(1_100));
        assert_eq!(stretch.reserve(1), None);
        assert_eq!(stretch.len(), 4_096);
        assert_eq!(stretch.open_byte_count(), 4 * 4_096);
    }

    #[test]
    fn an_index_is_open_once_its_step_is() {
        let stretch = Small::new().expect("16 KiB of address space");
        assert!(stretch.get(0).is_none());
        stretch.reserve(1).expect("room for one");
        let last = stretch.get(1_023).expect("the same step");
        assert_eq!(last.load(Ordering::Relaxed), 0);
        assert!(stretch.get(1_024).is_none(), "the next step is not open");
        assert!(stretch.get(usize::MAX).is_none());
    }

    #[test]
    fn a_stretch_that_does_not_fit_the_address_space_is_made_smaller() {
        const CAPACITY: usize = 1 << 28;
        /// A mebibyte, so that the whole would take 2^48 bytes.
        struct Mebibyte([AtomicU32; 1 << 18]);
        impl Default for Mebibyte {
            fn default() -> Self {
                Self(std::array::from_fn(|_| AtomicU32::new(0)))
            }
        }
        // SAFETY: an array of atomic integers, for which zero is the default.
        unsafe impl Zeroed for Mebibyte {}

        let stretch = Stretch::<Mebibyte, CAPACITY, 1>::new().expect("room for a part");
        assert!(stretch.room < CAPACITY);
        stretch.reserve(1).expect("room for one");
        let first = stretch.get(0).expect("just opened");
        assert_eq!(first.0[77].load(Ordering::Relaxed), 0);
    }
}
