//! Reading one field of an object whose layout is known by offsets only.

#![expect(unsafe_code, reason = "reads memory that another program laid out")]

use crate::memory::Address;

/// Reads the field at `offset` bytes from `base`.
///
/// # Safety
/// * The bytes from `base + offset` on, as many as `T` has, are mapped and readable.
/// * They hold a `T`, aligned for it.
#[inline]
pub(super) unsafe fn peek<T: Copy>(base: Address, offset: usize) -> T {
    let place = std::ptr::with_exposed_provenance::<T>(base.get().wrapping_add(offset));
    // SAFETY: the caller's duties are those of `read`. Volatile, because another thread may write
    // neighbouring fields and the compiler must neither repeat nor widen this read.
    unsafe { place.read_volatile() }
}

/// Reads the address at `offset` bytes from `base`.
///
/// # Safety
/// As for [`peek`].
#[inline]
pub(super) unsafe fn peek_address(base: Address, offset: usize) -> Address {
    // SAFETY: the caller's duties.
    Address::new(unsafe { peek::<usize>(base, offset) })
}
