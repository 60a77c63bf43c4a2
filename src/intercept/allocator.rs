//! The malloc family: allocating and measuring.
//!
//! Each function passes straight on unless this thread may be watched now ([`gate::is_watching`]).
//! The real function is called first; what it gave is recorded before the program has it.

#![expect(
    clippy::inline_always,
    reason = "the path of every recorded allocation, which knows its function"
)]

use super::entry::Frame;
use super::errno::KeptErrno;
use super::functions::Function;
use super::gate::{self, Admission};
use super::outer::Outer;
use super::real::{Real, is_success};
use super::targets::Variant;
use crate::ledger::Insertion;
use crate::ledger::record::flag;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::memory::{Address, ByteCount};
use crate::tracker;
use crate::tracker::allocate::{Allocated, Room};

/// `void *malloc(size_t size)`
pub(super) extern "C-unwind" fn malloc(size: usize, frame: Frame, variant: Variant) -> usize {
    let real = Real::of(Function::Malloc, variant);
    if !gate::is_watching() {
        return real.call1(size);
    }
    allocate(real, frame, Some(size), |room| {
        real.call1(room.unwrap_or(size))
    })
}

/// `void *calloc(size_t count, size_t size)`
pub(super) extern "C-unwind" fn calloc(
    count: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    let real = Real::of(Function::Calloc, variant);
    if !gate::is_watching() {
        return real.call2(count, size);
    }
    allocate(real, frame, count.checked_mul(size), |room| match room {
        Some(room) => real.call2(1, room),
        None => real.call2(count, size),
    })
}

/// `int posix_memalign(void **block, size_t alignment, size_t size)`
pub(super) extern "C-unwind" fn posix_memalign(
    place: *mut usize,
    alignment: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    let real = Real::of(Function::PosixMemalign, variant);
    let mut status = 0;
    let mut call = |room: Option<usize>| {
        status = real.call3(place.expose_provenance(), alignment, room.unwrap_or(size));
        if is_success(status) {
            super::raw::read_word(place)
        } else {
            0
        }
    };
    if gate::is_watching() {
        allocate(real, frame, Some(size), call);
    } else {
        call(None);
    }
    status
}

/// `void *aligned_alloc(size_t alignment, size_t size)`
pub(super) extern "C-unwind" fn aligned_alloc(
    alignment: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    aligned(
        Real::of(Function::AlignedAlloc, variant),
        alignment,
        size,
        frame,
    )
}

/// `void *memalign(size_t alignment, size_t size)`
pub(super) extern "C-unwind" fn memalign(
    alignment: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    aligned(
        Real::of(Function::Memalign, variant),
        alignment,
        size,
        frame,
    )
}

fn aligned(real: Real, alignment: usize, size: usize, frame: Frame) -> usize {
    if !gate::is_watching() {
        return real.call2(alignment, size);
    }
    allocate(real, frame, Some(size), |room| {
        real.call2(alignment, room.unwrap_or(size))
    })
}

/// `void *valloc(size_t size)`
pub(super) extern "C-unwind" fn valloc(size: usize, frame: Frame, variant: Variant) -> usize {
    let real = Real::of(Function::Valloc, variant);
    if !gate::is_watching() {
        return real.call1(size);
    }
    allocate(real, frame, Some(size), |room| {
        real.call1(room.unwrap_or(size))
    })
}

/// `void *pvalloc(size_t size)`: the program may use whole pages.
pub(super) extern "C-unwind" fn pvalloc(size: usize, frame: Frame, variant: Variant) -> usize {
    let real = Real::of(Function::Pvalloc, variant);
    if !gate::is_watching() {
        return real.call1(size);
    }
    let whole = size.checked_next_multiple_of(super::page_kinds::PAGE);
    allocate(real, frame, whole, |room| real.call1(room.unwrap_or(size)))
}

/// `size_t malloc_usable_size(void *block)`: what the program asked for, so that nobody writes into
/// a redzone with good reason.
pub(super) extern "C-unwind" fn malloc_usable_size(
    block: usize,
    _frame: Frame,
    variant: Variant,
) -> usize {
    let real = Real::of(Function::UsableSize, variant);
    if is_our_own_work() {
        return real.call1(block);
    }
    let known = tracker::existing().and_then(|tracker| tracker.requested_size(Address::new(block)));
    known.map_or_else(|| real.call1(block), ByteCount::get)
}

/// Allocates with `call`, and records what it gave when the allocation is admitted.
///
/// `size` is what the program wants, `None` when that overflows. `call` gets the number of bytes to
/// ask for, or `None` to pass the program's request on as it is. Inlined, so that what each function
/// is made of is known where it is decided.
#[inline(always)]
pub(super) fn allocate(
    real: Real,
    frame: Frame,
    size: Option<usize>,
    mut call: impl FnMut(Option<usize>) -> usize,
) -> usize {
    let Some(admission) = gate::admit(frame, real.function().family()) else {
        return with_room(call(None), || call(None));
    };
    let Some((size, room)) = room(real, size, &admission) else {
        return call(None);
    };
    if let Some(block) = place_guarded(real, size, &admission) {
        return block;
    }
    let asked = (room.flags != 0).then_some(room.byte_count);
    let block = if real.is_standard() && real.function() != Function::ReallocArray {
        call(asked)
    } else {
        // A function of the program's own may call `malloc`, and glibc's `reallocarray` calls
        // `realloc`: that is part of this block.
        let _outer = Outer::begin(frame);
        call(asked)
    };
    let block = with_room(block, || call(asked));
    if block == 0 {
        return 0;
    }
    record_new(real, block, (size, room), &admission)
}

