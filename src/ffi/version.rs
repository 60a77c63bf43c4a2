//! Which interface this is.

#![expect(unsafe_code, reason = "an export")]

use super::barrier::barrier;

/// The number of the interface. It changes when a name, a layout or a meaning does.
pub const HL_ABI_VERSION: u32 = 1;

/// The number of the interface this library has; compare it with `HL_ABI_VERSION` of the header.
#[unsafe(no_mangle)]
pub extern "C" fn hl_abi_version() -> u32 {
    barrier(HL_ABI_VERSION, || HL_ABI_VERSION)
}
