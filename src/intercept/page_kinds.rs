//! What each page of memory is, as far as we know: one byte for each 4 KiB, found in two loads.
//!
//! It answers two questions on the allocation path: who called (an object's code), and whether an
//! unknown pointer is an ordinary one. The second needs no lock and no system call for a page that
//! was judged before. A byte may be out of date where memory was unmapped and used again; both
//! questions are asked again in detail before anybody is accused.

#![expect(
    unsafe_code,
    reason = "turns published leaf pointers back into references"
)]

use super::image::Range;
use super::owner::Owner;
use crate::memory::table::{Table, Zeroed};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

/// Bytes of a page.
pub(super) const PAGE: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 12;
/// A leaf covers a gibibyte.
const LEAF_BITS: u32 = 30;
const ADDRESS_BITS: u32 = 47;
const LEAF_PAGES: usize = 1 << (LEAF_BITS - PAGE_BITS);
const DIRECTORY_SLOTS: usize = 1 << (ADDRESS_BITS - LEAF_BITS);

/// Nothing is known of the page.
const UNSEEN: u8 = 0;
/// A pointer into the page was looked at and found to be neither stack nor image.
const ORDINARY: u8 = 1;

/// What is known of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PageKind {
    /// Nothing.
    Unseen,
    /// Memory that allocators use.
    Ordinary,
    /// Part of a loaded object.
    Image(Owner),
}

#[derive(Default)]
struct PageByte(AtomicU8);
// SAFETY: an atomic integer is a plain integer in memory, for which zero is the default.
unsafe impl Zeroed for PageByte {}

type Leaf = [PageByte; LEAF_PAGES];

/// Where the leaves are; null where there is none. A mebibyte that nobody touches but where a leaf is,
/// part of the library's image so that it is found without a look elsewhere. Leaves are never
/// unmapped: readers hold no lock.
static DIRECTORY: [AtomicPtr<Leaf>; DIRECTORY_SLOTS] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; DIRECTORY_SLOTS];

#[inline]
fn leaf(address: usize) -> Option<&'static Leaf> {
    let leaf = DIRECTORY.get(address >> LEAF_BITS)?.load(Ordering::Acquire);
    // SAFETY: only `map_leaf` stores here, always a leaf of this length that stays for good.
    unsafe { leaf.as_ref() }
}

#[cold]
fn map_leaf(address: usize) -> Option<&'static Leaf> {
    let place = DIRECTORY.get(address >> LEAF_BITS)?;
    let pages = Table::<PageByte>::new(LEAF_PAGES)?.into_raw();
    let null = std::ptr::null_mut();
    if place
        .compare_exchange(
            null,
            pages.as_ptr().cast(),
            Ordering::AcqRel,
            Ordering::Acquire,
        )
        .is_err()
    {
        // SAFETY: the exchange failed, so this thread alone has the pages it just mapped.
        drop(unsafe { Table::from_raw(pages, LEAF_PAGES) });
    }
    leaf(address)
}

#[inline]
fn byte_of(address: usize) -> u8 {
    leaf(address)
        .and_then(|leaf| leaf.get((address >> PAGE_BITS) & (LEAF_PAGES - 1)))
        .map_or(UNSEEN, |byte| byte.0.load(Ordering::Relaxed))
}

/// Whether the page of `address` is a library's or the program's, and nobody else's: nearly every
/// caller's.
#[inline]
pub(super) fn is_users_code(address: usize) -> bool {
    byte_of(address) == Owner::User as u8
}

/// What is known of the page of `address`.
#[inline]
pub(super) fn kind_of(address: usize) -> PageKind {
    let byte = byte_of(address);
    if byte == ORDINARY {
        return PageKind::Ordinary;
    }
    let owner = usize::from(byte).checked_sub(Owner::User as usize);
    match owner.and_then(|place| OWNERS.get(place)) {
        Some(&owner) => PageKind::Image(owner),
        None => PageKind::Unseen,
    }
}

/// By number.
const OWNERS: [Owner; 8] = [
    Owner::User,
    Owner::ExtensionModule,
    Owner::Interpreter,
    Owner::ForeignInterface,
    Owner::CRuntime,
    Owner::CxxRuntime,
    Owner::Linker,
    Owner::Ourselves,
];
const _: () = {
    let mut place = 0;
    while place < OWNERS.len() {
        assert!(
            OWNERS[place] as usize == place + Owner::User as usize,
            "owners by number"
        );
        place += 1;
    }
};

/// Whether the page of `address` was found to be ordinary memory.
#[inline]
pub(super) fn is_ordinary(address: usize) -> bool {
    byte_of(address) == ORDINARY
}

/// Notes what the pages that `range` touches are.
pub(super) fn mark(range: Range, kind: PageKind) {
    let byte = match kind {
        PageKind::Unseen => UNSEEN,
        PageKind::Ordinary => ORDINARY,
        PageKind::Image(owner) => owner as u8,
    };
    let mut address = range.start & !(PAGE - 1);
    while address < range.end {
        let page = leaf(address)
            .or_else(|| map_leaf(address))
            .and_then(|leaf| leaf.get((address >> PAGE_BITS) & (LEAF_PAGES - 1)));
        let Some(page) = page else {
            return;
        };
        page.0.store(byte, Ordering::Relaxed);
        address += PAGE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_the_pages_of_its_range_and_no_others() {
        // Across the border of two leaves.
        let border = 0x1234 << LEAF_BITS;
        let range = Range {
            start: border - PAGE,
            end: border + PAGE + 1,
        };
        mark(range, PageKind::Image(Owner::CRuntime));
        assert_eq!(kind_of(border - PAGE - 1), PageKind::Unseen);
        assert_eq!(kind_of(border - PAGE), PageKind::Image(Owner::CRuntime));
        assert_eq!(
            kind_of(border + 2 * PAGE - 1),
            PageKind::Image(Owner::CRuntime)
        );
        assert_eq!(kind_of(border + 2 * PAGE), PageKind::Unseen);
        mark(
            Range {
                start: border,
                end: border + 1,
            },
            PageKind::Ordinary,
        );
        assert!(is_ordinary(border + 5));
        assert_eq!(kind_of(usize::MAX), PageKind::Unseen);
    }
}
