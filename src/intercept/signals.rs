//! `sigaction`: whoever registers for a signal that the check `guard` needs is called after it.

#![expect(unsafe_code, reason = "passes on the program's pointers")]

use super::entry::Frame;
use super::functions::Function;
use super::real::Real;
use super::targets::Variant;
use crate::tracker::guarded;

/// `int sigaction(int signal, const struct sigaction *new, struct sigaction *old)`
pub(super) extern "C-unwind" fn sigaction(
    signal: usize,
    new: usize,
    old: usize,
    _frame: Frame,
    variant: Variant,
) -> usize {
    let number = i32::try_from(signal & 0xffff_ffff).unwrap_or(-1);
    let (new_action, old_action) = (
        std::ptr::with_exposed_provenance(new),
        std::ptr::with_exposed_provenance_mut(old),
    );
    // SAFETY: the program passes what `sigaction` takes.
    match unsafe { guarded::register(number, new_action, old_action) } {
        Some(_) => 0,
        None => Real::of(Function::Sigaction, variant).call3(signal, new, old),
    }
}
