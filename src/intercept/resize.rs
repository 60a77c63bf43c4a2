//! `realloc` and `reallocarray`.
//!
//! The old block is withdrawn first, then the real call is made, then the new block is recorded;
//! when the real call fails, the old record is restored.

use super::allocator::{allocate, record, room};
use super::entry::Frame;
use super::errno::{self, KeptErrno};
use super::foreign_notes::OngoingCall;
use super::functions::Function;
use super::gate;
use super::outer::{self, Outer};
use super::real::Real;
use super::release::{is_somebody_elses, is_to_be_executed};
use super::targets::Variant;
use super::unknown;
use crate::ledger::record::flag;
use crate::ledger::{BlockState, Found};
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::memory::{Address, ByteCount};
use crate::tracker::allocate::Allocated;
use crate::tracker::resize::{Resize, ResizeVerdict, Resizing};
use crate::tracker::{self, Tracker};

/// Flags of the old block that the new one keeps: whose it is.
const KEPT_FLAGS: u32 = flag::INTERPRETERS_OWN | flag::RUNTIMES_OWN;

/// A resize as it reached us.
#[derive(Clone, Copy)]
struct Request {
    real: Real,
    block: usize,
    /// What the program wants; `None` when that overflows.
    size: Option<usize>,
    frame: Frame,
}

/// `void *realloc(void *block, size_t size)`
pub(super) extern "C-unwind" fn realloc(
    block: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    let real = Real::of(Function::Realloc, variant);
    let request = Request {
        real,
        block,
        size: Some(size),
        frame,
    };
    resize(request, |room| real.call2(block, room.unwrap_or(size)))
}

/// `void *reallocarray(void *block, size_t count, size_t size)`
pub(super) extern "C-unwind" fn reallocarray(
    block: usize,
    count: usize,
    size: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    let real = Real::of(Function::ReallocArray, variant);
    let request = Request {
        real,
        block,
        size: count.checked_mul(size),
        frame,
    };
    resize(request, |room| match room {
        Some(room) => real.call3(block, 1, room),
        None => real.call3(block, count, size),
    })
}

/// Resizes with `call`, which gets the number of bytes to ask for, or `None` to pass the program's
/// request on as it is.
#[inline]
fn resize(request: Request, mut call: impl FnMut(Option<usize>) -> usize) -> usize {
    let Request {
        real,
        block,
        size,
        frame,
    } = request;
    if block == 0 {
        return if gate::is_watching() {
            allocate(real, frame, size, call)
        } else {
            call(None)
        };
    }
    let Some(tracker) = tracker::existing() else {
        return call(None);
    };
    match tracker.ledger().find(Address::new(block)) {
        None => resize_unknown(request, tracker, call),
        Some(found) if concerns_us(&found, frame) => {
            let is_doubtful =
                found.state() == Some(BlockState::Live) && !tracker.vouches_for(&found);
            if is_doubtful {
                let_go(&found, tracker, frame);
                resize_unknown(request, tracker, call)
            } else if is_anothers(&found, request.real, block) {
                call(None)
            } else {
                resize_known(request, tracker, call)
            }
        }
        Some(_) => call(None),
    }
}

fn concerns_us(found: &Found<'_>, frame: Frame) -> bool {
    let is_live = found.state() == Some(BlockState::Live);
    !is_our_own_work() && (is_live || !outer::is_part_of_another_call(frame))
}

/// Lets a block go whose record proves nothing: it is resized as one that was never met.
#[cold]
fn let_go(found: &Found<'_>, tracker: &Tracker, frame: Frame) {
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    tracker.let_go(found, gate::place_for(frame));
}

fn is_anothers(found: &Found<'_>, real: Real, block: usize) -> bool {
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    is_somebody_elses(found, real, block)
}

/// Resizes a block from outside the ledger: what comes of it is a new block like any other.
fn resize_unknown(
    request: Request,
    tracker: &Tracker,
    mut call: impl FnMut(Option<usize>) -> usize,
) -> usize {
    let Request {
        real,
        block,
        size,
        frame,
    } = request;
    let is_ordinary =
        !real.is_standard() || !gate::is_on() || unknown::looks_ordinary(block, frame);
    if !is_ordinary {
        if let Some(moved) = move_unrecorded(tracker, block, size) {
            return moved;
        }
        if !unknown::is_acceptable(tracker, real.function().family(), block, frame) {
            errno::set(libc::EINVAL);
            return 0;
        }
    }
    if size == Some(0) || !gate::is_watching() {
        return call(None);
    }
    allocate(real, frame, size, call)
}

