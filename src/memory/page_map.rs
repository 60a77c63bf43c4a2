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
use std::ptr::NonNull;

#[cfg(not(any(loom, miri)))]
mod limits {
    pub(super) const LEAF_BITS: u32 = 26;
    pub(super) const ADDRESS_BITS: u32 = 47;
    pub(super) const GROUP_BITS: u32 = 10;
}
/// A model checker explores a tiny address space: four leaves of four granules.
#[cfg(any(loom, miri))]
mod limits {
    pub(super) const LEAF_BITS: u32 = 7;
    pub(super) const ADDRESS_BITS: u32 = 9;
    pub(super) const GROUP_BITS: u32 = 1;
}

const GRANULE_BITS: u32 = 5;
/// Bytes that share a slot.
pub const GRANULE: usize = 1 << GRANULE_BITS;
const LEAF_SLOTS: usize = 1 << (limits::LEAF_BITS - GRANULE_BITS);
/// Slots that share one bit of a leaf's summary: a page of slots.
const GROUP_SLOTS: usize = 1 << limits::GROUP_BITS;
const WORD_BITS: usize = u32::BITS as usize;
const SUMMARY_WORDS: usize = (LEAF_SLOTS / GROUP_SLOTS).div_ceil(WORD_BITS);
const LEAF_LENGTH: usize = LEAF_SLOTS + SUMMARY_WORDS;
const DIRECTORY_SLOTS: usize = 1 << (limits::ADDRESS_BITS - limits::LEAF_BITS);
/// The first address that user space on x86-64 cannot have.
pub const ADDRESS_END: usize = 1 << limits::ADDRESS_BITS;

const _: () = assert!(GRANULE.is_power_of_two(), "a slot index is a shift");

/// The slots, and behind them the summary: one bit for each group that ever had a record, so that
/// a search does not read (and the kernel does not commit) pages of empty slots.
type Leaf = [AtomicU32; LEAF_LENGTH];

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
        leaf.get((address.get() >> GRANULE_BITS) % LEAF_SLOTS)
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
        let elements = Table::<AtomicU32>::new(LEAF_LENGTH)?.into_raw();
        let leaf = elements.as_ptr().cast();
        let null = std::ptr::null_mut();
        match place.compare_exchange(null, leaf, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.leaf_count.fetch_add(1, Ordering::Relaxed);
            }
            // SAFETY: the exchange failed, so this thread alone has the elements it just made.
            Err(_) => drop(unsafe { Table::from_raw(elements, LEAF_LENGTH) }),
        }
        self.slot(address)
    }

    /// Has [`PageMap::search_back`] look at the slot of `address`, which is mapped already. Called
    /// before the first number is stored there.
    pub fn announce(&self, address: Address) {
        let granule = address.get() >> GRANULE_BITS;
        let Some(leaf) = self.leaf(granule / LEAF_SLOTS) else {
            return;
        };
        let group = granule % LEAF_SLOTS / GROUP_SLOTS;
        let Some(word) = leaf.get(LEAF_SLOTS + group / WORD_BITS) else {
            return;
        };
        let bit = 1 << (group % WORD_BITS);
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    /// Asks `accept` about announced slots that are not empty, each with the start of its granule:
    /// from the one of `address` back to the one `byte_count` bytes before, until it answers.
    pub fn search_back<'a, T>(
        &'a self,
        address: Address,
        byte_count: usize,
        mut accept: impl FnMut(Address, &'a AtomicU32) -> Option<T>,
    ) -> Option<T> {
        let last = (address.get() >> GRANULE_BITS).min((ADDRESS_END >> GRANULE_BITS) - 1);
        let first = address.get().saturating_sub(byte_count) >> GRANULE_BITS;
        let mut end = last + 1;
        while let Some(group) = self.announced_group_before(end, first) {
            let leaf = self.leaf(group / LEAF_SLOTS)?;
            for granule in (group.max(first)..end.min(group + GROUP_SLOTS)).rev() {
                let slot = leaf.get(granule % LEAF_SLOTS)?;
                if slot.load(Ordering::Acquire) != 0
                    && let Some(answer) = accept(Address::new(granule * GRANULE), slot)
                {
                    return Some(answer);
                }
            }
            end = group;
        }
        None
    }

    /// The first granule of the last announced group that has granules in `first..end`.
    fn announced_group_before(&self, end: usize, first: usize) -> Option<usize> {
        let mut end = end;
        while end > first {
            let last = end - 1;
            let Some(leaf) = self.leaf(last / LEAF_SLOTS) else {
                end = last / LEAF_SLOTS * LEAF_SLOTS;
                continue;
            };
            let group = last % LEAF_SLOTS / GROUP_SLOTS;
            let word = leaf.get(LEAF_SLOTS + group / WORD_BITS)?;
            let up_to_group = u32::MAX >> (WORD_BITS - 1 - group % WORD_BITS);
            let bits = word.load(Ordering::Acquire) & up_to_group;
            let first_group_of_word =
                last / LEAF_SLOTS * (LEAF_SLOTS / GROUP_SLOTS) + group / WORD_BITS * WORD_BITS;
            match bits.checked_ilog2() {
                Some(bit) => {
                    let found = (first_group_of_word + bit as usize) * GROUP_SLOTS;
                    return (found + GROUP_SLOTS > first).then_some(found);
                }
                None => end = first_group_of_word * GROUP_SLOTS,
            }
        }
        None
    }

    /// How many bytes of address space the leaves take (not necessarily touched).
    #[must_use]
    pub fn mapped_byte_count(&self) -> usize {
        self.leaf_count.load(Ordering::Relaxed) * LEAF_LENGTH * size_of::<AtomicU32>()
    }

    #[inline]
    fn leaf(&self, number: usize) -> Option<&Leaf> {
        let leaf = self.directory.get(number)?.0.load(Ordering::Acquire);
        if leaf.is_null() {
            return None;
        }
        // SAFETY: only `map_leaf` stores here, always a leaf of this length, and only `drop` puts
        // its table together again.
        Some(unsafe { &*leaf })
    }
}

