//! `sigaction` and `signal`: whoever registers for a signal that the check `guard` needs is called
//! after it, and nobody sees the handler that stands where the default action would.

#![expect(unsafe_code, reason = "passes on the program's pointers")]

use super::death;
use super::entry::Frame;
use super::functions::Function;
use super::real::{Real, is_success};
use super::targets::Variant;
use crate::tracker::guarded;
use std::mem::MaybeUninit;

type Action = libc::sigaction;

const LOW: usize = 0xffff_ffff;

/// `int sigaction(int signal, const struct sigaction *new, struct sigaction *old)`
pub(super) extern "C-unwind" fn sigaction(
    signal: usize,
    new: usize,
    old: usize,
    _frame: Frame,
    variant: Variant,
) -> usize {
    let number = number(signal);
    let new_action = std::ptr::with_exposed_provenance(new);
    let old_action = std::ptr::with_exposed_provenance_mut(old);
    let real = |new: *const Action| {
        Real::of(Function::Sigaction, variant).call3(signal, new.expose_provenance(), old)
    };
    // SAFETY: the program passes what `sigaction` takes.
    unsafe { register(number, new_action, old_action, real) }
}

/// `void (*signal(int signal, void (*handler)(int)))(int)`, with the semantics that glibc gives it:
/// the handler stays, and system calls go on.
pub(super) extern "C-unwind" fn signal(
    signal: usize,
    handler: usize,
    _frame: Frame,
    variant: Variant,
) -> usize {
    let number = number(signal);
    let is_other = handler == libc::SIG_ERR || number <= 0;
    if is_other || !death::stands_for(number) && !guarded::has_signal(number) {
        return Real::of(Function::SetSignal, variant).call2(signal, handler);
    }
    let mut new = zeroed();
    new.sa_sigaction = handler;
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: `new` is an action, and the signal has a number.
    unsafe { libc::sigaddset(&raw mut new.sa_mask, number) };
    let mut old = zeroed();
    let place = &raw mut old;
    let real = |new: *const Action| {
        // SAFETY: an action and a place for one.
        let status = unsafe { libc::sigaction(number, new, place) };
        usize::from(status != 0)
    };
    // SAFETY: an action and a place for one.
    let status = unsafe { register(number, &raw const new, place, real) };
    if is_success(status) {
        old.sa_sigaction
    } else {
        libc::SIG_ERR
    }
}

/// # Safety
/// * `new` is null or an action; `old` is null or a place for one.
unsafe fn register(
    signal: i32,
    new: *const Action,
    old: *mut Action,
    real: impl FnOnce(*const Action) -> usize,
) -> usize {
    let behind_the_guard = |new: *const Action| {
        // SAFETY: the caller's duties; what `death` puts in the place of `new` is an action too.
        match unsafe { guarded::register(signal, new, old) } {
            Some(_) => 0,
            None => real(new),
        }
    };
    // SAFETY: the caller's duties.
    unsafe { death::register(signal, new, old, behind_the_guard) }
}

fn number(signal: usize) -> i32 {
    i32::try_from(signal & LOW).unwrap_or(-1)
}

fn zeroed() -> Action {
    // SAFETY: zeroes are an action: the default one, with no flags and an empty mask.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
