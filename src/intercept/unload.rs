//! `dlclose`: what is remembered by addresses in code ends with it.
//!
//! The C library also unloads modules of its own (character sets, name services) without passing a
//! slot; the loader's counts tell of those at the next foreign call.

use super::entry::Frame;
use super::functions::Function;
use super::gate;
use super::python_api::Python;
use super::real::Real;
use super::targets::Variant;
use crate::capture;
use crate::tracker;

/// `int dlclose(void *handle)`
pub(super) extern "C-unwind" fn dlclose(handle: usize, _frame: Frame, variant: Variant) -> usize {
    let close = || Real::of(Function::Dlclose, variant).call1(handle);
    let is_at_the_end = || Python::find().is_some_and(Python::is_without_program);
    let status = match tracker::existing().filter(|_| gate::is_on() && is_at_the_end()) {
        Some(tracker) => tracker.while_unloading(close),
        None => close(),
    };
    // Afterwards: the library's destructors run in between.
    capture::forget_native_places();
    status
}
