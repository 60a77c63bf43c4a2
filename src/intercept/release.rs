//! Releases: `free` and its kin, and the decision that the C++ operators share.

#![expect(
    clippy::inline_always,
    reason = "the path of every release, which knows its function"
)]

use super::entry::Frame;
use super::errno::KeptErrno;
use super::functions::Function;
use super::real::Real;
use super::targets::Variant;
use super::{chunk, gate, outer, unknown};
use crate::ledger::record::flag;
use crate::ledger::{BlockState, FamilyId, Found};
use crate::memory::Address;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker::release::{Release, ReleaseVerdict};
use crate::tracker::{self, Tracker};

/// `void free(void *block)`
pub(super) extern "C-unwind" fn free(block: usize, frame: Frame, variant: Variant) {
    let real = Real::of(Function::Free, variant);
    if is_to_be_executed(real, block, frame) {
        real.call1(block);
    }
}

/// `void free_sized(void *block, size_t size)`
pub(super) extern "C-unwind" fn free_sized(
    block: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) {
    let real = Real::of(Function::FreeSized, variant);
    if is_to_be_executed(real, block, frame) {
        real.call2(block, size);
    }
}

/// `void free_aligned_sized(void *block, size_t alignment, size_t size)`
pub(super) extern "C-unwind" fn free_aligned_sized(
    block: usize,
    alignment: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) {
    let real = Real::of(Function::FreeAlignedSized, variant);
    if is_to_be_executed(real, block, frame) {
        real.call3(block, alignment, size);
    }
}

/// Decides a release: whether the real function is to be called.
///
/// A pointer that the ledger does not know costs one look into the page map and a glance at what
/// lies in front of it.
#[inline(always)]
pub(super) fn is_to_be_executed(real: Real, block: usize, frame: Frame) -> bool {
    let Some(tracker) = tracker::existing() else {
        return true;
    };
    if block == 0 {
        return true;
    }
    match tracker.ledger().find(Address::new(block)) {
        Some(found) => decide(tracker, &found, real, block, frame),
        None => {
            !real.is_standard()
                || !gate::is_on()
                || unknown::looks_ordinary(block, frame)
                || unknown::is_acceptable(tracker, real.function().family(), block, frame)
        }
    }
}

/// Decides the release of an address that the ledger knows. One function for all that release, so
/// that everything it does in the usual case can be one piece.
#[inline(never)]
fn decide(tracker: &Tracker, found: &Found<'_>, real: Real, block: usize, frame: Frame) -> bool {
    if is_our_own_work() {
        return true;
    }
    let is_released = found.state() != Some(BlockState::Live);
    // The real function behind an operator releases the block that the operator was given, which
    // is no longer live; another live block it releases is one more event.
    if is_released && outer::is_part_of_another_call(frame) {
        return true;
    }
    let _errno = KeptErrno::keep();
    let Some(_ours) = OurOwnWork::begin() else {
        return true;
    };
    if is_somebody_elses(found, real, block) || is_stale(found, real, block) {
        return true;
    }
    if !is_released && !tracker.vouches_for(found) {
        tracker.let_go(found, gate::place_for(frame));
        return true;
    }
    let (_, owner) = found.extent();
    let used = real.function().family();
    let is_certain = used == owner || !gate::is_inner_release(frame);
    let release = Release {
        pointer: Address::new(block),
        family: if is_certain { used } else { owner },
        may_withhold: may_withhold(real),
    };
    let place = gate::place_for(frame);
    match tracker.note_release_of(found, release, place) {
        ReleaseVerdict::Execute | ReleaseVerdict::Unknown => true,
        ReleaseVerdict::Withheld | ReleaseVerdict::Refused => false,
    }
}

/// Whether a block that starts here now is another than the one on record.
///
/// Memory that went back may have been given out again by an allocation that does not enter the
/// ledger: one outside the scope, or one that libc makes for us. A withheld block has not gone back.
/// What lies in front of a block tells only where glibc's allocator is underneath; with another one
/// a second release goes unreported rather than a first one reported.
#[inline(always)]
pub(super) fn is_somebody_elses(found: &Found<'_>, real: Real, block: usize) -> bool {
    found.state() == Some(BlockState::Freed)
        && !(real.is_above_glibc() && chunk::is_certainly_released(block))
}

/// Whether a live block of another family is not the one on record: that was released on a path
/// nobody saw, and what is here now is of another size.
#[inline]
fn is_stale(found: &Found<'_>, real: Real, block: usize) -> bool {
    let (size, family) = found.extent();
    let (asked, used) = (size.get(), real.function().family());
    let is_mismatch = found.state() == Some(BlockState::Live) && family != used;
    is_mismatch
        && found.flags() & flag::GUARDED == 0
        && real.is_standard()
        && matches!(
            family,
            FamilyId::MALLOC | FamilyId::NEW | FamilyId::NEW_ARRAY
        )
        && !chunk::could_have(block, asked)
}

/// Whether the memory may be kept back: only when giving it back later with `free` is what the real
/// function would do.
#[inline]
fn may_withhold(real: Real) -> bool {
    let family = real.function().family();
    real.is_standard()
        && gate::is_on()
        && matches!(
            family,
            FamilyId::MALLOC | FamilyId::NEW | FamilyId::NEW_ARRAY
        )
}