/// Resizes a guarded block whose record found no room; `None` for any other.
#[cold]
fn move_unrecorded(tracker: &Tracker, block: usize, size: Option<usize>) -> Option<usize> {
    // To nothing: that is a release, which `is_acceptable` carries out.
    let size = size.filter(|&size| size != 0)?;
    let kept_errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    let moved = tracker.move_unrecorded(Address::new(block), size)?;
    drop(kept_errno);
    if moved.is_none() {
        errno::set(libc::ENOMEM);
    }
    Some(moved.map_or(0, Address::get))
}

/// Resizes a block of the ledger.
#[inline(never)]
fn resize_known(
    request: Request,
    tracker: &'static Tracker,
    mut call: impl FnMut(Option<usize>) -> usize,
) -> usize {
    let Request {
        real, size, frame, ..
    } = request;
    if size == Some(0) {
        return release_by_resize(request, call);
    }
    // The new block may be a guarded one.
    let _placing = tracker.is_guarding().then(|| tracker.placing());
    let place = gate::place_for(frame);
    let admission = gate::Admission {
        tracker,
        place,
        flags: 0,
        family: real.function().family(),
        epoch: tracker.ledger().epoch(),
        call: OngoingCall::find(frame),
    };
    let Some((size, room)) = room(real, size, &admission) else {
        if tracker.is_among_guarded(Address::new(request.block)) {
            // No block of glibc's, which would say the same.
            errno::set(libc::ENOMEM);
            return 0;
        }
        return call(None);
    };
    let asked = (room.flags != 0).then_some(room.byte_count);
    let resize = match begin(request, &admission, size) {
        ResizeVerdict::Proceed(resize) => resize,
        // The ledger has lost the block meanwhile.
        ResizeVerdict::Unknown => return call(None),
        ResizeVerdict::Move(resize) => return move_block(request, tracker, resize, size),
        ResizeVerdict::Refused => {
            errno::set(libc::EINVAL);
            return 0;
        }
    };
    let flags = resize.flags & KEPT_FLAGS;
    let moved = {
        let _outer = Outer::begin(frame);
        call(asked)
    };
    let outcome = (moved != 0).then(|| Allocated {
        address: Address::new(moved),
        size: ByteCount::new(size),
        family: real.function().family(),
        epoch: admission.epoch,
        flags: room.flags | flags,
    });
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    tracker.finish_resize(resize, outcome);
    if moved != 0 {
        let noted = Address::new(moved);
        super::foreign_notes::with_notes(frame, |notes| notes.note_block(noted));
    }
    moved
}

/// Resizes without the real function, which the state of the old block forbids.
#[cold]
fn move_block(request: Request, tracker: &'static Tracker, resize: Resize, size: usize) -> usize {
    let moved = {
        let _errno = KeptErrno::keep();
        let _ours = OurOwnWork::begin();
        tracker.move_block(resize, size)
    };
    let Some(moved) = moved else {
        errno::set(libc::ENOMEM);
        return 0;
    };
    super::foreign_notes::with_notes(request.frame, |notes| notes.note_block(moved));
    moved.get()
}

/// Withdraws the old block.
fn begin(request: Request, admission: &gate::Admission, size: usize) -> ResizeVerdict {
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    let resizing = Resizing {
        family: admission.family,
        size,
        epoch: admission.epoch,
        may_withhold: request.real.is_standard(),
    };
    let pointer = Address::new(request.block);
    admission
        .tracker
        .begin_resize(pointer, resizing, admission.place)
}

/// A resize to nothing releases, and glibc gives null for it. Another allocator may give a block.
fn release_by_resize(request: Request, mut call: impl FnMut(Option<usize>) -> usize) -> usize {
    let Request {
        real, block, frame, ..
    } = request;
    if !is_to_be_executed(real, block, frame) {
        return 0;
    }
    let given = {
        let _outer = Outer::begin(frame);
        call(None)
    };
    if given != 0
        && gate::is_watching()
        && let Some(admission) = gate::admit(frame, real.function().family())
    {
        record(given, (0, 0), &admission);
    }
    given
}