impl Drop for PageMap {
    fn drop(&mut self) {
        for place in self.directory.iter() {
            if let Some(leaf) = NonNull::new(place.0.load(Ordering::Acquire)) {
                // SAFETY: `map_leaf` took the table apart, and `&mut self` proves nobody borrows it.
                drop(unsafe { Table::<AtomicU32>::from_raw(leaf.cast(), LEAF_LENGTH) });
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

    fn record(map: &PageMap, address: Address, number: u32) {
        let slot = map.slot_or_map(address).expect("a leaf");
        map.announce(address);
        slot.store(number, Ordering::Relaxed);
    }

    fn number(_: Address, slot: &AtomicU32) -> Option<u32> {
        Some(slot.load(Ordering::Relaxed)).filter(|&number| number != 0)
    }

    #[test]
    fn searching_back_crosses_unmapped_leaves_and_stops_at_its_limit() {
        let map = PageMap::new().expect("a directory");
        let start = Address::new(0x10_0000_0000);
        record(&map, start, 9);
        let far = start.offset_by(300 << 20);
        assert_eq!(map.search_back(far, 301 << 20, number), Some(9));
        assert_eq!(map.search_back(far, 299 << 20, number), None);
        assert_eq!(map.search_back(start, 0, number), Some(9));
        assert_eq!(map.search_back(Address::new(10), 4_096, number), None);
    }

    #[test]
    fn searching_back_meets_the_nearest_first_and_goes_on_when_it_is_refused() {
        let map = PageMap::new().expect("a directory");
        let start = Address::new(0x20_0000_0000);
        let places = [0, 1, 1_023, 1_024, 33 * 1_024, (64 << 20) / GRANULE - 1];
        for (number, place) in (1..).zip(places) {
            record(&map, start.offset_by(place * GRANULE), number);
        }
        let mut met = Vec::new();
        let end = start.offset_by(65 << 20);
        let none: Option<()> = map.search_back(end, 65 << 20, |place, slot| {
            met.extend(number(place, slot));
            None
        });
        assert_eq!((none, met), (None, vec![6, 5, 4, 3, 2, 1]));
        let within = start.offset_by(1_024 * GRANULE);
        let seen = map.search_back(within, GRANULE, |place, slot| {
            number(place, slot).filter(|&number| number != 4)
        });
        assert_eq!(seen, Some(3), "the last slot of the group before");
        let short = map.search_back(within, GRANULE - 1, |place, slot| {
            number(place, slot).filter(|&number| number == 3)
        });
        assert_eq!(short, Some(3), "a start within the bytes looked at");
        let none = map.search_back(within, 0, |place, slot| {
            number(place, slot).filter(|&number| number == 3)
        });
        assert_eq!(none, None);
    }
}
