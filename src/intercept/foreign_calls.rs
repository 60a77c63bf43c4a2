//! Which of the two ways to see ctypes' calls is used, and why.

use super::functions::Function;
use super::owner::Owner;
use super::patching;
use super::type_call::{self, Refusal};
use crate::memory::reentry::OurOwnWork;
use crate::tracker;
use crate::tracker::options::ForeignCalls;
use std::sync::atomic::{AtomicU32, Ordering};

/// How the calls of ctypes are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Path {
    /// A slot that leads to `ffi_call`.
    Slot,
    /// The types of ctypes' function objects.
    Types,
    /// Not at all (yet).
    None(Refusal),
}

/// Whether the types were tried and will never do.
static IS_HOPELESS: AtomicU32 = AtomicU32::new(0);

/// Sees to it that calls of ctypes are seen, on a thread that called us with the interpreter's lock
/// in hand, if it did.
#[inline]
pub(super) fn look() {
    if !type_call::is_active() && IS_HOPELESS.load(Ordering::Relaxed) == 0 {
        choose(type_call::begin_if_locked);
    }
}

/// The same at the start of a session, which may wait for the interpreter's lock.
pub(super) fn look_at_start() {
    choose(type_call::begin);
}

#[cold]
fn choose(begin: fn() -> Result<usize, Refusal>) {
    let _ours = OurOwnWork::begin();
    let wanted = is_forced() || !has_slot();
    if wanted && let Err(Refusal::UnknownLayout) = begin() {
        IS_HOPELESS.store(1, Ordering::Relaxed);
    }
}

fn is_forced() -> bool {
    let tracker = tracker::existing();
    tracker.is_some_and(|tracker| tracker.session().options().foreign_calls == ForeignCalls::Types)
}

/// Whether a slot of ctypes leads to `ffi_call`.
fn has_slot() -> bool {
    let found = patching::with_book(|book| {
        book.images.iter().any(|image| {
            let calls = image
                .slots
                .iter()
                .any(|slot| slot.function == Function::FfiCall);
            calls && matches!(image.owner, Owner::ForeignInterface | Owner::Interpreter)
        })
    });
    found.unwrap_or(false)
}

/// The way in use.
pub(super) fn path() -> Path {
    if type_call::is_active() {
        Path::Types
    } else if has_slot() {
        Path::Slot
    } else if IS_HOPELESS.load(Ordering::Relaxed) != 0 {
        Path::None(Refusal::UnknownLayout)
    } else {
        Path::None(Refusal::NotImported)
    }
}
