//! Calling the real function behind an entry.
//!
//! Every argument and result of the intercepted functions is an integer or a pointer and travels in
//! an integer register, so one type for each number of arguments is enough. Where the real function
//! returns nothing, or 32 bits, the rest of the result is not looked at.

#![expect(unsafe_code, reason = "calls functions by address")]
#![expect(
    clippy::inline_always,
    reason = "one instruction between an entry and the real function"
)]

use super::functions::Function;
use super::targets::{self, INNER_VARIANT, MAIN_VARIANT, Variant};
use crate::ledger::FamilyId;

/// The call that reached us, without its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    function: Function,
    variant: Variant,
}

impl Real {
    /// The real function behind an entry of `function`.
    #[inline(always)]
    pub(super) fn of(function: Function, variant: Variant) -> Self {
        Self { function, variant }
    }

    /// Which function.
    #[inline(always)]
    pub(super) fn function(self) -> Function {
        self.function
    }

    /// Whether the call may be the end of one of the function's array form (`targets`).
    #[inline(always)]
    pub(super) fn is_inner(self) -> bool {
        self.variant == INNER_VARIANT
    }

    /// Whether it is the C library's or the C++ run time's.
    #[inline(always)]
    pub(super) fn is_standard(self) -> bool {
        targets::is_standard(self.function, self.variant)
    }

    /// Whether its blocks are pieces of glibc's heap: a standard function's are, and those of an
    /// operator of the program's own, which gets its memory from `malloc`.
    pub(super) fn is_above_glibc(self) -> bool {
        self.is_standard()
            || (self.function.family() != FamilyId::MALLOC
                && targets::is_standard(Function::Malloc, MAIN_VARIANT))
    }

    /// Calls it with one argument.
    #[inline(always)]
    pub(super) fn call1(self, first: usize) -> usize {
        // SAFETY: an entry's variant always has a real function of this name, found before the
        // entry was handed out; the caller passes the arguments that function takes.
        let function: unsafe extern "C-unwind" fn(usize) -> usize =
            unsafe { std::mem::transmute(self.address()) };
        // SAFETY: the arguments are those that the program meant for this function, or such that
        // its contract allows instead (a larger size).
        unsafe { function(first) }
    }

    /// Calls it with two arguments.
    #[inline(always)]
    pub(super) fn call2(self, first: usize, second: usize) -> usize {
        // SAFETY: as in `call1`.
        let function: unsafe extern "C-unwind" fn(usize, usize) -> usize =
            unsafe { std::mem::transmute(self.address()) };
        // SAFETY: as in `call1`.
        unsafe { function(first, second) }
    }

    /// Calls it with three arguments.
    #[inline(always)]
    pub(super) fn call3(self, first: usize, second: usize, third: usize) -> usize {
        // SAFETY: as in `call1`.
        let function: unsafe extern "C-unwind" fn(usize, usize, usize) -> usize =
            unsafe { std::mem::transmute(self.address()) };
        // SAFETY: as in `call1`.
        unsafe { function(first, second, third) }
    }

    /// Calls it with four arguments.
    #[inline(always)]
    pub(super) fn call4(self, all: [usize; 4]) -> usize {
        // SAFETY: as in `call1`.
        let function: unsafe extern "C-unwind" fn(usize, usize, usize, usize) -> usize =
            unsafe { std::mem::transmute(self.address()) };
        // SAFETY: as in `call1`.
        unsafe { function(all[0], all[1], all[2], all[3]) }
    }

    #[inline(always)]
    fn address(self) -> usize {
        targets::address(self.function, self.variant)
    }
}

/// Whether a function that returns an `int` returned zero. The upper half of the register is not
/// part of the result.
pub(super) fn is_success(status: usize) -> bool {
    status.trailing_zeros() >= 32
}
