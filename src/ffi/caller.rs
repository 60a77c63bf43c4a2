//! Who called an export: its return address.
//!
//! A naked function has no frame yet, so the return address is on top of the stack (x86-64) or in
//! the link register (AArch64). It is passed on as one argument more than the export has.

use crate::capture::EventPlace;
use crate::memory::FrameAddress;

/// Jumps to `$inner` with the return address as the argument in `$register` (x86-64) or
/// `$portable` (AArch64).
#[cfg(target_arch = "x86_64")]
macro_rules! jump_with_caller {
    ($register:literal, $portable:literal, $inner:ident) => {
        core::arch::naked_asm!(
            concat!("mov ", $register, ", [rsp]"),
            "jmp {inner}",
            inner = sym $inner,
        )
    };
}
/// The same for AArch64; no machine of ours has run it yet.
#[cfg(target_arch = "aarch64")]
macro_rules! jump_with_caller {
    ($register:literal, $portable:literal, $inner:ident) => {
        core::arch::naked_asm!(
            concat!("mov ", $portable, ", x30"),
            "b {inner}",
            inner = sym $inner,
        )
    };
}
pub(super) use jump_with_caller;

/// The place of an event whose native caller is known by its return address.
pub(super) fn called_from(caller: usize) -> EventPlace {
    let caller = FrameAddress::from_return_address(caller);
    EventPlace {
        caller,
        ..EventPlace::UNKNOWN
    }
}
