//! What a foreign call was given, looked at when the process dies in it: a pointer to a released block
//! is the likely cause.
//!
//! The usual case is a wrapper that was copied: both copies call the library's destroy function, and
//! the second call reads what the first one released before it comes to releasing anything again.

use super::entry::Frame;
use super::ffi_layout::Arguments;
use super::{chunk, foreign_notes};
use crate::ledger::{BlockState, StackId};
use crate::memory::Address;
use crate::tracker::Tracker;

/// Reports the released blocks that the foreign call in progress was given, if there is a call; whether
/// there were any. `stack_pointer` is where the thread's stack was when it was interrupted, `here` where
/// it was.
pub(super) fn look_at_death(tracker: &Tracker, stack_pointer: usize, here: StackId) -> bool {
    let given = foreign_notes::with_notes(Frame::at(stack_pointer), |notes| notes.given());
    let Some((interface, places)) = given.flatten() else {
        return false;
    };
    let arguments = Arguments::of(interface, places);
    let mut found = false;
    for pointer in arguments.pointers().chain(arguments.structure_words()) {
        if is_released_still(tracker, pointer) {
            found |= tracker.report_released_argument(Address::new(pointer), here);
        }
    }
    found
}

/// Whether the memory of a released block has not been given out again, as far as can be told.
fn is_released_still(tracker: &Tracker, pointer: usize) -> bool {
    let state = tracker
        .ledger()
        .find(Address::new(pointer))
        .and_then(|found| found.state());
    match state {
        Some(BlockState::Quarantined) => true,
        Some(BlockState::Freed) => chunk::is_certainly_released(pointer),
        Some(BlockState::Live | BlockState::Forgotten) | None => false,
    }
}
