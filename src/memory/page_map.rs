//! From an address to a 32-bit number in two loads: no hash, no lock, no probing.
//!
//! Bits 46..26 of an address choose a leaf in the directory, bits 25..5 a slot in the leaf: one
//! slot for each granule of 32 bytes. Two blocks of glibc start at least 32 bytes apart (its
//! smallest chunk), so a granule holds at most one start. A slot for every 16 bytes would cost
//! twice the memory and hold nothing more.

#![expect(
    unsafe_code,
    reason = "turns published leaf pointers back into references"
)]

use super::Address;
use super::sync::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use super::table::{Table, Zeroed};

#[cfg(not(any(loom, miri)))]
mod limits {
    pub(super) const LEAF_BITS: u32 = 26;
    pub(super) const ADDRESS_BITS: u32 = 47;
}
/// A model checker explores a tiny address space: four leaves of four granules.
#[cfg(any(loom, miri))]
mod limits {
    pub(super) const LEAF_BITS: u32 = 7;
    pub(super) const ADDRESS_BITS: u32 = 9;
}

const GRANULE_BITS: u32 = 5;
/// Bytes that share a slot.
pub const GRANULE: usize = 1 << GRANULE_BITS;
const LEAF_SLOTS: usize = 1 << (limits::LEAF_BITS - GRANULE_BITS);
const DIRECTORY_SLOTS: usize = 1 << (limits::ADDRESS_BITS - limits::LEAF_BITS);
/// The first address that user space on x86-64 cannot have.
pub const ADDRESS_END: usize = 1 << limits::ADDRESS_BITS;

const _: () = assert!(GRANULE.is_power_of_two(), "a slot index is a shift");

type Leaf = Table<AtomicU32>;

#[derive(Default)]
struct LeafPointer(AtomicPtr<Leaf>);
// SAFETY: a null pointer is all zeroes and the default; the pointer has no destructor.
unsafe impl Zeroed for LeafPointer {}

/// The map. Zero in a slot means that nothing is recorded there.
#[derive(Debug)]
pub struct PageMap {
    directory: Table<LeafPointer>,
    leaf_count: AtomicUsize,
}

impl std::fmt::Debug for LeafPointer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LeafPointer")
    }
}

impl PageMap {
    /// Maps an empty directory; `None` when the kernel refuses address space.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            directory: Table::new(DIRECTORY_SLOTS)?,
            leaf_count: AtomicUsize::new(0),
        })
    }

    /// The slot of `address`, if anything was ever recorded in its neighbourhood.
    #[inline]
    #[must_use]
    pub fn slot(&self, address: Address) -> Option<&AtomicU32> {
        let leaf = self.leaf(address.get() >> limits::LEAF_BITS)?;
        leaf.get((address.get() >> GRANULE_BITS) & (LEAF_SLOTS - 1))
    }

    /// The slot of `address`, mapping its leaf first where needed; `None` when the kernel refuses
    /// or the address is beyond user space.
    #[inline]
    pub fn slot_or_map(&self, address: Address) -> Option<&AtomicU32> {
        match self.slot(address) {
            Some(slot) => Some(slot),
            None => self.map_leaf(address),
        }
    }

    #[cold]
    fn map_leaf(&self, address: Address) -> Option<&AtomicU32> {
        let place = &self.directory.get(address.get() >> limits::LEAF_BITS)?.0;
        let leaf = Box::into_raw(Box::new(Table::new(LEAF_SLOTS)?));
        let null = std::ptr::null_mut();
        match place.compare_exchange(null, leaf, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.leaf_count.fetch_add(1, Ordering::Relaxed);
            }
            // SAFETY: the exchange failed, so this thread still owns the box it just made.
            Err(_) => drop(unsafe { Box::from_raw(leaf) }),
        }
        self.slot(address)
    }

    /// The nearest recorded number whose granule is at or before `address`, searching back at most
    /// `byte_count` bytes, for which `accept` answers something.
    pub fn search_back<T>(
        &self,
        address: Address,
        byte_count: usize,
        mut accept: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let last = (address.get() >> GRANULE_BITS).min((ADDRESS_END >> GRANULE_BITS) - 1);
        let first = address.get().saturating_sub(byte_count) >> GRANULE_BITS;
        let mut granule = last;
        while granule >= first {
            let Some(leaf) = self.leaf(granule / LEAF_SLOTS) else {
                // Nothing was ever recorded in this leaf: go on at the end of the one before.
                granule = (granule / LEAF_SLOTS * LEAF_SLOTS).checked_sub(1)?;
                continue;
            };
            let number = leaf.get(granule % LEAF_SLOTS)?.load(Ordering::Acquire);
            if number != 0
                && let Some(answer) = accept(number)
            {
                return Some(answer);
            }
            granule = granule.checked_sub(1)?;
        }
        None
    }

    /// How many bytes of address space the leaves take (not necessarily touched).
    #[must_use]
    pub fn mapped_byte_count(&self) -> usize {
        self.leaf_count.load(Ordering::Relaxed) * LEAF_SLOTS * size_of::<AtomicU32>()
    }

    #[inline]
    fn leaf(&self, number: usize) -> Option<&Leaf> {
        let leaf = self.directory.get(number)?.0.load(Ordering::Acquire);
        if leaf.is_null() {
            return None;
        }
        // SAFETY: only `map_leaf` stores here, and it stores a leaked box that only `drop` frees.
        Some(unsafe { &*leaf })
    }
}

impl Drop for PageMap {
    fn drop(&mut self) {
        for place in self.directory.iter() {
            let leaf = place.0.load(Ordering::Acquire);
            if !leaf.is_null() {
                // SAFETY: `map_leaf` leaked this box, and `&mut self` proves nobody borrows it.
                drop(unsafe { Box::from_raw(leaf) });
            }
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_granules_have_their_own_slots() {
        let map = PageMap::new().expect("a directory");
        let here = Address::new(0x7f00_0000_1000);
        assert!(map.slot(here).is_none(), "nothing mapped yet");
        map.slot_or_map(here)
            .expect("a leaf")
            .store(5, Ordering::Relaxed);
        let next = map.slot(here.offset_by(GRANULE)).expect("the same leaf");
        assert_eq!(next.load(Ordering::Relaxed), 0);
        let same = map
            .slot(here.offset_by(GRANULE - 1))
            .expect("the same leaf");
        assert_eq!(same.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn kernel_addresses_have_no_slot() {
        let map = PageMap::new().expect("a directory");
        assert!(map.slot_or_map(Address::new(usize::MAX)).is_none());
        assert!(map.slot_or_map(Address::new(ADDRESS_END)).is_none());
        assert!(map.slot_or_map(Address::new(ADDRESS_END - 1)).is_some());
    }

    #[test]
    fn searching_back_crosses_unmapped_leaves_and_stops_at_its_limit() {
        let map = PageMap::new().expect("a directory");
        let start = Address::new(0x10_0000_0000);
        map.slot_or_map(start)
            .expect("a leaf")
            .store(9, Ordering::Relaxed);
        let far = start.offset_by(300 << 20);
        assert_eq!(map.search_back(far, 301 << 20, Some), Some(9));
        assert_eq!(map.search_back(far, 299 << 20, Some), None);
        assert_eq!(map.search_back(start, 0, Some), Some(9));
        assert_eq!(map.search_back(Address::new(10), 4_096, Some), None);
    }
}
