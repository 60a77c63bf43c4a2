//! Pointers that the ledger does not know.
//!
//! They are normal: memory from before the start, from outside the scope, from allocators of the
//! program's own. They are passed on silently unless they are provably wrong: inside a recorded
//! block, on the stack, in a loaded object, unmapped, or misaligned. The glance that nearly all of
//! them pass costs a few nanoseconds: the page was looked at before, and the words in front are
//! those glibc writes.

#![expect(unsafe_code, reason = "looks at what lies in front of a block")]

use super::entry::Frame;
use super::errno::KeptErrno;
use super::image::Range;
use super::page_kinds::{self, PAGE, PageKind};
use super::{chunk, cookie, gate, loaded, outer, stack};
use crate::detect::finding::PointerPlace;
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState, FamilyId};
use crate::memory::Address;
use crate::memory::peek::{Answer, ask, peek};
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker::Tracker;

const ALIGNMENT: usize = 16;

/// The glance: whether there is no reason to look closer.
#[inline]
pub(super) fn looks_ordinary(block: usize, frame: Frame) -> bool {
    block.is_multiple_of(ALIGNMENT)
        && page_kinds::is_ordinary(block)
        && (block % PAGE >= ALIGNMENT || page_kinds::is_ordinary(block - ALIGNMENT))
        && !stack::may_be_in_use(block, frame.stack_pointer())
        // SAFETY: aligned, and both pages were found to be mapped before. Should one have been
        // unmapped since, the real `free`, which comes next, would read the same words.
        && unsafe { chunk::looks_ordinary(block) }
}

/// The close look: whether the real function may have the pointer. Reports it when not.
#[cold]
pub(super) fn is_acceptable(
    tracker: &Tracker,
    family: FamilyId,
    block: usize,
    frame: Frame,
) -> bool {
    if tracker.take_back_unrecorded(Address::new(block)) {
        return false;
    }
    if is_our_own_work() || outer::is_part_of_another_call(frame) {
        return true;
    }
    let _errno = KeptErrno::keep();
    let Some(_ours) = OurOwnWork::begin() else {
        return true;
    };
    let judged = judge(tracker, block, frame);
    let place = gate::place_for(frame);
    let Judgement::Wrong(what, record) = judged else {
        if matches!(judged, Judgement::Block) {
            // SAFETY: a block is aligned, and the words in front were readable a moment ago.
            let next = unsafe { chunk::next_block(block) };
            tracker.put_right_behind_unrecorded(Address::new(next), place);
        }
        note_ordinary(block);
        return true;
    };
    let pointer = Address::new(block);
    match cookie::block_meant(tracker, family, block) {
        Some(meant) => tracker.refuse_shifted(meant, pointer, family, place),
        None => tracker.report_invalid_release(pointer, (what, record), family, place),
    }
    false
}

/// What the close look comes to.
enum Judgement {
    /// The pointer is wrong: what it points at, and the block around it.
    Wrong(PointerPlace, Option<BlockRecord>),
    /// A block of an allocator begins there, as far as can be told.
    Block,
    /// The kernel does not let us ask.
    Unreadable,
}

fn judge(tracker: &Tracker, block: usize, frame: Frame) -> Judgement {
    if stack::is_in_use(block, frame.stack_pointer()) {
        return Judgement::Wrong(PointerPlace::Stack, None);
    }
    if is_in_image(block) {
        return Judgement::Wrong(PointerPlace::Image, None);
    }
    if stack::is_main_threads(block) {
        return Judgement::Wrong(PointerPlace::Stack, None);
    }
    let mut words = [0; 2 * ALIGNMENT];
    match ask(Address::new(block.wrapping_sub(ALIGNMENT)), &mut words) {
        Answer::Copied => {}
        Answer::Unreadable => return Judgement::Wrong(PointerPlace::Unmapped, None),
        Answer::Refused => return Judgement::Unreadable,
    }
    if tracker.is_among_guarded(Address::new(block)) {
        // None of glibc's, whatever lies in front of it.
        let around = block_around(tracker, block);
        let place = around.map_or(PointerPlace::Unknown, |_| PointerPlace::Interior);
        return Judgement::Wrong(place, around);
    }
    let aligned = block.is_multiple_of(ALIGNMENT);
    // SAFETY: aligned, and the words before and at the block were readable a moment ago.
    if aligned && unsafe { chunk::looks_ordinary(block) } {
        return Judgement::Block;
    }
    // Last, because it may have to search far back.
    if let Some(record) = block_around(tracker, block) {
        return Judgement::Wrong(PointerPlace::Interior, Some(record));
    }
    // SAFETY: as above.
    let is_wrong = !aligned || unsafe { chunk::is_impossible(block) };
    if is_wrong {
        Judgement::Wrong(PointerPlace::Unknown, None)
    } else {
        Judgement::Block
    }
}

/// The recorded block whose memory covers the pointer, glibc's share of it included: one past the
/// end, and just before the start.
fn block_around(tracker: &Tracker, block: usize) -> Option<BlockRecord> {
    let reach = [0, ALIGNMENT, 2 * ALIGNMENT];
    let before = reach.iter().map(|&distance| block.wrapping_sub(distance));
    let mut places = before.chain([block.wrapping_add(ALIGNMENT)]);
    places.find_map(|place| {
        let record = tracker.certain_block_around(Address::new(place))?;
        is_really_around(&record, block).then_some(record)
    })
}

/// Whether a recorded block's chunk really covers the pointer still: its record may be stale, when the
/// block was released on a path nobody saw and its memory holds other blocks now.
fn is_really_around(record: &BlockRecord, block: usize) -> bool {
    if record.state == BlockState::Freed {
        return false;
    }
    if record.flags & flag::GUARDED != 0 {
        return true;
    }
    let Some(offset) = (block + ALIGNMENT).checked_sub(record.address.get()) else {
        return false;
    };
    let start = record.address.get();
    if !start.is_multiple_of(ALIGNMENT) || !peek_header_works(start) {
        return true;
    }
    // SAFETY: aligned, and the words in front were readable a moment ago; the block is live or
    // withheld, so glibc does not unmap it.
    let header = unsafe { chunk::header(start) };
    header.byte_count() > offset
}

fn peek_header_works(start: usize) -> bool {
    peek(Address::new(start - ALIGNMENT), &mut [0; ALIGNMENT])
}

fn is_in_image(address: usize) -> bool {
    match page_kinds::kind_of(address) {
        // Looked at since the list last changed.
        PageKind::Ordinary => false,
        PageKind::Unseen | PageKind::Image(_) => loaded::is_in_image(address),
    }
}

/// Remembers that pointers into these pages are ordinary, so that the next one passes the glance.
fn note_ordinary(block: usize) {
    let page = block & !(PAGE - 1);
    let before = block.wrapping_sub(ALIGNMENT) & !(PAGE - 1);
    let end = (page + PAGE).max(chunk::main_arena_rest(block).unwrap_or(0));
    page_kinds::mark(Range { start: before, end }, PageKind::Ordinary);
}
