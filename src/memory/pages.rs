//! Pages straight from the kernel: the one place that decides what a refused mapping means.

#![expect(unsafe_code, reason = "mmap and its kin are foreign calls")]

use super::own_ranges;
use super::refusal::{Request, is_refused};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a page.
pub const PAGE: usize = 4_096;

/// Maps `byte_count` zeroed, readable and writable bytes, committed by the kernel on first touch.
///
/// `None` when the kernel refuses (address space or overcommit limits) or `byte_count` is zero:
/// the caller goes without and counts what it dropped.
#[must_use]
pub fn map(byte_count: usize) -> Option<NonNull<u8>> {
    map_as(byte_count, libc::PROT_READ | libc::PROT_WRITE)
}

/// Sets `byte_count` bytes of address space aside; [`open`] makes parts of it usable. Costs no
/// memory, and does not count where the kernel refuses to promise more than it has.
#[must_use]
pub fn set_aside(byte_count: usize) -> Option<NonNull<u8>> {
    map_as(byte_count, libc::PROT_NONE)
}

/// Makes pages that were set aside readable and writable; `false` when the kernel refuses. They
/// are zeroed, and opening them again changes nothing.
///
/// # Safety
/// * The `byte_count` bytes at `pages` lie in one mapping that came from [`set_aside`].
#[must_use]
pub unsafe fn open(pages: NonNull<u8>, byte_count: usize) -> bool {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the pages are the caller's; more access takes nothing away from anybody.
    !is_refused(Request::OpenPages)
        && unsafe { libc::mprotect(pages.as_ptr().cast(), byte_count, access) == 0 }
}

/// Of an address space with a limit (`ulimit -v`) we take one part in this many: tables shrink to
/// what they get, and the program keeps the rest.
const LIMITED_SHARE: u64 = 8;

/// Address space that is ours now.
static MAPPED_BYTE_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether `byte_count` more bytes of address space leave the program its share.
fn may_take(byte_count: usize) -> bool {
    let mapped = MAPPED_BYTE_COUNT.load(Ordering::Relaxed);
    is_within(mapped, byte_count, address_limit())
}

/// Whether the program may have only so much address space.
#[must_use]
pub fn addresses_are_limited() -> bool {
    address_limit() != libc::RLIM_INFINITY
}

fn address_limit() -> libc::rlim_t {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a place for one limit. Asked each time, because a program may set it at any time.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    limit.rlim_cur
}

/// The judgement over what we have, what we want more, and the limit.
fn is_within(mapped: usize, more: usize, limit: libc::rlim_t) -> bool {
    limit == libc::RLIM_INFINITY || mapped.saturating_add(more) as u64 <= limit / LIMITED_SHARE
}

fn map_as(byte_count: usize, access: libc::c_int) -> Option<NonNull<u8>> {
    if is_refused(Request::Map) || !may_take(byte_count) {
        return None;
    }
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no
    // existing memory, whatever the length.
    let pages = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            byte_count,
            access,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if pages == libc::MAP_FAILED {
        return None;
    }
    MAPPED_BYTE_COUNT.fetch_add(byte_count, Ordering::Relaxed);
    own_ranges::add(pages.addr(), byte_count);
    NonNull::new(pages.cast())
}

/// Gives pages back to the kernel; `false` when it cannot split a mapping, and everything stays.
///
/// # Safety
/// * The pages came from [`map`] or [`set_aside`] and were not unmapped before: a whole mapping, a
///   part of one, or several side by side.
/// * No reference into these pages is used after the call.
#[must_use = "pages that stay are still the caller's"]
pub unsafe fn unmap(pages: NonNull<u8>, byte_count: usize) -> bool {
    // Before the kernel may give the range to somebody else.
    own_ranges::remove(pages.addr().get(), byte_count);
    // SAFETY: the caller owns exactly this range and promises that nobody looks at it again.
    let unmapped = unsafe { libc::munmap(pages.as_ptr().cast(), byte_count) == 0 };
    if unmapped {
        MAPPED_BYTE_COUNT.fetch_sub(byte_count, Ordering::Relaxed);
    } else {
        own_ranges::add(pages.addr().get(), byte_count);
    }
    unmapped
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_limited_address_space_is_left_to_the_program() {
        assert!(is_within(0, usize::MAX, libc::RLIM_INFINITY));
        assert!(is_within(0, 100, 800));
        assert!(!is_within(0, 101, 800));
        assert!(!is_within(60, 41, 800));
        assert!(!is_within(usize::MAX, 1, 800), "no sum overflows");
    }

    #[test]
    fn what_is_given_back_no_longer_counts() {
        let pages = map(1 << 20).expect("a mebibyte");
        let before = MAPPED_BYTE_COUNT.load(Ordering::Relaxed);
        assert!(before >= 1 << 20);
        // SAFETY: mapped above, and nobody else knows it.
        assert!(unsafe { unmap(pages, 1 << 20) });
    }
}