/// What an allocation gave, or gives when it failed and memory that was withheld has gone back.
#[inline(always)]
fn with_room(block: usize, again: impl FnOnce() -> usize) -> usize {
    if block != 0 {
        return block;
    }
    if makes_room() { again() } else { block }
}

#[cold]
fn makes_room() -> bool {
    tracker::existing().is_some_and(tracker::Tracker::make_room)
}

/// Places and records a block between guard pages, when it is its turn.
#[inline]
pub(super) fn place_guarded(real: Real, size: usize, admission: &Admission) -> Option<usize> {
    if admission.tracker.is_guarding() {
        place_in_turn(real, size, admission)
    } else {
        None
    }
}

#[inline(never)]
fn place_in_turn(real: Real, size: usize, admission: &Admission) -> Option<usize> {
    if !real.is_standard() || !real.function().is_plain() {
        return None;
    }
    let _placing = admission.tracker.placing();
    let block = {
        let _errno = KeptErrno::keep();
        let _ours = OurOwnWork::begin()?;
        admission.tracker.place_guarded(size)?.get()
    };
    // Without a record nobody could tell its release from that of a block of glibc's.
    let is_recorded = record(block, (size, flag::GUARDED), admission);
    is_recorded.then_some(block)
}

/// How much to ask for; `None`, after a report, when no block can be so large.
#[inline(always)]
pub(super) fn room(
    real: Real,
    size: Option<usize>,
    admission: &Admission,
) -> Option<(usize, Room)> {
    admission.tracker.look_at_top(&admission.place);
    let room = size.and_then(|size| Some((size, admission.tracker.room_for(size)?)));
    let Some((size, room)) = room else {
        note_impossible_size(real, size, admission);
        return None;
    };
    // A function of the program's own is asked for exactly what the program wants: its sized
    // release may rely on it. What libc allocates for itself is not watched for overflows: it may be
    // for a library that libc has just loaded for itself, whose releases pass unseen.
    let plain = Room {
        byte_count: size,
        flags: 0,
    };
    let is_watched = real.is_standard() && admission.flags & flag::RUNTIMES_OWN == 0;
    Some((size, if is_watched { room } else { plain }))
}

#[cold]
fn note_impossible_size(real: Real, size: Option<usize>, admission: &Admission) {
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    let family = real.function().family();
    let size = size.unwrap_or(usize::MAX);
    admission
        .tracker
        .note_impossible_size(size, family, admission.place);
}

/// Records what the real function gave, and says what the program is to have: where nothing but
/// `malloc` is behind it, another block may take its place.
#[inline(always)]
pub(super) fn record_new(
    real: Real,
    block: usize,
    (size, room): (usize, Room),
    admission: &Admission,
) -> usize {
    if real.is_standard() && real.function().is_plain() {
        let is_zeroed = real.function() == Function::Calloc;
        return record_plain(block, (size, room.flags), is_zeroed, admission);
    }
    record(block, (size, room.flags), admission);
    block
}

#[inline(never)]
fn record_plain(
    block: usize,
    (size, room_flags): (usize, u32),
    is_zeroed: bool,
    admission: &Admission,
) -> usize {
    let _errno = KeptErrno::keep();
    let Some(_ours) = OurOwnWork::begin() else {
        return block;
    };
    let block = allocated(Address::new(block), (size, room_flags), admission);
    let (tracker, place) = (admission.tracker, &admission.place);
    let (_, address) = tracker.note_plain_allocation(block, is_zeroed, place);
    if let Some(call) = admission.call {
        call.with_notes(|notes| notes.note_block(address));
    }
    address.get()
}

#[inline(always)]
fn allocated(
    address: Address,
    (size, room_flags): (usize, u32),
    admission: &Admission,
) -> Allocated {
    Allocated {
        address,
        size: ByteCount::new(size),
        family: admission.family,
        epoch: admission.epoch,
        flags: admission.flags | room_flags,
    }
}

/// Records a block; `false` when a guarded one finds no record, and is gone.
#[inline(never)]
pub(super) fn record(
    block: usize,
    (size, room_flags): (usize, u32),
    admission: &Admission,
) -> bool {
    let _errno = KeptErrno::keep();
    let Some(_ours) = OurOwnWork::begin() else {
        return false;
    };
    let address = Address::new(block);
    if let Some(call) = admission.call {
        call.with_notes(|notes| notes.note_block(address));
    }
    let block = allocated(address, (size, room_flags), admission);
    admission.tracker.note_allocation(block, &admission.place) == Insertion::Recorded
}
