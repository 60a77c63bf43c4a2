//! `dlclose`: what is remembered by addresses in code ends with it.
//!
//! The C library also unloads modules of its own (character sets, name services) without passing a
//! slot; the loader's counts tell of those at the next foreign call.

use super::entry::Frame;
use super::functions::Function;
use super::real::Real;
use super::targets::Variant;
use crate::capture;

/// `int dlclose(void *handle)`
pub(super) extern "C-unwind" fn dlclose(handle: usize, _frame: Frame, variant: Variant) -> usize {
    let status = Real::of(Function::Dlclose, variant).call1(handle);
    // Afterwards: the library's destructors run in between.
    capture::forget_native_places();
    status
}
