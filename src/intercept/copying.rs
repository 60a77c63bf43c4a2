//! Memory that ctypes, cffi and NumPy copy: a structure or an array that is assigned, `ffi.memmove`,
//! `ndarray.copy`.
//!
//! ctypes' own `memmove` is not received here: ctypes gives its address to Python, which must get the
//! real one. Calls of that are looked at by [`super::spans`].

use super::entry::Frame;
use super::errno::KeptErrno;
use super::functions::Function;
use super::gate;
use super::real::Real;
use super::targets::Variant;
use crate::capture::EventPlace;
use crate::detect::finding::Access;
use crate::memory::Address;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker;
use crate::tracker::spans::Span;

/// `void *memcpy(void *to, const void *from, size_t length)`
pub(super) extern "C-unwind" fn memcpy(
    to: usize,
    from: usize,
    length: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    look_at(to, from, length, frame);
    Real::of(Function::Memcpy, variant).call3(to, from, length)
}

/// `void *memmove(void *to, const void *from, size_t length)`
pub(super) extern "C-unwind" fn memmove(
    to: usize,
    from: usize,
    length: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    look_at(to, from, length, frame);
    Real::of(Function::Memmove, variant).call3(to, from, length)
}

/// Looks at what is about to be read and written.
fn look_at(to: usize, from: usize, length: usize, frame: Frame) {
    for (start, access) in [(from, Access::Read), (to, Access::Write)] {
        look_at_span(start, length, access, || gate::place_for(frame));
    }
}

/// Looks at bytes that are about to be accessed; `place` says by whom.
#[inline]
pub(super) fn look_at_span(
    start: usize,
    byte_count: usize,
    access: Access,
    place: impl FnOnce() -> EventPlace,
) {
    if !gate::is_on() || is_our_own_work() {
        return;
    }
    let span = Span {
        start: Address::new(start),
        byte_count,
        access,
    };
    if let Some(tracker) = tracker::existing()
        && let Some(bad) = tracker.judge_span(&span)
    {
        let _errno = KeptErrno::keep();
        let _ours = OurOwnWork::begin();
        tracker.report_span(&bad, place());
    }
}
