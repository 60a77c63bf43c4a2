//! What the own heap draws on when the kernel gives it no more pages.
//!
//! Rust's collections end the process when they get no memory, and that would be the program's end.
//! So a part of our image, which costs nothing until it is touched, stands in; whoever can do without
//! memory asks [`is_in_use`] and [`is_low`] and does.

#![expect(unsafe_code, reason = "hands out parts of a static array")]

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As much as a report with all its findings needs, without symbols.
const RESERVE_BYTE_COUNT: usize = 8 << 20;

#[repr(align(4096))]
struct Bytes(UnsafeCell<[u8; RESERVE_BYTE_COUNT]>);

// SAFETY: every part is handed out once, and nobody else touches it.
unsafe impl Sync for Bytes {}

static BYTES: Bytes = Bytes(UnsafeCell::new([0; RESERVE_BYTE_COUNT]));
static USED_BYTE_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Zeroed bytes that are never given back; `None` when so many are not left.
pub(super) fn take(byte_count: usize) -> Option<NonNull<u8>> {
    let used = USED_BYTE_COUNT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let end = used.checked_add(byte_count)?;
            (end <= RESERVE_BYTE_COUNT).then_some(end)
        })
        .ok()?;
    let start = BYTES.0.get().cast::<u8>();
    // SAFETY: the part lies inside the array, as just made sure.
    NonNull::new(unsafe { start.add(used) })
}

/// Whether these bytes are the reserve's.
pub(super) fn holds(start: *const u8) -> bool {
    let reserve = BYTES.0.get().addr();
    (reserve..reserve + RESERVE_BYTE_COUNT).contains(&start.addr())
}

/// How much of it has been handed out.
#[must_use]
pub fn used_byte_count() -> u64 {
    USED_BYTE_COUNT.load(Ordering::Relaxed) as u64
}

/// Whether the kernel has refused our heap pages: what costs much memory is not done any more.
#[must_use]
pub fn is_in_use() -> bool {
    used_byte_count() > 0
}

/// Whether the rest is for the report.
#[must_use]
pub fn is_low() -> bool {
    used_byte_count() > RESERVE_BYTE_COUNT as u64 / 2
}
