//! Closing pages, so that nobody can touch them, and opening them again.
//!
//! By `MADV_GUARD_INSTALL` where the kernel has it (6.13), which splits no mapping and gives the memory
//! back, by `mprotect` elsewhere.

#![expect(unsafe_code, reason = "closes and opens pages of its callers")]

use crate::memory::pages::{self, PAGE};
use crate::memory::refusal::{Request, is_refused};

const GUARD_INSTALL: i32 = 102;
const GUARD_REMOVE: i32 = 103;

/// How pages are closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Markers,
    Protection,
}

impl Method {
    /// How this kernel closes pages; `None` when it gives none to try.
    pub(super) fn of_kernel() -> Option<Self> {
        let page = pages::map(PAGE)?;
        let has_markers = advise(page.expose_provenance().get(), PAGE, GUARD_INSTALL);
        // A whole mapping is never split, so the kernel takes it.
        // SAFETY: mapped above, and nobody else knows it.
        let _ = unsafe { pages::unmap(page, PAGE) };
        Some(if has_markers {
            Self::Markers
        } else {
            Self::Protection
        })
    }

    /// Each way in which this kernel can close pages: the other one is that of older kernels.
    #[cfg(all(test, not(any(loom, miri))))]
    pub(super) fn all_of_kernel() -> Vec<Self> {
        let mut methods = vec![Self::Protection];
        methods.extend(Self::of_kernel().filter(|method| *method != Self::Protection));
        methods
    }

    /// Lets everybody touch pages.
    pub(super) fn open(self, start: usize, byte_count: usize) -> bool {
        match self {
            Self::Markers => advise(start, byte_count, GUARD_REMOVE),
            Self::Protection => protect(start, byte_count, libc::PROT_READ | libc::PROT_WRITE),
        }
    }

    /// Lets nobody touch pages, and gives their memory back.
    pub(super) fn close(self, start: usize, byte_count: usize) -> bool {
        match self {
            Self::Markers => advise(start, byte_count, GUARD_INSTALL),
            Self::Protection => {
                protect(start, byte_count, libc::PROT_NONE)
                    && advise(start, byte_count, libc::MADV_DONTNEED)
            }
        }
    }
}

fn advise(start: usize, byte_count: usize, advice: i32) -> bool {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: only pages of slots and of released blocks are named, of which nobody holds a Rust
    // reference; what the program loses here it has given up.
    !is_refused(Request::Guard) && unsafe { libc::madvise(start, byte_count, advice) == 0 }
}

fn protect(start: usize, byte_count: usize, protection: i32) -> bool {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: as in `advise`.
    !is_refused(Request::Guard) && unsafe { libc::mprotect(start, byte_count, protection) == 0 }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::Address;
    use crate::memory::peek::peek;

    #[test]
    fn closed_pages_are_out_of_reach_and_empty_when_they_open_in_every_way() {
        for method in Method::all_of_kernel() {
            let mapped = pages::map(3 * PAGE).expect("pages");
            let start = mapped.expose_provenance().get();
            // SAFETY: mapped above, and this test's.
            unsafe { mapped.as_ptr().write_bytes(7, 3 * PAGE) };
            let first_bytes = || {
                [0, 1, 2].map(|page| {
                    let mut byte = [0];
                    peek(Address::new(start + page * PAGE), &mut byte).then_some(byte[0])
                })
            };
            assert!(method.close(start + PAGE, PAGE), "{method:?}");
            assert_eq!(first_bytes(), [Some(7), None, Some(7)], "{method:?}");
            assert!(method.close(start, 2 * PAGE), "one of them a second time");
            assert!(method.open(start + PAGE, 2 * PAGE), "one of them was open");
            assert_eq!(first_bytes(), [None, Some(0), Some(7)], "{method:?}");
            // SAFETY: as above.
            assert!(unsafe { pages::unmap(mapped, 3 * PAGE) });
        }
    }
}
