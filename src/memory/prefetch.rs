//! Asking for memory before it is looked at.

#![expect(unsafe_code, reason = "the instruction takes an address")]

use super::Address;

/// Has the processor fetch the line of an address, which may be anything: nothing is read, and nothing
/// happens where there is no memory.
#[inline]
pub fn prefetch(address: Address) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place = std::ptr::without_provenance::<i8>(address.get());
        // SAFETY: the instruction is a hint and takes any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
